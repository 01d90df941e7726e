//! The table `nodes`: a row for each run of an observer.

use std::sync::{Arc, LazyLock};

use arrow_array::{RecordBatch, StringViewArray, TimestampNanosecondArray, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use history::session::Session;

pub(crate) fn nodes_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let field = |name: &str, data_type, nullable, doc: &str| {
            Field::new(name, data_type, nullable).with_metadata([("doc".to_owned(), doc.to_owned())].into())
        };
        Arc::new(Schema::new(vec![
            field(
                "cluster",
                DataType::Utf8View,
                true,
                "Cluster of the node; null if its name says none.",
            ),
            field(
                "node",
                DataType::Utf8View,
                false,
                "Name of the node: the observer's `--node-name`.",
            ),
            field(
                "state",
                DataType::Utf8View,
                false,
                "`running` (it answers this query), `ended` (cleanly), or `unknown` (killed, or running elsewhere).",
            ),
            field("version", DataType::Utf8View, false, "Version of the observer."),
            field(
                "log_id",
                DataType::UInt64,
                false,
                "Random number of the run, as flows have it.",
            ),
            field("started", time(), false, "When the observer started."),
            field("last_seen", time(), false, "When it was last heard of."),
            field(
                "ended",
                time(),
                true,
                "When it ended; null if it runs or did not say so.",
            ),
            field("flows", DataType::UInt64, false, "Flows that it has seen in this run."),
            field(
                "lost",
                DataType::UInt64,
                false,
                "Events that it has lost in this run, as far as it knows.",
            ),
        ]))
    });
    Arc::clone(&SCHEMA)
}

pub(crate) fn nodes_batch(sessions: &[Session], running: Option<u64>) -> Result<RecordBatch, ArrowError> {
    let split = |session: &Session| -> (Option<String>, String) {
        match session.node.split_once('/') {
            Some((cluster, node)) => (Some(cluster.to_owned()), node.to_owned()),
            None => (None, session.node.clone()),
        }
    };
    let state = |session: &Session| match session {
        _ if running == Some(session.log_id) => "running",
        Session { ended_ns: Some(_), .. } => "ended",
        _ => "unknown",
    };
    let times = |time: fn(&Session) -> Option<i64>| {
        TimestampNanosecondArray::from_iter(sessions.iter().map(time)).with_timezone("UTC")
    };
    let numbers = |number: fn(&Session) -> u64| UInt64Array::from_iter_values(sessions.iter().map(number));
    RecordBatch::try_new(
        nodes_schema(),
        vec![
            Arc::new(
                sessions
                    .iter()
                    .map(|session| split(session).0)
                    .collect::<StringViewArray>(),
            ),
            Arc::new(
                sessions
                    .iter()
                    .map(|session| Some(split(session).1))
                    .collect::<StringViewArray>(),
            ),
            Arc::new(
                sessions
                    .iter()
                    .map(|session| Some(state(session)))
                    .collect::<StringViewArray>(),
            ),
            Arc::new(
                sessions
                    .iter()
                    .map(|session| Some(&session.version))
                    .collect::<StringViewArray>(),
            ),
            Arc::new(numbers(|session| session.log_id)),
            Arc::new(times(|session| Some(session.started_ns))),
            Arc::new(times(|session| Some(session.seen_ns))),
            Arc::new(times(|session| session.ended_ns)),
            Arc::new(numbers(|session| session.flows)),
            Arc::new(numbers(|session| session.lost)),
        ],
    )
}
