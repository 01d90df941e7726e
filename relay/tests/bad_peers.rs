//! Peers that are not what they should be, beside one that is well: what clients are told of them, and what they still
//! get. None of them needs a kernel.
#![allow(clippy::unwrap_used)]

#[path = "bad_peers/fake.rs"]
mod fake;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fake::{Fake, Kind};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetNodesRequest, Node};
use flow::api::relay::NodeState;
use serving::connect::{Target, channel};
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(30);

/// A relay; it ends with the value.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn relay(folder: &Path, peers: &[&Fake]) -> (Relay, ObserverClient<Channel>) {
    let socket = folder.join("relay.sock");
    let peers: Vec<String> = peers
        .iter()
        .map(|peer| format!("unix://{}", peer.socket.display()))
        .collect();
    let child = Command::new(env!("CARGO_BIN_EXE_parallax-relay"))
        .args(["--peers", &peers.join(","), "--log", "off"])
        .arg("--listen")
        .arg(format!("unix://{}", socket.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let relay = Relay(child);
    let end = Instant::now() + PATIENCE;
    loop {
        match channel(&Target::Unix(socket.clone()), None, |endpoint| endpoint).await {
            Ok(channel) => return (relay, ObserverClient::new(channel)),
            Err(error) => assert!(Instant::now() < end, "no relay: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The nodes, once all of them are known.
async fn nodes(client: &mut ObserverClient<Channel>, count: usize) -> Vec<Node> {
    let end = Instant::now() + PATIENCE;
    loop {
        let nodes = client.get_nodes(GetNodesRequest {}).await.unwrap().into_inner().nodes;
        let connected = nodes.iter().filter(|node| node.state() == NodeState::NodeConnected);
        if connected.count() == count {
            return nodes;
        }
        assert!(Instant::now() < end, "{nodes:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is told of a peer that has something to say, and the flows of the one that is well, until both are there.
async fn told(client: &mut ObserverClient<Channel>, flows: usize) -> (Vec<String>, Vec<(String, NodeState, String)>) {
    let request = GetFlowsRequest {
        follow: true,
        number: 100,
        ..GetFlowsRequest::default()
    };
    let mut stream = client.get_flows(request).await.unwrap().into_inner();
    let (mut of, mut news) = (Vec::new(), Vec::new());
    let end = tokio::time::Instant::now() + PATIENCE;
    while of.len() < flows || news.is_empty() {
        let message = tokio::time::timeout_at(end, stream.message()).await;
        let message = message.unwrap_or_else(|_| panic!("{} flows, {news:?}", of.len()));
        match message.unwrap().unwrap().response_types.unwrap() {
            ResponseTypes::Flow(flow) => of.push(flow.node_name),
            ResponseTypes::NodeStatus(status) if status.state_change() != NodeState::NodeConnected => {
                for name in &status.node_names {
                    news.push((name.clone(), status.state_change(), status.message.clone()));
                }
            }
            _ => {}
        }
    }
    (of, news)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_rubbish_is_named_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let well = Fake::start(folder.path(), "well", Kind::Hubble).await;
    let rubbish = Fake::start(folder.path(), "rubbish", Kind::Rubbish).await;
    let (_relay, mut client) = relay(folder.path(), &[&well, &rubbish]).await;
    nodes(&mut client, 2).await;
    let (flows, news) = told(&mut client, 40).await;
    assert!(flows.iter().all(|node| node == "well"), "{flows:?}");
    let (name, _, why) = &news[0];
    assert_eq!(name, "rubbish");
    assert!(why.contains("message") || why.contains("feed"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_the_feed_is_told_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let well = Fake::start(folder.path(), "well", Kind::Hubble).await;
    let old = Fake::start(folder.path(), "old", Kind::OtherVersion).await;
    let (_relay, mut client) = relay(folder.path(), &[&well, &old]).await;
    nodes(&mut client, 2).await;
    let (flows, news) = told(&mut client, 40).await;
    assert!(flows.iter().all(|node| node == "well"));
    let (name, state, why) = &news[0];
    assert_eq!((name.as_str(), *state), ("old", NodeState::NodeError));
    assert!(why.contains("version") && why.contains("update the older"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_of_a_server_that_knows_only_hubbles_api_come_in_order_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let one = Fake::start(folder.path(), "one", Kind::Hubble).await;
    let other = Fake::start(folder.path(), "other", Kind::Hubble).await;
    let (_relay, mut client) = relay(folder.path(), &[&one, &other]).await;
    nodes(&mut client, 2).await;
    let request = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    let mut stream = client.get_flows(request).await.unwrap().into_inner();
    let (mut flows, mut lost) = (Vec::new(), 0);
    let end = tokio::time::Instant::now() + PATIENCE;
    while flows.len() < 100 || lost < 2 {
        match tokio::time::timeout_at(end, stream.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .response_types
            .unwrap()
        {
            ResponseTypes::Flow(flow) => flows.push(flow),
            ResponseTypes::LostEvents(event) => lost += event.num_events_lost,
            ResponseTypes::NodeStatus(_) => {}
        }
    }
    let times: Vec<i64> = flows
        .iter()
        .map(|flow| flow.time.as_ref().unwrap().to_nanos())
        .collect();
    assert!(times.is_sorted(), "merged by time");
    for name in ["one", "other"] {
        let ids: Vec<u32> = flows
            .iter()
            .filter(|flow| flow.node_name == name)
            .map(|flow| flow.source.as_ref().unwrap().identity)
            .collect();
        assert!(ids.len() > 30, "{name}: {}", ids.len());
        assert!(
            ids.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{name}: each once, none missing: {ids:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_and_clocks_that_are_wrong_are_shown_in_the_list_of_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let first = Fake::start_at(folder.path(), "first.sock", "twin", Kind::Silent { ahead_ns: 0 }).await;
    let second = Fake::start_at(folder.path(), "second.sock", "twin", Kind::Silent { ahead_ns: 0 }).await;
    let ten_minutes = 600_000_000_000;
    let early = Fake::start(folder.path(), "early", Kind::Silent { ahead_ns: ten_minutes }).await;
    let late = Fake::start(folder.path(), "late", Kind::Silent { ahead_ns: -ten_minutes }).await;
    let (_relay, mut client) = relay(folder.path(), &[&first, &second, &early, &late]).await;
    let nodes = nodes(&mut client, 4).await;
    let of = |name: &str| {
        nodes
            .iter()
            .filter(|node| node.name == name)
            .map(|node| node.detail.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let twins = of("twin");
    assert_eq!(twins.len(), 2);
    assert!(
        twins.iter().all(|twin| twin.problem.contains("has the same name")),
        "{twins:?}"
    );
    assert!(
        twins[0].problem.contains("second.sock") && twins[1].problem.contains("first.sock"),
        "{twins:?}"
    );
    for (name, ahead_ns) in [("early", ten_minutes), ("late", -ten_minutes)] {
        let skew_ns = of(name)[0].skew_ns;
        assert!((skew_ns - ahead_ns).abs() < 2_000_000_000, "{name}: {skew_ns}");
    }
    assert!(of("twin").iter().all(|twin| twin.skew_ns == 0));
}
