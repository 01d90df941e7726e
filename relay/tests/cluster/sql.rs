//! SQL over all nodes: what they answer, what that moves, and what is said when one fails.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch};
use futures::{StreamExt as _, TryStreamExt as _};
use nix::sys::signal::Signal;
use serving::connect::{Target, channel};
use sql::client::{Question, Rows, ask};
use sql::coverage::{Coverage, NodesCoverage};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::alone;
use super::lab::{Lab, NODES, skip};

fn cell(column: &ArrayRef, row: usize) -> String {
    arrow_cast::display::array_value_to_string(column, row).unwrap()
}

/// A question for a relay.
struct Asker(Channel);

impl Asker {
    async fn new(socket: &Path) -> Self {
        let target = Target::Unix(socket.to_owned());
        Self(channel(&target, None, |endpoint| endpoint).await.unwrap())
    }

    async fn begin(&self, sql: &str, partial: bool) -> Result<Rows, Status> {
        let question = Question {
            sql: sql.to_owned(),
            partial,
            part_of: None,
        };
        ask(self.0.clone(), question).await
    }

    /// The rows as text, cells joined by spaces, and how complete they are.
    async fn ask(&self, sql: &str, partial: bool) -> Result<(Vec<String>, Coverage), Status> {
        let answer = self.begin(sql, partial).await?;
        let batches: Vec<RecordBatch> = answer.batches.try_collect().await?;
        let mut lines = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| cell(column, row));
                lines.push(cells.collect::<Vec<_>>().join(" "));
            }
        }
        Ok((lines, answer.said.coverage().unwrap_or_default()))
    }

    /// As [`Asker::ask`], where nothing fails.
    async fn rows(&self, sql: &str) -> (Vec<String>, NodesCoverage) {
        let (rows, coverage) = self.ask(sql, false).await.unwrap();
        let nodes = coverage.nodes.unwrap();
        assert!(nodes.failed.is_empty(), "{nodes:?}");
        (rows, nodes)
    }
}

/// Packets to a port as they leave their sender's node.
const SENT: &str = "event_type = 'trace' AND observation_point = 'to-endpoint' AND destination_port = 7201";

#[tokio::test(flavor = "multi_thread")]
async fn groups_come_from_the_nodes_and_flows_stay_there() {
    let _alone = alone().await;
    let Some(lab) = Lab::start(&[]).await else {
        return skip();
    };
    for node in 0..NODES {
        lab.send(node, 7201, 1000 * (node + 1), Duration::from_micros(50));
    }
    let relay = Asker::new(&lab.relay_socket()).await;
    let total = format!("SELECT count(*), count(DISTINCT node) FROM flows WHERE {SENT}");
    let end = Instant::now() + Duration::from_secs(20);
    while relay.rows(&total).await.0 != ["15000 5"] {
        assert!(Instant::now() < end, "{:?}", relay.rows(&total).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let by_node = format!(
        "SELECT \"cluster\", node, count(*) AS packets, avg(length), min(time) < max(time) FROM flows WHERE {SENT} \
         GROUP BY \"cluster\", node ORDER BY packets"
    );
    let (groups, moved) = relay.rows(&by_node).await;
    let wanted: Vec<String> = (0..NODES)
        .map(|node| format!("c1 n{node} {} 43.0 true", 1000 * (node + 1)))
        .collect();
    assert_eq!(groups, wanted);
    assert_eq!(
        (moved.answered, moved.rows),
        (NODES, NODES as u64),
        "a group of each node"
    );
    // The same groups, of flows that have to come here first: a median of a cluster is made of all values.
    let (_, all) = relay
        .rows(&format!(
            "SELECT node, median(length) FROM flows WHERE {SENT} GROUP BY node"
        ))
        .await;
    assert_eq!(all.rows, 15_000);
    println!(
        "GROUP BY over {NODES} nodes moved {} rows, {} bytes; its 15,000 flows, two columns each, {} bytes",
        moved.rows, moved.bytes, all.bytes
    );
    assert!(moved.bytes < all.bytes / 10);

    let newest = format!("SELECT node, source_port, time FROM flows WHERE {SENT} ORDER BY time DESC LIMIT 3");
    let (rows, moved) = relay.rows(&newest).await;
    assert!(
        rows.len() == 3 && rows.iter().all(|row| row.starts_with("n4 ")),
        "{rows:?}"
    );
    assert_eq!(moved.rows, 3 * NODES as u64);

    // A relay is asked like a node, by another relay too.
    let upper = lab.start_upper_relay().await;
    let beyond = Asker::new(&upper.socket).await;
    let (groups, moved) = beyond.rows(&by_node).await;
    assert_eq!(groups, wanted);
    assert_eq!(moved.answered, NODES);
    assert_eq!(beyond.rows(&total).await.0, ["15000 5"]);

    // What is wrong with a question is said as a node says it, with the place.
    let error = relay.ask("SELECT tim FROM flows", false).await.unwrap_err();
    assert!(
        error.code() == Code::InvalidArgument && error.message().contains("`time`"),
        "{error:?}"
    );
    assert!(error.metadata().get(sql::headers::PLACE).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_is_named_and_may_be_left_out() {
    let _alone = alone().await;
    let Some(mut lab) = Lab::start(&[]).await else {
        return skip();
    };
    for node in 0..NODES {
        lab.send(node, 7201, 20_000, Duration::from_micros(20));
    }
    let relay = Asker::new(&lab.relay_socket()).await;
    let by_node = format!("SELECT node, count(*) > 0 FROM flows WHERE {SENT} GROUP BY node ORDER BY node");
    let everything = "SELECT node AS sender, * FROM flows";

    // Killed while it answers: its rows are not all there, and nobody should think so.
    for partial in [false, true] {
        let mut answer = relay.begin(everything, partial).await.unwrap();
        let victim = usize::from(partial);
        // Some of its rows have come, and most have not.
        loop {
            let batch = answer.batches.next().await.unwrap().unwrap();
            if batch.num_rows() > 0 && cell(batch.column(0), 0) == format!("n{victim}") {
                break;
            }
        }
        lab.signal_observer(victim, Signal::SIGKILL);
        let rest: Result<Vec<RecordBatch>, Status> = answer.batches.try_collect().await;
        let name = format!("c1/n{victim}");
        if partial {
            let rows: usize = rest.unwrap().iter().map(RecordBatch::num_rows).sum();
            let failed = answer.said.coverage().unwrap().nodes.unwrap().failed;
            let why = &failed[&name];
            assert!(why.contains("rows, which are in the answer"), "{failed:?}");
            assert!(rows > 3 * 20_000, "those of the others: {rows}");
        } else {
            let error = rest.unwrap_err();
            assert!(
                error.code() == Code::Unavailable && error.message().contains(&name),
                "{error:?}"
            );
            assert!(error.message().contains("--partial"), "{error:?}");
            lab.start_observer(victim);
            let end = Instant::now() + Duration::from_secs(30);
            while relay.ask(&by_node, false).await.is_err() {
                assert!(Instant::now() < end, "{victim} doesn't come back");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Away, and known to be: all who are, are named at once.
    lab.signal_observer(2, Signal::SIGKILL);
    let end = Instant::now() + Duration::from_secs(10);
    let error = loop {
        let error = relay.ask(&by_node, false).await.unwrap_err();
        if ["c1/n1", "c1/n2"].iter().all(|name| error.message().contains(name)) {
            break error;
        }
        assert!(Instant::now() < end, "{error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("{}", error.message());
    let (rows, coverage) = relay.ask(&by_node, true).await.unwrap();
    assert_eq!(rows, ["n3 true", "n4 true"], "n0 was started anew");
    let nodes = coverage.nodes.unwrap();
    assert_eq!(nodes.answered, 3);
    assert_eq!(nodes.failed.keys().collect::<Vec<_>>(), ["c1/n1", "c1/n2"]);

    // It hangs: nobody waits for the limit of queries.
    lab.signal_observer(3, Signal::SIGSTOP);
    let started = Instant::now();
    let (rows, coverage) = relay.ask(&by_node, true).await.unwrap();
    assert_eq!(rows, ["n4 true"]);
    assert!(coverage.nodes.unwrap().failed.contains_key("c1/n3"));
    println!("without a node that hangs after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(15));
    lab.signal_observer(3, Signal::SIGCONT);
}
