//! Five observers of real packets, each in a network namespace of its own, and a relay: what clients get when nothing
//! fails, and when something does.
#![allow(clippy::unwrap_used)]

#[path = "cluster/certificates.rs"]
mod certificates;
#[path = "cluster/client.rs"]
mod client;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/lab.rs"]
mod lab;
#[path = "cluster/sql.rs"]
mod sql_over_nodes;

use std::time::{Duration, Instant};

use client::Client;
use flow::api::observer::{GetFlowsRequest, ServerStatusRequest};
use flow::api::relay::NodeState;
use lab::{Lab, NODES, skip};
use tokio::sync::{Mutex, MutexGuard};

/// The labs take all of a small machine: one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// What a port's flows at their senders are.
fn of_port(port: u16) -> GetFlowsRequest {
    GetFlowsRequest {
        whitelist: vec![client::sent_to(port)],
        ..GetFlowsRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_asked_like_a_node() {
    let _alone = alone().await;
    let Some(lab) = Lab::start(&[]).await else {
        return skip();
    };
    let mut client = Client::connect(&lab.relay_socket()).await;
    let nodes = client.nodes().await;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["c1/n0", "c1/n1", "c1/n2", "c1/n3", "c1/n4"]);
    assert!(nodes.iter().all(|node| node.state() == NodeState::NodeConnected));
    for (node, count) in (0..NODES).zip([10, 20, 30, 40, 50]) {
        lab.send(node, 7001, count, Duration::from_millis(2));
    }
    // The newest of all nodes, in order, and exactly as many.
    for number in [1, 20, 149, 150, 1000] {
        let request = GetFlowsRequest {
            number,
            ..of_port(7001)
        };
        let got = client.ask(request).await;
        assert_eq!(got.flows.len() as u64, number.min(150), "{:?}", got.lost);
        assert!(got.times().is_sorted());
    }
    let all = client.ask(of_port(7001)).await;
    assert_eq!(
        all.by_node(),
        [
            ("c1/n0", 10),
            ("c1/n1", 20),
            ("c1/n2", 30),
            ("c1/n3", 40),
            ("c1/n4", 50)
        ]
        .map(|(node, count)| (node.to_owned(), count))
        .into()
    );
    assert!(all.times().is_sorted());
    let newest: Vec<String> = all.uuids().into_iter().rev().take(20).rev().collect();
    let last = client
        .ask(GetFlowsRequest {
            number: 20,
            ..of_port(7001)
        })
        .await;
    assert_eq!(last.uuids(), newest);
    let first = client
        .ask(GetFlowsRequest {
            number: 7,
            first: true,
            ..of_port(7001)
        })
        .await;
    assert_eq!(first.uuids(), all.uuids()[..7]);

    let status = client
        .observer
        .server_status(ServerStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.num_connected_nodes.unwrap().value, 5);
    assert!(
        status.seen_flows >= 300,
        "each packet is seen at both ends: {}",
        status.seen_flows
    );

    let wrong = GetFlowsRequest {
        whitelist: vec![flow::api::flow::FlowFilter {
            source_ip: vec!["10.0.0.0/77".to_owned()],
            ..Default::default()
        }],
        ..GetFlowsRequest::default()
    };
    let error = client.observer.get_flows(wrong).await.unwrap_err();
    assert!(
        error.code() == tonic::Code::InvalidArgument && error.message().contains("/77"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_is_as_quick_as_a_flood() {
    let _alone = alone().await;
    let Some(lab) = Lab::start(&[]).await else {
        return skip();
    };
    let mut client = Client::connect(&lab.relay_socket()).await;
    for (port, pause, count) in [(7101, 20, 100), (7102, 200, 15), (7103, 2000, 3)] {
        let follow = GetFlowsRequest {
            follow: true,
            ..of_port(port)
        };
        let mut stream = client.follow(follow).await;
        lab.send_beside(1, port, count, Duration::from_millis(pause));
        let mut delays = Vec::new();
        let end = Instant::now() + Duration::from_secs(30);
        while delays.len() < count && Instant::now() < end {
            stream
                .read_for(Duration::from_millis(50), |delay| delays.push(delay))
                .await;
        }
        assert_eq!(delays.len(), count, "one flow every {pause} ms");
        delays.sort_unstable();
        println!(
            "one flow every {pause:>4} ms: seen after {:?} (median), {:?} (most)",
            delays[delays.len() / 2],
            delays[delays.len() - 1]
        );
    }
}
