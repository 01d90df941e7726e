//! What the demo tells at its end: the drops by reason, and what was lost on the way.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flow::api::flow::{Endpoint, Flow, Verdict};
use flow::api::parallax::StageLoss;
use tabwriter::TabWriter;

/// Drops of one reason.
struct Drops {
    count: u64,
    /// Who sent the first one, and to whom.
    way: String,
    /// Where in the kernel.
    symbol: String,
}

/// Counts flows and drops.
#[derive(Default)]
pub(super) struct Summary {
    flows: u64,
    drops: BTreeMap<String, Drops>,
}

/// Whether a flow is a packet that was dropped.
pub(super) fn is_drop(flow: &Flow) -> bool {
    flow.verdict() == Verdict::Dropped
}

impl Summary {
    /// Counts a flow.
    pub(super) fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        if !is_drop(flow) {
            return;
        }
        let detail = flow.detail.as_ref();
        let reason = detail
            .map(|detail| detail.kernel_drop_reason.clone())
            .filter(|reason| !reason.is_empty())
            .unwrap_or_else(|| flow.drop_reason_desc().as_str_name().to_owned());
        let drops = self.drops.entry(reason).or_insert_with(|| Drops {
            count: 0,
            way: way(flow),
            symbol: detail.map(|detail| detail.drop_symbol.clone()).unwrap_or_default(),
        });
        drops.count += 1;
    }

    /// Writes the table, then the losses; `lost` is `None` if the observer couldn't be asked.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn write(&self, mut out: impl Write, lost: Option<&[StageLoss]>) -> Result<()> {
        let count: u64 = self.drops.values().map(|drops| drops.count).sum();
        writeln!(out, "\n{} flows, {count} of them drops", self.flows)?;
        if count > 0 {
            let mut table = TabWriter::new(Vec::new()).padding(3);
            writeln!(table, "REASON\tCOUNT\tFIRST\tWHERE")?;
            for (reason, Drops { count, way, symbol }) in &self.drops {
                writeln!(table, "{reason}\t{count}\t{way}\t{symbol}")?;
            }
            out.write_all(&table.into_inner()?)?;
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

fn way(flow: &Flow) -> String {
    let (from, to) = flow
        .ip
        .as_ref()
        .map_or(("", ""), |ip| (ip.source.as_str(), ip.destination.as_str()));
    format!(
        "{} → {}",
        name(flow.source.as_ref(), from),
        name(flow.destination.as_ref(), to)
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
    fn drops_are_counted_by_reason_with_the_first_way() {
        let mut summary = Summary::default();
        summary.add(&drop_to("203.0.113.9"));
        summary.add(&drop_to("203.0.113.10"));
        summary.add(&Flow::default());
        assert_eq!(
            text(&summary, Some(&[])),
            "\n3 flows, 2 of them drops\n\
             REASON      COUNT   FIRST                           WHERE\n\
             NO_SOCKET   2       team-a/client-0 → 203.0.113.9   tcp_v4_rcv+0x91\n\
             Lost events: none\n"
        );
    }

    #[test]
    fn losses_are_told_by_stage_and_an_unasked_observer_is_not_taken_for_none() {
        let lost = [StageLoss {
            stage: "kernel ring".to_owned(),
            cpu: Some(1),
            count: 7,
        }];
        assert!(text(&Summary::default(), Some(&lost)).contains("Lost events: 7 at kernel ring (CPU 1)"));
        assert!(text(&Summary::default(), None).contains("unknown"));
    }
}
