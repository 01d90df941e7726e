//! What the kernel only counts arrives all the same: packets and bytes of each connection, exactly. Needs root; makes its
//! own network namespaces.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "kernel/playground.rs"]
mod playground;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use bpf_probes::event::{SOURCE_EGRESS, SourceCounters};
use flow::schema::Column;
use observer::aggregation::Aggregation;
use observer::attach::Hook;
use observer::capture::CaptureCounters;
use observer::probes::{ProbesOptions, RingKind};
use playground::{Playground, Running, available, within};

const TO_ENDPOINT: u8 = 101;
const SYN: u16 = 2;

/// What the rows of the node's packets to the pod say of one destination port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    packets: u64,
    bytes: u64,
    syns: u64,
}

/// Sums by protocol and destination port, of packets that leave for the pod.
fn sums(running: &Running) -> HashMap<(u8, u16), Sum> {
    let mut sums: HashMap<_, Sum> = HashMap::new();
    for batch in running.log.read_from(0) {
        for row in 0..batch.rows() {
            if batch.number::<UInt8Type>(Column::ObservationPoint, row) != Some(TO_ENDPOINT) {
                continue;
            }
            let protocol = batch.number::<UInt8Type>(Column::Protocol, row).unwrap();
            let Some(port) = batch.number::<UInt16Type>(Column::DestinationPort, row) else {
                continue;
            };
            let sum = sums.entry((protocol, port)).or_default();
            sum.rows += 1;
            sum.packets += u64::from(batch.number::<UInt32Type>(Column::Packets, row).unwrap_or_default());
            sum.bytes += u64::from(batch.number::<UInt32Type>(Column::Length, row).unwrap_or_default());
            let flags = batch.number::<UInt16Type>(Column::TcpFlags, row).unwrap_or_default();
            sum.syns += u64::from(flags & SYN != 0);
        }
    }
    sums
}

fn egress(counters: &CaptureCounters) -> SourceCounters {
    let cpus = &counters.sources[SOURCE_EGRESS as usize];
    cpus.iter().fold(SourceCounters::default(), |sum, cpu| SourceCounters {
        seen: sum.seen + cpu.seen,
        delivered: sum.delivered + cpu.delivered,
        aggregated: sum.aggregated + cpu.aggregated,
        lost: sum.lost + cpu.lost,
        not_ip: sum.not_ip + cpu.not_ip,
        malformed: sum.malformed + cpu.malformed,
        filtered: sum.filtered + cpu.filtered,
    })
}

fn options(aggregation: Aggregation, ring: RingKind) -> ProbesOptions {
    ProbesOptions {
        ring_bytes: 16 << 20,
        ring,
        aggregation,
        aggregation_flows: 5000,
        ..ProbesOptions::default()
    }
}

/// `rounds` times two datagrams to each of `flows` ports, all from one socket.
fn many_flows(playground: &Playground, flows: u16, rounds: u64) {
    within(&playground.node, move || {
        let socket = UdpSocket::bind("10.99.0.1:60000").unwrap();
        for _ in 0..rounds {
            for port in 1..=flows {
                for _ in 0..2 {
                    // That nobody listens comes back as an error of a later call.
                    while socket.send_to(&[1; 58], ("10.99.0.2", port)).is_err() {}
                }
            }
        }
    })
    .join()
    .unwrap();
}

fn totals_are_exact(flows: u16, aggregation: Aggregation, ring: RingKind) {
    const ROUNDS: u64 = 2;
    let playground = Playground::new();
    let mut running = Running::start_with(&playground, Hook::of_kernel(), options(aggregation, ring));
    many_flows(&playground, flows, ROUNDS);
    let counters = egress(&running.stop());
    let sums = sums(&running);
    let rows: u64 = (1..=flows)
        .filter_map(|port| sums.get(&(17, port)))
        .map(|sum| sum.rows)
        .sum();
    if aggregation != Aggregation::None {
        assert!(
            counters.aggregated >= u64::from(flows),
            "every second datagram is only counted"
        );
    }
    println!("{aggregation:?} over {ring:?}: {rows} rows; {counters:?}");
    assert_eq!(
        counters.seen,
        counters.delivered + counters.aggregated + counters.lost + counters.not_ip + counters.malformed
    );
    let packets: u64 = sums.values().map(|sum| sum.packets).sum();
    assert_eq!(
        packets,
        counters.delivered + counters.aggregated - icmp(&running),
        "all packets are in rows"
    );
    if counters.lost > 0 {
        return println!(
            "skipped: which flows they belong to, since {} events were lost",
            counters.lost
        );
    }
    for port in 1..=flows {
        let sum = sums.get(&(17, port)).copied().unwrap_or_default();
        // 58 bytes behind Ethernet, IPv4 and UDP headers.
        assert_eq!(
            (sum.packets, sum.bytes),
            (2 * ROUNDS, 2 * ROUNDS * 100),
            "to port {port}"
        );
    }
}

/// Packets to the pod that have no ports.
fn icmp(running: &Running) -> u64 {
    let mut count = 0;
    for batch in running.log.read_from(0) {
        for row in 0..batch.rows() {
            let leaves = batch.number::<UInt8Type>(Column::ObservationPoint, row) == Some(TO_ENDPOINT);
            let ports = batch.number::<UInt16Type>(Column::DestinationPort, row);
            count += u64::from(leaves && ports.is_none());
        }
    }
    count
}

#[test]
fn totals_are_exact_with_ten_times_more_connections_than_places() {
    if !available() {
        return;
    }
    totals_are_exact(50_000, Aggregation::Medium, RingKind::Shared);
    totals_are_exact(10_000, Aggregation::Maximum, RingKind::Shared);
    totals_are_exact(10_000, Aggregation::None, RingKind::Shared);
    totals_are_exact(10_000, Aggregation::Medium, RingKind::Perf);
    totals_are_exact(10_000, Aggregation::Medium, RingKind::Bpf);
}

#[test]
fn the_life_of_a_connection_is_never_aggregated() {
    if !available() {
        return;
    }
    for aggregation in [Aggregation::Medium, Aggregation::Maximum] {
        const CONNECTIONS: u64 = 20;
        const BYTES: usize = 400_000;
        let playground = Playground::new();
        let mut running = Running::start_with(&playground, Hook::of_kernel(), options(aggregation, RingKind::Shared));
        let (listening, is_listening) = std::sync::mpsc::channel();
        let server = within(&playground.pod, move || {
            let listener = TcpListener::bind("10.99.0.2:80").unwrap();
            listening.send(()).unwrap();
            for _ in 0..CONNECTIONS {
                let (mut stream, _) = listener.accept().unwrap();
                let mut received = Vec::new();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                assert_eq!(stream.read_to_end(&mut received).unwrap(), BYTES);
            }
        });
        is_listening.recv_timeout(Duration::from_secs(5)).unwrap();
        within(&playground.node, move || {
            for _ in 0..CONNECTIONS {
                let mut stream = TcpStream::connect("10.99.0.2:80").unwrap();
                stream.write_all(&[7; BYTES]).unwrap();
            }
        })
        .join()
        .unwrap();
        server.join().unwrap();
        let counters = egress(&running.stop());
        let sum = sums(&running)[&(6, 80)];
        println!("{aggregation:?}: {sum:?}; {counters:?}");
        assert_eq!(counters.lost, 0);
        assert_eq!(sum.syns, CONNECTIONS, "each is a row of its own");
        assert!(sum.bytes > CONNECTIONS * BYTES as u64, "payload and headers");
        assert!(counters.aggregated > CONNECTIONS, "the rest was counted");
        assert!(sum.rows < sum.packets / 2, "{sum:?}");
    }
}
