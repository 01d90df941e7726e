//! Network namespaces with observers, and one with the relay. All of it goes with the value.

use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::certificates::Certificates;

pub const NODES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Lab {
    name: String,
    folder: tempfile::TempDir,
    observers: Vec<Option<Child>>,
    relay: Option<Child>,
    flags: Vec<String>,
    certificates: Option<Certificates>,
}

/// Says that a test could not run here.
pub fn skip() {
    println!("skipped: this needs root, `ip`, and parallax-observer beside parallax-relay (cargo build -p observer)");
}

/// Where observers are asked.
fn addresses() -> Vec<String> {
    (0..NODES).map(|node| format!("10.98.0.{}", node + 1)).collect()
}

fn observer() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_parallax-relay")).with_file_name("parallax-observer")
}

fn ip(arguments: &str) -> bool {
    let words = arguments.split_whitespace();
    let run = Command::new("ip").args(words).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

impl Lab {
    /// Five observers with those flags, connected, and a relay that has them all; `None` where that can't be.
    pub async fn start(flags: &[&str]) -> Option<Self> {
        Self::start_with(flags, None).await
    }

    /// As [`Lab::start`], where observers and relay show each other certificates that are good for so long.
    pub async fn start_encrypted(good_for: Duration) -> Option<Self> {
        Self::start_with(&[], Some(Certificates::new(&addresses(), good_for))).await
    }

    /// New certificates in the files of the old ones.
    pub fn renew_certificates(&self, good_for: Duration) {
        let certificates = self.certificates.as_ref().expect("it is encrypted");
        certificates.renew(&addresses(), good_for);
    }

    async fn start_with(flags: &[&str], certificates: Option<Certificates>) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !Uid::effective().is_root() || !observer().exists() || !ip("netns list") {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut lab = Self {
            name: format!("plxr{}x{number}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
            observers: (0..NODES).map(|_| None).collect(),
            relay: None,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            certificates,
        };
        lab.build();
        for node in 0..NODES {
            lab.start_observer(node);
        }
        lab.start_relay();
        let mut client = super::Client::connect(&lab.relay_socket()).await;
        let end = Instant::now() + PATIENCE;
        while client.connected().await < NODES {
            assert!(
                Instant::now() < end,
                "the relay doesn't reach all nodes: {:?}",
                client.nodes().await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some(lab)
    }

    /// The namespace of a node; that of the relay is number [`NODES`], and that of the switches one more.
    fn netns(&self, place: usize) -> String {
        format!("{}n{place}", self.name)
    }

    /// Two networks: one for traffic (10.97.0.0/24), one between observers and relay (10.98.0.0/24).
    fn build(&self) {
        let switch = self.netns(NODES + 1);
        let run = |line: String| assert!(ip(&line), "ip {line}");
        run(format!("netns add {switch}"));
        // Without IPv6 there is no traffic but what the test sends.
        self.quiet(&switch);
        for bridge in ["data", "control"] {
            run(format!("-n {switch} link add {bridge} type bridge"));
            run(format!("-n {switch} link set {bridge} up"));
        }
        for place in 0..=NODES {
            let netns = self.netns(place);
            run(format!("netns add {netns}"));
            self.quiet(&netns);
            run(format!("-n {netns} link set lo up"));
            for (bridge, link, network) in [("data", "d", 97), ("control", "c", 98)] {
                run(format!(
                    "link add {link}0 netns {netns} type veth peer name {link}{place} netns {switch}"
                ));
                run(format!("-n {switch} link set {link}{place} master {bridge} up"));
                run(format!(
                    "-n {netns} addr add 10.{network}.0.{}/24 dev {link}0",
                    place + 1
                ));
                run(format!("-n {netns} link set {link}0 up"));
            }
        }
    }

    fn quiet(&self, netns: &str) {
        let set = Command::new("ip")
            .args([
                "netns",
                "exec",
                netns,
                "sysctl",
                "-qw",
                "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1",
            ])
            .status();
        assert!(set.is_ok_and(|status| status.success()), "sysctl in {netns}");
    }

    pub fn start_observer(&mut self, node: usize) {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.netns(node)])
            .arg(observer())
            .args([
                "--node-name",
                &format!("c1/n{node}"),
                "--aggregation",
                "none",
                "--silence",
                "off",
                "--log",
                "warn",
            ])
            .args(["--interface", "d0", "--listen", &format!("10.98.0.{}:4244", node + 1)])
            .args(self.encryption(
                ["--tls-cert-file", "--tls-key-file", "--tls-client-ca-files"],
                "--insecure",
            ))
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(self.log(&format!("observer{node}")))
            .spawn();
        self.observers[node] = Some(child.unwrap());
    }

    pub fn start_relay(&mut self) {
        let scheme = if self.certificates.is_some() { "tls://" } else { "" };
        let peers: Vec<String> = addresses()
            .iter()
            .map(|address| format!("{scheme}{address}:4244"))
            .collect();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.netns(NODES)])
            .arg(env!("CARGO_BIN_EXE_parallax-relay"))
            .args([
                "--peers",
                &peers.join(","),
                "--listen",
                &format!("unix://{}", self.relay_socket().display()),
            ])
            .args(self.encryption(
                ["--tls-client-cert-file", "--tls-client-key-file", "--tls-ca-cert-files"],
                "--log=info",
            ))
            .stdout(Stdio::null())
            .stderr(self.log("relay"))
            .spawn();
        self.relay = Some(child.unwrap());
    }

    /// Flags for certificate, key and authority; else the one without.
    fn encryption(&self, flags: [&str; 3], without: &str) -> Vec<String> {
        let Some(certificates) = &self.certificates else {
            return vec![without.to_owned()];
        };
        let files = ["tls.crt", "tls.key", "ca.crt"].map(|name| certificates.path(name).display().to_string());
        flags
            .into_iter()
            .map(str::to_owned)
            .zip(files)
            .flat_map(|(flag, file)| [flag, file])
            .collect()
    }

    /// A relay whose only peer is the relay. It ends with the value.
    pub async fn start_upper_relay(&self) -> UpperRelay {
        let socket = self.folder.path().join("upper.sock");
        let child = Command::new(env!("CARGO_BIN_EXE_parallax-relay"))
            .arg("--peers")
            .arg(format!("unix://{}", self.relay_socket().display()))
            .arg("--listen")
            .arg(format!("unix://{}", socket.display()))
            .stdout(Stdio::null())
            .stderr(self.log("upper"))
            .spawn()
            .unwrap();
        let relay = UpperRelay { socket, child };
        let mut client = super::Client::connect(&relay.socket).await;
        let end = Instant::now() + PATIENCE;
        while client.connected().await < NODES {
            assert!(Instant::now() < end, "{:?}", client.nodes().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        relay
    }

    fn log(&self, name: &str) -> File {
        let path = self.folder.path().join(format!("{name}.log"));
        File::options().create(true).append(true).open(path).unwrap()
    }

    pub fn relay_socket(&self) -> PathBuf {
        self.folder.path().join("relay.sock")
    }

    /// `ip netns exec` becomes the program, so that its process is the one started.
    pub fn signal_observer(&mut self, node: usize, signal: Signal) {
        let child = self.observers[node].as_mut().expect("it runs");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        if signal == Signal::SIGKILL {
            child.wait().unwrap();
            self.observers[node] = None;
        }
    }

    pub fn restart_relay(&mut self) {
        let mut child = self.relay.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
        self.start_relay();
    }

    /// The link between a node and the relay; its traffic has another one.
    pub fn set_control_link(&self, node: usize, state: &str) {
        assert!(ip(&format!("-n {} link set c{node} {state}", self.netns(NODES + 1))));
    }

    /// Sends packets from a node to the next one, and waits until that is done.
    pub fn send(&self, node: usize, port: u16, count: usize, pause: Duration) {
        self.send_beside(node, port, count, pause).join().unwrap();
    }

    /// Sends packets from a node to the next one, beside everything else. How many could be sent.
    pub fn send_beside(&self, node: usize, port: u16, count: usize, pause: Duration) -> JoinHandle<usize> {
        let netns = File::open(Path::new("/run/netns").join(self.netns(node))).unwrap();
        let receiver = format!("10.97.0.{}:{port}", (node + 1) % NODES + 1);
        std::thread::spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let mut sent = 0;
            let started = Instant::now();
            for number in 0..count {
                let due = pause * u32::try_from(number).unwrap();
                if let Some(left) = due.checked_sub(started.elapsed()) {
                    std::thread::sleep(left);
                }
                sent += usize::from(socket.send_to(b"x", &receiver).is_ok());
            }
            sent
        })
    }
}

/// A relay over the relay.
pub struct UpperRelay {
    pub socket: PathBuf,
    child: Child,
}

impl Drop for UpperRelay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in self.observers.iter_mut().flatten().chain(&mut self.relay) {
            let pid = Pid::from_raw(child.id().cast_signed());
            // One that was stopped would not hear of the other signal.
            let _ = kill(pid, Signal::SIGCONT);
            let _ = kill(pid, Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(10);
            while child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for name in ["relay".to_owned()]
                .into_iter()
                .chain((0..NODES).map(|node| format!("observer{node}")))
            {
                let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log")));
                println!("{name}:\n{}", log.unwrap_or_default());
            }
        }
        for place in 0..=NODES + 1 {
            ip(&format!("netns del {}", self.netns(place)));
        }
    }
}
