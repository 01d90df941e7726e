//! A history with flows of all kinds, and the program.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{DropSite, Endpoint, Interface, Node};
use flow::record::{Dns, FlowRecord, Ip, L7, Transport, Tunnel, to_stored};
use history::store::Store;
use history::writer::Writer;

/// 2025-11-23, 19:34:56 UTC.
pub(crate) const START_NS: i64 = 1_763_926_496_000_000_000;
pub(crate) const NODE: &str = "lab/node-1";
pub(crate) const LOG_ID: u64 = 7;

pub(crate) fn ip(source: &str, destination: &str) -> Option<Ip> {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Some(Ip {
        version: if source.contains(':') { 6 } else { 4 },
        source: Some(to_stored(address(source))),
        destination: Some(to_stored(address(destination))),
        ttl: Some(61),
        ..Ip::default()
    })
}

fn transport(protocol: u8, ports: (u16, u16)) -> Transport {
    Transport {
        protocol: Some(protocol),
        ports: Some(ports),
        ..Transport::default()
    }
}

fn tcp(ports: (u16, u16), flags: u16) -> Transport {
    Transport {
        tcp_flags: Some(flags),
        tcp: Some((1_000, 2_000, 502)),
        ..transport(6, ports)
    }
}

/// A second apart each: a SYN, its drop, a total of 4 packets, a datagram in a VLAN, an ICMPv6 error, SCTP, a packet in
/// VXLAN, a DNS message, a request without an answer, a retransmission, a fragment, and a SYN an hour later.
pub(crate) fn flows() -> FlowBatch {
    let node = Arc::new(Node {
        name: NODE.into(),
        labels: "zone=a".into(),
    });
    let eth0 = Arc::new(Interface {
        index: 2,
        name: "eth0".into(),
    });
    let web = Arc::new(Endpoint {
        namespace: "team-a".into(),
        pod: "web-0".into(),
        labels: "k8s:app=web,k8s:tier=front".into(),
        ..Endpoint::default()
    });
    let no_socket = Arc::new(DropSite {
        reason: "NO_SOCKET".into(),
        code: 3,
        api: 0,
        symbol: "tcp_v4_rcv+0x91".into(),
    });
    let mac = Some(([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]));
    let packet = FlowRecord {
        node: Some(&node),
        interface: Some(&eth0),
        source: Some(&web),
        flow_type: 1,
        event_type: Some(4),
        verdict: 1,
        mac,
        packets: 1,
        ip: ip("10.1.2.3", "10.1.2.4"),
        ..FlowRecord::default()
    };
    let dns = L7 {
        message_type: 2,
        dns: Some(Dns {
            query: "web.test.".into(),
            qtypes: "A".into(),
            rrtypes: "A".into(),
            ips: "192.0.2.1,192.0.2.2".into(),
            ttl: 30,
            source: "packet".into(),
            ..Dns::default()
        }),
        ..L7::default()
    };
    let records = [
        FlowRecord {
            length: 74,
            transport: tcp((40_000, 443), 2),
            ..packet.clone()
        },
        FlowRecord {
            length: 40,
            event_type: Some(1),
            event_sub_type: 3,
            verdict: 2,
            drop: Some(&no_socket),
            transport: tcp((40_000, 443), 2),
            ..packet.clone()
        },
        FlowRecord {
            length: 812,
            packets: 4,
            transport: tcp((40_000, 443), 0x18),
            ..packet.clone()
        },
        FlowRecord {
            length: 104,
            vlan: Some(100),
            inner_vlan: Some(7),
            transport: transport(17, (5_000, 6_000)),
            ..packet.clone()
        },
        FlowRecord {
            length: 118,
            ip: ip("2001:db8::1", "2001:db8::2"),
            transport: Transport {
                protocol: Some(58),
                icmp: Some((1, 4)),
                ..Transport::default()
            },
            ..packet.clone()
        },
        FlowRecord {
            length: 62,
            mac: None,
            transport: transport(132, (2_905, 2_906)),
            ..packet.clone()
        },
        FlowRecord {
            length: 148,
            ip: ip("10.9.0.1", "10.9.0.2"),
            transport: tcp((50_000, 80), 0x10),
            tunnel: Some(Tunnel {
                protocol: 1,
                vni: 4_711,
                addresses: ip("192.0.2.1", "192.0.2.2").and_then(|ip| ip.source.zip(ip.destination)),
                ports: Some((55_555, 8_472)),
            }),
            ..packet.clone()
        },
        FlowRecord {
            flow_type: 2,
            event_type: Some(129),
            transport: transport(17, (53, 5_353)),
            l7: Some(&dns),
            ..packet.clone()
        },
        FlowRecord {
            event_type: Some(161),
            event_sub_type: 1,
            verdict: 3,
            tries: 3,
            waited_ns: 3_000_000_000,
            transport: transport(6, (40_001, 5_432)),
            ..packet.clone()
        },
        FlowRecord {
            flow_type: 3,
            event_type: Some(160),
            event_sub_type: 1,
            verdict: 6,
            transport: tcp((40_000, 443), 0x18),
            ..packet.clone()
        },
        FlowRecord {
            length: 1_514,
            ip: ip("10.1.2.3", "10.1.2.4").map(|ip| Ip {
                fragment_offset: Some(185),
                ..ip
            }),
            transport: Transport {
                protocol: Some(17),
                ..Transport::default()
            },
            ..packet.clone()
        },
        FlowRecord {
            length: 74,
            transport: tcp((40_002, 443), 2),
            ..packet.clone()
        },
    ];
    let mut builder = FlowBatchBuilder::new(LOG_ID, 0);
    let last = records.len() - 1;
    for (place, record) in records.iter().enumerate() {
        let seconds = if place == last {
            3_600
        } else {
            i64::try_from(place).unwrap()
        };
        builder.append(&FlowRecord {
            time_ns: START_NS + seconds * 1_000_000_000 + 123_456_789,
            ..record.clone()
        });
    }
    builder.seal().unwrap()
}

/// The history of those flows.
pub(crate) fn history() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        store.prepare().await.unwrap();
        Writer::new(store, NODE.into(), LOG_ID).write(&[flows()]).await.unwrap();
    });
    folder
}

pub(crate) fn parallax<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

/// What a run that must succeed has printed.
pub(crate) fn stdout<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let output = parallax(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a run that must fail has said.
pub(crate) fn failure<'a>(arguments: impl IntoIterator<Item = &'a str>) -> (Option<i32>, String) {
    let output = parallax(arguments);
    assert!(!output.status.success(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
