//! Requests that get no answer: in a replayed capture, and on the running kernel (needs root; makes its own network
//! namespaces).
#![allow(clippy::unwrap_used)]

#[path = "kernel/playground.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod playground;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::{Int32Type, UInt16Type};
use etherparse::PacketBuilder;
use flow::api::flow::{Flow, Verdict};
use flow::endpoint::Node;
use flow::schema::Column;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use observer::attach::Hook;
use observer::capture_filter::CaptureFilter;
use observer::kernel_names::NoKernel;
use observer::log::FlowLog;
use observer::names::Names;
use observer::pipeline::{Pipeline, PipelineOptions};
use observer::replay::run::replay;
use playground::{Playground, Running, available, run_in, within};

const SILENCE: i32 = 161;

fn silent(log: &FlowLog) -> Vec<Flow> {
    let mut found = Vec::new();
    for batch in log.read_from(0) {
        for row in 0..batch.rows() {
            if batch.number::<Int32Type>(Column::EventType, row) == Some(SILENCE) {
                found.push(batch.to_flow(row));
            }
        }
    }
    found
}

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [192, 0, 2, 2];

fn syn(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(CLIENT, SERVER, 64)
        .tcp(40000, port, 7, 1000)
        .syn()
        .write(&mut packet, &[])
        .unwrap();
    packet
}

fn syn_ack(port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([4; 6], [2; 6])
        .ipv4(SERVER, CLIENT, 64)
        .tcp(port, 40000, 9, 1000)
        .syn()
        .ack(8)
        .write(&mut packet, &[])
        .unwrap();
    packet
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(CLIENT, SERVER, 64)
        .udp(40000, port)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

/// Replays packets with their times in milliseconds.
fn replayed(packets: &[(u32, Vec<u8>)], wait: Option<Duration>) -> Vec<Flow> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut bytes = Vec::new();
    bytes.extend(0xa1b2_c3d4_u32.to_ne_bytes());
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(4_u16.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(65_535_u32.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    for (at_ms, packet) in packets {
        let length = u32::try_from(packet.len()).unwrap();
        for value in [1_700_000_000 + at_ms / 1000, at_ms % 1000 * 1000, length, length] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend(packet);
    }
    file.write_all(&bytes).unwrap();
    let log = FlowLog::new(1, 1 << 24);
    let pipeline = Pipeline::new(PipelineOptions {
        log_id: 1,
        node: Node::default(),
        connections: 100,
        names: Arc::new(Names::default()),
        kernel_names: Box::new(NoKernel),
        netns_cookie: 0,
        silence: wait,
        http: true,
    });
    let everything = CaptureFilter::default();
    replay(file.path(), everything.compiled(), pipeline, &log, &Arc::default()).unwrap();
    silent(&log)
}

#[test]
fn in_a_replay_the_packets_own_times_decide() {
    let packets = [
        (0, syn(80)),
        (0, syn(81)),
        (1, syn_ack(80)),
        (1000, syn(81)),
        (1500, datagram(123, &[0; 48])),
        (1600, datagram(53, &query("a.test."))),
        (1700, datagram(8125, b"a:1|c")),
        (1800, datagram(514, b"<1>")),
        // The last request's time isn't over when the capture ends.
        (5000, syn(82)),
    ];
    let told: Vec<(i32, String, i64)> = replayed(&packets, Some(Duration::from_secs(3)))
        .iter()
        .map(|flow| {
            let kind = flow.event_type.unwrap().sub_type;
            let at_ms = (flow.time.unwrap().to_nanos() - 1_700_000_000_000_000_000) / 1_000_000;
            (kind, flow::text::summary(flow), at_ms)
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "no answer to 2 tries in 3.0 s".to_owned(), 3000),
            (2, "no answer to 1 try in 3.0 s".to_owned(), 4500),
            (3, "no answer to 1 try in 3.0 s: DNS Query a.test. A".to_owned(), 4600),
        ]
    );
    assert!(replayed(&packets, None).is_empty(), "it can be turned off");
    let soon = replayed(&packets, Some(Duration::from_millis(100)));
    assert_eq!(
        soon.len(),
        4,
        "the second SYN is twice as many as were told, and tells again"
    );
}

#[test]
fn on_the_kernel_what_a_firewall_swallows_is_told_and_what_is_answered_is_not() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let rules = "table inet t {\n chain c {\n type filter hook input priority 0;\n tcp dport 5432 drop\n \
                 udp dport { 53, 123 } drop\n }\n}\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    if !run_in(&playground.pod, &["nft", "-f", file.path().to_str().unwrap()]) {
        return println!("skipped: nft can't be used");
    }
    let mut running = Running::start(&playground, Hook::of_kernel(), 1 << 20);
    let server = within(&playground.pod, || {
        let listener = TcpListener::bind("10.99.0.2:8080").unwrap();
        drop(listener.accept().unwrap());
    });
    within(&playground.node, || {
        for _ in 0..100 {
            if TcpStream::connect("10.99.0.2:8080").is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let socket = UdpSocket::bind("10.99.0.1:0").unwrap();
        socket.send_to(&[0; 48], "10.99.0.2:123").unwrap();
        socket.send_to(&query("quiet.test."), "10.99.0.2:53").unwrap();
        let to = "10.99.0.2:5432".parse().unwrap();
        assert!(TcpStream::connect_timeout(&to, Duration::from_millis(3500)).is_err());
    })
    .join()
    .unwrap();
    server.join().unwrap();
    let found = running.wait_for(|batch, row| {
        batch.number::<Int32Type>(Column::EventType, row) == Some(SILENCE)
            && batch.number::<UInt16Type>(Column::DestinationPort, row) == Some(5432)
    });
    assert!(found.is_some(), "the SYN is told");
    let counters = running.stop();
    assert_eq!((counters.requests_unwatched, counters.requests_undecided), (0, 0));

    let mut told: Vec<(i32, u32, String)> = Vec::new();
    for flow in silent(&running.log) {
        assert_eq!(flow.verdict(), Verdict::Error);
        let detail = flow.detail.as_ref().unwrap();
        assert_eq!(detail.waited_ns, 3_000_000_000);
        assert_eq!(flow.interface.as_ref().unwrap().name, "vpod");
        assert_eq!(flow.ip.as_ref().unwrap().destination, "10.99.0.2");
        println!("{}", flow::text::summary(&flow));
        let query = match flow.l7.as_ref().and_then(|l7| l7.record.as_ref()) {
            Some(flow::api::flow::layer7::Record::Dns(dns)) => dns.query.clone(),
            _ => String::new(),
        };
        told.push((flow.event_type.unwrap().sub_type, detail.tries, query));
    }
    told.sort();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0].0, 1);
    assert!(told[0].1 >= 2, "the SYN was sent again after a second: {told:?}");
    assert_eq!(told[1], (2, 1, String::new()));
    assert_eq!(told[2], (3, 1, "quiet.test.".to_owned()));
}
