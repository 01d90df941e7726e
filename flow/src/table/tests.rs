use std::net::IpAddr;

use super::*;
use crate::builder::FlowBatchBuilder;
use crate::record::{FlowRecord, Ip, to_stored};
use arrow_array::cast::AsArray;

fn batch() -> FlowBatch {
    let mut builder = FlowBatchBuilder::new(7, 100);
    let address = |text: &str| Some(to_stored(text.parse::<IpAddr>().unwrap()));
    for (source, verdict, event, sub_type) in [
        ("10.0.0.1", 1, Some(4), 0),
        ("2001:db8::1", 2, Some(1), 181),
        ("10.0.0.1", 3, Some(161), 1),
        ("10.0.0.1", 1, None, 0),
    ] {
        builder.append(&FlowRecord {
            time_ns: 1_700_000_000_000_000_000,
            verdict,
            event_type: event,
            event_sub_type: sub_type,
            ip: Some(Ip {
                version: 4,
                source: address(source),
                ..Ip::default()
            }),
            ..FlowRecord::default()
        });
    }
    builder.seal().unwrap()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(name).unwrap().as_string_view();
    array.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn names_are_unique_and_documented() {
    let schema = table_schema();
    let names: std::collections::HashSet<_> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names.len(), schema.fields().len());
    for field in schema.fields() {
        assert!(
            field.metadata()["doc"].ends_with('.') || field.metadata()["doc"].ends_with('…'),
            "{field}"
        );
    }
}

#[test]
fn numbers_and_addresses_are_text() {
    let all: Vec<usize> = (0..table_schema().fields().len()).collect();
    let table = table_batch(&batch(), &all).unwrap();
    let some = |texts: [&str; 4]| {
        texts
            .map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()))
            .to_vec()
    };
    assert_eq!(table.schema(), table_schema());
    assert_eq!(
        texts(&table, "source_ip"),
        some(["10.0.0.1", "2001:db8::1", "10.0.0.1", "10.0.0.1"])
    );
    assert_eq!(
        texts(&table, "verdict"),
        some(["FORWARDED", "DROPPED", "ERROR", "FORWARDED"])
    );
    assert_eq!(texts(&table, "event_type"), some(["trace", "drop", "silence", ""]));
    assert_eq!(texts(&table, "event_sub_type"), some(["to-endpoint", "181", "syn", ""]));
    let sequences = table.column_by_name("sequence").unwrap();
    assert_eq!(
        sequences.as_primitive::<arrow_array::types::UInt64Type>().values(),
        &[100, 101, 102, 103]
    );
}

#[test]
fn a_projection_of_no_columns_has_rows() {
    assert_eq!(table_batch(&batch(), &[]).unwrap().num_rows(), 4);
    assert!(table_batch(&batch(), &[9999]).is_err());
}

#[test]
fn flags_and_protocols_have_their_names() {
    let flags = names::of(Column::TcpFlags).unwrap();
    assert_eq!(flags(0b1_0010).as_deref(), Some("SYN, ACK"));
    assert_eq!(flags(0).as_deref(), Some(""));
    let protocol = names::of(Column::Protocol).unwrap();
    assert_eq!(
        (protocol(17).as_deref(), protocol(253).as_deref()),
        (Some("UDP"), Some("253"))
    );
    let point = names::of(Column::ObservationPoint).unwrap();
    assert_eq!(point(101).as_deref(), Some("to-endpoint"));
}
