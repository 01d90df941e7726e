//! What breaks, and what the client is told: sums of what came and what was reported lost agree with what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flow::api::Timestamp;
use flow::api::observer::GetFlowsRequest;
use flow::api::relay::NodeState;
use nix::sys::signal::Signal;

use super::client::{Client, Got};
use super::lab::{Lab, NODES, skip};
use super::{alone, of_port};

/// Packets that each node sends a second.
const RATE: usize = 100;
/// Packets that each node sends in a flood.
const FLOOD: usize = 50_000;

fn follow(port: u16) -> GetFlowsRequest {
    GetFlowsRequest {
        follow: true,
        ..of_port(port)
    }
}

/// A row of the table of faults.
fn row(fault: &str, sent: usize, got: &Got) {
    let delivered: usize = got.by_node().values().sum();
    let lost: u64 = got.lost.iter().map(|(_, lost)| lost.num_events_lost).sum();
    println!(
        "| {fault} | {sent} | {delivered} | {lost} | {} late, {} twice |",
        got.late(),
        got.repeated()
    );
}

/// Every node sends for so long, while `fault` happens; then all that is there is read.
async fn under_traffic(
    lab: &mut Lab,
    port: u16,
    seconds: usize,
    fault: impl AsyncFnOnce(&mut Lab),
) -> (Vec<usize>, Got) {
    let mut client = Client::connect(&lab.relay_socket()).await;
    let mut reading = client.follow(follow(port)).await;
    // The stream is open at all nodes once it says which there are.
    reading.read_for(Duration::from_secs(1), |_| {}).await;
    let pause = Duration::from_secs(1) / u32::try_from(RATE).unwrap();
    let senders: Vec<_> = (0..NODES)
        .map(|node| lab.send_beside(node, port, RATE * seconds, pause))
        .collect();
    let read = async {
        while !senders.iter().all(std::thread::JoinHandle::is_finished) {
            reading.read_for(Duration::from_millis(200), |_| {}).await;
        }
    };
    tokio::join!(read, fault(lab));
    let sent: Vec<usize> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    reading.read_until(sent.iter().sum()).await;
    (sent, reading.got)
}

fn all_of(nodes: impl Iterator<Item = usize>, sent: &[usize], got: &Got) {
    let counts = got.by_node();
    for node in nodes {
        let name = format!("c1/n{node}");
        assert_eq!(
            counts.get(&name).copied().unwrap_or_default(),
            sent[node],
            "{name}: {:?}",
            got.lost
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_is_told_and_so_is_its_return() {
    let _alone = alone().await;
    let Some(mut lab) = Lab::start(&[]).await else {
        return skip();
    };
    let (sent, got) = under_traffic(&mut lab, 7201, 8, async |lab| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        lab.signal_observer(2, Signal::SIGKILL);
        tokio::time::sleep(Duration::from_secs(2)).await;
        lab.start_observer(2);
    })
    .await;
    row("kill -9 of an observer, back after 2 s", sent.iter().sum(), &got);
    all_of([0, 1, 3, 4].into_iter(), &sent, &got);
    assert_eq!(got.repeated(), 0);
    let states = got.states("c1/n2");
    let expected = [
        NodeState::NodeConnected,
        NodeState::NodeUnavailable,
        NodeState::NodeConnected,
    ];
    assert_eq!(states, expected, "{:?}", got.status);
    // Two runs of the observer, and flows of both.
    let runs: BTreeSet<&str> = got
        .flows
        .iter()
        .filter(|(node, _)| node == "c1/n2")
        .map(|(_, flow)| &flow.uuid[..18])
        .collect();
    assert_eq!(runs.len(), 2, "flows before and after");
    println!(
        "  sent by that node {}, of which {} came: nobody sees what is sent while its observer is away",
        sent[2],
        got.by_node()["c1/n2"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_down_for_ten_seconds_loses_nothing() {
    let _alone = alone().await;
    let Some(mut lab) = Lab::start(&[]).await else {
        return skip();
    };
    let (sent, got) = under_traffic(&mut lab, 7202, 16, async |lab| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        lab.set_control_link(3, "down");
        tokio::time::sleep(Duration::from_secs(10)).await;
        lab.set_control_link(3, "up");
    })
    .await;
    row("the link to a node down for 10 s", sent.iter().sum(), &got);
    all_of(0..NODES, &sent, &got);
    assert_eq!((got.repeated(), got.lost.len()), (0, 0), "{:?}", got.lost);
    assert!(
        got.states("c1/n3").contains(&NodeState::NodeUnavailable),
        "{:?}",
        got.status
    );
    assert!(got.late() > 0, "what comes ten seconds later is late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_holds_nobody_up_and_loses_nothing() {
    let _alone = alone().await;
    let Some(mut lab) = Lab::start(&[]).await else {
        return skip();
    };
    let (sent, got) = under_traffic(&mut lab, 7203, 10, async |lab| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        lab.signal_observer(1, Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_secs(4)).await;
        lab.signal_observer(1, Signal::SIGCONT);
    })
    .await;
    row("an observer stopped for 4 s", sent.iter().sum(), &got);
    all_of(0..NODES, &sent, &got);
    assert_eq!((got.repeated(), got.lost.len()), (0, 0), "{:?}", got.lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_after_a_restart_of_the_relay_misses_nothing() {
    let _alone = alone().await;
    let Some(mut lab) = Lab::start(&[]).await else {
        return skip();
    };
    let mut before = Client::connect(&lab.relay_socket()).await.follow(follow(7204)).await;
    before.read_for(Duration::from_secs(1), |_| {}).await;
    let senders: Vec<_> = (0..NODES)
        .map(|node| lab.send_beside(node, 7204, RATE * 6, Duration::from_millis(10)))
        .collect();
    before.read_for(Duration::from_secs(2), |_| {}).await;
    lab.restart_relay();
    before.read_for(Duration::from_secs(5), |_| {}).await;
    assert!(before.ended, "its stream has ended");
    let since = before.got.times().into_iter().max().unwrap();
    let mut client = Client::connect(&lab.relay_socket()).await;
    let again = GetFlowsRequest {
        since: Some(Timestamp::from_nanos(since)),
        ..follow(7204)
    };
    let mut after = client.follow(again).await;
    let sent: Vec<usize> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let total: usize = sent.iter().sum();
    after.read_until(total - before.got.flows.len() + 1).await;
    let mut got = before.got;
    got.flows.append(&mut after.got.flows);
    row("the relay restarted, the client asks since its last flow", total, &got);
    all_of(0..NODES, &sent, &got);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_that_does_not_read_misses_is_counted_exactly() {
    let _alone = alone().await;
    let Some(lab) = Lab::start(&["--memory", "2MiB"]).await else {
        return skip();
    };
    let mut client = Client::connect(&lab.relay_socket()).await;
    let everything = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    let mut reading = client.follow(everything).await;
    reading.read_for(Duration::from_secs(1), |_| {}).await;
    let senders: Vec<_> = (0..NODES)
        .map(|node| lab.send_beside(node, 7205, FLOOD, Duration::from_micros(50)))
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    // It has not read until now.
    reading.read_until(usize::MAX).await;
    let got = reading.got;
    row("a client that doesn't read during a flood", NODES * FLOOD, &got);
    assert_eq!(got.repeated(), 0);
    // Flows are numbered through in each node's log: what isn't there must have been reported.
    let mut numbers: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for (node, flow) in &got.flows {
        let run = flow.uuid[..18].to_owned();
        let bytes = u128::from_str_radix(&flow.uuid.replace('-', ""), 16).unwrap();
        // RFC 9562: the variant takes the two highest bits.
        let number = (bytes as u64) & (u64::MAX >> 2);
        numbers.entry((node.clone(), run)).or_default().push(number);
    }
    assert_eq!(numbers.len(), NODES, "{:?}", numbers.keys());
    for ((node, _), mut numbers) in numbers {
        numbers.sort_unstable();
        let span = numbers[numbers.len() - 1] - numbers[0] + 1;
        let missing = span - numbers.len() as u64;
        let client_lost = got.lost_by_clients(&node);
        assert!(missing > 0, "{node}: nothing left its log, so that this proves nothing");
        assert_eq!(missing, client_lost, "{node}: {} came of {span}", numbers.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_renewed_cost_no_flow() {
    let _alone = alone().await;
    let good_for = Duration::from_secs(25);
    let Some(mut lab) = Lab::start_encrypted(good_for).await else {
        return skip();
    };
    let started = std::time::Instant::now();
    let (sent, got) = under_traffic(&mut lab, 7210, 10, async |lab| {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            lab.renew_certificates(Duration::from_secs(3600));
        }
    })
    .await;
    row("certificates renewed three times", sent.iter().sum(), &got);
    all_of(0..NODES, &sent, &got);
    assert_eq!(got.repeated(), 0);
    assert!(
        got.states("c1/n0")
            .iter()
            .all(|state| *state == NodeState::NodeConnected)
    );
    // The old ones are over; who connects now has to be shown the new ones, and has to show one.
    tokio::time::sleep(good_for.saturating_sub(started.elapsed()) + Duration::from_secs(1)).await;
    lab.restart_relay();
    let mut client = Client::connect(&lab.relay_socket()).await;
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while client.connected().await < NODES {
        assert!(std::time::Instant::now() < end, "{:?}", client.nodes().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let again = client.ask(of_port(7210)).await;
    all_of(0..NODES, &sent, &again);
}
