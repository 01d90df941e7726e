//! What is encoded is decoded to the same flows; what is no feed is refused.

use std::sync::Arc;

use arrow_flight::FlightData;
use feed::decode::FeedDecoder;
use feed::encode::FeedEncoder;
use feed::{FeedError, FeedMessage};
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{DropSite, Endpoint, Interface, Node};
use flow::record::{FlowRecord, Ip, Transport};
use proptest::prelude::*;

/// Flows of `names` endpoints; some columns only where `more` says so.
fn batch(first: u64, rows: usize, names: usize, more: bool) -> FlowBatch {
    let node = Arc::new(Node {
        name: "c1/node-a".to_owned(),
        labels: String::new(),
    });
    let interface = Arc::new(Interface {
        index: 3,
        name: "veth0".to_owned(),
    });
    let drop = Arc::new(DropSite {
        reason: "NO_SOCKET".to_owned(),
        code: 3,
        ..DropSite::default()
    });
    let ends: Vec<Arc<Endpoint>> = (0..names)
        .map(|number| {
            Arc::new(Endpoint {
                namespace: "shop".to_owned(),
                pod: format!("pod-{number}"),
                identity: number as u32,
                ..Endpoint::default()
            })
        })
        .collect();
    let mut builder = FlowBatchBuilder::new(42, first);
    for row in 0..rows {
        builder.append(&FlowRecord {
            time_ns: 1_700_000_000_000_000_000 + row as i64,
            node: Some(&node),
            interface: (row % 3 != 0).then_some(&interface),
            drop: (more && row % 2 == 0).then_some(&drop),
            verdict: 1 + u8::from(more && row % 2 == 0),
            event_type: Some(4),
            is_reply: (row % 4 != 0).then_some(row % 2 == 0),
            ip: Some(Ip {
                version: 4,
                source: Some([row as u8; 16]),
                destination: Some([9; 16]),
                ttl: more.then_some(64),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some((row as u16, 80)),
                tcp_flags: more.then_some(2),
                ..Transport::default()
            },
            source: (!ends.is_empty()).then(|| &ends[row % ends.len()]),
            destination: (!ends.is_empty() && more).then(|| &ends[(row + 1) % ends.len()]),
            ..FlowRecord::default()
        });
    }
    builder.seal().expect("there are rows")
}

fn told(next: u64) -> FeedMessage {
    FeedMessage {
        node: "c1/node-a".to_owned(),
        log_id: 42,
        next_sequence: next,
        watermark_ns: 5,
        ..FeedMessage::default()
    }
}

fn push_all(decoder: &mut FeedDecoder, messages: Vec<FlightData>) -> Vec<(FeedMessage, Option<FlowBatch>)> {
    let pushed = messages.into_iter().map(|data| decoder.push(data).expect("a message"));
    pushed.flatten().collect()
}

fn assert_same(one: &FlowBatch, other: &FlowBatch) {
    assert_eq!(one.rows(), other.rows());
    for row in 0..one.rows() {
        assert_eq!(one.to_response(row), other.to_response(row), "row {row}");
        assert_eq!(one.row_id(row), other.row_id(row), "row {row}");
    }
}

#[test]
fn batches_of_a_stream_may_have_more_columns_and_fewer() {
    let (mut encoder, mut decoder) = (FeedEncoder::default(), FeedDecoder::default());
    let chosen = batch(500, 60, 3, true)
        .select(&(0..60).map(|row| row % 7 == 0).collect())
        .expect("rows");
    for flows in [
        batch(0, 10, 2, false),
        batch(10, 10, 2, false),
        batch(20, 30, 5, true),
        batch(50, 10, 0, false),
        chosen,
        batch(600, 10, 2, false),
    ] {
        let message = FeedMessage {
            first_sequence: flows.first_sequence(),
            ..told(flows.end_sequence())
        };
        let mut received = push_all(
            &mut decoder,
            encoder.batch(&message, &flows).expect("it can be encoded"),
        );
        let (about, rows) = received.pop().expect("a batch");
        assert!(received.is_empty());
        assert_eq!(about, message);
        assert_same(&rows.expect("flows"), &flows);
    }
}

#[test]
fn values_that_have_not_changed_are_sent_once() {
    let mut encoder = FeedEncoder::default();
    let first = encoder
        .batch(&told(10), &batch(0, 10, 20, true))
        .expect("it can be encoded");
    let second = encoder
        .batch(&told(20), &batch(10, 10, 20, true))
        .expect("it can be encoded");
    assert!(first.len() > 3, "a schema, dictionaries, rows");
    assert_eq!(second.len(), 1, "only rows");
}

#[test]
fn a_message_without_flows_is_read() {
    let (told, flows) = FeedDecoder::default()
        .push(FeedEncoder::alone(&told(7)))
        .expect("a message")
        .expect("a message");
    assert_eq!(told.next_sequence, 7);
    assert!(flows.is_none());
}

#[test]
fn what_is_no_feed_is_refused() {
    let mut messages = FeedEncoder::default()
        .batch(&told(10), &batch(0, 10, 2, true))
        .expect("it can be encoded");
    let rows = messages.pop().expect("rows");
    let error = FeedDecoder::default().push(rows.clone()).expect_err("no schema");
    assert!(error.to_string().contains("before the schema"), "{error}");
    let mut decoder = FeedDecoder::default();
    let schema = messages.remove(0);
    assert!(decoder.push(schema).expect("a schema").is_none());
    assert!(decoder.push(rows).is_err(), "dictionaries are missing");
    let rubbish = FlightData {
        data_header: vec![1, 2, 3].into(),
        ..FlightData::default()
    };
    assert!(matches!(
        FeedDecoder::default().push(rubbish),
        Err(FeedError::Message(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Any byte may be another one on a broken way.
    #[test]
    fn a_broken_message_is_an_error_or_a_batch(which in 0..16_usize, place in any::<prop::sample::Index>(), byte in any::<u8>(), in_header in any::<bool>(), cut in any::<bool>()) {
        let mut messages = FeedEncoder::default().batch(&told(50), &batch(0, 50, 5, true)).expect("it can be encoded");
        let which = which % messages.len();
        let data = &mut messages[which];
        let mut bytes = if in_header { data.data_header.to_vec() } else { data.data_body.to_vec() };
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            if cut { bytes.truncate(place) } else { bytes[place] = byte }
        }
        if in_header { data.data_header = bytes.into() } else { data.data_body = bytes.into() }
        let mut decoder = FeedDecoder::default();
        for data in messages {
            if let Ok(Some((_, Some(flows)))) = decoder.push(data) {
                for row in 0..flows.rows() {
                    prop_assert!(flows.to_response(row).time.is_some());
                }
            }
        }
    }
}
