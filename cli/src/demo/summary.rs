//! What the demo tells at its end: the drops by reason, what they mean, what to check, and what was lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Result;
use flow::api::flow::layer4::Protocol;
use flow::api::flow::{Endpoint, Flow, Verdict};
use flow::api::parallax::StageLoss;
use flow::drop_reason::lookup;
use owo_colors::{OwoColorize, Style};

/// Columns of the text.
const WIDTH: usize = 100;
/// How many examples of who sent to whom are told for a reason.
const EXAMPLES: usize = 3;
/// Functions of the kernel in which nothing is wrong, whatever the reason says: an echo reply that `ping` has got through
/// its raw socket as well, and IPv6 multicast that nobody has asked for.
const HARMLESS_PLACES: [&str; 2] = ["ping_rcv+", "ip6_mc_input+"];

/// Drops of one reason.
#[derive(Default)]
struct Drops {
    count: u64,
    /// Who sent to whom, the first few.
    ways: Vec<String>,
    /// Where in the kernel.
    symbols: BTreeSet<String>,
}

/// Counts flows and drops.
#[derive(Default)]
pub(super) struct Summary {
    flows: u64,
    trouble: BTreeMap<String, Drops>,
    harmless: BTreeMap<String, u64>,
    color: bool,
}

/// Whether a flow is a packet that was dropped.
pub(super) fn is_drop(flow: &Flow) -> bool {
    flow.verdict() == Verdict::Dropped
}

/// Whether a dropped packet is no sign of trouble.
pub(super) fn is_harmless(flow: &Flow) -> bool {
    let symbol = flow.detail.as_ref().map_or("", |detail| detail.drop_symbol.as_str());
    lookup(&reason(flow)).is_some_and(|reason| reason.benign)
        || HARMLESS_PLACES.iter().any(|place| symbol.starts_with(place))
}

fn reason(flow: &Flow) -> String {
    flow.detail
        .as_ref()
        .map(|detail| detail.kernel_drop_reason.clone())
        .filter(|reason| !reason.is_empty())
        .unwrap_or_else(|| flow.drop_reason_desc().as_str_name().to_owned())
}

impl Summary {
    /// An empty summary, to be written with or without colours.
    pub(super) fn new(color: bool) -> Self {
        Self {
            color,
            ..Self::default()
        }
    }

    /// Counts a flow.
    pub(super) fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        if !is_drop(flow) {
            return;
        }
        if is_harmless(flow) {
            *self.harmless.entry(reason(flow)).or_default() += 1;
            return;
        }
        let drops = self.trouble.entry(reason(flow)).or_default();
        drops.count += 1;
        let way = way(flow);
        if drops.ways.len() < EXAMPLES && !drops.ways.contains(&way) {
            drops.ways.push(way);
        }
        if let Some(detail) = flow.detail.as_ref().filter(|detail| !detail.drop_symbol.is_empty()) {
            let function = detail.drop_symbol.split('+').next().unwrap_or_default();
            drops.symbols.insert(function.to_owned());
        }
    }

    /// Writes the drops, then the losses; `lost` is `None` if the observer couldn't be asked.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn write(&self, mut out: impl Write, lost: Option<&[StageLoss]>) -> Result<()> {
        let count: u64 = self.trouble.values().map(|drops| drops.count).sum();
        writeln!(
            out,
            "\n{} flows, {count} of them packets dropped for a reason to look at",
            self.flows
        )?;
        let (bold, dim) = match self.color {
            true => (Style::new().bold().red(), Style::new().dimmed()),
            false => (Style::new(), Style::new()),
        };
        for (name, drops) in &self.trouble {
            let places = drops.symbols.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            writeln!(out, "\n{} ({} times, in {places})", name.style(bold), drops.count)?;
            for way in &drops.ways {
                writeln!(out, "  {way}")?;
            }
            if let Some(words) = lookup(name) {
                write_wrapped(&mut out, "  means: ", words.meaning)?;
                write_wrapped(&mut out, "  check: ", words.next)?;
            }
        }
        if !self.harmless.is_empty() {
            let list: Vec<String> = self
                .harmless
                .iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let text = format!("Also freed, and nothing to worry about: {}", list.join(", "));
            writeln!(out, "\n{}", text.style(dim))?;
        }
        match lost {
            None => writeln!(out, "Lost events: unknown, the observer did not answer")?,
            Some(lost) if lost.iter().all(|loss| loss.count == 0) => writeln!(out, "Lost events: none")?,
            Some(lost) => {
                for loss in lost.iter().filter(|loss| loss.count > 0) {
                    let cpu = loss.cpu.map(|cpu| format!(" (CPU {cpu})")).unwrap_or_default();
                    writeln!(out, "Lost events: {} at {}{cpu}", loss.count, loss.stage)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}

fn write_wrapped(out: &mut impl Write, head: &str, text: &str) -> Result<()> {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(head)
        .subsequent_indent("         ")
        .break_words(false);
    for line in textwrap::wrap(text, options) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Who sent to whom, and what.
fn way(flow: &Flow) -> String {
    let (from, to) = flow
        .ip
        .as_ref()
        .map_or(("", ""), |ip| (ip.source.as_str(), ip.destination.as_str()));
    let (protocol, port) = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => ("TCP", Some(tcp.destination_port)),
        Some(Protocol::Udp(udp)) => ("UDP", Some(udp.destination_port)),
        Some(Protocol::IcmPv4(_)) => ("ICMP", None),
        Some(Protocol::IcmPv6(_)) => ("ICMPv6", None),
        _ => ("IP", None),
    };
    format!(
        "{} → {} {protocol}{}",
        name(flow.source.as_ref(), from),
        name(flow.destination.as_ref(), to),
        port.map(|port| format!(" port {port}")).unwrap_or_default()
    )
}

fn name(endpoint: Option<&Endpoint>, address: &str) -> String {
    endpoint.filter(|endpoint| !endpoint.pod_name.is_empty()).map_or_else(
        || address.to_owned(),
        |endpoint| format!("{}/{}", endpoint.namespace, endpoint.pod_name),
    )
}

#[cfg(test)]
mod tests {
    use flow::api::flow::Ip;
    use flow::api::parallax::Detail;

    use super::*;

    fn drop_to(destination: &str) -> Flow {
        Flow {
            verdict: Verdict::Dropped.into(),
            ip: Some(Ip {
                source: "10.1.0.20".to_owned(),
                destination: destination.to_owned(),
                ..Ip::default()
            }),
            source: Some(Endpoint {
                namespace: "team-a".to_owned(),
                pod_name: "client-0".to_owned(),
                ..Endpoint::default()
            }),
            detail: Some(Detail {
                kernel_drop_reason: "NO_SOCKET".to_owned(),
                drop_symbol: "tcp_v4_rcv+0x91".to_owned(),
                ..Detail::default()
            }),
            ..Flow::default()
        }
    }

    fn text(summary: &Summary, lost: Option<&[StageLoss]>) -> String {
        let mut out = Vec::new();
        summary.write(&mut out, lost).expect("written");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn drops_are_told_by_reason_with_their_ways_and_what_to_check() {
        let mut summary = Summary::new(false);
        summary.add(&drop_to("203.0.113.9"));
        summary.add(&drop_to("203.0.113.10"));
        summary.add(&drop_to("203.0.113.10"));
        summary.add(&Flow::default());
        let told = text(&summary, Some(&[]));
        let expected = "\n4 flows, 3 of them packets dropped for a reason to look at\n\n\
             NO_SOCKET (3 times, in tcp_v4_rcv)\n\
             \u{20} team-a/client-0 → 203.0.113.9 IP\n\
             \u{20} team-a/client-0 → 203.0.113.10 IP\n\
             \u{20} means: ";
        assert!(told.starts_with(expected), "{told}");
        assert!(told.contains("  check: ") && told.contains("ss -lntup"), "{told}");
        assert!(told.ends_with("Lost events: none\n"), "{told}");
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
    }

    #[test]
    fn what_is_harmless_is_told_in_one_line() {
        let mut summary = Summary::new(false);
        let mut reply = drop_to("10.1.0.20");
        if let Some(detail) = &mut reply.detail {
            detail.drop_symbol = "ping_rcv+0xab".to_owned();
        }
        summary.add(&reply);
        let told = text(&summary, Some(&[]));
        assert!(told.contains("1 flows, 0 of them"), "{told}");
        assert!(told.contains("nothing to worry about: NO_SOCKET 1\n"), "{told}");
    }

    #[test]
    fn losses_are_told_by_stage_and_an_unasked_observer_is_not_taken_for_none() {
        let lost = [StageLoss {
            stage: "kernel ring".to_owned(),
            cpu: Some(1),
            count: 7,
            source: "ingress".to_owned(),
        }];
        assert!(text(&Summary::default(), Some(&lost)).contains("Lost events: 7 at kernel ring (CPU 1)"));
        assert!(text(&Summary::default(), None).contains("unknown"));
    }
}
