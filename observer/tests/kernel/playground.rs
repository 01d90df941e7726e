//! A node and a pod, as network namespaces with a veth pair between them, and a capture that runs on the node.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flow::batch::FlowBatch;
use flow::endpoint::Node;
use nix::sched::{CloneFlags, setns};
use observer::attach::{Attacher, Hook};
use observer::btf::Btf;
use observer::capture::{Capture, CaptureCounters};
use observer::interface::{Interfaces, Selection};
use observer::kernel_names::RunningKernel;
use observer::log::FlowLog;
use observer::names::Names;
use observer::netns;
use observer::pipeline::{Pipeline, PipelineOptions};
use observer::probes::{Probes, ProbesOptions};
use parking_lot::Mutex;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Whether the tests of this kind can run here; says why not.
pub fn available() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped: needs root, for eBPF and network namespaces");
    }
    is_root
}

pub struct Playground {
    pub node: String,
    pub pod: String,
}

impl Playground {
    /// `10.99.0.1` and `fd99::1` on the node's `vpod`, `.2` and `::2` on the pod's `eth0`.
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("plxt{}-{number}", std::process::id());
        let playground = Self {
            node: format!("{prefix}-node"),
            pod: format!("{prefix}-pod"),
        };
        ip(&["netns", "add", &playground.node]);
        ip(&["netns", "add", &playground.pod]);
        ip(&[
            "-n",
            &playground.node,
            "link",
            "add",
            "vpod",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &playground.pod,
        ]);
        for (namespace, interface, last) in [(&playground.node, "vpod", 1), (&playground.pod, "eth0", 2)] {
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
            ip(&[
                "-n",
                namespace,
                "addr",
                "add",
                &format!("10.99.0.{last}/24"),
                "dev",
                interface,
            ]);
            ip(&[
                "-n",
                namespace,
                "addr",
                "add",
                &format!("fd99::{last}/64"),
                "dev",
                interface,
                "nodad",
            ]);
            ip(&["-n", namespace, "link", "set", interface, "up"]);
        }
        playground
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        for namespace in [&self.node, &self.pod] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// Runs `ip`, which must succeed.
pub fn ip(arguments: &[&str]) {
    assert!(try_ip(arguments), "ip {arguments:?} failed");
}

/// Runs `ip`; whether it succeeded.
pub fn try_ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a command inside a namespace; whether it succeeded.
pub fn run_in(namespace: &str, command: &[&str]) -> bool {
    Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(command)
        .stdout(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs `work` on a thread that is inside a namespace.
pub fn within<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let path = format!("/run/netns/{namespace}");
    thread::spawn(move || {
        let file = File::open(path).expect("the namespace exists");
        setns(file, CloneFlags::CLONE_NEWNET).expect("may enter the namespace");
        work()
    })
}

/// Attaches in a namespace and leaves everything attached, as a process does that is killed.
pub fn attach_and_forget(namespace: &str, hook: Hook) {
    within(namespace, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let btf = Btf::from_kernel().unwrap();
        let (probes, rings) = Probes::load(
            &btf,
            ProbesOptions {
                ring_bytes: 1 << 16,
                ..ProbesOptions::default()
            },
        )
        .unwrap();
        let probes = Arc::new(Mutex::new(probes));
        let start = Attacher::start(Arc::clone(&probes), Selection::new(&[]).unwrap(), hook, Arc::default());
        let attacher = runtime.block_on(start).unwrap();
        std::mem::forget((attacher, probes, rings));
    })
    .join()
    .unwrap();
}

/// A capture on the node of a playground.
pub struct Running {
    pub log: Arc<FlowLog>,
    pub interfaces: Arc<Interfaces>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<CaptureCounters>>,
}

impl Running {
    pub fn start(playground: &Playground, hook: Hook, ring_bytes: usize) -> Self {
        Self::start_with(
            playground,
            hook,
            ProbesOptions {
                ring_bytes,
                ..ProbesOptions::default()
            },
        )
    }

    pub fn start_with(playground: &Playground, hook: Hook, options: ProbesOptions) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = within(&playground.node, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let btf = Btf::from_kernel().unwrap();
                let (mut probes, rings) = Probes::load(&btf, options).unwrap();
                probes.attach_drops().unwrap();
                probes.attach_tcp().unwrap();
                let states = probes.states();
                let missed = probes.missed_runs().unwrap();
                let aggregates = probes.take_aggregates();
                let probes = Arc::new(Mutex::new(probes));
                let interfaces = Arc::new(Interfaces::default());
                let selection = Selection::new(&[]).unwrap();
                let attacher = Attacher::start(Arc::clone(&probes), selection, hook, Arc::clone(&interfaces))
                    .await
                    .unwrap();
                let following = tokio::spawn(attacher.run());
                let log = Arc::new(FlowLog::new(7, 64 << 20));
                let mut pipeline = Pipeline::new(PipelineOptions {
                    log_id: 7,
                    node: Node {
                        name: "test".into(),
                        labels: String::new(),
                    },
                    connections: 1000,
                    names: Arc::new(Names::default()),
                    kernel_names: Box::new(RunningKernel::new(btf.drop_reasons().unwrap(), btf.reset_reasons())),
                    netns_cookie: netns::cookie().unwrap(),
                    silence: Some(Duration::from_secs(3)),
                    http: true,
                });
                pipeline.set_aggregates(aggregates);
                let capture = Capture::start(
                    rings,
                    states,
                    missed,
                    Arc::clone(&interfaces),
                    pipeline,
                    Arc::clone(&log),
                )
                .unwrap();
                ready.send((log, interfaces)).unwrap();
                stopped.await.unwrap();
                following.abort();
                let _ = following.await;
                drop(probes);
                let counters = capture.counters();
                capture.stop();
                counters.read().clone()
            })
        });
        let (log, interfaces) = is_ready
            .recv_timeout(Duration::from_secs(20))
            .expect("the capture starts");
        Self {
            log,
            interfaces,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Stops the capture. Then everything that was seen is in the log.
    pub fn stop(&mut self) -> CaptureCounters {
        self.stop.take().unwrap().send(()).unwrap();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until a row fits, and returns its batch and place.
    pub fn wait_for(&self, fits: impl Fn(&FlowBatch, usize) -> bool) -> Option<(Arc<FlowBatch>, usize)> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let _follower = self.log.follow();
        while Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            for batch in self.log.read_from(0) {
                if let Some(row) = (0..batch.rows()).find(|row| fits(&batch, *row)) {
                    return Some((batch, row));
                }
            }
        }
        None
    }
}
