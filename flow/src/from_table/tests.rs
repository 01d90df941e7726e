#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::{ArrayRef, StringViewArray, TimestampNanosecondArray, UInt32Array};
use proptest::prelude::*;

use super::*;
use crate::table::table_batch;
use crate::wire::tests::{Row as AnyRow, batch, row};

fn all_columns(batch: &FlowBatch) -> RecordBatch {
    let all: Vec<usize> = (0..table_schema().fields().len()).collect();
    table_batch(batch, &all).unwrap()
}

/// A row without what a table has no words for.
fn told(mut row: AnyRow) -> AnyRow {
    row.plain.event_type = row.plain.event_type.filter(|event_type| *event_type > 0);
    row.plain.transport.tcp_flags = row.plain.transport.tcp_flags.map(|flags| flags & 0x1ff);
    row
}

proptest! {
    #[test]
    fn a_row_of_the_table_is_the_flow_that_it_was(
        rows in proptest::collection::vec(row().prop_map(told), 1..20)
    ) {
        let flows = batch(&rows);
        let read = TableReader::default().batch(&all_columns(&flows)).unwrap().unwrap();
        prop_assert_eq!(read.rows(), flows.rows());
        for row in 0..flows.rows() {
            prop_assert_eq!(read.to_response(row), flows.to_response(row), "row {}", row);
        }
        // Also all that the API has no field for.
        let (mut again, mut before) = (all_columns(&read), all_columns(&flows));
        for name in ["log_id", "sequence", "uuid"] {
            again.remove_column(again.schema().index_of(name).unwrap());
            before.remove_column(before.schema().index_of(name).unwrap());
        }
        prop_assert_eq!(again, before);
    }
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn time() -> (&'static str, ArrayRef) {
    (
        "time",
        Arc::new(TimestampNanosecondArray::from(vec![5]).with_timezone("UTC")),
    )
}

fn text(name: &'static str, value: &str) -> (&'static str, ArrayRef) {
    (name, Arc::new(StringViewArray::from(vec![value])))
}

#[test]
fn columns_that_are_missing_are_null_and_others_are_passed_over() {
    let rows = rows(vec![
        time(),
        text("verdict", "DROPPED"),
        text("mine", "x"),
        text("node", "n"),
    ]);
    let batch = TableReader::default().batch(&rows).unwrap().unwrap();
    let flow = batch.to_flow(0);
    assert_eq!((flow.verdict, flow.node_name.as_str(), flow.ip), (2, "n", None));
}

#[test]
fn what_is_no_flow_is_told() {
    let error = |columns| TableReader::default().batch(&rows(columns)).unwrap_err().to_string();
    assert_eq!(
        error(vec![text("verdict", "DROPPED")]),
        "there is no column `time`, so these are no flows"
    );
    assert_eq!(
        error(vec![time(), text("verdict", "nonsense")]),
        "`nonsense` is no verdict"
    );
    assert_eq!(
        error(vec![time(), text("source_ip", "10.0.0.256")]),
        "`10.0.0.256` is no source_ip"
    );
    assert_eq!(error(vec![time(), text("protocol", "300")]), "`300` is no protocol");
    assert_eq!(
        error(vec![time(), ("source_port", Arc::new(UInt32Array::from(vec![1])))]),
        "the column `source_port` is UInt32 and should be UInt16"
    );
    let none: TimestampNanosecondArray = vec![None].into();
    assert_eq!(
        error(vec![("time", Arc::new(none.with_timezone("UTC")))]),
        "it has no time"
    );
}
