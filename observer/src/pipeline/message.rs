//! Rows for application messages, and the trace of a packet's connection.

use bpf_probes::event::{Event, PacketHeaders};
use bpf_probes::tcp::{TCP_STATE_CHANGE, TcpDetail, state};
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::record::{FlowRecord, L7};

use super::{EVENT_L7, Pipeline, State, TCP, TYPE_L7, seal_if_full};
use crate::connection::{Passage, Turn};
use crate::http_head::TraceContext;

impl Pipeline {
    /// The HTTP message that begins in a packet, and the trace that the packet belongs to: its own message's, or else
    /// that of the last request on its connection.
    pub(super) fn http(
        &mut self,
        event: &Event,
        payload: Option<&[u8]>,
        connection: State,
        passage: Passage,
    ) -> (Option<L7>, Option<TraceContext>) {
        let headers = &event.headers;
        let Some(exchanges) = &mut self.exchanges else {
            return (None, None);
        };
        if headers.protocol != TCP {
            return (None, None);
        }
        if connection.speaks_http && connection.turn == Turn::Opens {
            exchanges.begins(headers);
        }
        if let Some(message) = payload.and_then(|payload| exchanges.packet(event, payload)) {
            self.connections.speaks_http(headers);
            return (Some(message.l7), message.trace);
        }
        // Totals are of packets from before and after that request.
        let is_known = connection.speaks_http && passage != Passage::Counted;
        (None, is_known.then(|| exchanges.trace(headers)).flatten())
    }

    /// The trace of the last request on the connection that a socket's event is about. A socket that begins to connect
    /// may have the ends of one that is gone.
    pub(super) fn trace_of_socket(&self, headers: &PacketHeaders, tcp: &TcpDetail) -> Option<TraceContext> {
        let begins = tcp.sub_type == TCP_STATE_CHANGE && tcp.new_state == state::SYN_SENT;
        self.exchanges.as_ref().filter(|_| !begins)?.trace(headers)
    }

    /// A row of its own for an application message; the packet's bytes are counted in the packet's row.
    pub(super) fn message<'a>(
        builder: &mut FlowBatchBuilder,
        sealed: &mut Vec<FlowBatch>,
        mut record: FlowRecord<'a>,
        l7: &'a L7,
    ) {
        seal_if_full(builder, sealed);
        record.flow_type = TYPE_L7;
        record.event_type = Some(EVENT_L7);
        record.event_sub_type = 0;
        record.observation_point = 0;
        record.length = 0;
        record.packets = 0;
        record.l7 = Some(l7);
        builder.append(&record);
    }
}
