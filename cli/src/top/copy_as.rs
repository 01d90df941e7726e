//! A flow as text to paste elsewhere: each selects all flows of its connection, in both directions.
//!
//! Addresses, ports and times are parsed before they are written, and all other text is quoted: what a flow says comes
//! from the network.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use flow::api::flow::layer4::Protocol;
use flow::api::flow::{Flow, FlowFilter};

/// How long before and after the flow SQL looks.
const AROUND: TimeDelta = TimeDelta::minutes(5);

/// Two ends and what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    source: End,
    destination: End,
    protocol: Option<Spoken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    address: IpAddr,
    port: Option<u16>,
}

/// A protocol as the filter of the API, the table and tcpdump call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken {
    filter: &'static str,
    table: &'static str,
    tcpdump: &'static str,
}

impl Connection {
    /// `None` if the flow has no addresses.
    fn of(flow: &Flow) -> Option<Self> {
        let ip = flow.ip.as_ref()?;
        let protocol = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref());
        let (ports, protocol) = match protocol {
            Some(Protocol::Tcp(tcp)) => (Some((tcp.source_port, tcp.destination_port)), ["tcp", "TCP", "tcp"]),
            Some(Protocol::Udp(udp)) => (Some((udp.source_port, udp.destination_port)), ["udp", "UDP", "udp"]),
            Some(Protocol::Sctp(sctp)) => (
                Some((sctp.source_port, sctp.destination_port)),
                ["sctp", "SCTP", "sctp"],
            ),
            Some(Protocol::IcmPv4(_)) => (None, ["icmpv4", "ICMPv4", "icmp"]),
            Some(Protocol::IcmPv6(_)) => (None, ["icmpv6", "ICMPv6", "icmp6"]),
            // tcpdump's own names for these two mean IPv4.
            Some(Protocol::Vrrp(_)) => (None, ["vrrp", "VRRP", "proto 112"]),
            Some(Protocol::Igmp(_)) => (None, ["igmp", "IGMP", "proto 2"]),
            None => (None, [""; 3]),
        };
        let port = |number: u32| u16::try_from(number).ok();
        let [filter, table, tcpdump] = protocol;
        Some(Self {
            source: End {
                address: ip.source.parse().ok()?,
                port: ports.and_then(|ports| port(ports.0)),
            },
            destination: End {
                address: ip.destination.parse().ok()?,
                port: ports.and_then(|ports| port(ports.1)),
            },
            protocol: (!filter.is_empty()).then_some(Spoken { filter, table, tcpdump }),
        })
    }

    fn directions(&self) -> [(End, End); 2] {
        [(self.source, self.destination), (self.destination, self.source)]
    }
}

/// The command that shows the flow's connection; the flow alone, by its id, if it has no addresses. `None` without
/// either.
pub(crate) fn observe_command(flow: &Flow) -> Option<String> {
    let mut args = vec!["parallax".to_owned(), "observe".to_owned(), "--all".to_owned()];
    match Connection::of(flow) {
        Some(connection) => {
            let filters = connection.directions().map(|(source, destination)| {
                let filter = FlowFilter {
                    source_ip: vec![source.address.to_string()],
                    destination_ip: vec![destination.address.to_string()],
                    source_port: source.port.iter().map(u16::to_string).collect(),
                    destination_port: destination.port.iter().map(u16::to_string).collect(),
                    protocol: connection
                        .protocol
                        .iter()
                        .map(|spoken| spoken.filter.to_owned())
                        .collect(),
                    ..FlowFilter::default()
                };
                serde_json::to_string(&filter).ok()
            });
            let [one, other] = filters;
            args.extend(["--allowlist".to_owned(), format!("{} {}", one?, other?)]);
        }
        None if flow.uuid.is_empty() => return None,
        None => args.push(format!("--uuid={}", flow.uuid)),
    }
    shlex::try_join(args.iter().map(String::as_str)).ok()
}

/// The query that shows the flow's connection some minutes before and after the flow, or the flow alone if it has no
/// addresses. `None` without those or an id, or without a time.
pub(crate) fn sql(flow: &Flow) -> Option<String> {
    let time = flow.time.and_then(|time| time.to_date())?;
    let mut conditions = vec![format!(
        "time BETWEEN TIMESTAMP '{}' AND TIMESTAMP '{}'",
        written(time.checked_sub_signed(AROUND)?),
        written(time.checked_add_signed(AROUND)?)
    )];
    match Connection::of(flow) {
        Some(connection) => {
            if let Some(spoken) = connection.protocol {
                conditions.push(format!("protocol = '{}'", spoken.table));
            }
            let [one, other] = connection.directions().map(|(source, destination)| {
                let of = |side: &str, end: End| {
                    let port = end.port.map(|port| format!(" AND {side}_port = {port}"));
                    format!("{side}_ip = '{}'{}", end.address, port.unwrap_or_default())
                };
                format!("({} AND {})", of("source", source), of("destination", destination))
            });
            conditions.push(match one == other {
                true => one,
                false => format!("({one}\n    OR {other})"),
            });
        }
        None if flow.uuid.is_empty() => return None,
        None => {
            let id = flow.uuid.replace('\'', "''");
            conditions.push(format!("coalesce(uuid, flow_uuid(log_id, sequence)) = '{id}'"));
        }
    }
    Some(format!(
        "SELECT time, node, interface_name, source_ip, source_port, destination_ip, destination_port, protocol,\n       \
         tcp_flags, packets, verdict, drop_reason\nFROM flows\nWHERE {}\nORDER BY time",
        conditions.join("\n  AND ")
    ))
}

/// The expression with which tcpdump shows the packets of the flow's connection; those between its MAC addresses if it
/// has no others. `None` without either.
pub(crate) fn tcpdump_filter(flow: &Flow) -> Option<String> {
    let Some(connection) = Connection::of(flow) else {
        let ethernet = flow.ethernet.as_ref()?;
        let (source, destination) = (mac(&ethernet.source)?, mac(&ethernet.destination)?);
        return Some(format!("ether host {source} and ether host {destination}"));
    };
    let (source, destination) = (connection.source, connection.destination);
    let mut terms = vec![format!("host {}", source.address)];
    if source.address != destination.address {
        terms.push(format!("host {}", destination.address));
    }
    let family = if source.address.is_ipv4() { "ip" } else { "ip6" };
    match (connection.protocol, source.port, destination.port) {
        (Some(spoken), Some(one), Some(other)) => {
            terms.push(format!("{} port {one}", spoken.tcpdump));
            if one != other {
                terms.push(format!("{} port {other}", spoken.tcpdump));
            }
        }
        (Some(spoken), ..) if spoken.tcpdump.starts_with("proto ") => {
            terms.push(format!("{family} {}", spoken.tcpdump))
        }
        (Some(spoken), ..) => terms.push(spoken.tcpdump.to_owned()),
        (None, ..) => {}
    }
    Some(terms.join(" and "))
}

/// A MAC address, if it is one.
fn mac(text: &str) -> Option<&str> {
    let bytes: Vec<&str> = text.split(':').collect();
    let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    (bytes.len() == 6 && bytes.iter().all(is_byte)).then_some(text)
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests;
