//! How much a relay does: simulated nodes, a relay and a client, each a process of its own on this machine.
//!
//! ```console
//! $ cargo run --release -p relay --example scale -- --nodes 200 --rate 400000 --client arrow
//! ```
//!
//! The nodes speak the feed as observers do (the same code encodes it), with flows that are made up: what a node has is
//! encoded anew for each message. The client decodes every flow, and looks at how old it is. One line is the outcome.

mod client;
mod nodes;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Arguments {
    /// Simulated nodes
    #[arg(long, default_value_t = 200)]
    nodes: usize,
    /// Flows a second, of all nodes together
    #[arg(long, default_value_t = 400_000)]
    rate: u64,
    /// How long to measure
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Who asks
    #[arg(long, value_enum, default_value = "arrow")]
    client: ClientKind,
    /// Only be the nodes: in this folder, for the harness itself
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum ClientKind {
    /// The merged feed, Arrow batches
    Arrow,
    /// GetFlows, protobuf messages
    Grpc,
}

/// A process that ends with the harness.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &arguments.serve {
        Some(folder) => runtime.block_on(nodes::serve(folder, arguments.nodes, arguments.rate)),
        None => runtime.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own = std::env::current_exe()?;
    let beside = own.parent().and_then(Path::parent).context("where the programs are")?;
    let program = beside.join("parallax-relay");
    anyhow::ensure!(
        program.exists(),
        "{} is missing; build it with `cargo build --release -p relay`",
        program.display()
    );
    let nodes = Command::new(&own)
        .arg("--serve")
        .arg(folder.path())
        .args([
            "--nodes",
            &arguments.nodes.to_string(),
            "--rate",
            &arguments.rate.to_string(),
        ])
        .stdout(Stdio::null())
        .spawn()?;
    let nodes = Process(nodes);
    let peers: Vec<String> = (0..arguments.nodes)
        .map(|node| format!("unix://{}", nodes::socket(folder.path(), node).display()))
        .collect();
    let file = folder.path().join("peers.yaml");
    std::fs::write(&file, format!("peers: [{}]\n", peers.join(", ")))?;
    let last = nodes::socket(folder.path(), arguments.nodes - 1);
    for _ in 0..200 {
        if last.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let listen = folder.path().join("relay.sock");
    let relay = Command::new(&program)
        .args(["--peers", &format!("file:{}", file.display()), "--log", "warn"])
        .args(["--listen", &format!("unix://{}", listen.display())])
        .spawn()?;
    let relay = Process(relay);
    let outcome = client::measure(
        &listen,
        arguments.client,
        arguments.nodes,
        Duration::from_secs(arguments.seconds),
        || [relay.0.id(), nodes.0.id(), std::process::id()].map(cpu),
    )
    .await?;
    let [of_relay, of_nodes, of_client] = outcome
        .cpu
        .map(|cpu| cpu.as_secs_f64() * 100.0 / outcome.time.as_secs_f64());
    println!(
        "{} nodes, {:?} client: offered {}/s, got {:.0}/s, missed {}, lost {}, late {}; age p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms; CPU relay {of_relay:.0} %, nodes {of_nodes:.0} %, client {of_client:.0} %; relay {:.1} MiB ({:.0} KiB a node)",
        arguments.nodes,
        arguments.client,
        arguments.rate,
        outcome.flows as f64 / outcome.time.as_secs_f64(),
        outcome.missed,
        outcome.lost,
        outcome.late,
        outcome.age_ms(0.5),
        outcome.age_ms(0.99),
        outcome.age_ms(1.0),
        rss_kib(relay.0.id()) as f64 / 1024.0,
        rss_kib(relay.0.id()) as f64 / arguments.nodes as f64,
    );
    Ok(())
}

/// Processor time of a process so far (proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms).
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Memory of a process (proc_pid_status(5)).
fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
