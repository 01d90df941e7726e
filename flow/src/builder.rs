//! Rows in, sealed batches out.

mod column;
mod shared;

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::types::{Int32Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};

use crate::batch::FlowBatch;
use crate::endpoint::{DropSite, Endpoint, Interface, Node, Process};
use crate::record::{FlowRecord, L7, TcpEvent};
use crate::schema::Column;
use crate::shared_columns::{DESTINATION_COLUMNS, SOURCE_COLUMNS};
use column::{Bools, Bytes, Fixed, Numbers, SharedNumbers, Texts};
use shared::{Keys, Shared};

/// Appends rows to columns and seals them into a [`FlowBatch`]. Nothing is allocated for a row; a column costs nothing
/// until the first value for it arrives.
///
/// ```
/// use flow::builder::FlowBatchBuilder;
/// use flow::record::FlowRecord;
///
/// let mut builder = FlowBatchBuilder::new(7, 0);
/// builder.append(&FlowRecord { time_ns: 1, verdict: 1, ..Default::default() });
/// let batch = builder.seal().expect("one row");
/// assert_eq!((batch.rows(), batch.time_ns(0)), (1, 1));
/// assert!(builder.seal().is_none());
/// ```
#[derive(Debug)]
pub struct FlowBatchBuilder {
    log_id: u64,
    first_sequence: u64,
    rows: usize,
    time_range: (i64, i64),

    nodes: Shared<Node>,
    interfaces: Shared<Interface>,
    drops: Shared<DropSite>,
    endpoints: Shared<Endpoint>,
    processes: Shared<Process>,
    node: Keys,
    interface: Keys,
    drop: Keys,
    source: Keys,
    destination: Keys,
    process: Keys,

    time: Numbers<TimestampNanosecondType>,
    flow_type: Numbers<UInt8Type>,
    event_type: Numbers<Int32Type>,
    event_sub_type: Numbers<Int32Type>,
    verdict: Numbers<UInt8Type>,
    traffic_direction: Numbers<UInt8Type>,
    observation_point: Numbers<UInt8Type>,
    trace_reason: Numbers<UInt8Type>,
    is_reply: Bools,
    policy_match_type: Numbers<UInt32Type>,
    netns_cookie: SharedNumbers<UInt64Type>,
    cgroup_id: SharedNumbers<UInt64Type>,
    socket_cookie: Numbers<UInt64Type>,
    length: Numbers<UInt32Type>,
    packets: Numbers<UInt32Type>,
    tries: Numbers<UInt32Type>,
    waited_ns: Numbers<UInt64Type>,
    source_mac: Fixed<6>,
    destination_mac: Fixed<6>,
    vlan: Numbers<UInt16Type>,
    inner_vlan: Numbers<UInt16Type>,
    ip_version: Numbers<UInt8Type>,
    source_ip: Fixed<16>,
    destination_ip: Fixed<16>,
    source_ip_xlated: Fixed<16>,
    encrypted: Bools,
    ttl: Numbers<UInt8Type>,
    fragment_offset: Numbers<UInt16Type>,
    protocol: Numbers<UInt8Type>,
    source_port: Numbers<UInt16Type>,
    destination_port: Numbers<UInt16Type>,
    tcp_flags: Numbers<UInt16Type>,
    tcp_sequence: Numbers<UInt32Type>,
    tcp_acknowledgment: Numbers<UInt32Type>,
    tcp_window: Numbers<UInt16Type>,
    srtt_us: Numbers<UInt32Type>,
    icmp_type: Numbers<UInt8Type>,
    icmp_code: Numbers<UInt8Type>,
    tunnel_protocol: Numbers<UInt8Type>,
    tunnel_vni: Numbers<UInt32Type>,
    tunnel_source_ip: Fixed<16>,
    tunnel_destination_ip: Fixed<16>,
    tunnel_source_port: Numbers<UInt16Type>,
    tunnel_destination_port: Numbers<UInt16Type>,
    l7_type: Numbers<UInt8Type>,
    l7_latency_ns: Numbers<UInt64Type>,
    dns_rcode: Numbers<UInt16Type>,
    dns_ttl: Numbers<UInt32Type>,
    http_code: Numbers<UInt16Type>,
    ip_trace_id: Numbers<UInt64Type>,
    texts: [Texts; TEXT_COLUMNS.len()],
    rest: Bytes,
}

/// Text columns that belong to the row itself, in the order of `FlowBatchBuilder::texts`.
const TEXT_COLUMNS: [Column; 16] = [
    Column::Uuid,
    Column::TraceId,
    Column::SpanId,
    Column::DnsQuery,
    Column::DnsQtypes,
    Column::DnsRrtypes,
    Column::DnsIps,
    Column::DnsCnames,
    Column::DnsSource,
    Column::HttpMethod,
    Column::HttpUrl,
    Column::HttpProtocol,
    Column::HttpHeaders,
    Column::TcpStateOld,
    Column::TcpStateNew,
    Column::ResetReason,
];

/// A batch can't have more rows than this: keys of the shared columns have 16 bits.
pub const MAX_ROWS: usize = 1 << 14;

impl FlowBatchBuilder {
    /// An empty builder. Batches carry `log_id`; the first row gets the number `first_sequence`.
    #[must_use]
    pub fn new(log_id: u64, first_sequence: u64) -> Self {
        Self {
            log_id,
            first_sequence,
            rows: 0,
            time_range: (i64::MAX, i64::MIN),
            nodes: Shared::default(),
            interfaces: Shared::default(),
            drops: Shared::default(),
            endpoints: Shared::default(),
            processes: Shared::default(),
            node: Keys::default(),
            interface: Keys::default(),
            drop: Keys::default(),
            source: Keys::default(),
            destination: Keys::default(),
            process: Keys::default(),
            time: Numbers::default(),
            flow_type: Numbers::default(),
            event_type: Numbers::default(),
            event_sub_type: Numbers::default(),
            verdict: Numbers::default(),
            traffic_direction: Numbers::default(),
            observation_point: Numbers::default(),
            trace_reason: Numbers::default(),
            is_reply: Bools::default(),
            policy_match_type: Numbers::default(),
            netns_cookie: SharedNumbers::default(),
            cgroup_id: SharedNumbers::default(),
            socket_cookie: Numbers::default(),
            length: Numbers::default(),
            packets: Numbers::default(),
            tries: Numbers::default(),
            waited_ns: Numbers::default(),
            source_mac: Fixed::default(),
            destination_mac: Fixed::default(),
            vlan: Numbers::default(),
            inner_vlan: Numbers::default(),
            ip_version: Numbers::default(),
            source_ip: Fixed::default(),
            destination_ip: Fixed::default(),
            source_ip_xlated: Fixed::default(),
            encrypted: Bools::default(),
            ttl: Numbers::default(),
            fragment_offset: Numbers::default(),
            protocol: Numbers::default(),
            source_port: Numbers::default(),
            destination_port: Numbers::default(),
            tcp_flags: Numbers::default(),
            tcp_sequence: Numbers::default(),
            tcp_acknowledgment: Numbers::default(),
            tcp_window: Numbers::default(),
            srtt_us: Numbers::default(),
            icmp_type: Numbers::default(),
            icmp_code: Numbers::default(),
            tunnel_protocol: Numbers::default(),
            tunnel_vni: Numbers::default(),
            tunnel_source_ip: Fixed::default(),
            tunnel_destination_ip: Fixed::default(),
            tunnel_source_port: Numbers::default(),
            tunnel_destination_port: Numbers::default(),
            l7_type: Numbers::default(),
            l7_latency_ns: Numbers::default(),
            dns_rcode: Numbers::default(),
            dns_ttl: Numbers::default(),
            http_code: Numbers::default(),
            ip_trace_id: Numbers::default(),
            texts: Default::default(),
            rest: Bytes::default(),
        }
    }

    /// Rows appended since the last seal.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the batch has as many rows as a batch can have, so that it must be sealed before the next row.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= MAX_ROWS
    }

    /// Number that the next row gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + self.rows as u64
    }

    /// Appends a row.
    ///
    /// # Panics
    /// If the batch is full; see [`FlowBatchBuilder::is_full`].
    pub fn append(&mut self, record: &FlowRecord<'_>) {
        assert!(!self.is_full(), "a full batch must be sealed before the next row");
        let row = self.rows;
        self.time_range = (
            self.time_range.0.min(record.time_ns),
            self.time_range.1.max(record.time_ns),
        );
        self.time.set(row, record.time_ns);
        self.flow_type.set_known(row, record.flow_type);
        self.event_type.set_some(row, record.event_type);
        self.event_sub_type
            .set_some(row, record.event_type.map(|_| record.event_sub_type));
        self.verdict.set(row, record.verdict);
        self.traffic_direction.set_known(row, record.traffic_direction);
        self.observation_point.set_known(row, record.observation_point);
        self.trace_reason.set_known(row, record.trace_reason);
        self.is_reply.set_some(row, record.is_reply);
        self.policy_match_type.set_known(row, record.policy_match_type);
        self.netns_cookie.set_known(row, record.netns_cookie);
        self.cgroup_id.set_known(row, record.cgroup_id);
        self.socket_cookie.set_known(row, record.socket_cookie);
        self.length.set_known(row, record.length);
        self.packets.set_known(row, record.packets);
        self.tries.set_known(row, record.tries);
        self.waited_ns.set_known(row, record.waited_ns);
        self.vlan.set_some(row, record.vlan);
        self.inner_vlan.set_some(row, record.inner_vlan);
        self.ip_trace_id.set_known(row, record.ip_trace_id);
        if let Some((source, destination)) = record.mac {
            self.source_mac.set(row, source);
            self.destination_mac.set(row, destination);
        }
        self.node.set_some(row, record.node.map(|node| self.nodes.key(node)));
        self.interface
            .set_some(row, record.interface.map(|interface| self.interfaces.key(interface)));
        self.drop.set_some(row, record.drop.map(|drop| self.drops.key(drop)));
        self.source
            .set_some(row, record.source.map(|endpoint| self.endpoints.key(endpoint)));
        self.destination
            .set_some(row, record.destination.map(|endpoint| self.endpoints.key(endpoint)));
        self.process
            .set_some(row, record.process.map(|process| self.processes.key(process)));
        self.append_headers(row, record);
        if let Some(l7) = record.l7 {
            self.append_l7(row, l7);
        }
        if let Some(uuid) = record.uuid {
            self.set_text(row, Column::Uuid, uuid);
        }
        if let Some(trace_id) = record.trace_id {
            self.set_text(row, Column::TraceId, trace_id);
        }
        if let Some(span_id) = record.span_id {
            self.set_text(row, Column::SpanId, span_id);
        }
        if let Some(rest) = record.rest {
            self.rest.set(row, rest);
        }
        self.rows += 1;
    }

    fn append_headers(&mut self, row: usize, record: &FlowRecord<'_>) {
        if let Some(ip) = &record.ip {
            self.ip_version.set_known(row, ip.version);
            self.source_ip.set_some(row, ip.source);
            self.destination_ip.set_some(row, ip.destination);
            self.source_ip_xlated.set_some(row, ip.source_xlated);
            self.encrypted.set_some(row, ip.encrypted.then_some(true));
            self.ttl.set_some(row, ip.ttl);
            self.fragment_offset.set_some(row, ip.fragment_offset);
        }
        let transport = &record.transport;
        self.protocol.set_some(row, transport.protocol);
        if let Some((source, destination)) = transport.ports {
            self.source_port.set(row, source);
            self.destination_port.set(row, destination);
        }
        self.tcp_flags.set_some(row, transport.tcp_flags);
        if let Some((sequence, acknowledgment, window)) = transport.tcp {
            self.tcp_sequence.set(row, sequence);
            self.tcp_acknowledgment.set(row, acknowledgment);
            self.tcp_window.set(row, window);
        }
        self.srtt_us.set_known(row, record.tcp_event.srtt_us);
        if record.tcp_event != TcpEvent::default() {
            for (column, text) in [
                (Column::TcpStateOld, record.tcp_event.old_state),
                (Column::TcpStateNew, record.tcp_event.new_state),
                (Column::ResetReason, record.tcp_event.reset_reason),
            ] {
                self.set_known_text(row, column, text);
            }
        }
        if let Some((icmp_type, code)) = transport.icmp {
            self.icmp_type.set(row, icmp_type);
            self.icmp_code.set(row, code);
        }
        if let Some(tunnel) = &record.tunnel {
            self.tunnel_protocol.set(row, tunnel.protocol);
            self.tunnel_vni.set(row, tunnel.vni);
            if let Some((source, destination)) = tunnel.addresses {
                self.tunnel_source_ip.set(row, source);
                self.tunnel_destination_ip.set(row, destination);
            }
            if let Some((source, destination)) = tunnel.ports {
                self.tunnel_source_port.set(row, source);
                self.tunnel_destination_port.set(row, destination);
            }
        }
    }

    fn append_l7(&mut self, row: usize, l7: &L7) {
        self.l7_type.set(row, l7.message_type);
        self.l7_latency_ns.set_known(row, l7.latency_ns);
        if let Some(dns) = &l7.dns {
            self.set_text(row, Column::DnsQuery, &dns.query);
            for (column, text) in [
                (Column::DnsQtypes, &dns.qtypes),
                (Column::DnsRrtypes, &dns.rrtypes),
                (Column::DnsIps, &dns.ips),
                (Column::DnsCnames, &dns.cnames),
                (Column::DnsSource, &dns.source),
            ] {
                self.set_known_text(row, column, text);
            }
            self.dns_rcode.set(row, dns.rcode);
            self.dns_ttl.set_known(row, dns.ttl);
        }
        if let Some(http) = &l7.http {
            self.http_code.set(row, http.code);
            self.set_text(row, Column::HttpMethod, &http.method);
            for (column, text) in [
                (Column::HttpUrl, &http.url),
                (Column::HttpProtocol, &http.protocol),
                (Column::HttpHeaders, &http.headers),
            ] {
                self.set_known_text(row, column, text);
            }
        }
    }

    fn set_known_text(&mut self, row: usize, column: Column, text: &str) {
        if !text.is_empty() {
            self.set_text(row, column, text);
        }
    }

    fn set_text(&mut self, row: usize, column: Column, text: &str) {
        if let Some(place) = TEXT_COLUMNS.iter().position(|candidate| *candidate == column) {
            self.texts[place].set(row, text);
        }
    }

    /// The rows so far as a batch, and a fresh start; `None` if there are no rows.
    pub fn seal(&mut self) -> Option<FlowBatch> {
        let batch = self.snapshot()?;
        *self = Self::new(self.log_id, self.next_sequence());
        Some(batch)
    }

    /// A copy of the rows so far as a batch, for readers that can't wait until it is full; `None` if there are no rows.
    #[must_use]
    pub fn snapshot(&self) -> Option<FlowBatch> {
        if self.rows == 0 {
            return None;
        }
        let mut sealed = Sealed {
            rows: self.rows,
            bytes: 0,
            columns: vec![None; Column::COUNT],
        };
        self.seal_numbers(&mut sealed);
        self.seal_shared(&mut sealed);
        for (column, texts) in TEXT_COLUMNS.iter().zip(&self.texts) {
            sealed.put(*column, texts.finish(self.rows));
        }
        sealed.put(Column::Rest, self.rest.finish(self.rows));
        Some(FlowBatch::new(
            sealed.columns,
            self.rows,
            sealed.bytes + size_of::<FlowBatch>(),
            self.log_id,
            self.first_sequence,
            self.time_range,
        ))
    }

    fn seal_numbers(&self, sealed: &mut Sealed) {
        let rows = self.rows;
        sealed.put(Column::Time, self.time.finish_time(rows));
        sealed.put(Column::FlowType, self.flow_type.finish(rows));
        sealed.put(Column::EventType, self.event_type.finish(rows));
        sealed.put(Column::EventSubType, self.event_sub_type.finish(rows));
        sealed.put(Column::Verdict, self.verdict.finish(rows));
        sealed.put(Column::TrafficDirection, self.traffic_direction.finish(rows));
        sealed.put(Column::ObservationPoint, self.observation_point.finish(rows));
        sealed.put(Column::TraceReason, self.trace_reason.finish(rows));
        sealed.put(Column::IsReply, self.is_reply.finish(rows));
        sealed.put(Column::PolicyMatchType, self.policy_match_type.finish(rows));
        sealed.put(Column::NetnsCookie, self.netns_cookie.finish(rows));
        sealed.put(Column::CgroupId, self.cgroup_id.finish(rows));
        sealed.put(Column::SocketCookie, self.socket_cookie.finish(rows));
        sealed.put(Column::Length, self.length.finish(rows));
        sealed.put(Column::Packets, self.packets.finish(rows));
        sealed.put(Column::Tries, self.tries.finish(rows));
        sealed.put(Column::WaitedNs, self.waited_ns.finish(rows));
        sealed.put(Column::SourceMac, self.source_mac.finish(rows));
        sealed.put(Column::DestinationMac, self.destination_mac.finish(rows));
        sealed.put(Column::Vlan, self.vlan.finish(rows));
        sealed.put(Column::InnerVlan, self.inner_vlan.finish(rows));
        sealed.put(Column::IpVersion, self.ip_version.finish(rows));
        sealed.put(Column::SourceIp, self.source_ip.finish(rows));
        sealed.put(Column::DestinationIp, self.destination_ip.finish(rows));
        sealed.put(Column::SourceIpXlated, self.source_ip_xlated.finish(rows));
        sealed.put(Column::Encrypted, self.encrypted.finish(rows));
        sealed.put(Column::Ttl, self.ttl.finish(rows));
        sealed.put(Column::FragmentOffset, self.fragment_offset.finish(rows));
        sealed.put(Column::Protocol, self.protocol.finish(rows));
        sealed.put(Column::SourcePort, self.source_port.finish(rows));
        sealed.put(Column::DestinationPort, self.destination_port.finish(rows));
        sealed.put(Column::TcpFlags, self.tcp_flags.finish(rows));
        sealed.put(Column::TcpSequence, self.tcp_sequence.finish(rows));
        sealed.put(Column::TcpAcknowledgment, self.tcp_acknowledgment.finish(rows));
        sealed.put(Column::TcpWindow, self.tcp_window.finish(rows));
        sealed.put(Column::SrttUs, self.srtt_us.finish(rows));
        sealed.put(Column::IcmpType, self.icmp_type.finish(rows));
        sealed.put(Column::IcmpCode, self.icmp_code.finish(rows));
        sealed.put(Column::TunnelProtocol, self.tunnel_protocol.finish(rows));
        sealed.put(Column::TunnelVni, self.tunnel_vni.finish(rows));
        sealed.put(Column::TunnelSourceIp, self.tunnel_source_ip.finish(rows));
        sealed.put(Column::TunnelDestinationIp, self.tunnel_destination_ip.finish(rows));
        sealed.put(Column::TunnelSourcePort, self.tunnel_source_port.finish(rows));
        sealed.put(Column::TunnelDestinationPort, self.tunnel_destination_port.finish(rows));
        sealed.put(Column::L7Type, self.l7_type.finish(rows));
        sealed.put(Column::L7LatencyNs, self.l7_latency_ns.finish(rows));
        sealed.put(Column::DnsRcode, self.dns_rcode.finish(rows));
        sealed.put(Column::DnsTtl, self.dns_ttl.finish(rows));
        sealed.put(Column::HttpCode, self.http_code.finish(rows));
        sealed.put(Column::IpTraceId, self.ip_trace_id.finish(rows));
    }

    fn seal_shared(&self, sealed: &mut Sealed) {
        let rows = self.rows;
        if let Some(keys) = self.node.finish(rows) {
            sealed.keys(&keys);
            sealed.put(Column::NodeName, self.nodes.text(&keys, |node| &node.name));
            sealed.put(Column::NodeLabels, self.nodes.text(&keys, |node| &node.labels));
        }
        if let Some(keys) = self.interface.finish(rows) {
            sealed.keys(&keys);
            sealed.put(
                Column::InterfaceIndex,
                self.interfaces.number(&keys, |interface| interface.index),
            );
            sealed.put(
                Column::InterfaceName,
                self.interfaces.text(&keys, |interface| &interface.name),
            );
        }
        if let Some(keys) = self.drop.finish(rows) {
            sealed.keys(&keys);
            sealed.put(Column::DropReason, self.drops.text(&keys, |drop| &drop.reason));
            sealed.put(Column::DropReasonCode, self.drops.number(&keys, |drop| drop.code));
            sealed.put(Column::DropReasonApi, self.drops.number(&keys, |drop| drop.api));
            sealed.put(Column::DropSymbol, self.drops.text(&keys, |drop| &drop.symbol));
        }
        if let Some(keys) = self.process.finish(rows) {
            sealed.keys(&keys);
            sealed.put(Column::ProcessId, self.processes.number(&keys, |process| process.id));
            sealed.put(Column::ProcessName, self.processes.text(&keys, |process| &process.name));
        }
        for (keys, columns) in [
            (&self.source, &SOURCE_COLUMNS),
            (&self.destination, &DESTINATION_COLUMNS),
        ] {
            let Some(keys) = keys.finish(rows) else { continue };
            sealed.keys(&keys);
            let [
                id,
                identity,
                cluster,
                namespace,
                pod,
                labels,
                workloads,
                names,
                service,
                service_namespace,
            ] = *columns;
            let endpoints = &self.endpoints;
            sealed.put(id, endpoints.number(&keys, |endpoint| endpoint.id));
            sealed.put(identity, endpoints.number(&keys, |endpoint| endpoint.identity));
            sealed.put(cluster, endpoints.text(&keys, |endpoint| &endpoint.cluster));
            sealed.put(namespace, endpoints.text(&keys, |endpoint| &endpoint.namespace));
            sealed.put(pod, endpoints.text(&keys, |endpoint| &endpoint.pod));
            sealed.put(labels, endpoints.text(&keys, |endpoint| &endpoint.labels));
            sealed.put(workloads, endpoints.text(&keys, |endpoint| &endpoint.workloads));
            sealed.put(names, endpoints.text(&keys, |endpoint| &endpoint.names));
            sealed.put(service, endpoints.text(&keys, |endpoint| &endpoint.service));
            sealed.put(
                service_namespace,
                endpoints.text(&keys, |endpoint| &endpoint.service_namespace),
            );
        }
    }
}

/// Columns on their way into a batch, and the memory they hold.
struct Sealed {
    rows: usize,
    bytes: usize,
    columns: Vec<Option<ArrayRef>>,
}

impl Sealed {
    fn put(&mut self, column: Column, finished: Option<column::Finished>) {
        if let Some(finished) = finished {
            debug_assert_eq!(finished.array.len(), self.rows);
            debug_assert_eq!(finished.array.data_type(), &column.kind().data_type(), "{column:?}");
            self.bytes += finished.bytes;
            self.columns[column.index()] = Some(finished.array);
        }
    }

    /// Counts keys that several columns share.
    fn keys(&mut self, keys: &Arc<shared::KeyArray>) {
        self.bytes += keys.bytes;
    }
}

#[cfg(test)]
mod tests;
