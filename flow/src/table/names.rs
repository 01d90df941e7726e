//! The words for what is stored as a number.

use std::fmt::Write as _;

use crate::api::flow::{L7FlowType, TraceObservationPoint, TraceReason, TrafficDirection, Verdict, tunnel};
use crate::schema::Column;

/// How a number of a column is called; `None` for one that means "not known".
pub(crate) type Name = fn(u32) -> Option<String>;

/// Names of observation points, by the sub type of a trace event.
const POINTS: [&str; 14] = [
    "to-endpoint",
    "to-proxy",
    "to-host",
    "to-stack",
    "to-overlay",
    "from-endpoint",
    "from-proxy",
    "from-host",
    "from-stack",
    "from-overlay",
    "from-network",
    "to-network",
    "from-crypto",
    "to-crypto",
];

/// Names of TCP events, by the sub type of the event.
const TCP_EVENTS: [&str; 5] = ["", "retransmit", "reset-sent", "reset-received", "state-change"];

/// Names of requests without an answer, by the sub type of the event.
const REQUESTS: [&str; 4] = ["", "syn", "udp", "dns"];

/// IANA, "Domain Name System (DNS) Parameters", DNS RCODEs.
const RCODES: [&str; 12] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
];

/// RFC 9293, section 3.1, and RFC 3540; from bit 0 on.
const FLAGS: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"];

/// What turns the numbers of that column into text; `None` if they are not an enumeration.
pub(crate) fn of(column: Column) -> Option<Name> {
    Some(match column {
        Column::FlowType => |number| listed(&["", "packet", "message", "socket"], number),
        Column::EventType => event_type,
        Column::Verdict => |number| api(number, Verdict::try_from, |name| name.as_str_name().to_owned()),
        Column::TrafficDirection => |number| api(number, TrafficDirection::try_from, |name| lower(name.as_str_name())),
        Column::ObservationPoint => |number| {
            api(number, TraceObservationPoint::try_from, |name| {
                lower(name.as_str_name())
            })
        },
        Column::TraceReason => |number| api(number, TraceReason::try_from, |name| lower(name.as_str_name())),
        Column::Protocol => |number| Some(protocol(number)),
        Column::TcpFlags => |number| Some(flags(number)),
        Column::TunnelProtocol => {
            |number| api(number, tunnel::Protocol::try_from, |name| name.as_str_name().to_owned())
        }
        Column::L7Type => |number| api(number, L7FlowType::try_from, |name| lower(name.as_str_name())),
        Column::DnsRcode => |number| listed(&RCODES, number),
        _ => return None,
    })
}

/// The sub type of an event of that type.
pub(crate) fn event_sub_type(event_type: i32, sub_type: i32) -> String {
    let names: &[&str] = match event_type {
        4 => &POINTS,
        160 => &TCP_EVENTS,
        161 => &REQUESTS,
        _ => &[],
    };
    let name = usize::try_from(sub_type).ok().and_then(|place| names.get(place));
    match name.filter(|name| !name.is_empty()) {
        Some(name) => (*name).to_owned(),
        None => sub_type.to_string(),
    }
}

fn event_type(number: u32) -> Option<String> {
    let name = match number {
        0 => return None,
        1 => "drop",
        2 => "debug",
        3 => "capture",
        4 => "trace",
        5 => "policy-verdict",
        7 => "trace-sock",
        129 => "l7",
        130 => "agent",
        160 => "tcp",
        161 => "silence",
        other => return Some(other.to_string()),
    };
    Some(name.to_owned())
}

fn listed(names: &[&str], number: u32) -> Option<String> {
    match names.get(number as usize) {
        Some(&"") => None,
        Some(name) => Some((*name).to_owned()),
        None => Some(number.to_string()),
    }
}

/// A name of the API; one that a newer API has added is shown as its number.
fn api<T, E>(number: u32, parse: impl Fn(i32) -> Result<T, E>, name: impl Fn(T) -> String) -> Option<String> {
    let parsed = i32::try_from(number).ok().and_then(|number| parse(number).ok());
    Some(parsed.map_or_else(|| number.to_string(), name))
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// IANA, "Assigned Internet Protocol Numbers".
fn protocol(number: u32) -> String {
    match number {
        1 => "ICMPv4",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        89 => "OSPF",
        112 => "VRRP",
        132 => "SCTP",
        _ => return number.to_string(),
    }
    .to_owned()
}

fn flags(bits: u32) -> String {
    let mut text = String::new();
    for (bit, name) in FLAGS.iter().enumerate() {
        if bits & (1 << bit) != 0 {
            let separator = if text.is_empty() { "" } else { ", " };
            write!(text, "{separator}{name}").expect("invariant: a String takes all text");
        }
    }
    text
}
