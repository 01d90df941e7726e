//! Values of filter flags: parsed here where a mistake can be told better than by the server.

use flow::api::flow::{
    DropReason, EventTypeFilter, HttpHeader, IpVersion, NetworkInterface, SocketTranslationPoint, TcpFlags,
    TraceObservationPoint, TrafficDirection, Verdict, Workload,
};

use crate::usage::nearest;

type Parsed<T> = Result<T, String>;

pub(crate) const IPV4: i32 = IpVersion::IPv4 as i32;
pub(crate) const IPV6: i32 = IpVersion::IPv6 as i32;

/// Numbers of the kinds of events in the API (`event_type.type`).
pub(super) const EVENT_TYPES: [(&str, i32); 8] = [
    ("drop", 1),
    ("capture", 3),
    ("trace", 4),
    ("policy-verdict", 5),
    ("trace-sock", 7),
    ("l7", 129),
    ("tcp", TCP_EVENT),
    ("silence", SILENCE),
];

/// Something that happened to a TCP socket; only observers of ours tell.
const TCP_EVENT: i32 = 160;

/// Its sub types.
pub(super) const TCP_EVENTS: [(&str, i32); 4] = [
    ("retransmit", 1),
    ("reset-sent", 2),
    ("reset-received", 3),
    ("state-change", 4),
];

/// A request without an answer; only observers of ours tell.
const SILENCE: i32 = 161;

/// Its sub types.
pub(super) const REQUESTS: [(&str, i32); 3] = [("syn", 1), ("udp", 2), ("dns", 3)];

pub(super) const PROTOCOLS: [&str; 11] = [
    "icmp", "icmpv4", "icmpv6", "tcp", "udp", "sctp", "vrrp", "igmp", "dns", "http", "kafka",
];

pub(super) const TCP_FLAGS: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"];

/// "not one of …" with the nearest one first.
fn not_one_of<'a>(what: &str, typed: &str, allowed: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint = nearest(typed, allowed.clone())
        .map(|near| format!("did you mean {near}? "))
        .unwrap_or_default();
    let comma = if typed.contains(',') {
        "one value at a time (repeat the flag for more); "
    } else {
        ""
    };
    format!(
        "unknown {what}: {hint}{comma}allowed: {}",
        allowed.collect::<Vec<_>>().join(", ")
    )
}

/// The number of an API enum's value, by its name in any case. `name_of` gives the name for a number.
fn enum_value(what: &str, typed: &str, name_of: fn(i32) -> Option<&'static str>) -> Parsed<i32> {
    let names = (1..256).filter_map(name_of);
    match (0..256).find(|number| name_of(*number).is_some_and(|name| name.eq_ignore_ascii_case(typed))) {
        Some(number) => Ok(number),
        None => Err(not_one_of(what, typed, names)),
    }
}

pub(crate) fn verdict(typed: &str) -> Parsed<i32> {
    enum_value("verdict", typed, |number| {
        Some(Verdict::try_from(number).ok()?.as_str_name())
    })
}

fn drop_reason_name(number: i32) -> Option<&'static str> {
    Some(DropReason::try_from(number).ok()?.as_str_name())
}

/// Names of drop reasons in the API.
pub(super) fn drop_reason_names() -> impl Iterator<Item = &'static str> + Clone {
    (1..256).filter_map(drop_reason_name)
}

pub(crate) fn drop_reason(typed: &str) -> Parsed<i32> {
    (0..256).find(|number| drop_reason_name(*number).is_some_and(|name| name.eq_ignore_ascii_case(typed))).ok_or_else(
        || {
            if let Some(kernel) = flow::drop_reason::lookup(&typed.to_ascii_uppercase()) {
                let nearest = drop_reason_name(kernel.api).unwrap_or("DROP_REASON_UNKNOWN");
                return format!(
                    "{} is the kernel's name; this filter takes the API's names, of which {nearest} is the nearest",
                    kernel.name
                );
            }
            // Too many names for one line: the near ones tell more.
            let near = nearest(typed, drop_reason_names());
            let hint = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
            format!("unknown drop reason: {hint}give a name of the API such as POLICY_DENIED, UNSUPPORTED_L3_PROTOCOL or TTL_EXCEEDED")
        },
    )
}

pub(crate) fn direction(typed: &str) -> Parsed<i32> {
    enum_value("direction", typed, |number| {
        Some(TrafficDirection::try_from(number).ok()?.as_str_name())
    })
}

pub(crate) fn ip_version(typed: &str) -> Parsed<i32> {
    match typed.to_ascii_lowercase().as_str() {
        "4" | "v4" | "ip4" | "ipv4" => Ok(IPV4),
        "6" | "v6" | "ip6" | "ipv6" => Ok(IPV6),
        "none" => Ok(IpVersion::IpNotUsed as i32),
        _ => Err("unknown IP version: allowed: v4, v6, none".to_owned()),
    }
}

pub(crate) fn protocol(typed: &str) -> Parsed<String> {
    let lower = typed.to_ascii_lowercase();
    if PROTOCOLS.contains(&lower.as_str()) {
        Ok(lower)
    } else {
        Err(not_one_of("protocol", typed, PROTOCOLS.into_iter()))
    }
}

/// A port, or every port of a range. The API knows single ports only, so a range is sent as its ports: that works with
/// every server.
pub(crate) fn ports(typed: &str) -> Parsed<Vec<String>> {
    let wrong = || "give a port (0 to 65535) or a range such as 8000-8100".to_owned();
    let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    match typed.split_once('-') {
        None => Ok(vec![port(typed)?.to_string()]),
        Some((low, high)) => {
            let (low, high) = (port(low)?, port(high)?);
            if low > high {
                return Err(format!("the range is empty; did you mean {high}-{low}?"));
            }
            Ok((low..=high).map(|port| port.to_string()).collect())
        }
    }
}

pub(crate) fn tcp_flags(typed: &str) -> Parsed<TcpFlags> {
    let mut flags = TcpFlags::default();
    for name in typed.split(',') {
        let flag = match name.trim().to_ascii_uppercase().as_str() {
            "FIN" => &mut flags.fin,
            "SYN" => &mut flags.syn,
            "RST" => &mut flags.rst,
            "PSH" => &mut flags.psh,
            "ACK" => &mut flags.ack,
            "URG" => &mut flags.urg,
            "ECE" => &mut flags.ece,
            "CWR" => &mut flags.cwr,
            "NS" => &mut flags.ns,
            _ => return Err(not_one_of("tcp flag", name, TCP_FLAGS.into_iter())),
        };
        *flag = true;
    }
    Ok(flags)
}

pub(crate) fn event_type(typed: &str) -> Parsed<EventTypeFilter> {
    let (name, sub) = match typed.split_once(':') {
        Some((name, sub)) => (name, Some(sub)),
        None => (typed, None),
    };
    let known = EVENT_TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, number)| *number);
    let Some(number) = known.or_else(|| name.parse::<u8>().ok().map(i32::from)) else {
        let hint = not_one_of("event type", name, EVENT_TYPES.iter().map(|(name, _)| *name));
        return Err(format!("{hint}, or a number up to 255"));
    };
    let sub_type = sub.map(|sub| sub_type(number, sub)).transpose()?;
    Ok(EventTypeFilter {
        r#type: number,
        match_sub_type: sub_type.is_some(),
        sub_type: sub_type.unwrap_or_default(),
    })
}

fn sub_type(event_type: i32, typed: &str) -> Parsed<i32> {
    if let Ok(number) = typed.parse::<u8>() {
        return Ok(i32::from(number));
    }
    match event_type {
        1 => drop_reason(typed),
        4 => trace_point(typed),
        7 => {
            let name = format!("SOCK_XLATE_POINT_{}", typed.to_ascii_uppercase().replace('-', "_"));
            let name = name
                .replace("PRE_XLATE", "PRE_DIRECTION")
                .replace("POST_XLATE", "POST_DIRECTION");
            SocketTranslationPoint::from_str_name(&name).map(|point| point as i32).ok_or_else(|| {
                "unknown translation point: allowed: pre-xlate-fwd, post-xlate-fwd, pre-xlate-rev, post-xlate-rev, or a number"
                    .to_owned()
            })
        }
        TCP_EVENT => TCP_EVENTS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(typed))
            .map(|(_, number)| *number)
            .ok_or_else(|| not_one_of("tcp event", typed, TCP_EVENTS.iter().map(|(name, _)| *name))),
        SILENCE => REQUESTS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(typed))
            .map(|(_, number)| *number)
            .ok_or_else(|| not_one_of("request", typed, REQUESTS.iter().map(|(name, _)| *name))),
        _ => Err(format!(
            "this event type has no named subtypes; give a number up to 255, not {typed:?}"
        )),
    }
}

/// The monitor's number of a trace point. It counts `to-endpoint` as 0, where the API's enum has 101 for it (0 being
/// "unknown" there); the others are equal.
fn trace_point(typed: &str) -> Parsed<i32> {
    let name = typed.to_ascii_uppercase().replace('-', "_");
    match TraceObservationPoint::from_str_name(&name) {
        Some(TraceObservationPoint::ToEndpoint) => Ok(0),
        Some(point) if point != TraceObservationPoint::UnknownPoint => Ok(point as i32),
        _ => {
            let names: Vec<String> = (1..256)
                .filter_map(|number| TraceObservationPoint::try_from(number).ok())
                .map(|point| point.as_str_name().to_ascii_lowercase().replace('_', "-"))
                .collect();
            Err(not_one_of("trace point", typed, names.iter().map(String::as_str)))
        }
    }
}

pub(crate) fn interface(typed: &str) -> Parsed<NetworkInterface> {
    Ok(NetworkInterface {
        name: typed.to_owned(),
        ..Default::default()
    })
}

pub(crate) fn workload(typed: &str) -> Parsed<Workload> {
    let (kind, name) = typed.split_once('/').unwrap_or(("", typed));
    Ok(Workload {
        name: name.to_owned(),
        kind: kind.to_owned(),
    })
}

pub(crate) fn identity(typed: &str) -> Parsed<u32> {
    typed
        .parse()
        .ok()
        .or_else(|| flow::identity::number(&typed.to_ascii_lowercase()))
        .ok_or_else(|| {
            let names = flow::identity::RESERVED.iter().map(|(_, name)| *name);
            format!("{}, or a number", not_one_of("identity", typed, names))
        })
}

pub(crate) fn http_header(typed: &str) -> Parsed<HttpHeader> {
    let (key, value) = typed
        .split_once(':')
        .ok_or("give KEY:VALUE, such as content-type:text/html")?;
    Ok(HttpHeader {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

pub(crate) fn ip_trace_id(typed: &str) -> Parsed<u64> {
    typed
        .parse()
        .ok()
        .filter(|id| *id > 0)
        .ok_or_else(|| "give a whole number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wrong_verdict_is_told_what_is_right() {
        assert_eq!(verdict("dropped"), Ok(Verdict::Dropped as i32));
        let message = verdict("DROPED").unwrap_err();
        assert!(message.contains("did you mean DROPPED?"), "{message}");
        assert!(message.contains("FORWARDED"), "{message}");
        assert!(verdict("DROPPED,FORWARDED").unwrap_err().contains("repeat the flag"));
    }

    #[test]
    fn a_range_is_sent_as_its_ports() {
        assert_eq!(ports("8000-8002").unwrap(), ["8000", "8001", "8002"]);
        assert_eq!(ports("0-65535").unwrap().len(), 65_536);
        assert!(ports("9-8").unwrap_err().contains("8-9"));
        assert!(ports("65536").is_err());
        assert!(ports("-1").is_err());
    }

    #[test]
    fn event_types_take_names_and_numbers() {
        let filter = |number, sub: Option<i32>| EventTypeFilter {
            r#type: number,
            match_sub_type: sub.is_some(),
            sub_type: sub.unwrap_or(0),
        };
        assert_eq!(event_type("trace:to-endpoint").unwrap(), filter(4, Some(0)));
        assert_eq!(event_type("Trace:from-network").unwrap(), filter(4, Some(10)));
        assert_eq!(event_type("drop:133").unwrap(), filter(1, Some(133)));
        assert_eq!(event_type("drop:policy_denied").unwrap(), filter(1, Some(133)));
        assert_eq!(event_type("trace-sock:post-xlate-rev").unwrap(), filter(7, Some(4)));
        assert_eq!(event_type("tcp").unwrap(), filter(160, None));
        assert_eq!(event_type("tcp:Reset-Sent").unwrap(), filter(160, Some(2)));
        assert!(
            event_type("tcp:retransmits")
                .unwrap_err()
                .contains("did you mean retransmit?")
        );
        assert_eq!(event_type("silence").unwrap(), filter(161, None));
        assert_eq!(event_type("silence:DNS").unwrap(), filter(161, Some(3)));
        assert!(
            event_type("silence:tcp")
                .unwrap_err()
                .contains("allowed: syn, udp, dns")
        );
        assert_eq!(event_type("130").unwrap(), filter(130, None));
        assert!(event_type("dropp").unwrap_err().contains("did you mean drop?"));
        assert!(
            event_type("trace:to-stak")
                .unwrap_err()
                .contains("did you mean to-stack?")
        );
    }

    #[test]
    fn reserved_identities_have_names() {
        assert_eq!(identity("world"), Ok(2));
        assert_eq!(identity("1001"), Ok(1001));
        assert!(identity("wrld").unwrap_err().contains("did you mean world?"));
    }
}
