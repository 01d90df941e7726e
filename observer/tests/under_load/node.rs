//! An observer that writes a history, and packets that tell their number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt64Type};
use flow::api::observer::ServerStatusRequest;
use flow::api::observer::observer_client::ObserverClient;
use history::file::read;
use history::layout::Kind;
use history::session::Session;
use history::store::Store;
use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// Where an observer serves its metrics, in its own namespace.
pub const METRICS: &str = "127.0.0.1:9965";

static NUMBER: AtomicU16 = AtomicU16::new(0);

/// Whether these tests can run here; says why not.
pub fn available() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped: needs root, for eBPF and network namespaces");
    }
    is_root
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// A network namespace with a loopback interface, which goes with the test.
pub struct Namespace {
    name: String,
    /// Where its packets go to, and nobody listens. Drops are seen in all namespaces: it tells those of this one.
    port: u16,
}

impl Namespace {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self {
            name: format!("plxh{}-{number}", std::process::id()),
            port: 4100 + number,
        };
        run("ip", &["netns", "add", &namespace.name]);
        run("ip", &["-n", &namespace.name, "link", "set", "lo", "up"]);
        namespace
    }
}

impl Namespace {
    /// The metrics of the observer in it.
    pub fn metrics(&self) -> String {
        let path = format!("/run/netns/{}", self.name);
        let asked = std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let mut connection = TcpStream::connect(METRICS).unwrap();
            connection
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            answer
        });
        asked.join().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Sends packets without an end. The address that each goes to is its number.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// One packet each `pause`.
    pub fn start(namespace: &Namespace, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (stopped, times, port) = (Arc::clone(&stop), Arc::clone(&sent), namespace.port);
        let path = format!("/run/netns/{}", namespace.name);
        let thread = std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let end = Instant::now() + Duration::from_secs(600);
            while !stopped.load(Ordering::Relaxed) && Instant::now() < end {
                let number = u32::try_from(times.lock().unwrap().len()).unwrap();
                let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + number);
                // Noted before it is sent: what is in the history has been noted.
                times.lock().unwrap().push(Instant::now());
                socket.send_to(b"x", (address, port)).unwrap();
                std::thread::sleep(pause);
            }
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// How many were sent.
    pub fn sent(&self) -> u32 {
        u32::try_from(self.sent.lock().unwrap().len()).unwrap()
    }

    /// When a packet was sent.
    pub fn when(&self, number: u32) -> Instant {
        self.sent.lock().unwrap()[number as usize]
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It panics if it fails, and says so there.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What an observer says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    /// Flows that it has seen.
    pub seen: u64,
    /// Events that were lost, but for those of slow clients.
    pub lost: u64,
    /// Flows that are in files.
    pub written: u64,
    /// Why nothing is written; empty: it is.
    pub problem: String,
}

/// A process that goes with the test.
pub struct Observer {
    child: Child,
    socket: PathBuf,
}

impl Drop for Observer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Observer {
    /// An observer in a namespace, whose history is at `place`.
    pub fn start(namespace: &Namespace, folder: &Path, place: &Path, more: &[&str]) -> Self {
        let socket = folder.join("o.sock");
        // `ip netns exec` becomes the observer, so that it is the process that is killed.
        let child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &namespace.name,
                env!("CARGO_BIN_EXE_parallax-observer"),
            ])
            .args(["--listen", &format!("unix://{}", socket.display())])
            .args(["--interface", "lo", "--node-name", "n", "--aggregation", "none"])
            .args(["--history", place.to_str().unwrap()])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as Ctrl-C does.
    pub fn end(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A connection to it.
    pub fn channel(&self) -> impl Future<Output = Result<Channel, tonic::transport::Error>> + Send + 'static {
        let path = self.socket.clone();
        let connect = service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        async {
            Endpoint::from_static("http://observer")
                .connect_with_connector(connect)
                .await
        }
    }

    async fn status(&self) -> Result<Status, Box<dyn std::error::Error>> {
        let channel = self.channel().await?;
        let status = ObserverClient::new(channel)
            .server_status(ServerStatusRequest {})
            .await?;
        let status = status.into_inner();
        let capture = status.capture.unwrap();
        let lost = capture.lost.iter().filter(|loss| loss.stage != "slow clients");
        let history = capture.history.unwrap();
        Ok(Status {
            seen: status.seen_flows,
            lost: lost.map(|loss| loss.count).sum(),
            written: history.flows,
            problem: history.problem,
        })
    }

    /// Waits until its status is as it should be.
    pub async fn wait_for(&self, what: &str, fits: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status().await;
            if let Ok(status) = &status
                && fits(status)
            {
                return status.clone();
            }
            assert!(Instant::now() < deadline, "{what} does not come: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What of one run is in files.
#[derive(Debug, Default)]
pub struct Written {
    pub rows: u64,
    /// Numbers of packets.
    pub packets: BTreeSet<u32>,
}

/// What is in files, by run. Each flow must be there once.
pub async fn written(store: &Store, namespace: &Namespace) -> BTreeMap<u64, Written> {
    let mut runs: BTreeMap<u64, (BTreeSet<u64>, Written)> = BTreeMap::new();
    let listing = store.list(Kind::Flows, None).await.unwrap();
    assert!(listing.skipped.is_empty(), "{:?}", listing.skipped);
    for file in listing.files {
        let (sequences, run) = runs.entry(file.name.log_id).or_default();
        for batch in read(store.read(&file.location).await.unwrap(), 8192).unwrap() {
            let batch = batch.unwrap();
            let column = |name| batch.column_by_name(name).unwrap();
            for sequence in column("sequence").as_primitive::<UInt64Type>().values() {
                assert!(sequences.insert(*sequence), "a flow is there twice");
            }
            run.rows += batch.num_rows() as u64;
            let ports = column("destination_port").as_primitive::<UInt16Type>();
            for (port, address) in ports.iter().zip(column("destination_ip").as_string_view()) {
                if port == Some(namespace.port) {
                    let address: Ipv4Addr = address.unwrap().parse().unwrap();
                    run.packets
                        .insert(address.to_bits() - Ipv4Addr::new(127, 1, 0, 0).to_bits());
                }
            }
        }
    }
    runs.into_iter().map(|(run, (_, written))| (run, written)).collect()
}

/// What rows of `lost` with the stage `history` say.
pub async fn reported(store: &Store) -> u64 {
    let mut lost = 0;
    for file in store.list(Kind::Lost, None).await.unwrap().files {
        for batch in read(store.read(&file.location).await.unwrap(), 8192).unwrap() {
            let batch = batch.unwrap();
            let stages = batch.column_by_name("stage").unwrap().as_string_view();
            let counts = batch.column_by_name("count").unwrap().as_primitive::<UInt64Type>();
            for (stage, count) in stages.iter().zip(counts) {
                if stage == Some("history") {
                    lost += count.expect("a folder of this machine tells how many");
                }
            }
        }
    }
    lost
}

/// The first run that is not among those known.
pub async fn wait_for_session(store: &Store, known: &[u64]) -> Session {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let sessions = store.sessions().await.unwrap_or_default();
        if let Some(session) = sessions.into_iter().find(|session| !known.contains(&session.log_id)) {
            return session;
        }
        assert!(Instant::now() < deadline, "the observer did not begin its history");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
