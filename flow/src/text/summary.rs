//! What a packet or message says, in a few words.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::icmp;
use crate::api::flow::layer4::Protocol;
use crate::api::flow::layer7::Record;
use crate::api::flow::{Dns, Flow, Http, L7FlowType, Layer4, Layer7, TcpFlags};
use crate::api::parallax::Detail;

/// A line about the application message of a flow, or else its transport header: `TCP Flags: SYN, ACK`, `UDP`,
/// `ICMPv4 EchoRequest`. For a request without an answer: how often it was sent, and how long it has waited. Empty for a flow
/// that has none of these.
///
/// An observer puts it into the field `Summary`, which older clients print as it is.
#[must_use]
pub fn summary(flow: &Flow) -> String {
    derived(flow).into_owned()
}

/// The summary as the flow has it, or derived where its server left it empty.
#[allow(deprecated, reason = "clients of older servers must show what those send")]
pub(super) fn of(flow: &Flow) -> Cow<'_, str> {
    if flow.summary.is_empty() {
        derived(flow)
    } else {
        Cow::Borrowed(&flow.summary)
    }
}

fn derived(flow: &Flow) -> Cow<'static, str> {
    if let Some(detail) = flow.detail.as_ref().filter(|detail| detail.tries > 0) {
        return Cow::Owned(of_silence(detail, flow.l7.as_ref()));
    }
    match (&flow.l7, &flow.l4) {
        (Some(l7), _) if l7.record.is_some() => Cow::Owned(of_l7(l7)),
        (_, Some(l4)) => of_l4(l4),
        _ => Cow::Borrowed(""),
    }
}

/// How much a flow stands for, if that is more than one packet: those of a connection that were only counted, or one that
/// is still to be cut into segments.
pub(super) fn of_several(detail: &Detail) -> Option<String> {
    (detail.packets > 1).then(|| format!("{} packets, {} bytes", detail.packets, detail.length))
}

fn of_silence(detail: &Detail, l7: Option<&Layer7>) -> String {
    let tries = if detail.tries == 1 { "try" } else { "tries" };
    let tenths = detail.waited_ns / 100_000_000;
    let mut text = format!(
        "no answer to {} {tries} in {}.{} s",
        detail.tries,
        tenths / 10,
        tenths % 10
    );
    if let Some(l7) = l7.filter(|l7| l7.record.is_some()) {
        text.push_str(": ");
        text.push_str(&of_l7(l7));
    }
    text
}

fn of_l4(l4: &Layer4) -> Cow<'static, str> {
    match &l4.protocol {
        Some(Protocol::Tcp(tcp)) => of_flags(tcp.flags.as_ref()),
        Some(Protocol::Udp(_)) => Cow::Borrowed("UDP"),
        Some(Protocol::Sctp(_)) => Cow::Borrowed("SCTP"),
        Some(Protocol::IcmPv4(header)) => Cow::Owned(format!("ICMPv4 {}", icmp::v4(header.r#type, header.code))),
        Some(Protocol::IcmPv6(header)) => Cow::Owned(format!("ICMPv6 {}", icmp::v6(header.r#type, header.code))),
        Some(Protocol::Vrrp(header)) => Cow::Owned(format!("VRRP {} prio {}", header.vrid, header.priority)),
        Some(Protocol::Igmp(header)) => Cow::Owned(format!("IGMP {}", header.group_address).trim_end().to_owned()),
        None => Cow::Borrowed(""),
    }
}

fn of_flags(flags: Option<&TcpFlags>) -> Cow<'static, str> {
    let Some(flags) = flags else {
        return Cow::Borrowed("TCP");
    };
    let set = [
        (flags.syn, "SYN"),
        (flags.ack, "ACK"),
        (flags.rst, "RST"),
        (flags.fin, "FIN"),
        (flags.psh, "PSH"),
        (flags.urg, "URG"),
        (flags.ece, "ECE"),
        (flags.cwr, "CWR"),
        (flags.ns, "NS"),
    ];
    let mut text = String::new();
    for (_, name) in set.iter().filter(|(is_set, _)| *is_set) {
        text.push_str(if text.is_empty() { "TCP Flags: " } else { ", " });
        text.push_str(name);
    }
    if text.is_empty() {
        Cow::Borrowed("TCP")
    } else {
        Cow::Owned(text)
    }
}

fn of_l7(l7: &Layer7) -> String {
    match &l7.record {
        Some(Record::Http(http)) => of_http(l7, http),
        Some(Record::Dns(dns)) => of_dns(l7, dns),
        #[allow(deprecated, reason = "older servers still send it")]
        Some(Record::Kafka(kafka)) => format!("Kafka {} {}", kafka.api_key, kafka.topic),
        None => String::new(),
    }
}

fn of_http(l7: &Layer7, http: &Http) -> String {
    if l7.r#type() == L7FlowType::Response {
        let milliseconds = l7.latency_ns / 1_000_000;
        format!(
            "{} {} {milliseconds}ms ({} {})",
            http.protocol, http.code, http.method, http.url
        )
    } else {
        format!("{} {} {}", http.protocol, http.method, http.url)
    }
}

/// Names of RFC 1035, section 4.1.1.
const RCODES: [&str; 6] = [
    "No Error",
    "Format Error",
    "Server Failure",
    "Non-Existent Domain",
    "Not Implemented",
    "Query Refused",
];

/// The response code of a DNS answer in words, or its number (RFC 1035, section 4.1.1).
#[must_use]
pub fn rcode_name(number: u32) -> String {
    let known = usize::try_from(number).ok().and_then(|place| RCODES.get(place));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn of_dns(l7: &Layer7, dns: &Dns) -> String {
    let question = format!("{} {}", dns.query, dns.qtypes.join(","));
    if l7.r#type() != L7FlowType::Response {
        return format!("DNS Query {question}");
    }
    let mut text = String::from("DNS Answer");
    if dns.rcode != 0 {
        text.push_str(" RCode: ");
        text.push_str(&rcode_name(dns.rcode));
    } else {
        if !dns.ips.is_empty() {
            write!(text, " \"{}\"", dns.ips.join(",")).expect("invariant: a String takes all text");
        }
        if !dns.cnames.is_empty() {
            write!(text, " CNAMEs: \"{}\"", dns.cnames.join(",")).expect("invariant: a String takes all text");
        }
        write!(text, " TTL: {}", dns.ttl).expect("invariant: a String takes all text");
    }
    write!(text, " ({question})").expect("invariant: a String takes all text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_of_several_packets_says_how_many() {
        let detail = |packets, length| Detail {
            packets,
            length,
            ..Detail::default()
        };
        assert_eq!(of_several(&detail(1, 60)), None);
        assert_eq!(of_several(&detail(4, 812)).as_deref(), Some("4 packets, 812 bytes"));
    }

    fn summary_of(json: &str) -> String {
        summary(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn headers_are_told_in_a_few_words() {
        for (json, expected) in [
            (
                r#"{"l4":{"TCP":{"flags":{"SYN":true,"ACK":true}}}}"#,
                "TCP Flags: SYN, ACK",
            ),
            (
                r#"{"l4":{"TCP":{"flags":{"FIN":true,"ACK":true}}}}"#,
                "TCP Flags: ACK, FIN",
            ),
            (r#"{"l4":{"TCP":{}}}"#, "TCP"),
            (
                r#"{"l4":{"ICMPv4":{"type":3,"code":3}}}"#,
                "ICMPv4 DestinationUnreachable(Port)",
            ),
            (r#"{"l4":{"ICMPv6":{"type":128}}}"#, "ICMPv6 EchoRequest"),
            (r#"{}"#, ""),
            (
                r#"{"l4":{"TCP":{"flags":{"SYN":true}}},"detail":{"tries":2,"waitedNs":"3000000000"}}"#,
                "no answer to 2 tries in 3.0 s",
            ),
            (
                r#"{"l7":{"type":"REQUEST","dns":{"query":"a.test.","qtypes":["A"]}},"detail":{"tries":1,"waitedNs":"3100000000"}}"#,
                "no answer to 1 try in 3.1 s: DNS Query a.test. A",
            ),
            (
                r#"{"l7":{"type":"RESPONSE","dns":{"query":"a.test.","qtypes":["A"],"rcode":3}}}"#,
                "DNS Answer RCode: Non-Existent Domain (a.test. A)",
            ),
            (
                r#"{"l7":{"type":"REQUEST","http":{"method":"GET","url":"http://a/","protocol":"HTTP/1.1"}}}"#,
                "HTTP/1.1 GET http://a/",
            ),
        ] {
            assert_eq!(summary_of(json), expected, "{json}");
        }
    }
}
