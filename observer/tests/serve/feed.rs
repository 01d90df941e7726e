//! The feed for relays, as a relay meets it.

use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use feed::decode::FeedDecoder;
use feed::{FeedMessage, FeedRequest, Position, request};
use flow::api::flow::FlowFilter;
use flow::api::observer::GetFlowsRequest;
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;
use flow::schema::Column;
use tonic::{Code, Status, Streaming};

use crate::node::{START_NS, TestNode};
use crate::{at, dropped};

const LARGE: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

struct Reader {
    messages: Streaming<arrow_flight::FlightData>,
    decoder: FeedDecoder,
}

impl Reader {
    async fn open(node: &TestNode, wanted: FeedRequest) -> Result<Self, Status> {
        let mut client = FlightServiceClient::new(node.channel().await).max_decoding_message_size(LARGE);
        Ok(Self {
            messages: client.do_get(request::ticket(wanted)).await?.into_inner(),
            decoder: FeedDecoder::default(),
        })
    }

    async fn next(&mut self) -> Result<Option<(FeedMessage, Option<FlowBatch>)>, Status> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.messages.message()).await;
            let Some(data) = message.expect("a message within the time of a heartbeat")? else {
                return Ok(None);
            };
            if let Some(decoded) = self.decoder.push(data).expect("a message of a feed") {
                return Ok(Some(decoded));
            }
        }
    }

    /// All rows up to the end of the feed, and the last message.
    async fn all(mut self) -> (Vec<u64>, FeedMessage) {
        let (mut sequences, mut last) = (Vec::new(), FeedMessage::default());
        while let Some((told, rows)) = self.next().await.expect("the stream goes on") {
            if let Some(rows) = &rows {
                sequences.extend((0..rows.rows()).map(|row| rows.row_id(row).1));
            }
            last = told;
        }
        (sequences, last)
    }
}

fn wanted(flows: GetFlowsRequest) -> FeedRequest {
    FeedRequest {
        flows: Some(flows),
        ..FeedRequest::default()
    }
}

#[tokio::test]
async fn rows_are_chosen_at_the_node_and_keep_their_numbers() {
    let mut node = TestNode::start(LARGE).await;
    node.append(2500);
    node.seal();
    let all = GetFlowsRequest::default;
    for (flows, expected) in [
        (all(), (0..2500).collect::<Vec<u64>>()),
        (GetFlowsRequest { number: 3, ..all() }, vec![2497, 2498, 2499]),
        (
            GetFlowsRequest {
                number: 3,
                first: true,
                ..all()
            },
            vec![0, 1, 2],
        ),
        (
            GetFlowsRequest {
                since: at(998),
                until: at(1001),
                ..all()
            },
            vec![998, 999, 1000, 1001],
        ),
        (
            GetFlowsRequest {
                number: 2,
                whitelist: dropped(),
                ..all()
            },
            vec![2489, 2499],
        ),
    ] {
        let (rows, last) = Reader::open(&node, wanted(flows.clone())).await.unwrap().all().await;
        assert!(rows == expected, "{flows:?}: {} rows, {:?}", rows.len(), rows.first());
        assert!(last.end && (flows.first || last.next_sequence == 2500), "{last:?}");
        let newest_first = FeedRequest {
            newest_first: true,
            ..wanted(flows.clone())
        };
        if !flows.first {
            let (mut rows, last) = Reader::open(&node, newest_first).await.unwrap().all().await;
            rows.sort_unstable();
            assert!(rows == expected, "newest first: {flows:?}: {} rows", rows.len());
            assert!(last.end && (flows.first || last.next_sequence == 2500), "{last:?}");
        }
    }
    let some = FeedRequest {
        columns: vec!["destination_port".to_owned()],
        ..wanted(all())
    };
    let (_, rows) = Reader::open(&node, some).await.unwrap().next().await.unwrap().unwrap();
    let rows = rows.unwrap();
    assert!(rows.column(Column::DestinationPort).is_some() && rows.column(Column::SourceIp).is_none());
}

#[tokio::test]
async fn who_was_cut_off_goes_on_where_it_was() {
    let mut node = TestNode::start(LARGE).await;
    node.append(100);
    node.seal();
    let following = |resume: Vec<Position>| FeedRequest {
        resume,
        ..wanted(GetFlowsRequest {
            follow: true,
            since: at(0),
            ..GetFlowsRequest::default()
        })
    };
    let mut reader = Reader::open(&node, following(Vec::new())).await.unwrap();
    let (told, rows) = reader.next().await.unwrap().unwrap();
    assert_eq!((told.next_sequence, rows.unwrap().rows()), (100, 100));
    drop(reader);
    node.append(50);
    node.seal();
    let position = Position {
        node: told.node.clone(),
        log_id: told.log_id,
        next_sequence: told.next_sequence,
        next_loss: told.next_loss,
    };
    let mut reader = Reader::open(&node, following(vec![position.clone()])).await.unwrap();
    let (told, rows) = reader.next().await.unwrap().unwrap();
    assert_eq!((rows.unwrap().row_id(0).1, told.missed), (100, 0), "{told:?}");
    // Of another run all is new.
    let other = Position {
        log_id: position.log_id + 1,
        ..position
    };
    let mut reader = Reader::open(&node, following(vec![other])).await.unwrap();
    let (_, rows) = reader.next().await.unwrap().unwrap();
    assert_eq!(rows.unwrap().row_id(0).1, 0);
}

#[tokio::test]
async fn what_left_the_log_is_counted() {
    let mut node = TestNode::start(200_000).await;
    node.append(100);
    node.seal();
    let at_ten = Position {
        node: "test-node".to_owned(),
        log_id: 0,
        next_sequence: 10,
        next_loss: 0,
    };
    let mut first = Reader::open(&node, wanted(GetFlowsRequest::default())).await.unwrap();
    let (told, _) = first.next().await.unwrap().unwrap();
    node.append(100_000);
    node.seal();
    let request = FeedRequest {
        resume: vec![Position {
            node: told.node.clone(),
            log_id: told.log_id,
            ..at_ten
        }],
        ..wanted(GetFlowsRequest::default())
    };
    let mut reader = Reader::open(&node, request).await.unwrap();
    let (mut rows, mut missed) = (0, 0);
    while let Some((told, batch)) = reader.next().await.unwrap() {
        rows += batch.map_or(0, |batch| batch.rows());
        missed += told.missed;
    }
    assert!(missed > 0 && rows > 0);
    assert_eq!(rows as u64 + missed, 100_100 - 10);
}

#[tokio::test]
async fn a_quiet_node_is_heard_of() {
    let node = TestNode::start(LARGE).await;
    let follow = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    let mut reader = Reader::open(&node, wanted(follow)).await.unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        let (told, rows) = reader.next().await.unwrap().unwrap();
        assert!(rows.is_none() && !told.end && told.now_ns > 0, "{told:?}");
    }
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let node = TestNode::start(LARGE).await;
    let wrong = GetFlowsRequest {
        whitelist: vec![FlowFilter {
            source_ip: vec!["10.0.0.0/99".to_owned()],
            ..FlowFilter::default()
        }],
        ..GetFlowsRequest::default()
    };
    let follow = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    for (request, why) in [
        (wanted(wrong), "10.0.0.0/99"),
        (
            FeedRequest {
                columns: vec!["nonsense".to_owned()],
                ..FeedRequest::default()
            },
            "no column `nonsense`",
        ),
        (
            FeedRequest {
                newest_first: true,
                ..wanted(follow)
            },
            "exclude each other",
        ),
    ] {
        let error = Reader::open(&node, request).await.err().expect("a refusal");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(why), "{error}");
    }
}

#[tokio::test]
async fn nothing_that_comes_is_older_than_what_was_promised() {
    let node = TestNode::start(LARGE).await;
    let mut builder = FlowBatchBuilder::new(1, 0);
    // A batch that takes several messages, a millisecond from row to row.
    for row in 0..10_000 {
        builder.append(&FlowRecord {
            time_ns: START_NS + row * 1_000_000,
            ..FlowRecord::default()
        });
    }
    node.log.publish(builder.seal().unwrap());
    let mut reader = Reader::open(&node, wanted(GetFlowsRequest::default())).await.unwrap();
    let (mut promised, mut messages) = (i64::MIN, 0);
    while let Some((told, rows)) = reader.next().await.unwrap() {
        if let Some(rows) = rows {
            assert!(
                rows.time_range().0 >= promised,
                "{} after {promised}",
                rows.time_range().0
            );
            messages += 1;
        }
        promised = told.watermark_ns;
    }
    assert_eq!(messages, 3);
}
