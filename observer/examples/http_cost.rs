//! What looking for HTTP costs in the kernel: a stream over TCP between two network namespaces of its own, with programs
//! that look at the start of each payload and with programs that don't, in turns. Times are the kernel's own
//! (`kernel.bpf_stats_enabled`). Needs root.
#![allow(
    clippy::unwrap_used,
    reason = "whoever measures wants to see what fails, and the playground is that of the tests"
)]

#[allow(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/kernel/playground.rs"]
mod playground;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use observer::aggregation::Aggregation;
use observer::attach::{Attacher, Hook};
use observer::btf::Btf;
use observer::interface::{Interfaces, Selection};
use observer::probes::{Probes, ProbesOptions};
use parking_lot::Mutex;
use playground::{Playground, available, within};

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const ROUNDS: usize = 4;
const STREAM: Duration = Duration::from_secs(3);
const PROGRAMS: [&str; 2] = ["egress_ethernet", "ingress_ethernet"];

fn main() {
    if !available() {
        return;
    }
    let before = std::fs::read_to_string(STATS).unwrap();
    std::fs::write(STATS, "1").unwrap();
    println!(
        "{:<6} {:>22} {:>22}",
        "http", "data out, ns a packet", "ACKs in, ns a packet"
    );
    for _ in 0..ROUNDS {
        for http in [true, false] {
            let [egress, ingress] = measure(http);
            println!("{http:<6} {egress:>22.1} {ingress:>22.1}");
        }
    }
    std::fs::write(STATS, before.trim()).unwrap();
}

/// Nanoseconds a run of each of the programs.
fn measure(http: bool) -> [f64; 2] {
    let playground = Playground::new();
    let receiver = within(&playground.pod, || {
        let listener = TcpListener::bind("10.99.0.2:9000").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 17];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
    });
    let measured = within(&playground.node, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = ProbesOptions {
            http,
            aggregation: Aggregation::Medium,
            ..ProbesOptions::default()
        };
        let (probes, mut rings) = Probes::load(&Btf::from_kernel().unwrap(), options).unwrap();
        let probes = Arc::new(Mutex::new(probes));
        let selection = Selection::new(&["vpod".to_owned()]).unwrap();
        let interfaces = Arc::new(Interfaces::default());
        let start = Attacher::start(Arc::clone(&probes), selection, Hook::of_kernel(), interfaces);
        let _attacher = runtime.block_on(start).unwrap();
        // The thread is in the namespace of the one that starts it.
        let sender = std::thread::spawn(|| {
            let mut stream = connect();
            let end = Instant::now() + STREAM;
            while Instant::now() < end {
                stream.write_all(&[7; 1 << 17]).unwrap();
            }
        });
        while !sender.is_finished() {
            rings.wait(Duration::from_millis(10)).unwrap();
            rings.drain(|_, _| ()).unwrap();
        }
        sender.join().unwrap();
        PROGRAMS.map(|name| {
            let (time, runs) = probes.lock().cost(name).unwrap();
            time.as_nanos() as f64 / runs.max(1) as f64
        })
    });
    let measured = measured.join().unwrap();
    receiver.join().unwrap();
    measured
}

/// The receiver may need a moment to be there.
fn connect() -> TcpStream {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpStream::connect("10.99.0.2:9000") {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
