//! From an event of a TCP socket to a row, and the process of a packet's socket.

use std::sync::Arc;

use bpf_probes::event::{DIRECTION_EGRESS, DIRECTION_INGRESS, Event};
use bpf_probes::tcp::{TCP_RESET_RECEIVED, TCP_RESET_SENT, TCP_STATE_CHANGE, TcpRecord};
use flow::endpoint::Process;
use flow::record::{FlowRecord, Ip, TcpEvent, Transport};

use super::Pipeline;
use crate::http_head::TraceContext;
use crate::observation_point::{EGRESS, INGRESS, Role};
use crate::process::{Place, ProcessTable};
use crate::tcp_event::{EVENT_TCP, local_asked, state_name, verdict};

/// `flow.FlowType` of the API: seen at a socket.
const TYPE_SOCKET: u8 = 3;

impl Pipeline {
    /// Takes in one event of a TCP socket.
    pub(super) fn tcp(&mut self, TcpRecord { event, tcp }: &TcpRecord) {
        self.seal_if_full();
        let headers = &event.headers;
        let is_local_source = tcp.sub_type != TCP_RESET_RECEIVED;
        let mut local = *headers;
        if !is_local_source {
            std::mem::swap(&mut local.source, &mut local.destination);
            std::mem::swap(&mut local.source_port, &mut local.destination_port);
        }
        let place = match tcp.netns_cookie == self.netns_cookie {
            true => Place::Here,
            false => Place::Behind,
        };
        let process = self.processes.event(tcp, &local, place);
        // A socket that listens, or only wants to, has no peer that could have asked.
        let has_peer = local.destination_port != 0;
        let asked = local_asked(tcp).or_else(|| Some(!self.connections.is_reply(&local)?));
        let asked = asked.filter(|_| has_peer);
        let trace = self.trace_of_socket(headers, tcp);
        self.resolver.make_room();
        let (source, destination) = (
            self.resolver.find(headers.source),
            self.resolver.find(headers.destination),
        );
        let (source, destination) = (self.resolver.get(source), self.resolver.get(destination));
        let reset_reason = match tcp.sub_type {
            TCP_RESET_SENT => self.drops.kernel().reset_reason(tcp.reset_reason).unwrap_or_default(),
            _ => "",
        };
        self.builder.append(&FlowRecord {
            time_ns: i64::try_from(event.time_ns)
                .unwrap_or(i64::MAX)
                .saturating_add(self.clock_offset_ns),
            node: Some(&self.node),
            flow_type: TYPE_SOCKET,
            event_type: Some(EVENT_TCP),
            event_sub_type: i32::from(tcp.sub_type),
            verdict: verdict(tcp),
            is_reply: asked.map(|asked| asked != is_local_source),
            traffic_direction: match asked {
                Some(true) => EGRESS,
                Some(false) => INGRESS,
                None => 0,
            },
            netns_cookie: tcp.netns_cookie,
            cgroup_id: event.cgroup_id,
            process: process.as_ref(),
            ip: Some(Ip {
                version: headers.ip_version,
                source: Some(headers.source),
                destination: Some(headers.destination),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(headers.protocol),
                ports: Some((headers.source_port, headers.destination_port)),
                ..Transport::default()
            },
            tcp_event: TcpEvent {
                old_state: match tcp.sub_type {
                    TCP_STATE_CHANGE => state_name(tcp.old_state),
                    _ => "",
                },
                new_state: state_name(tcp.new_state),
                srtt_us: tcp.srtt_us,
                reset_reason,
            },
            source: Some(source),
            destination: Some(destination),
            trace_id: trace.as_ref().map(TraceContext::trace_id),
            span_id: trace.as_ref().map(TraceContext::span_id),
            ..FlowRecord::default()
        });
    }
}

/// Whose packet it is, where it comes straight from a socket: out of this node, or out of a pod behind the interface.
#[inline]
pub(super) fn sender(processes: &mut ProcessTable, event: &Event, role: Role) -> Option<Arc<Process>> {
    let place = match (event.direction, role) {
        (DIRECTION_EGRESS, _) => Place::Here,
        (DIRECTION_INGRESS, Role::Endpoint) => Place::Behind,
        _ => return None,
    };
    processes.sender(&event.headers, place)
}
