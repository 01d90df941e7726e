//! Which losses a request is told of: those that it asked about.

use std::time::Duration;

use flow::api::observer::GetFlowsRequest;
use observer::log::{Loss, Stage};

use crate::LARGE;
use crate::node::{START_NS, TestNode, ask, read};

fn newest(number: u64) -> GetFlowsRequest {
    GetFlowsRequest {
        number,
        ..GetFlowsRequest::default()
    }
}

#[tokio::test]
async fn the_newest_flows_come_without_losses_of_long_before_them() {
    let mut node = TestNode::start(LARGE).await;
    node.append(100);
    node.show();
    for (count, flow) in [(1, 3), (2, 97)] {
        let time_ns = START_NS + flow * 1000;
        node.log.losses().record(Loss {
            stage: Stage::KernelRing,
            source: None,
            cpu: Some(0),
            count,
            time_range: (time_ns, time_ns + 500),
        });
    }
    let mut client = node.client().await;
    let brought = ask(&mut client, newest(5)).await.unwrap();
    assert_eq!((brought.ports(), brought.lost_count()), ((95..100).collect(), 2));
    let brought = ask(&mut client, newest(0)).await.unwrap();
    assert_eq!(
        brought.lost_count(),
        3,
        "whoever asks for everything is told of everything"
    );
}

#[tokio::test]
async fn a_request_that_ends_is_not_told_of_flows_lost_after_its_end() {
    const ASKED: usize = 5_000;
    let batch_bytes = {
        let mut node = TestNode::start(LARGE).await;
        node.append(1000);
        node.log.state().bytes
    };
    let mut node = TestNode::start(batch_bytes * ASKED / 1000 + batch_bytes / 2).await;
    node.append(ASKED);
    let mut client = node.narrow_client().await;
    let mut stream = client.get_flows(newest(u64::MAX)).await.unwrap().into_inner();
    // The first flow has come: where the request ends is settled.
    assert!(stream.message().await.unwrap().is_some());
    // Everything that was asked for leaves the log, and much more.
    node.append(10 * ASKED);
    let brought = read(stream, usize::MAX, Duration::from_secs(10)).await;
    assert!(brought.lost_count() > 0, "the connection was to hold less than the log");
    assert_eq!(1 + brought.flows.len() as u64 + brought.lost_count(), ASKED as u64);
}

#[tokio::test]
async fn a_follower_passes_from_the_open_batch_to_the_sealed_one_without_gap_or_repetition() {
    let mut node = TestNode::start(LARGE).await;
    node.append(500);
    node.show();
    let mut client = node.client().await;
    let request = GetFlowsRequest {
        follow: true,
        ..newest(5)
    };
    let stream = client.get_flows(request).await.unwrap().into_inner();
    let reader = tokio::spawn(read(stream, 505, Duration::from_secs(10)));
    // Snapshots, the sealing at 1,000 rows, and what follows; the reader is to look in between.
    for count in [1, 30, 400, 60, 1, 8] {
        tokio::time::sleep(Duration::from_millis(250)).await;
        node.append(count);
        node.show();
    }
    let brought = reader.await.unwrap();
    assert_eq!(
        brought.ports(),
        (495..1000).collect::<Vec<_>>(),
        "the last rows seal the batch"
    );
    assert_eq!(brought.lost_count(), 0);
}
