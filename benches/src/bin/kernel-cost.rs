//! What the packet programs cost in the kernel: a flood of 64-byte UDP datagrams over a veth pair, with the programs that
//! only count and with those that send, in one run. Times are the kernel's own (`kernel.bpf_stats_enabled`).

use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use benches::namespace::{Pair, may_create, within};
use bpf_probes::event::{SOURCE_EGRESS, SOURCE_INGRESS};
use clap::Parser;
use observer::aggregation::Aggregation;
use observer::attach::{Attacher, Hook};
use observer::btf::Btf;
use observer::capture_filter::CaptureFilter;
use observer::interface::{Interfaces, Selection};
use observer::probes::{Probes, ProbesOptions, RingKind};
use observer::ring::Record;
use parking_lot::Mutex;

/// Measures what a packet costs in the kernel.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of flood for each way.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Rounds; each measures every way once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,
    /// Measures this capture filter too; can be given more than once. The flood is UDP from 10.77.0.1 to 10.77.0.2 port 9.
    #[arg(long, value_name = "FILTER")]
    capture: Vec<CaptureFilter>,
}

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Switches the kernel's program statistics on, and back when dropped.
struct Statistics(String);

impl Statistics {
    fn on() -> anyhow::Result<Self> {
        let before = fs::read_to_string(STATS).with_context(|| format!("cannot read {STATS}"))?;
        fs::write(STATS, "1").with_context(|| format!("cannot write {STATS}"))?;
        Ok(Self(before))
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS, self.0.trim()) {
            eprintln!("cannot restore {STATS}: {error}");
        }
    }
}

struct Cost {
    ns_per_packet: f64,
    packets: u64,
    lost: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !may_create() {
        anyhow::bail!("needs root, for eBPF and network namespaces");
    }
    let _statistics = Statistics::on()?;
    println!(
        "{:<28} {:>10} {:>12} {:>10} {:>10}",
        "way (egress program)", "ns/packet", "packets", "lost", "ratio"
    );
    for _ in 0..arguments.rounds {
        let all = ProbesOptions::default();
        let empty = measure(ProbesOptions { emit: false, ..all }, arguments.seconds)?;
        print("only counts", &empty, &empty);
        let shared = measure(all, arguments.seconds)?;
        print("shared rings", &shared, &empty);
        let counted = measure(
            ProbesOptions {
                aggregation: Aggregation::Medium,
                ..all
            },
            arguments.seconds,
        )?;
        print("the same, medium aggregation", &counted, &empty);
        let perf = measure(
            ProbesOptions {
                ring: RingKind::Perf,
                ..all
            },
            arguments.seconds,
        )?;
        print("perf rings, 1 MiB watermark", &perf, &empty);
        let bpf = measure(
            ProbesOptions {
                ring: RingKind::Bpf,
                ..all
            },
            arguments.seconds,
        )?;
        print("BPF ring buffer, no wake-up", &bpf, &empty);
        for filter in &arguments.capture {
            let capture = *filter.compiled();
            let filtered = measure(ProbesOptions { capture, ..all }, arguments.seconds)?;
            print(&format!("shared rings, `{filter}`"), &filtered, &empty);
        }
    }
    Ok(())
}

fn print(way: &str, cost: &Cost, empty: &Cost) {
    println!(
        "{way:<28} {:>10.1} {:>12} {:>10} {:>10.2}",
        cost.ns_per_packet,
        cost.packets,
        cost.lost,
        cost.ns_per_packet / empty.ns_per_packet
    );
}

fn measure(options: ProbesOptions, seconds: u64) -> anyhow::Result<Cost> {
    let pair = Pair::new()?;
    let stop = Arc::new(AtomicBool::new(false));

    let receiving = Arc::clone(&stop);
    let receiver = within(&pair.receiver, move || {
        let socket = UdpSocket::bind("10.77.0.2:9")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut buffer = [0; 128];
        while !receiving.load(Ordering::Relaxed) {
            // A time-out is how the loop comes to look at the flag.
            let _ = socket.recv(&mut buffer);
        }
        Ok(())
    });

    let observing = within(&pair.sender, move || {
        let btf = Btf::from_kernel()?;
        let (probes, mut rings) = Probes::load(&btf, options)?;
        let probes = Arc::new(Mutex::new(probes));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let interfaces = Arc::new(Interfaces::default());
        let _attacher = runtime.block_on(Attacher::start(
            Arc::clone(&probes),
            Selection::new(&["a0".to_owned()])?,
            Hook::of_kernel(),
            interfaces,
        ))?;
        let flood = std::thread::spawn(move || flood(seconds));
        let mut delivered = 0;
        while !flood.is_finished() {
            rings.wait(Duration::from_millis(10))?;
            rings.drain(|_, record| delivered += u64::from(matches!(record, Record::Sample(_))))?;
        }
        rings.drain(|_, record| delivered += u64::from(matches!(record, Record::Sample(_))))?;
        flood.join().map_err(|_| anyhow::anyhow!("the sender has panicked"))??;
        let (run_time, runs) = probes.lock().cost("egress_ethernet")?;
        let counters = probes.lock().states().counters();
        let lost = [SOURCE_EGRESS, SOURCE_INGRESS]
            .iter()
            .flat_map(|source| &counters[*source as usize])
            .map(|cpu| cpu.lost)
            .sum();
        Ok(Cost {
            ns_per_packet: run_time.as_nanos() as f64 / runs.max(1) as f64,
            packets: runs,
            lost,
        })
    });
    let cost = observing
        .join()
        .map_err(|_| anyhow::anyhow!("the observer has panicked"))??;
    stop.store(true, Ordering::Relaxed);
    receiver
        .join()
        .map_err(|_| anyhow::anyhow!("the receiver has panicked"))??;
    Ok(cost)
}

/// Sends as fast as it can, for a bounded time. The thread inherits the namespace.
fn flood(seconds: u64) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("10.77.0.1:0")?;
    socket.connect("10.77.0.2:9")?;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        for _ in 0..100 {
            // 22 bytes behind Ethernet, IP and UDP headers make 64. A full queue is part of a flood.
            let _ = socket.send(&[0; 22]);
        }
    }
    Ok(())
}
