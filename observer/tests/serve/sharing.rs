//! Followers that ask for the same thing get the same bytes: each of them everything, each row once.

use std::time::Duration;

use flow::api::observer::GetFlowsRequest;
use prost_types::FieldMask;

use crate::node::{Brought, TestNode, read};
use crate::{LARGE, dropped};

const FLOWS: usize = 3000;
const SECOND: Duration = Duration::from_secs(1);

fn follow() -> GetFlowsRequest {
    GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    }
}

async fn followers(node: &TestNode, count: usize, request: &GetFlowsRequest) -> Vec<tokio::task::JoinHandle<Brought>> {
    let mut readers = Vec::new();
    for _ in 0..count {
        let stream = node
            .client()
            .await
            .get_flows(request.clone())
            .await
            .unwrap()
            .into_inner();
        readers.push(tokio::spawn(read(stream, usize::MAX, 2 * SECOND)));
    }
    readers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_follower_gets_every_flow_that_it_asks_for_once_and_in_order() {
    let mut node = TestNode::start(LARGE).await;
    let few = GetFlowsRequest {
        whitelist: dropped(),
        ..follow()
    };
    let masked = GetFlowsRequest {
        field_mask: Some(FieldMask {
            paths: vec!["l4".into()],
        }),
        ..follow()
    };
    let everything = followers(&node, 12, &follow()).await;
    let few = followers(&node, 6, &few).await;
    let masked = followers(&node, 4, &masked).await;
    tokio::time::sleep(SECOND / 2).await;
    let mut late = Vec::new();
    for step in 1..=30 {
        node.append(FLOWS / 30);
        node.show();
        tokio::time::sleep(SECOND / 100).await;
        if step == 10 {
            let from_the_start = GetFlowsRequest {
                number: u64::MAX,
                ..follow()
            };
            late = followers(&node, 3, &from_the_start).await;
        }
    }
    let expected: Vec<u32> = (0..FLOWS as u32).map(|number| number % 1000).collect();
    for reader in everything.into_iter().chain(masked.into_iter()).chain(late) {
        let brought = reader.await.unwrap();
        assert!(brought.ports() == expected, "{} flows came", brought.flows.len());
        assert_eq!(brought.lost_count(), 0);
    }
    let expected: Vec<u32> = expected.into_iter().filter(|port| port % 10 == 9).collect();
    for reader in few {
        assert_eq!(reader.await.unwrap().ports(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_one_among_many_is_told_exactly_what_it_missed() {
    const PUBLISHED: usize = 100_000;
    let mut node = TestNode::start(1 << 20).await;
    let mut slow = node
        .narrow_client()
        .await
        .get_flows(follow())
        .await
        .unwrap()
        .into_inner();
    let quick = followers(&node, 3, &follow()).await;
    tokio::time::sleep(SECOND / 2).await;
    for _ in 0..PUBLISHED / 1000 {
        node.append(1000);
        tokio::time::sleep(SECOND / 200).await;
    }
    assert!(node.log.state().evicted > 0, "the log was meant to overflow");
    assert!(slow.message().await.unwrap().is_some());
    let mut brought = vec![read(slow, usize::MAX, SECOND).await];
    assert!(brought[0].lost_count() > 0, "the slow one was meant to miss something");
    // The one that was read by hand.
    let mut received = vec![1];
    for reader in quick {
        brought.push(reader.await.unwrap());
        received.push(0);
    }
    for (one, received) in brought.iter().zip(received) {
        assert_eq!(received + one.flows.len() as u64 + one.lost_count(), PUBLISHED as u64);
    }
    let told: u64 = node.log.losses().sums().iter().map(|(.., count)| count).sum();
    assert_eq!(told, brought.iter().map(Brought::lost_count).sum::<u64>());
}
