//! A flow as a row of the table `flows`: what people query, what files hold, what any tool can read.
//!
//! The columns are those of [`crate::schema`] with what machines store turned into what people read: addresses, verdicts,
//! protocols and flags are text, and a node's name is split into cluster and node. Two more, `log_id` and `sequence`,
//! say which flow a row is.

mod cells;
pub(crate) mod names;

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use crate::batch::FlowBatch;
use crate::schema::{Column, Kind};

/// What a column of the table is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Number of the log, the same in each row.
    LogId,
    /// The row's number in its log.
    Sequence,
    /// The part of the node's name before the slash.
    Cluster,
    /// The part after it.
    Node,
    /// Number of an event's sub type, in words; they depend on the event's type.
    EventSubType,
    /// A column, as it is or as text.
    Column(Column),
}

#[derive(Debug)]
struct TableColumn {
    name: &'static str,
    doc: &'static str,
    source: Source,
}

impl TableColumn {
    fn data_type(&self) -> DataType {
        match self.source {
            Source::LogId | Source::Sequence => DataType::UInt64,
            Source::Cluster | Source::Node | Source::EventSubType => DataType::Utf8View,
            Source::Column(column) if names::of(column).is_some() => DataType::Utf8View,
            Source::Column(column) => match column.kind() {
                Kind::Address | Kind::Mac | Kind::Text => DataType::Utf8View,
                Kind::SharedU32 => DataType::UInt32,
                Kind::SharedU64 => DataType::UInt64,
                other => other.data_type(),
            },
        }
    }

    fn is_nullable(&self) -> bool {
        !matches!(
            self.source,
            Source::LogId | Source::Sequence | Source::Column(Column::Time)
        )
    }
}

/// Sentences that are others for text than for the numbers behind it.
fn doc(column: Column) -> &'static str {
    match column {
        Column::Uuid => {
            "The flow's id if it came with one (replayed files); otherwise null, and `log_id` and `sequence` are its id."
        }
        Column::FlowType => "Kind of record: `packet`, `message` (of an application) or `socket`.",
        Column::EventType => {
            "Type of event: `drop`, `trace`, `policy-verdict`, `capture`, `trace-sock`, `l7`, `tcp`, or `silence` (a request without an answer)."
        }
        Column::Verdict => {
            "What became of the packet: `FORWARDED`, `DROPPED`, `ERROR`, `AUDIT`, `REDIRECTED`, `TRACED`, `TRANSLATED`."
        }
        Column::TrafficDirection => {
            "Direction of the connection seen from the endpoint behind the interface: `ingress` or `egress`."
        }
        Column::ObservationPoint => {
            "Where it was seen: `from-endpoint`, `to-endpoint`, `from-network`, `to-network`, `to-stack`, …"
        }
        Column::TraceReason => "State of the connection: `new`, `established`, `reply` or `related`.",
        Column::Protocol => {
            "Protocol of the transport header: `TCP`, `UDP`, `ICMPv4`, `ICMPv6`, `SCTP`, …, or its IANA number."
        }
        Column::TcpFlags => "TCP flags, joined by a comma and a space: `SYN`, `SYN, ACK`.",
        Column::TunnelProtocol => "Tunnel around the packet: `VXLAN` or `GENEVE`.",
        Column::L7Type => "Kind of application message: `request`, `response` or `sample`.",
        Column::DnsRcode => {
            "Response code of a DNS answer: `NOERROR`, `NXDOMAIN`, …, or its number (RFC 1035, section 4.1.1)."
        }
        other => other.doc(),
    }
}

static COLUMNS: LazyLock<Vec<TableColumn>> = LazyLock::new(|| {
    let mut columns = Vec::with_capacity(Column::COUNT + 3);
    let mut add = |name, doc, source| columns.push(TableColumn { name, doc, source });
    for column in Column::ALL.iter().copied() {
        match column {
            Column::NodeName => {
                add(
                    "cluster",
                    "Cluster of the node that observed it; null if its name says none.",
                    Source::Cluster,
                );
                add(
                    "node",
                    "Node that observed it: the observer's `--node-name`.",
                    Source::Node,
                );
            }
            Column::EventSubType => add(
                "event_sub_type",
                "Refines `event_type`: the trace point (`to-endpoint`), for `tcp` `retransmit`, `reset-sent`, `reset-received` or `state-change`, for `silence` `syn`, `udp` or `dns`; otherwise a number as the API has it.",
                Source::EventSubType,
            ),
            _ => add(column.name(), doc(column), Source::Column(column)),
        }
        if column == Column::Time {
            add(
                "log_id",
                "Random number of the run of the observer that saw it; with `sequence` the flow's id.",
                Source::LogId,
            );
            add(
                "sequence",
                "Number of the flow in that run, without gaps.",
                Source::Sequence,
            );
        }
    }
    columns
});

/// The columns of the table. Each carries its sentence of documentation as metadata `doc`.
#[must_use]
pub fn table_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields: Vec<Field> = COLUMNS
            .iter()
            .map(|column| {
                Field::new(column.name, column.data_type(), column.is_nullable())
                    .with_metadata([("doc".to_owned(), column.doc.to_owned())].into())
            })
            .collect();
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// Some columns of a batch as rows of the table. `columns` are places in [`table_schema`], in the order wanted.
///
/// # Errors
/// If a place is not in the schema; or if a column doesn't fit it, which would be a fault of the batch's builder.
pub fn table_batch(batch: &FlowBatch, columns: &[usize]) -> Result<RecordBatch, ArrowError> {
    let schema = Arc::new(table_schema().project(columns)?);
    let arrays = columns
        .iter()
        .map(|place| array(batch, &COLUMNS[*place]))
        .collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
    RecordBatch::try_new_with_options(schema, arrays, &options)
}

fn array(batch: &FlowBatch, of: &TableColumn) -> Result<ArrayRef, ArrowError> {
    let rows = batch.rows();
    let column = match of.source {
        Source::LogId => {
            let log_id = match batch.ids() {
                Some(ids) => ids.log_ids().clone(),
                None => UInt64Array::from_value(batch.log_id(), rows),
            };
            return Ok(Arc::new(log_id));
        }
        Source::Sequence => {
            let sequence = match batch.ids() {
                Some(ids) => ids.sequences().clone(),
                None => UInt64Array::from_iter_values(batch.first_sequence()..batch.end_sequence()),
            };
            return Ok(Arc::new(sequence));
        }
        Source::Cluster | Source::Node => Column::NodeName,
        Source::EventSubType => Column::EventSubType,
        Source::Column(column) => column,
    };
    let Some(stored) = batch.column(column) else {
        return Ok(new_null_array(&of.data_type(), rows));
    };
    match of.source {
        Source::Cluster => cells::shared_text(stored, |name| name.split_once('/').map(|(cluster, _)| cluster)),
        Source::Node => cells::shared_text(stored, |name| Some(name.split_once('/').map_or(name, |(_, node)| node))),
        Source::EventSubType => Ok(cells::event_sub_type(batch, stored)),
        _ => match names::of(column) {
            Some(name) => cells::named(stored, column.kind(), name),
            None => match column.kind() {
                Kind::Text => cells::shared_text(stored, |text| Some(text)),
                Kind::SharedU32 | Kind::SharedU64 => cells::shared_number(stored),
                Kind::Address => Ok(cells::address(stored)),
                Kind::Mac => Ok(cells::mac(stored)),
                _ => Ok(Arc::clone(stored)),
            },
        },
    }
}

#[cfg(test)]
mod tests;
