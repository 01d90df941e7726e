//! What clients cost the server: the whole log to one of them, a filter over ten million flows, one follower and many.
//!
//! Clients run in a process of their own and only count messages, so that the figures are those of the server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use benches::flows::{Flows, RARE, RARE_PORT};
use benches::serving::{PREFIX_BYTES, Received, channel, cpu, follow_raw, get_flows};
use clap::Parser;
use flow::api::flow::FlowFilter;
use flow::api::observer::GetFlowsRequest;
use flow::batch::FlowBatch;
use flow::builder::MAX_ROWS;
use flow::wire::RowEncoder;
use observer::log::FlowLog;
use observer::serve::{NodeState, ObserverServers};
use serving::listen::{Listen, Protection};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Measures what clients cost the server.
#[derive(Debug, Parser)]
struct Arguments {
    /// Flows in the log that one client reads from end to end.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    rows: u64,
    /// Flows in the log that is filtered; 128 bytes of memory each.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    filtered: u64,
    /// Followers, where there are many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    followers: u32,
    /// Flows a second that they follow.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    rate: u64,
    /// Seconds that they follow.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Rounds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,
    /// Be the clients: `log`, `follow` or `raw`, this many, until each has so many messages (bytes, if raw).
    #[arg(long, hide = true, num_args = 4, value_names = ["WHAT", "SOCKET", "COUNT", "ENOUGH"])]
    clients: Vec<String>,
}

const BUDGET_BYTES: usize = 16 << 30;
/// New flows come in batches this often, as from the observer's reader.
const TICK: Duration = Duration::from_millis(10);
/// Until followers are in their place.
const SETTLE: Duration = Duration::from_millis(500);
/// The largest frame of HTTP/2 unless a client asks for larger ones (RFC 9113, section 6.5.2).
const FRAME_BYTES: usize = 16 << 10;
const FILTER_RUNS: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let [what, socket, count, enough] = &arguments.clients[..] {
        return be_clients(what, Path::new(socket), count.parse()?, enough.parse()?).await;
    }
    for round in 1..=arguments.rounds {
        println!("round {round}");
        whole_log(arguments.rows).await?;
        followers(&arguments).await?;
    }
    filters(arguments.filtered).await
}

/// A server over a log, and where it listens.
struct Served {
    log: Arc<FlowLog>,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<Result<(), observer::serve::ServeError>>,
    _folder: tempfile::TempDir,
}

impl Served {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("observer.sock");
        let log = Arc::new(FlowLog::new(1, BUDGET_BYTES));
        // There is no capture that a request would have to wait for.
        log.close();
        let servers = ObserverServers::bind(&[Listen::Unix(socket.clone())], Protection::default()).await?;
        let (stop, shutdown) = watch::channel(false);
        let node = Arc::new(NodeState {
            name: "node-1".to_owned(),
            version: "bench".to_owned(),
            mode: "bench".to_owned(),
            started: Instant::now(),
            log: Arc::clone(&log),
            counters: Arc::default(),
            interfaces: Arc::default(),
            capture_filter: String::new(),
            history: None,
            overflows: None,
            sql: sql::limits::Limits::default(),
        });
        Ok(Self {
            log,
            socket,
            stop,
            server: tokio::spawn(servers.run(node, shutdown)),
            _folder: folder,
        })
    }

    fn fill(&self, rows: u64) {
        let mut flows = Flows::new(1);
        let mut left = rows;
        while left > 0 {
            let rows = left.min(MAX_ROWS as u64);
            self.log.publish(flows.batch(rows as usize));
            left -= rows;
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        Ok(self.server.await??)
    }
}

/// Clients in another process.
struct Clients {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Clients {
    /// Returns once all of them are connected.
    fn start(what: &str, socket: &Path, count: u32, enough: u64) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--clients")
            .arg(what)
            .arg(socket)
            .args([count.to_string(), enough.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the clients")?;
        let output = child.stdout.take().context("the clients have no output")?;
        let mut output = BufReader::new(output);
        let mut ready = String::new();
        output.read_line(&mut ready)?;
        anyhow::ensure!(ready.trim() == "connected", "the clients did not connect");
        Ok(Self { child, output })
    }

    /// Waits until they have enough: messages, bytes, and nanoseconds of CPU of all together.
    async fn finish(mut self) -> anyhow::Result<(u64, u64, u64)> {
        tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            self.output.read_to_string(&mut line)?;
            anyhow::ensure!(self.child.wait()?.success(), "the clients failed");
            let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            let [messages, bytes, cpu_ns] = numbers[..] else {
                anyhow::bail!("the clients said `{line}`")
            };
            Ok((messages, bytes, cpu_ns))
        })
        .await?
    }
}

async fn be_clients(what: &str, socket: &Path, count: u32, enough: u64) -> anyhow::Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let socket = socket.to_owned();
        match what {
            "raw" => {
                let stream = tokio::net::UnixStream::connect(&socket).await?;
                clients.spawn(follow_raw(stream, enough));
            }
            _ => {
                let request = GetFlowsRequest {
                    follow: what == "follow",
                    ..GetFlowsRequest::default()
                };
                let body = get_flows(&mut channel(&socket).await?, &request).await?;
                clients.spawn(Received::count(body, enough));
            }
        }
    }
    println!("connected");
    let mut sum = Received::default();
    while let Some(received) = clients.join_next().await {
        sum.add(&received??);
    }
    println!("{} {} {}", sum.messages, sum.bytes, cpu()?.as_nanos());
    Ok(())
}

async fn whole_log(rows: u64) -> anyhow::Result<()> {
    let served = Served::start().await?;
    served.fill(rows);
    let (cpu_before, started) = (cpu()?, Instant::now());
    let clients = Clients::start("log", &served.socket, 1, rows)?;
    let (messages, bytes, client_ns) = clients.finish().await?;
    let (server, wall) = (cpu()? - cpu_before, started.elapsed());
    anyhow::ensure!(messages == rows, "{messages} of {rows} flows came");
    let per_flow = server.as_nanos() as f64 / rows as f64;
    println!(
        "  whole log to one client: {:.0} flows/s; server {per_flow:.0} ns a flow ({:.0} flows/s on one core); client {:.0} ns a flow; {} bytes a flow",
        rows as f64 / wall.as_secs_f64(),
        1e9 / per_flow,
        client_ns as f64 / rows as f64,
        bytes / rows,
    );
    served.end().await
}

async fn followers(arguments: &Arguments) -> anyhow::Result<()> {
    let ticks = arguments.seconds * 100;
    let rows = (arguments.rate / 100) as usize;
    let mut flows = Flows::new(1);
    let batches: Vec<FlowBatch> = (0..ticks).map(|_| flows.batch(rows)).collect();
    let nobody = followed(&batches, 0).await?;
    let one = followed(&batches, 1).await?;
    let many = followed(&batches, arguments.followers).await?;
    let raw_one = written(&batches, 1).await?;
    let raw_many = written(&batches, arguments.followers).await?;
    let share = |cost: Duration| cost.as_secs_f64() / arguments.seconds as f64 * 100.0;
    println!(
        "  {} flows/s followed, CPU of the server: nobody {:.2} %, one {:.2} %, {} {:.2} %; writing the same bytes to as many sockets in frames of 16 KiB: one {:.2} %, {} {:.2} %",
        arguments.rate,
        share(nobody),
        share(one),
        arguments.followers,
        share(many),
        share(raw_one),
        arguments.followers,
        share(raw_many),
    );
    Ok(())
}

/// CPU of the server while these followers get all batches, one each tick.
async fn followed(batches: &[FlowBatch], followers: u32) -> anyhow::Result<Duration> {
    let served = Served::start().await?;
    let rows: u64 = batches.iter().map(|batch| batch.rows() as u64).sum();
    let clients = (followers > 0)
        .then(|| Clients::start("follow", &served.socket, followers, rows))
        .transpose()?;
    tokio::time::sleep(SETTLE).await;
    let before = cpu()?;
    let mut ticks = tokio::time::interval(TICK);
    for batch in batches {
        ticks.tick().await;
        served.log.publish(batch.clone());
    }
    if let Some(clients) = clients {
        let (messages, ..) = clients.finish().await?;
        let expected = rows * u64::from(followers);
        anyhow::ensure!(messages == expected, "{messages} of {expected} flows came");
    }
    let cost = cpu()? - before;
    served.end().await?;
    Ok(cost)
}

/// CPU that it takes to write what followers get to as many sockets, encoded beforehand, in pieces as HTTP/2 has them.
async fn written(batches: &[FlowBatch], sockets: u32) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("raw.sock");
    let listener = UnixListener::bind(&socket)?;
    let chunks: Vec<Vec<u8>> = batches.iter().map(encoded).collect();
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    let clients = tokio::task::spawn_blocking(move || Clients::start("raw", &socket, sockets, bytes as u64));
    let (news, _) = watch::channel(0);
    let chunks = Arc::new(chunks);
    let mut writers = JoinSet::new();
    for _ in 0..sockets {
        let (mut stream, _) = listener.accept().await?;
        let (chunks, mut news) = (Arc::clone(&chunks), news.subscribe());
        writers.spawn(async move {
            for (place, chunk) in chunks.iter().enumerate() {
                news.wait_for(|written| *written > place).await?;
                for frame in chunk.chunks(FRAME_BYTES) {
                    stream.write_all(frame).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    let clients = clients.await??;
    tokio::time::sleep(SETTLE).await;
    let before = cpu()?;
    let mut ticks = tokio::time::interval(TICK);
    for written in 1..=chunks.len() {
        ticks.tick().await;
        news.send_replace(written);
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    clients.finish().await?;
    Ok(cpu()? - before)
}

fn encoded(batch: &FlowBatch) -> Vec<u8> {
    let mut encoder = RowEncoder::new(batch, "node-1");
    let mut out = Vec::new();
    for row in 0..batch.rows() {
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        encoder.encode(row, &mut out);
    }
    out
}

async fn filters(rows: u64) -> anyhow::Result<()> {
    let served = Served::start().await?;
    served.fill(rows);
    let mebibytes = served.log.state().bytes >> 20;
    println!("filters over {rows} flows ({mebibytes} MiB), each fits one in {RARE}, ms until the last flow has come:");
    let text = |value: &str| vec![value.to_owned()];
    for (name, filter) in [
        (
            "port",
            FlowFilter {
                destination_port: vec![RARE_PORT.to_string()],
                ..FlowFilter::default()
            },
        ),
        (
            "pod",
            FlowFilter {
                destination_pod: text("rare/"),
                ..FlowFilter::default()
            },
        ),
        (
            "label",
            FlowFilter {
                destination_label: text("app=rare"),
                ..FlowFilter::default()
            },
        ),
        (
            "network, port",
            FlowFilter {
                source_ip: text("10.0.0.0/8"),
                destination_port: vec![RARE_PORT.to_string()],
                ..FlowFilter::default()
            },
        ),
    ] {
        let request = GetFlowsRequest {
            whitelist: vec![filter],
            ..GetFlowsRequest::default()
        };
        let mut channel = channel(&served.socket).await?;
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..FILTER_RUNS {
            let started = Instant::now();
            let body = get_flows(&mut channel, &request).await?;
            found = Received::count(body, u64::MAX).await?.messages;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "  {name}: {found} flows, shortest {:.1}, median {:.1}",
            times[0],
            times[FILTER_RUNS / 2]
        );
    }
    served.end().await
}
