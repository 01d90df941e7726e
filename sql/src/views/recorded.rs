//! Flows for tests: those of the demo, recorded from a real kernel, and rows made by hand.

use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::from_api::FlowReader;
use flow::table::{table_batch, table_schema};

/// One round of `parallax demo`: connections that work, are refused, dropped and time out; DNS; what sockets said.
pub(crate) const DEMO: &str = include_str!("../../tests/fixtures/demo.jsonl");

/// Flows that are written as JSON, a line each, as a batch.
pub(crate) fn batch(lines: &str) -> FlowBatch {
    let flows: Vec<_> = lines
        .lines()
        .map(|line| {
            match serde_json::from_str::<GetFlowsResponse>(line)
                .expect("a response")
                .response_types
            {
                Some(ResponseTypes::Flow(flow)) => flow,
                other => panic!("a flow is missing: {other:?}"),
            }
        })
        .collect();
    FlowReader::default().batch(&flows).expect("there are flows")
}

/// The rows of a batch.
pub(crate) fn rows(batch: &FlowBatch) -> RecordBatch {
    let all: Vec<usize> = (0..table_schema().fields().len()).collect();
    table_batch(batch, &all).expect("a batch that fits the schema")
}

/// A session with functions and views over these flows.
pub(crate) async fn session(batches: Vec<RecordBatch>) -> SessionContext {
    let session = SessionContext::new();
    crate::functions::register(&session);
    let flows = MemTable::try_new(table_schema(), vec![batches]).expect("batches of that schema");
    session.register_table("flows", Arc::new(flows)).expect("a new table");
    super::register(&session).await.expect("views over these tables");
    session
}

/// A session over the flows of the demo.
pub(crate) async fn demo() -> SessionContext {
    session(vec![rows(&batch(DEMO))]).await
}

/// The rows of an answer, cells joined by ` | `, null as `-`.
pub(crate) async fn answer(session: &SessionContext, sql: &str) -> Vec<String> {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut lines = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| match column.is_null(row) {
                true => "-".to_owned(),
                false => arrow_cast::display::array_value_to_string(column, row).expect("a value"),
            });
            lines.push(cells.collect::<Vec<_>>().join(" | "));
        }
    }
    lines
}
