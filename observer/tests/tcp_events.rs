//! TCP events of the running kernel. Needs root; makes its own network namespaces.
#![allow(clippy::unwrap_used)]

#[path = "kernel/playground.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod playground;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use bpf_probes::event::SOURCE_TCP;
use flow::batch::FlowBatch;
use flow::record::from_stored;
use flow::schema::Column;
use observer::attach::Hook;
use observer::probes::{ProbesOptions, RingKind};
use playground::{Playground, Running, available, run_in, within};

const RING: usize = 1 << 20;
const RETRANSMIT: i32 = 1;
const RESET_SENT: i32 = 2;
const RESET_RECEIVED: i32 = 3;
const STATE_CHANGE: i32 = 4;

fn is_event(batch: &FlowBatch, row: usize, sub_type: i32) -> bool {
    batch.number::<Int32Type>(Column::EventType, row) == Some(160)
        && batch.number::<Int32Type>(Column::EventSubType, row) == Some(sub_type)
}

fn ends(batch: &FlowBatch, row: usize) -> Option<(SocketAddr, SocketAddr)> {
    let address = |column| batch.address(column, row).map(from_stored);
    let port = |column| batch.number::<UInt16Type>(column, row);
    Some((
        SocketAddr::new(address(Column::SourceIp)?, port(Column::SourcePort)?),
        SocketAddr::new(address(Column::DestinationIp)?, port(Column::DestinationPort)?),
    ))
}

/// Whether the row is about a connection from any port of the node to `server`, told from the side of the client.
fn from_client(batch: &FlowBatch, row: usize, server: SocketAddr) -> bool {
    ends(batch, row).is_some_and(|(_, destination)| destination == server)
}

fn from_server(batch: &FlowBatch, row: usize, server: SocketAddr) -> bool {
    ends(batch, row).is_some_and(|(source, _)| source == server)
}

fn change(batch: &FlowBatch, row: usize) -> (Option<&str>, Option<&str>) {
    (
        batch.text_at(Column::TcpStateOld, row),
        batch.text_at(Column::TcpStateNew, row),
    )
}

/// Connects from the node for at most 1.3 seconds, which is enough for one retransmission.
fn connect(playground: &Playground, to: SocketAddr) -> bool {
    within(&playground.node, move || {
        TcpStream::connect_timeout(&to, Duration::from_millis(1300)).is_ok()
    })
    .join()
    .unwrap()
}

fn own_process(batch: &FlowBatch, row: usize) -> bool {
    batch.shared_at::<UInt32Type>(Column::ProcessId, row) == Some(std::process::id())
        && batch
            .text_at(Column::ProcessName, row)
            .is_some_and(|name| !name.is_empty())
}

#[test]
fn a_refused_connection_is_reset_by_the_server_and_seen_by_the_client() {
    if !available() {
        return;
    }
    for server in ["10.99.0.2:81", "[fd99::2]:81"] {
        let server: SocketAddr = server.parse().unwrap();
        let client: IpAddr = if server.is_ipv4() { "10.99.0.1" } else { "fd99::1" }.parse().unwrap();
        let playground = Playground::new();
        let mut running = Running::start(&playground, Hook::of_kernel(), RING);
        // An event that interrupts another one on its CPU is counted as lost, so one connection may not be enough.
        let found = (0..3).find_map(|_| {
            assert!(!connect(&playground, server));
            running.wait_for(|batch, row| is_event(batch, row, RESET_SENT) && from_server(batch, row, server))
        });
        let (batch, row) = found.expect("the server sends a reset");
        let (_, destination) = ends(&batch, row).unwrap();
        assert_eq!(destination.ip(), client);
        assert_eq!(batch.text_at(Column::ResetReason, row), Some("NO_SOCKET"));
        assert!(batch.shared_at::<UInt64Type>(Column::NetnsCookie, row).is_some());

        let (batch, row) = running
            .wait_for(|batch, row| is_event(batch, row, RESET_RECEIVED) && from_server(batch, row, server))
            .expect("the client receives it");
        assert_eq!(ends(&batch, row).unwrap().1, destination, "the same client");
        assert_eq!(change(&batch, row), (None, Some("SYN_SENT")));
        assert!(own_process(&batch, row), "the process that connects");
        assert_eq!(
            batch.booleans(Column::IsReply).map(|array| array.value(row)),
            Some(true)
        );

        let (batch, row) = running
            .wait_for(|batch, row| {
                is_event(batch, row, STATE_CHANGE)
                    && from_client(batch, row, server)
                    && change(batch, row) == (Some("SYN_SENT"), Some("CLOSE"))
            })
            .expect("the attempt ends");
        assert_eq!(
            batch.number::<UInt8Type>(Column::Verdict, row),
            Some(3),
            "it has failed"
        );
        running.stop();
    }
}

#[test]
fn a_connection_into_nowhere_is_tried_again() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let rules = "table inet t {\n chain c {\n type filter hook input priority 0;\n tcp dport 8082 drop\n }\n}\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    if !run_in(&playground.pod, &["nft", "-f", file.path().to_str().unwrap()]) {
        return println!("skipped: nft can't be used");
    }
    let server: SocketAddr = "10.99.0.2:8082".parse().unwrap();
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    assert!(!connect(&playground, server));
    let (batch, row) = running
        .wait_for(|batch, row| is_event(batch, row, RETRANSMIT) && from_client(batch, row, server))
        .expect("the SYN is sent again");
    assert_eq!(change(&batch, row), (None, Some("SYN_SENT")));
    assert!(own_process(&batch, row));
    assert!(ends(&batch, row).unwrap().0.port() != 0);
    running.stop();
}

#[test]
fn a_connection_has_states_with_process_and_round_trip_time() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    let server: SocketAddr = "10.99.0.2:8083".parse().unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let serving = within(&playground.pod, move || {
        let listener = TcpListener::bind(server).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    within(&playground.node, move || {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
    })
    .join()
    .unwrap();
    serving.join().unwrap();

    let wait = |side: fn(&FlowBatch, usize, SocketAddr) -> bool, old: &str, new: &str| {
        running
            .wait_for(|batch, row| {
                is_event(batch, row, STATE_CHANGE)
                    && side(batch, row, server)
                    && change(batch, row) == (Some(old), Some(new))
            })
            .unwrap_or_else(|| panic!("{old} to {new} is told"))
    };
    for (old, new) in [("CLOSE", "SYN_SENT"), ("SYN_SENT", "ESTABLISHED")] {
        let (batch, row) = wait(from_client, old, new);
        assert!(own_process(&batch, row), "{old} to {new}");
        assert_eq!(
            batch.booleans(Column::IsReply).map(|array| array.value(row)),
            Some(false)
        );
    }
    let (batch, row) = wait(from_server, "CLOSE", "LISTEN");
    assert!(own_process(&batch, row));
    let (batch, row) = wait(from_server, "SYN_RECV", "ESTABLISHED");
    assert!(own_process(&batch, row), "the listener's process");
    let closing = running
        .wait_for(|batch, row| {
            is_event(batch, row, STATE_CHANGE)
                && from_client(batch, row, server)
                && matches!(change(batch, row).0, Some("ESTABLISHED" | "CLOSE_WAIT"))
        })
        .expect("the client closes");
    let (batch, row) = closing;
    assert!(batch.number::<UInt32Type>(Column::SrttUs, row) > Some(0));
    assert!(batch.shared_at::<UInt64Type>(Column::CgroupId, row).is_some());

    let (batch, row) = running
        .wait_for(|batch, row| from_client(batch, row, server) && change(batch, row).1 == Some("CLOSE"))
        .expect("the client's socket ends");
    assert!(ends(&batch, row).unwrap().0.port() != 0, "its port is known to the end");

    // Packets of both ends, on the one interface between them.
    for side in [from_client, from_server] {
        for flags in [0x02, 0x18] {
            let (batch, row) = running
                .wait_for(|batch, row| {
                    let told = batch.number::<UInt16Type>(Column::TcpFlags, row);
                    side(batch, row, server) && told.is_some_and(|told| told & 0x3f & flags == flags)
                })
                .expect("the packet is seen");
            assert!(own_process(&batch, row), "flags {flags:#x}");
        }
    }
    running.stop();
}

#[test]
fn every_tcp_event_is_delivered_or_counted_as_lost() {
    if !available() {
        return;
    }
    for ring in [RingKind::Shared, RingKind::Perf, RingKind::Bpf] {
        let playground = Playground::new();
        let options = ProbesOptions {
            ring_bytes: 1 << 16,
            ring,
            ..ProbesOptions::default()
        };
        let mut running = Running::start_with(&playground, Hook::of_kernel(), options);
        within(&playground.node, || {
            let closed: SocketAddr = "10.99.0.2:81".parse().unwrap();
            for _ in 0..500 {
                assert!(TcpStream::connect_timeout(&closed, Duration::from_secs(1)).is_err());
            }
        })
        .join()
        .unwrap();
        let counters = running.stop();
        let sum = |of: fn(&bpf_probes::event::SourceCounters) -> u64| -> u64 {
            counters.sources[SOURCE_TCP as usize].iter().map(of).sum()
        };
        let seen = sum(|cpu| cpu.seen);
        println!(
            "{ring:?}: {seen} seen, {} delivered, {} lost",
            sum(|cpu| cpu.delivered),
            sum(|cpu| cpu.lost)
        );
        // Two changes of state, a reset on each side.
        assert!(seen >= 2000, "{ring:?}: {seen}");
        assert_eq!(
            seen,
            sum(|cpu| cpu.delivered + cpu.lost + cpu.not_ip + cpu.malformed),
            "{ring:?}"
        );
        assert_eq!(counters.tcp_events_seen, seen);
        let rows: u64 = running
            .log
            .read_from(0)
            .iter()
            .map(|batch| {
                (0..batch.rows())
                    .filter(|row| batch.number::<Int32Type>(Column::EventType, *row) == Some(160))
                    .count() as u64
            })
            .sum();
        assert_eq!(rows, sum(|cpu| cpu.delivered), "{ring:?}");
    }
}
