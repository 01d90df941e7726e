//! From an event to a row: decode, connection, names, and into the open batch. Runs on the one thread that reads the
//! rings, and on replayed packets in just the same way.

mod message;
mod tcp;
mod unanswered;

use std::mem::offset_of;
use std::sync::Arc;
use std::time::Duration;

use bpf_probes::event::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, Event, FLAG_FRAGMENT, FLAG_MAC, FLAG_NO_TRANSPORT, FLAG_QINQ, FLAG_TCP_NS,
    FLAG_VLAN, KIND_TCP, Outer, PacketHeaders, TUNNEL_NONE,
};
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{Interface, Node};
use flow::record::{Address, FlowRecord, Ip, Transport, Tunnel};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::aggregation::{Aggregates, Counted};
use crate::connection::{ConnectionTable, Passage, State, Turn};
use crate::decode::{DecodeError, Decoded, decode};
use crate::dns;
use crate::drop_site::{DropSites, KernelNames};
use crate::http_head::{Exchanges, TraceContext};
use crate::names::{Names, Resolver};
use crate::observation_point::{EGRESS, INGRESS, Role, sub_type};
use crate::process::ProcessTable;
use crate::silence::{DnsHeader, Silence};
use crate::tcp_event;

/// `flow.FlowType` of the API.
const TYPE_L3_L4: u8 = 1;
const TYPE_L7: u8 = 2;
/// Event types as the API numbers them.
const EVENT_DROP: i32 = 1;
const EVENT_TRACE: i32 = 4;
const EVENT_L7: i32 = 129;
/// `flow.Verdict` of the API.
const FORWARDED: u8 = 1;
const DROPPED: u8 = 2;
/// Identity of the API for addresses outside of everything we know.
const IDENTITY_WORLD: u32 = 2;

/// VLAN number in a tag's control information (IEEE 802.1Q).
const VLAN_NUMBER: u16 = 0x0fff;

/// IANA protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// How many requests are watched for an answer at a time, and how many without one are remembered. A request takes about
/// 250 bytes.
const REQUESTS: usize = 16_384;

/// What a pipeline starts from.
pub struct PipelineOptions {
    /// Random number of this run: ids of flows follow from it.
    pub log_id: u64,
    /// Who observes.
    pub node: Node,
    /// How many connections are remembered.
    pub connections: usize,
    /// Names of addresses.
    pub names: Arc<Names>,
    /// Names of drop reasons and functions.
    pub kernel_names: Box<dyn KernelNames>,
    /// Cookie of the network namespace whose interfaces are observed; 0 if not known.
    pub netns_cookie: u64,
    /// How long a request waits for an answer before its silence is reported; `None`: it never is.
    pub silence: Option<Duration>,
    /// Whether heads of HTTP are read.
    pub http: bool,
}

/// Makes rows of events.
pub struct Pipeline {
    builder: FlowBatchBuilder,
    sealed: Vec<FlowBatch>,
    connections: ConnectionTable,
    processes: ProcessTable,
    silence: Option<Silence>,
    exchanges: Option<Exchanges>,
    resolver: Resolver,
    drops: DropSites,
    node: Arc<Node>,
    netns_cookie: u64,
    clock_offset_ns: i64,
    interfaces: FxHashMap<u32, (Arc<Interface>, Role)>,
    foreign_interfaces: FxHashMap<u32, Arc<Interface>>,
    undecodable: u64,
    aggregates: Option<Aggregates>,
}

impl Pipeline {
    /// A pipeline with an empty batch.
    #[must_use]
    pub fn new(options: PipelineOptions) -> Self {
        Self {
            builder: FlowBatchBuilder::new(options.log_id, 0),
            sealed: Vec::new(),
            connections: ConnectionTable::new(options.connections),
            processes: ProcessTable::new(options.connections),
            silence: options.silence.map(|wait| Silence::new(wait, REQUESTS)),
            exchanges: options.http.then(|| Exchanges::new(options.connections)),
            resolver: Resolver::new(options.names),
            drops: DropSites::new(options.kernel_names),
            node: Arc::new(options.node),
            netns_cookie: options.netns_cookie,
            clock_offset_ns: 0,
            interfaces: FxHashMap::default(),
            foreign_interfaces: FxHashMap::default(),
            undecodable: 0,
            aggregates: None,
        }
    }

    /// What to add to an event's time to get nanoseconds since the Unix epoch.
    pub fn set_clock_offset(&mut self, offset_ns: i64) {
        self.clock_offset_ns = offset_ns;
    }

    /// The interfaces there are: index, name, role.
    pub fn set_interfaces(&mut self, interfaces: impl IntoIterator<Item = (u32, String, Role)>) {
        self.interfaces.clear();
        self.foreign_interfaces.clear();
        for (index, name, role) in interfaces {
            self.interfaces
                .insert(index, (Arc::new(Interface { index, name }), role));
        }
    }

    /// Takes over names that have changed, and the addresses that are this node's own.
    pub fn refresh_names(&mut self, local: FxHashSet<Address>) {
        self.resolver.refresh(local);
    }

    /// Records that could not be read.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// The connection table, for its counters.
    #[must_use]
    pub fn connections(&self) -> &ConnectionTable {
        &self.connections
    }

    /// The open batch, for rows that come as flows already.
    pub fn builder(&mut self) -> &mut FlowBatchBuilder {
        self.seal_if_full();
        &mut self.builder
    }

    /// Whether [`Pipeline::take_sealed`] has something to take.
    #[must_use]
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Batches that have become full since the last call, oldest first.
    pub fn take_sealed(&mut self) -> Vec<FlowBatch> {
        self.seal_if_full();
        std::mem::take(&mut self.sealed)
    }

    /// The rows of the open batch so far; `None` if there are none.
    #[must_use]
    pub fn snapshot(&self) -> Option<FlowBatch> {
        self.builder.snapshot()
    }

    /// Number of the next row.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.builder.next_sequence()
    }

    /// Takes in one record of a ring.
    ///
    /// # Errors
    /// If it isn't a record of this build's programs; it is counted as undecodable.
    pub fn record(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        if record.get(offset_of!(Event, kind)) == Some(&KIND_TCP) {
            let event = tcp_event::decode(record).inspect_err(|_| self.undecodable += 1)?;
            self.tcp(&event);
            return Ok(());
        }
        match decode(record) {
            Ok(decoded) => {
                match &decoded.totals {
                    None => self.packet(&decoded),
                    Some(totals) => {
                        let left = self.aggregates.as_mut().map(|aggregates| aggregates.left(totals));
                        let (packets, bytes) = left.unwrap_or((totals.packets, totals.bytes));
                        self.counted(&decoded, packets, bytes);
                    }
                }
                Ok(())
            }
            Err(error) => {
                self.undecodable += 1;
                Err(error)
            }
        }
    }

    /// Connections whose packets are only counted, to be looked at by [`Pipeline::sweep`].
    pub fn set_aggregates(&mut self, aggregates: Option<Aggregates>) {
        self.aggregates = aggregates;
    }

    /// Makes rows of packets that were only counted and are due to be reported; of all of them if it is the `last` time.
    /// `now_ns` is the kernel's monotonic time. Everything that the rings held must have been taken in before.
    pub fn sweep(&mut self, now_ns: u64, last: bool) {
        let Some(mut aggregates) = self.aggregates.take() else {
            return;
        };
        let mut counted = |counted: &Counted| {
            let mut event = counted.event;
            event.time_ns = now_ns;
            let decoded = Decoded {
                outer: (event.headers.tunnel != TUNNEL_NONE).then_some(counted.outer),
                event,
                drop: None,
                totals: None,
                bytes: &[],
            };
            self.counted(&decoded, counted.packets, counted.bytes);
        };
        if last {
            aggregates.sweep_all(&mut counted);
        } else {
            aggregates.sweep(&mut counted);
        }
        self.aggregates = Some(aggregates);
    }

    /// A row for packets that were only counted; several if there are more than a row can hold.
    fn counted(&mut self, decoded: &Decoded<'_>, mut packets: u64, mut bytes: u64) {
        const MOST: u64 = u32::MAX as u64;
        while packets > 0 || bytes > 0 {
            let (some_packets, some_bytes) = (packets.min(MOST), bytes.min(MOST));
            self.take_in(decoded, Passage::Counted, some_packets as u32, some_bytes as u32);
            packets -= some_packets;
            bytes -= some_bytes;
        }
    }

    /// Takes in one packet.
    pub fn packet(&mut self, decoded: &Decoded<'_>) {
        let passage = match decoded.drop {
            Some(_) => Passage::Dropped,
            None => Passage::At(decoded.event.time_ns),
        };
        let packets = u32::from(decoded.event.segments);
        self.take_in(decoded, passage, packets, decoded.event.length);
    }

    fn take_in(&mut self, decoded: &Decoded<'_>, passage: Passage, packets: u32, length: u32) {
        self.seal_if_full();
        let event = &decoded.event;
        let headers = &event.headers;
        let state = self.connections.observe(headers, passage);
        let payload = decoded
            .bytes
            .get(usize::from(headers.payload_offset)..)
            .filter(|bytes| !bytes.is_empty());
        let (http, trace) = self.http(event, payload, state, passage);
        self.resolver.make_room();
        let (source, destination) = (
            self.resolver.find(headers.source),
            self.resolver.find(headers.destination),
        );
        let (source, destination) = (self.resolver.get(source), self.resolver.get(destination));
        let here = decoded
            .drop
            .is_none_or(|drop| drop.netns_cookie == 0 || drop.netns_cookie == self.netns_cookie);
        let time_ns = self.wall_ns(event.time_ns);
        let (interface, role) = interface(&self.interfaces, &mut self.foreign_interfaces, event.ifindex, here);
        let process = match &decoded.drop {
            None => tcp::sender(&mut self.processes, event, role),
            Some(_) => None,
        };
        let mut record = FlowRecord {
            time_ns,
            node: Some(&self.node),
            flow_type: TYPE_L3_L4,
            is_reply: state.is_reply,
            trace_reason: state.trace_reason,
            interface,
            cgroup_id: event.cgroup_id,
            process: process.as_ref(),
            length,
            packets,
            mac: (headers.flags & FLAG_MAC != 0).then_some((headers.source_mac, headers.destination_mac)),
            vlan: (headers.flags & FLAG_VLAN != 0).then_some(headers.vlan & VLAN_NUMBER),
            inner_vlan: (headers.flags & FLAG_QINQ != 0).then_some(headers.inner_vlan & VLAN_NUMBER),
            ip: Some(ip(headers)),
            transport: transport(headers),
            tunnel: tunnel(headers, decoded.outer.as_ref()),
            source: Some(source),
            destination: Some(destination),
            trace_id: trace.as_ref().map(TraceContext::trace_id),
            span_id: trace.as_ref().map(TraceContext::span_id),
            ..FlowRecord::default()
        };
        match &decoded.drop {
            Some(drop) => {
                let site = self.drops.get(drop.reason, drop.location);
                record.drop = Some(site);
                record.event_type = Some(EVENT_DROP);
                record.event_sub_type = i32::from(site.api as u8);
                record.verdict = DROPPED;
                record.netns_cookie = drop.netns_cookie;
                record.traffic_direction = drop_direction(event, source.identity, destination.identity, state);
                self.builder.append(&record);
            }
            None => {
                record.observation_point = role.point(event.direction);
                record.event_type = Some(EVENT_TRACE);
                record.event_sub_type = sub_type(record.observation_point);
                record.verdict = FORWARDED;
                record.traffic_direction = role.traffic_direction(event.direction, state.is_reply);
                self.builder.append(&record);
                let payload = payload.filter(|_| headers.protocol == UDP);
                let message = payload.and_then(dns::read);
                if let Some(l7) = message.as_ref().map(|message| &message.l7).or(http.as_ref()) {
                    let record = record.clone();
                    Self::message(&mut self.builder, &mut self.sealed, record, l7);
                }
                if let Some(message) = &message
                    && let Some(dns) = &message.l7.dns
                {
                    for address in &message.addresses {
                        self.resolver.learn(*address, &dns.query);
                    }
                }
                if let Some(silence) = &mut self.silence
                    && (state.turn != Turn::Nothing || payload.is_some())
                {
                    let dns = payload.and_then(DnsHeader::read);
                    silence.packet(event, state.turn, dns, || message.map(|message| message.l7));
                }
            }
        }
    }

    /// An event's time in nanoseconds since the Unix epoch.
    fn wall_ns(&self, event_ns: u64) -> i64 {
        i64::try_from(event_ns)
            .unwrap_or(i64::MAX)
            .saturating_add(self.clock_offset_ns)
    }

    fn seal_if_full(&mut self) {
        seal_if_full(&mut self.builder, &mut self.sealed);
    }
}

/// An interface and its part; one of another network namespace has no name.
fn interface<'a>(
    interfaces: &'a FxHashMap<u32, (Arc<Interface>, Role)>,
    foreign: &'a mut FxHashMap<u32, Arc<Interface>>,
    index: u32,
    here: bool,
) -> (Option<&'a Arc<Interface>>, Role) {
    if index == 0 {
        return (None, Role::default());
    }
    if here && let Some((interface, role)) = interfaces.get(&index) {
        return (Some(interface), *role);
    }
    let unnamed = foreign.entry(index).or_insert_with(|| {
        Arc::new(Interface {
            index,
            name: String::new(),
        })
    });
    (Some(unnamed), Role::default())
}

fn seal_if_full(builder: &mut FlowBatchBuilder, sealed: &mut Vec<FlowBatch>) {
    if builder.is_full() {
        sealed.extend(builder.seal());
    }
}

/// A dropped packet had come in through an interface, or it was on its way out. Where the programs can't tell, an end
/// that we know the name of is the local one.
fn drop_direction(event: &Event, source_identity: u32, destination_identity: u32, state: State) -> u8 {
    let leaves = match event.direction {
        DIRECTION_EGRESS => true,
        DIRECTION_INGRESS => false,
        _ => source_identity != IDENTITY_WORLD && destination_identity == IDENTITY_WORLD,
    };
    if leaves != (state.is_reply == Some(true)) {
        EGRESS
    } else {
        INGRESS
    }
}

fn ip(headers: &PacketHeaders) -> Ip {
    Ip {
        version: headers.ip_version,
        source: Some(headers.source),
        destination: Some(headers.destination),
        ttl: Some(headers.ttl),
        fragment_offset: (headers.flags & FLAG_FRAGMENT != 0).then_some(headers.fragment_offset),
        ..Ip::default()
    }
}

fn transport(headers: &PacketHeaders) -> Transport {
    let mut transport = Transport {
        protocol: Some(headers.protocol),
        ..Transport::default()
    };
    if headers.flags & FLAG_NO_TRANSPORT != 0 {
        return transport;
    }
    match headers.protocol {
        TCP => {
            let ns = if headers.flags & FLAG_TCP_NS != 0 { 1 << 8 } else { 0 };
            transport.ports = Some((headers.source_port, headers.destination_port));
            transport.tcp_flags = Some(u16::from(headers.tcp_flags) | ns);
            transport.tcp = Some((headers.sequence, headers.acknowledgment, headers.window));
        }
        UDP | SCTP => transport.ports = Some((headers.source_port, headers.destination_port)),
        ICMP | ICMPV6 => transport.icmp = Some((headers.icmp_type, headers.icmp_code)),
        _ => {}
    }
    transport
}

fn tunnel(headers: &PacketHeaders, outer: Option<&Outer>) -> Option<Tunnel> {
    let outer = outer?;
    Some(Tunnel {
        protocol: headers.tunnel,
        vni: headers.vni,
        addresses: Some((outer.source, outer.destination)),
        ports: Some((outer.source_port, outer.destination_port)),
    })
}

#[cfg(test)]
mod tests;
