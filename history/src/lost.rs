//! What was lost: a row for each time that something was, as data like the flows.

use std::sync::{Arc, LazyLock};

use arrow_array::{RecordBatch, StringViewArray, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

/// Events that were lost in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostInterval {
    /// Not before, nanoseconds since the Unix epoch.
    pub from_ns: i64,
    /// Not after.
    pub to_ns: i64,
    /// `cluster/node` or `node`.
    pub node: String,
    /// Where: `kernel ring`, `history`, …
    pub stage: String,
    /// What the events came from: `ingress`, `egress`, `drop`, `tcp`; where that is known.
    pub source: Option<String>,
    /// On which CPU, where that says something.
    pub cpu: Option<u32>,
    /// How many; `None` if nobody knows.
    pub count: Option<u64>,
}

/// The columns of the table `lost`. Each carries its sentence of documentation as metadata `doc`.
#[must_use]
pub fn lost_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let field = |name: &str, data_type, nullable, doc: &str| {
            Field::new(name, data_type, nullable).with_metadata([("doc".to_owned(), doc.to_owned())].into())
        };
        Arc::new(Schema::new(vec![
            field("from_time", time(), false, "They were lost not before this time."),
            field("to_time", time(), false, "They were lost not after this time."),
            field(
                "cluster",
                DataType::Utf8View,
                true,
                "Cluster of the node; null if its name says none.",
            ),
            field("node", DataType::Utf8View, false, "Node that lost them."),
            field(
                "stage",
                DataType::Utf8View,
                false,
                "Where: `kernel ring`, `busy program`, `undecodable`, `history`, `another observer`.",
            ),
            field(
                "source",
                DataType::Utf8View,
                true,
                "What they came from: `ingress`, `egress`, `drop` or `tcp`; null where that is not known.",
            ),
            field(
                "cpu",
                DataType::UInt32,
                true,
                "CPU on which they were lost; null where that says nothing.",
            ),
            field(
                "count",
                DataType::UInt64,
                true,
                "How many events; null if that is not known.",
            ),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// Losses as rows of the table `lost`.
///
/// # Errors
/// If the columns don't fit the schema, which would be a fault of this function.
pub fn lost_batch(losses: &[LostInterval]) -> Result<RecordBatch, ArrowError> {
    let times = |time: fn(&LostInterval) -> i64| -> TimestampNanosecondArray {
        TimestampNanosecondArray::from_iter_values(losses.iter().map(time)).with_timezone("UTC")
    };
    let split = |loss: &LostInterval| -> (Option<String>, String) {
        match loss.node.split_once('/') {
            Some((cluster, node)) => (Some(cluster.to_owned()), node.to_owned()),
            None => (None, loss.node.clone()),
        }
    };
    RecordBatch::try_new(
        lost_schema(),
        vec![
            Arc::new(times(|loss| loss.from_ns)),
            Arc::new(times(|loss| loss.to_ns)),
            Arc::new(losses.iter().map(|loss| split(loss).0).collect::<StringViewArray>()),
            Arc::new(
                losses
                    .iter()
                    .map(|loss| Some(split(loss).1))
                    .collect::<StringViewArray>(),
            ),
            Arc::new(losses.iter().map(|loss| Some(&loss.stage)).collect::<StringViewArray>()),
            Arc::new(
                losses
                    .iter()
                    .map(|loss| loss.source.as_ref())
                    .collect::<StringViewArray>(),
            ),
            Arc::new(losses.iter().map(|loss| loss.cpu).collect::<UInt32Array>()),
            Arc::new(losses.iter().map(|loss| loss.count).collect::<UInt64Array>()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_a_row() {
        let loss = LostInterval {
            from_ns: 1,
            to_ns: 2,
            node: "home/node-1".into(),
            stage: "history".into(),
            source: None,
            cpu: Some(1),
            count: None,
        };
        let batch = lost_batch(&[loss]).unwrap();
        assert_eq!(batch.num_rows(), 1);
        assert!(batch.column_by_name("count").unwrap().is_null(0));
        assert!(batch.column_by_name("cluster").unwrap().is_valid(0));
    }
}
