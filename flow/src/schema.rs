//! The Arrow schema of a flow: one table, one line a column.
//!
//! A new column is a line here, a field of [`crate::record::FlowRecord`], and the line of
//! [`crate::builder`] that stores it.
//!
//! Columns about an endpoint, a node, an interface or the place of a drop are dictionary-encoded, and those of one kind
//! share their keys: a batch holds each endpoint's names once, and a row two bytes for all of them.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// What rows of a column look like in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nanoseconds since the Unix epoch, UTC.
    Time,
    /// True or false.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 32 bits.
    I32,
    /// An address of 16 bytes in network order; IPv4 is IPv4-mapped (RFC 4291, section 2.5.5.2).
    Address,
    /// A MAC address of 6 bytes.
    Mac,
    /// Text, stored once a batch.
    Text,
    /// An unsigned number of 32 bits, stored once a batch.
    SharedU32,
    /// An unsigned number of 64 bits, stored once a batch.
    SharedU64,
    /// Bytes of any length.
    Bytes,
}

impl Kind {
    /// The Arrow type of the column.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            Self::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::Bool => DataType::Boolean,
            Self::U8 => DataType::UInt8,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::I32 => DataType::Int32,
            Self::Address => DataType::FixedSizeBinary(16),
            Self::Mac => DataType::FixedSizeBinary(6),
            Self::Text => DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8)),
            Self::SharedU32 => DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::UInt32)),
            Self::SharedU64 => DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::UInt64)),
            Self::Bytes => DataType::Binary,
        }
    }
}

macro_rules! columns {
    ($($variant:ident $name:literal $kind:ident $doc:literal;)*) => {
        /// A column of the schema. The numeric value is its place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Column { $(#[doc = $doc] $variant,)* }

        impl Column {
            /// All columns in the order of the schema.
            pub const ALL: &'static [Column] = &[$(Column::$variant,)*];

            /// The name in SQL and in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Column::$variant => $name,)* }
            }

            /// What its rows look like.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Column::$variant => Kind::$kind,)* }
            }

            /// One sentence: what it says, its unit, where it comes from.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Column::$variant => $doc,)* }
            }
        }
    };
}

columns! {
    Time "time" Time "When the kernel saw the packet: its monotonic clock, converted to wall clock.";
    Uuid "uuid" Text "The flow's id if it came with one (replayed files); otherwise it follows from the log's id and the row's number.";
    NodeName "node_name" Text "Node that observed it, `cluster/node` or `node`: the observer's `--node-name`.";
    NodeLabels "node_labels" Text "Labels of that node, joined by commas.";
    FlowType "flow_type" U8 "Kind of record, `flow.FlowType` of the API: 1 packet, 2 application message, 3 socket.";
    EventType "event_type" I32 "Type of event as the API numbers them: 1 drop, 4 trace, 5 policy verdict, 7 socket, 129 application message, 160 TCP event, 161 a request without an answer.";
    EventSubType "event_sub_type" I32 "Refines `event_type`: trace point or drop reason as the API numbers them; of 160: 1 retransmit, 2 reset sent, 3 reset received, 4 state change; of 161: 1 TCP SYN, 2 UDP, 3 DNS.";
    Verdict "verdict" U8 "What became of the packet, `flow.Verdict` of the API: 1 forwarded, 2 dropped, 3 error.";
    DropReason "drop_reason" Text "The kernel's own name of the reason for a drop, without its prefix: `NO_SOCKET`; from the running kernel's BTF.";
    DropReasonCode "drop_reason_code" SharedU32 "Raw number of the reason: of the kernel, or of the API for flows of other observers.";
    DropReasonApi "drop_reason_api" SharedU32 "Nearest `flow.DropReason` of the API.";
    DropSymbol "drop_symbol" Text "Function of the kernel that freed the packet, with the offset in it: `/proc/kallsyms`.";
    TrafficDirection "traffic_direction" U8 "Direction of the connection seen from the endpoint behind the interface, `flow.TrafficDirection`: 1 ingress, 2 egress.";
    ObservationPoint "observation_point" U8 "Where it was seen, `flow.TraceObservationPoint`; from the role of the interface and the packet's direction.";
    TraceReason "trace_reason" U8 "State of the connection, `flow.TraceReason`: 1 new, 2 established, 3 reply, 4 related.";
    IsReply "is_reply" Bool "Whether it travels from the server to the client; null if the connection's start wasn't seen and can't be guessed.";
    PolicyMatchType "policy_match_type" U32 "How a policy verdict matched, as the API numbers it (flows of other observers).";
    InterfaceIndex "interface_index" SharedU32 "Index of the interface in its network namespace.";
    InterfaceName "interface_name" Text "Name of the interface; null for interfaces of other network namespaces.";
    NetnsCookie "netns_cookie" SharedU64 "Cookie of the network namespace (`SO_NETNS_COOKIE`), for drops.";
    CgroupId "cgroup_id" SharedU64 "Cgroup of the socket, where the kernel knows it.";
    ProcessId "process_id" SharedU32 "Process whose socket it is, where the kernel tells: for TCP events, and for packets that leave through TCP sockets of this node.";
    ProcessName "process_name" Text "Command of that process (`comm`), at most 15 bytes.";
    SocketCookie "socket_cookie" U64 "Cookie of the socket (`SO_COOKIE`; flows of other observers).";
    Length "length" U32 "Bytes of the packet, link-layer header included where there is one.";
    Packets "packets" U32 "Packets on the wire that the row stands for: segmentation offload.";
    Tries "tries" U32 "How often a request without an answer was sent, since its first packet.";
    WaitedNs "waited_ns" U64 "How long that request has waited for an answer since its first packet, nanoseconds.";
    SourceMac "source_mac" Mac "Source MAC address.";
    DestinationMac "destination_mac" Mac "Destination MAC address.";
    Vlan "vlan" U16 "VLAN number of the outer tag (IEEE 802.1Q).";
    InnerVlan "inner_vlan" U16 "VLAN number of the inner tag (IEEE 802.1ad).";
    IpVersion "ip_version" U8 "4 or 6; null without an IP header.";
    SourceIp "source_ip" Address "Source address.";
    DestinationIp "destination_ip" Address "Destination address.";
    SourceIpXlated "source_ip_xlated" Address "Source address after translation (flows of other observers).";
    Encrypted "encrypted" Bool "Whether the packet travels encrypted (flows of other observers).";
    Ttl "ttl" U8 "Time to live or hop limit.";
    FragmentOffset "fragment_offset" U16 "For IP fragments: offset in bytes divided by 8; null for whole packets.";
    Protocol "protocol" U8 "IANA protocol number of the transport header.";
    SourcePort "source_port" U16 "Source port of TCP, UDP, SCTP.";
    DestinationPort "destination_port" U16 "Destination port of TCP, UDP, SCTP.";
    TcpFlags "tcp_flags" U16 "TCP flags, bit 0 FIN to bit 8 NS (RFC 9293, RFC 3540).";
    TcpSequence "tcp_sequence" U32 "TCP sequence number.";
    TcpAcknowledgment "tcp_acknowledgment" U32 "TCP acknowledgment number.";
    TcpWindow "tcp_window" U16 "TCP window as sent, not scaled.";
    TcpStateOld "tcp_state_old" Text "State of the TCP socket before a state change: `SYN_SENT`.";
    TcpStateNew "tcp_state_new" Text "State of the TCP socket after a state change; in other TCP events the state it was in.";
    SrttUs "srtt_us" U32 "Smoothed round-trip time of the TCP connection, microseconds; null before it was measured.";
    ResetReason "reset_reason" Text "The kernel's own name of the reason for a reset that was sent, without its prefix: `NO_SOCKET`; from the running kernel's BTF.";
    IcmpType "icmp_type" U8 "ICMP or ICMPv6 type.";
    IcmpCode "icmp_code" U8 "ICMP or ICMPv6 code.";
    TunnelProtocol "tunnel_protocol" U8 "Tunnel around the packet, `flow.Tunnel.Protocol`: 1 VXLAN, 2 Geneve.";
    TunnelVni "tunnel_vni" U32 "Network identifier of the tunnel, 24 bits.";
    TunnelSourceIp "tunnel_source_ip" Address "Source address of the tunnel.";
    TunnelDestinationIp "tunnel_destination_ip" Address "Destination address of the tunnel.";
    TunnelSourcePort "tunnel_source_port" U16 "UDP source port of the tunnel.";
    TunnelDestinationPort "tunnel_destination_port" U16 "UDP destination port of the tunnel.";
    SourceId "source_id" SharedU32 "Number of the source endpoint on its node.";
    SourceIdentity "source_identity" SharedU32 "Security identity of the source; below 256 reserved (2 world, 1 host).";
    SourceCluster "source_cluster" Text "Cluster of the source.";
    SourceNamespace "source_namespace" Text "Namespace of the source.";
    SourcePod "source_pod" Text "Pod of the source.";
    SourceLabels "source_labels" Text "Labels of the source, joined by commas: `k8s:app=web`.";
    SourceWorkloads "source_workloads" Text "Workloads of the source, `Kind/name`, joined by commas.";
    SourceNames "source_names" Text "DNS names of the source, joined by commas.";
    SourceService "source_service" Text "Service in front of the source.";
    SourceServiceNamespace "source_service_namespace" Text "Namespace of that service.";
    DestinationId "destination_id" SharedU32 "Number of the destination endpoint on its node.";
    DestinationIdentity "destination_identity" SharedU32 "Security identity of the destination; below 256 reserved (2 world, 1 host).";
    DestinationCluster "destination_cluster" Text "Cluster of the destination.";
    DestinationNamespace "destination_namespace" Text "Namespace of the destination.";
    DestinationPod "destination_pod" Text "Pod of the destination.";
    DestinationLabels "destination_labels" Text "Labels of the destination, joined by commas.";
    DestinationWorkloads "destination_workloads" Text "Workloads of the destination, `Kind/name`, joined by commas.";
    DestinationNames "destination_names" Text "DNS names of the destination, joined by commas.";
    DestinationService "destination_service" Text "Service in front of the destination.";
    DestinationServiceNamespace "destination_service_namespace" Text "Namespace of that service.";
    L7Type "l7_type" U8 "Kind of application message, `flow.L7FlowType`: 1 request, 2 response, 3 sample.";
    L7LatencyNs "l7_latency_ns" U64 "Time from request to response, nanoseconds.";
    DnsQuery "dns_query" Text "Name asked for in DNS, with the final dot.";
    DnsQtypes "dns_qtypes" Text "Record types asked for, joined by commas.";
    DnsRrtypes "dns_rrtypes" Text "Record types in the answer, joined by commas.";
    DnsRcode "dns_rcode" U16 "Response code of the answer (RFC 1035, section 4.1.1).";
    DnsIps "dns_ips" Text "Addresses in the answer, joined by commas.";
    DnsTtl "dns_ttl" U32 "Lowest time to live in the answer, seconds.";
    DnsCnames "dns_cnames" Text "Canonical names in the answer, joined by commas.";
    DnsSource "dns_source" Text "Who saw the DNS message: `packet`, or what another observer says.";
    HttpCode "http_code" U16 "HTTP status code.";
    HttpMethod "http_method" Text "HTTP method.";
    HttpUrl "http_url" Text "HTTP URL.";
    HttpProtocol "http_protocol" Text "HTTP version.";
    HttpHeaders "http_headers" Text "HTTP headers, `key:value`, joined by line feeds.";
    TraceId "trace_id" Text "W3C trace id that the request carried; also in later rows of its connection, until the next request.";
    SpanId "span_id" Text "Id of the span that the request carried (W3C Trace Context): the one that sent it.";
    IpTraceId "ip_trace_id" U64 "Trace id in an IP option (flows of other observers).";
    Rest "rest" Bytes "The whole flow as a protobuf `flow.Flow`, if it says more than the columns can (flows of other observers).";
}

impl Column {
    /// How many columns there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The column of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.name() == name)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// The schema of a flow. Each field carries its sentence of documentation as metadata `doc`.
#[must_use]
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields: Fields = Column::ALL
            .iter()
            .map(|column| {
                Field::new(column.name(), column.kind().data_type(), *column != Column::Time)
                    .with_metadata([("doc".to_owned(), column.doc().to_owned())].into())
            })
            .collect();
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let names: HashSet<_> = Column::ALL.iter().map(|column| column.name()).collect();
        assert_eq!(names.len(), Column::COUNT);
        for column in Column::ALL {
            assert!(column.doc().ends_with('.'), "{column:?}");
            assert_eq!(Column::by_name(column.name()), Some(*column));
            assert_eq!(schema().field(column.index()).name(), column.name());
        }
    }
}
