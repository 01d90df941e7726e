//! From a row of a batch straight to the bytes of `GetFlowsResponse`, without a message in between.
//!
//! [`FlowBatch::to_response`] stays the reference: a test compares the two over rows with any columns. Most bytes of a
//! row belong to things that a batch stores once (endpoints, node, interface, place of a drop); their bytes are made
//! once as well, by the reference, and copied. Application messages are few and go through their message; a row that
//! keeps a whole flow goes through the reference altogether.

pub(crate) mod address;
mod cells;
mod fragments;
mod headers;
mod protobuf;
mod transport;

use prost::Message as _;

use crate::api::flow::Flow;
use crate::batch::{FlowBatch, row_uuid};
use crate::schema::Column;
use crate::text::summary;
use crate::to_api::{DESTINATION, EndpointColumns, SOURCE};
use cells::Cells;
use fragments::Fragments;
use headers::Headers;
use protobuf::{message, nested, number, signed, text, texts, timestamp};
use transport::Transport;

/// Numbers of the fields of `GetFlowsResponse`.
mod response {
    pub(super) const FLOW: u32 = 1;
    pub(super) const NODE_NAME: u32 = 1000;
    pub(super) const TIME: u32 = 1001;
}

/// Numbers of the fields of `flow.Flow`.
mod field {
    pub(super) const TIME: u32 = 1;
    pub(super) const VERDICT: u32 = 2;
    pub(super) const DROP_REASON: u32 = 3;
    pub(super) const SOURCE: u32 = 8;
    pub(super) const DESTINATION: u32 = 9;
    pub(super) const TYPE: u32 = 10;
    pub(super) const NODE_NAME: u32 = 11;
    pub(super) const SOURCE_NAMES: u32 = 13;
    pub(super) const DESTINATION_NAMES: u32 = 14;
    pub(super) const L7: u32 = 15;
    pub(super) const EVENT_TYPE: u32 = 19;
    pub(super) const SOURCE_SERVICE: u32 = 20;
    pub(super) const DESTINATION_SERVICE: u32 = 21;
    pub(super) const TRAFFIC_DIRECTION: u32 = 22;
    pub(super) const POLICY_MATCH_TYPE: u32 = 23;
    pub(super) const TRACE_OBSERVATION_POINT: u32 = 24;
    pub(super) const DROP_REASON_DESC: u32 = 25;
    pub(super) const IS_REPLY: u32 = 26;
    pub(super) const INTERFACE: u32 = 28;
    pub(super) const TRACE_CONTEXT: u32 = 30;
    pub(super) const SOCKET_COOKIE: u32 = 32;
    pub(super) const CGROUP_ID: u32 = 33;
    pub(super) const UUID: u32 = 34;
    pub(super) const TRACE_REASON: u32 = 36;
    pub(super) const NODE_LABELS: u32 = 37;
    pub(super) const IP_TRACE_ID: u32 = 40;
    pub(super) const SUMMARY: u32 = 100_000;
}

/// Writes rows of one batch as answers to `GetFlows`. Columns are looked up once, when it is made.
#[derive(Debug)]
pub struct RowEncoder {
    batch: FlowBatch,
    node_name: String,
    columns: cells::Columns,
    headers: Headers,
    transport: Transport,
    node: Fragments,
    interface: Fragments,
    drop: Fragments,
    source: Fragments,
    destination: Fragments,
}

impl RowEncoder {
    /// An encoder of the rows of `batch`. Answers for rows without a node carry `node_name`.
    #[must_use]
    pub fn new(batch: &FlowBatch, node_name: &str) -> Self {
        Self {
            batch: batch.clone(),
            node_name: node_name.to_owned(),
            columns: cells::Columns::new(batch),
            headers: Headers::new(batch),
            transport: Transport::new(batch),
            node: Fragments::new(batch, &[Column::NodeName, Column::NodeLabels]),
            interface: Fragments::new(batch, &[Column::InterfaceIndex, Column::InterfaceName]),
            drop: Fragments::new(batch, &headers::DROP_COLUMNS),
            source: Fragments::new(batch, &end_columns(&SOURCE)),
            destination: Fragments::new(batch, &end_columns(&DESTINATION)),
        }
    }

    /// The batch that it encodes.
    #[must_use]
    pub fn batch(&self) -> &FlowBatch {
        &self.batch
    }

    /// Appends a row to `out`: a serialized `GetFlowsResponse`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        assert!(row < self.batch.rows(), "row {row} of {}", self.batch.rows());
        if self.columns.whole(row) {
            let mut whole = self.batch.to_response(row);
            if whole.node_name.is_empty() {
                whole.node_name.clone_from(&self.node_name);
            }
            whole.encode(out).expect("invariant: a vector has no end");
            return;
        }
        nested(out, response::FLOW, |out| self.flow(row, out));
        match self.batch.text_at(Column::NodeName, row) {
            Some(name) => text(out, response::NODE_NAME, name),
            None => text(out, response::NODE_NAME, &self.node_name),
        }
        timestamp(out, response::TIME, self.columns.time_ns(row));
    }

    fn flow(&mut self, row: usize, out: &mut Vec<u8>) {
        let Self { batch, columns, .. } = self;
        let byte = |cells: &Cells<u8>| u64::from(cells.get(row).unwrap_or_default());
        timestamp(out, field::TIME, columns.time_ns(row));
        number(out, field::VERDICT, byte(&columns.verdict));
        number(out, field::TYPE, byte(&columns.flow_type));
        number(out, field::TRAFFIC_DIRECTION, byte(&columns.traffic_direction));
        number(
            out,
            field::POLICY_MATCH_TYPE,
            columns.policy_match_type.get(row).unwrap_or_default().into(),
        );
        number(out, field::TRACE_OBSERVATION_POINT, byte(&columns.observation_point));
        number(out, field::TRACE_REASON, byte(&columns.trace_reason));
        number(
            out,
            field::SOCKET_COOKIE,
            columns.socket_cookie.get(row).unwrap_or_default(),
        );
        number(out, field::CGROUP_ID, columns.cgroup_id.get(row).unwrap_or_default());
        if let Some(event_type) = columns.event_type.get(row) {
            nested(out, field::EVENT_TYPE, |out| {
                signed(out, 1, event_type);
                signed(out, 2, columns.event_sub_type.get(row).unwrap_or_default());
            });
        }
        if let Some(is_reply) = columns.is_reply.get(row) {
            nested(out, field::IS_REPLY, |out| number(out, 1, is_reply.into()));
        }
        if let Some(trace_id) = columns.ip_trace_id.get(row) {
            nested(out, field::IP_TRACE_ID, |out| number(out, 1, trace_id));
        }
        if let Some(trace_id) = batch.text_at(Column::TraceId, row) {
            nested(out, field::TRACE_CONTEXT, |out| {
                nested(out, 1, |out| text(out, 1, trace_id));
            });
        }
        match batch.text_at(Column::Uuid, row) {
            Some(uuid) => text(out, field::UUID, uuid),
            None => {
                let (log_id, sequence) = batch.row_id(row);
                let uuid = row_uuid(log_id, sequence).hyphenated();
                text(out, field::UUID, uuid.encode_lower(&mut [0; 36]));
            }
        }
        self.node.write(batch, row, out, node);
        self.interface.write(batch, row, out, interface);
        self.drop.write(batch, row, out, drop_reason);
        self.source.write(batch, row, out, source);
        self.destination.write(batch, row, out, destination);
        let l7 = self.columns.l7_type.get(row).and_then(|_| self.batch.layer7(row));
        let silence = self.headers.silence(row);
        let told = silence.is_some() || l7.as_ref().is_some_and(|l7| l7.record.is_some());
        let has_transport = self.transport.write(&self.batch, row, !told, out);
        if let Some(l7) = &l7 {
            message(out, field::L7, l7);
        }
        if told {
            let flow = Flow {
                l7,
                detail: silence,
                ..Flow::default()
            };
            text(out, field::SUMMARY, &summary(&flow));
        }
        self.headers.write(&self.batch, row, has_transport, out);
    }
}

fn end_columns(end: &EndpointColumns) -> [Column; 10] {
    [
        end.id,
        end.identity,
        end.cluster,
        end.namespace,
        end.pod,
        end.labels,
        end.workloads,
        end.names,
        end.service,
        end.service_namespace,
    ]
}

fn node(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    text(
        out,
        field::NODE_NAME,
        batch.text_at(Column::NodeName, row).unwrap_or_default(),
    );
    texts(out, field::NODE_LABELS, &batch.list(Column::NodeLabels, row));
}

fn interface(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    if let Some(interface) = batch.interface(row) {
        message(out, field::INTERFACE, &interface);
    }
}

fn drop_reason(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    let (old, new) = batch.drop_reasons(row);
    number(out, field::DROP_REASON, old.into());
    signed(out, field::DROP_REASON_DESC, new);
}

fn source(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    end(
        batch,
        row,
        &SOURCE,
        [field::SOURCE, field::SOURCE_NAMES, field::SOURCE_SERVICE],
        out,
    );
}

fn destination(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    let fields = [field::DESTINATION, field::DESTINATION_NAMES, field::DESTINATION_SERVICE];
    end(batch, row, &DESTINATION, fields, out);
}

fn end(
    batch: &FlowBatch,
    row: usize,
    columns: &EndpointColumns,
    [endpoint, names, service]: [u32; 3],
    out: &mut Vec<u8>,
) {
    if let Some(known) = batch.endpoint(row, columns) {
        message(out, endpoint, &known);
    }
    texts(out, names, &batch.list(columns.names, row));
    if let Some(known) = batch.service(row, columns.service, columns.service_namespace) {
        message(out, service, &known);
    }
}

#[cfg(test)]
pub(crate) mod tests;
