//! One row on its way into a batch.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::endpoint::{DropSite, Endpoint, Interface, Node, Process};

/// An address as a batch stores it: 16 bytes in network order, IPv4 mapped into IPv6.
pub type Address = [u8; 16];

/// The stored form of an address.
#[must_use]
pub fn to_stored(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address that is stored as `bytes`.
#[must_use]
pub fn from_stored(bytes: Address) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// One flow, borrowed from wherever it comes from. `None`, and 0 in the numbers of the API, mean "not known".
#[derive(Clone, Debug, Default)]
pub struct FlowRecord<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The id it came with, if any.
    pub uuid: Option<&'a str>,
    /// Who observed it.
    pub node: Option<&'a Arc<Node>>,
    /// `flow.FlowType`.
    pub flow_type: u8,
    /// Type of event, as the API numbers them.
    pub event_type: Option<i32>,
    /// Sub type of event; only with `event_type`.
    pub event_sub_type: i32,
    /// `flow.Verdict`.
    pub verdict: u8,
    /// Why it was dropped.
    pub drop: Option<&'a Arc<DropSite>>,
    /// `flow.TrafficDirection`.
    pub traffic_direction: u8,
    /// `flow.TraceObservationPoint`.
    pub observation_point: u8,
    /// `flow.TraceReason`.
    pub trace_reason: u8,
    /// From server to client?
    pub is_reply: Option<bool>,
    /// How a policy verdict matched.
    pub policy_match_type: u32,
    /// Where it was seen.
    pub interface: Option<&'a Arc<Interface>>,
    /// Cookie of the network namespace.
    pub netns_cookie: u64,
    /// Cgroup of the socket.
    pub cgroup_id: u64,
    /// Whose socket it is.
    pub process: Option<&'a Arc<Process>>,
    /// Cookie of the socket.
    pub socket_cookie: u64,
    /// Bytes of the packet; 0: not known.
    pub length: u32,
    /// Packets on the wire; 0: not known.
    pub packets: u32,
    /// How often a request without an answer was sent; 0 for all other rows.
    pub tries: u32,
    /// Nanoseconds that request has waited for an answer.
    pub waited_ns: u64,
    /// Source and destination MAC address.
    pub mac: Option<([u8; 6], [u8; 6])>,
    /// Outer VLAN number.
    pub vlan: Option<u16>,
    /// Inner VLAN number.
    pub inner_vlan: Option<u16>,
    /// Network header.
    pub ip: Option<Ip>,
    /// Transport header.
    pub transport: Transport,
    /// What happened to a TCP socket.
    pub tcp_event: TcpEvent<'a>,
    /// The tunnel around it.
    pub tunnel: Option<Tunnel>,
    /// Names of the source.
    pub source: Option<&'a Arc<Endpoint>>,
    /// Names of the destination.
    pub destination: Option<&'a Arc<Endpoint>>,
    /// Application message.
    pub l7: Option<&'a L7>,
    /// The whole flow as a serialized `flow.Flow`, if the columns can't say all of it.
    pub rest: Option<&'a [u8]>,
    /// Trace id in an IP option.
    pub ip_trace_id: u64,
    /// W3C trace id.
    pub trace_id: Option<&'a str>,
    /// Span that sent the request (W3C Trace Context).
    pub span_id: Option<&'a str>,
}

/// The network header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ip {
    /// 4 or 6; 0: not known.
    pub version: u8,
    /// Source address.
    pub source: Option<Address>,
    /// Destination address.
    pub destination: Option<Address>,
    /// Source address after translation.
    pub source_xlated: Option<Address>,
    /// Travels encrypted; only other observers know.
    pub encrypted: bool,
    /// Time to live or hop limit.
    pub ttl: Option<u8>,
    /// Offset of a fragment in units of 8 bytes.
    pub fragment_offset: Option<u16>,
}

/// The transport header. The protocol is kept for those that have no ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// IANA protocol number.
    pub protocol: Option<u8>,
    /// Ports of TCP, UDP, SCTP: source, destination.
    pub ports: Option<(u16, u16)>,
    /// TCP flags, bit 0 FIN to bit 8 NS; `None` if not TCP or not known.
    pub tcp_flags: Option<u16>,
    /// TCP sequence number, acknowledgment number, window.
    pub tcp: Option<(u32, u32, u16)>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
}

/// What happened to a TCP socket; empty and 0 where it isn't known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpEvent<'a> {
    /// State before a change: `SYN_SENT`.
    pub old_state: &'a str,
    /// State after it, or the state that another event found.
    pub new_state: &'a str,
    /// Smoothed round-trip time in microseconds.
    pub srtt_us: u32,
    /// Why a reset was sent: `NO_SOCKET`.
    pub reset_reason: &'a str,
}

/// The tunnel around a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// `flow.Tunnel.Protocol`.
    pub protocol: u8,
    /// Network identifier.
    pub vni: u32,
    /// Source and destination address.
    pub addresses: Option<(Address, Address)>,
    /// UDP source and destination port.
    pub ports: Option<(u16, u16)>,
}

/// An application message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L7 {
    /// `flow.L7FlowType`.
    pub message_type: u8,
    /// Time from request to response.
    pub latency_ns: u64,
    /// DNS message.
    pub dns: Option<Dns>,
    /// HTTP message.
    pub http: Option<Http>,
}

/// A DNS message. Lists are joined by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name asked for, with the final dot.
    pub query: String,
    /// Record types asked for.
    pub qtypes: String,
    /// Record types in the answer.
    pub rrtypes: String,
    /// Response code.
    pub rcode: u16,
    /// Addresses in the answer.
    pub ips: String,
    /// Lowest time to live in the answer, seconds.
    pub ttl: u32,
    /// Canonical names in the answer.
    pub cnames: String,
    /// Who saw it.
    pub source: String,
}

/// An HTTP message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Status code; 0 for requests.
    pub code: u16,
    /// Method.
    pub method: String,
    /// URL.
    pub url: String,
    /// Version.
    pub protocol: String,
    /// Headers, `key:value`, joined by line feeds.
    pub headers: String,
}
