use super::*;
use crate::record::{Ip, Transport, from_stored, to_stored};

fn endpoint(namespace: &str, pod: &str, identity: u32) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        namespace: namespace.into(),
        pod: pod.into(),
        identity,
        ..Endpoint::default()
    })
}

#[test]
fn a_row_reads_back_as_it_was_written() {
    let web = endpoint("team-a", "web-0", 1001);
    let world = endpoint("", "", 2);
    let mut builder = FlowBatchBuilder::new(1, 100);
    builder.append(&FlowRecord {
        time_ns: 5,
        verdict: 1,
        ip: Some(Ip {
            version: 4,
            source: Some(to_stored("192.0.2.1".parse().unwrap())),
            destination: Some(to_stored("2001:db8::1".parse().unwrap())),
            ..Ip::default()
        }),
        transport: Transport {
            protocol: Some(6),
            ports: Some((40000, 443)),
            ..Transport::default()
        },
        source: Some(&web),
        destination: Some(&world),
        is_reply: Some(false),
        ..FlowRecord::default()
    });
    builder.append(&FlowRecord {
        time_ns: 3,
        source: Some(&world),
        ..FlowRecord::default()
    });
    let batch = builder.seal().unwrap();

    assert_eq!(
        (batch.rows(), batch.first_sequence(), batch.end_sequence()),
        (2, 100, 102)
    );
    assert_eq!(batch.time_range(), (3, 5));
    assert_eq!(
        batch.address(Column::SourceIp, 0).map(from_stored),
        Some("192.0.2.1".parse().unwrap())
    );
    assert_eq!(
        batch.address(Column::DestinationIp, 0).map(from_stored),
        Some("2001:db8::1".parse().unwrap())
    );
    assert_eq!(batch.address(Column::SourceIp, 1), None);
    assert_eq!(batch.text_at(Column::SourcePod, 0), Some("web-0"));
    assert_eq!(batch.text_at(Column::SourcePod, 1), None);
    assert_eq!(batch.shared_at::<UInt32Type>(Column::SourceIdentity, 1), Some(2));
    assert_eq!(batch.text_at(Column::DestinationNamespace, 1), None);
    assert_eq!(batch.number::<UInt16Type>(Column::DestinationPort, 0), Some(443));
    assert_eq!(batch.number::<UInt16Type>(Column::DestinationPort, 1), None);
    assert!(batch.column(Column::HttpUrl).is_none());
    assert_eq!(batch.to_record_batch().unwrap().num_columns(), Column::COUNT);
    assert_ne!(batch.uuid(0), batch.uuid(1));
    assert_eq!(builder.next_sequence(), 102);
}

#[test]
fn a_snapshot_leaves_the_rows_in_place() {
    let mut builder = FlowBatchBuilder::new(1, 0);
    for time_ns in 0..10 {
        builder.append(&FlowRecord {
            time_ns,
            rest: (time_ns % 3 == 0).then_some(b"x"),
            ..FlowRecord::default()
        });
        assert_eq!(builder.snapshot().unwrap().rows() as i64, time_ns + 1);
    }
    let batch = builder.seal().unwrap();
    assert_eq!(batch.rows(), 10);
    assert_eq!(batch.column(Column::Rest).unwrap().null_count(), 6);
}

#[test]
fn later_rows_keep_their_numbers_and_ids() {
    let web = endpoint("team-a", "web-0", 1001);
    let mut builder = FlowBatchBuilder::new(9, 50);
    for time_ns in 0..5 {
        builder.append(&FlowRecord {
            time_ns,
            source: (time_ns == 3).then_some(&web),
            ..FlowRecord::default()
        });
    }
    let batch = builder.seal().unwrap();
    let later = batch.from_row(2).unwrap();
    assert_eq!(
        (later.rows(), later.first_sequence(), later.end_sequence()),
        (3, 52, 55)
    );
    assert_eq!(later.text_at(Column::SourcePod, 1), Some("web-0"));
    assert_eq!(later.uuid(0), batch.uuid(2));
    assert!(batch.from_row(5).is_none());
}

#[test]
fn a_packet_costs_less_than_128_bytes() {
    let (web, world) = (endpoint("team-a", "web-0", 1001), endpoint("", "", 2));
    let node = Arc::new(Node {
        name: "node-1".into(),
        labels: String::new(),
    });
    let interface = Arc::new(Interface {
        index: 7,
        name: "eth0".into(),
    });
    let mut builder = FlowBatchBuilder::new(1, 0);
    for row in 0..MAX_ROWS {
        builder.append(&FlowRecord {
            time_ns: row as i64,
            node: Some(&node),
            interface: Some(&interface),
            flow_type: 1,
            event_type: Some(4),
            verdict: 1,
            traffic_direction: 1,
            observation_point: 5,
            trace_reason: 1,
            is_reply: (row % 2 == 0).then_some(true),
            cgroup_id: (row % 2) as u64,
            length: 100,
            packets: 1,
            mac: Some(([1; 6], [2; 6])),
            ip: Some(Ip {
                version: 4,
                source: Some([1; 16]),
                destination: Some([2; 16]),
                ttl: Some(64),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some((1, 2)),
                tcp_flags: Some(2),
                tcp: Some((1, 2, 3)),
                icmp: None,
            },
            source: Some(&web),
            destination: Some(&world),
            ..FlowRecord::default()
        });
    }
    assert!(builder.is_full());
    let batch = builder.seal().unwrap();
    let bytes_a_flow = batch.bytes() / batch.rows();
    assert!(bytes_a_flow <= 128, "{bytes_a_flow} bytes a flow");
}

/// Nothing but short connections: packets, drops and events of sockets in turn, so that the columns of all three are there.
#[test]
fn a_flow_of_short_connections_costs_less_than_128_bytes() {
    let world = endpoint("", "", 2);
    let node = Arc::new(Node {
        name: "node-1".into(),
        labels: String::new(),
    });
    let interface = Arc::new(Interface {
        index: 7,
        name: "eth0".into(),
    });
    let site = Arc::new(DropSite {
        reason: "NO_SOCKET".into(),
        symbol: "tcp_v4_rcv+0x8f".into(),
        code: 3,
        ..DropSite::default()
    });
    let process = Arc::new(Process {
        id: 7,
        name: "curl".into(),
    });
    let mut builder = FlowBatchBuilder::new(1, 0);
    for row in 0..MAX_ROWS {
        let packet = FlowRecord {
            time_ns: row as i64,
            node: Some(&node),
            interface: Some(&interface),
            flow_type: 1,
            event_type: Some(4),
            verdict: 1,
            traffic_direction: 1,
            observation_point: 5,
            trace_reason: 1,
            is_reply: Some(row % 2 == 0),
            cgroup_id: 1 << 33 | (row % 64) as u64,
            netns_cookie: 1 << 40 | (row % 16) as u64,
            length: 100,
            packets: 1,
            mac: Some(([1; 6], [2; 6])),
            ip: Some(Ip {
                version: 4,
                source: Some([1; 16]),
                destination: Some([2; 16]),
                ttl: Some(64),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some((1, 2)),
                tcp_flags: Some(2),
                tcp: Some((1, 2, 3)),
                icmp: None,
            },
            source: Some(&world),
            destination: Some(&world),
            process: Some(&process),
            ..FlowRecord::default()
        };
        builder.append(&match row % 3 {
            0 => packet,
            1 => FlowRecord {
                drop: Some(&site),
                ..packet
            },
            _ => FlowRecord {
                tcp_event: TcpEvent {
                    old_state: "SYN_SENT",
                    new_state: "ESTABLISHED",
                    srtt_us: 100,
                    reset_reason: "",
                },
                ..packet
            },
        });
    }
    let batch = builder.seal().unwrap();
    assert_eq!(batch.shared_at::<UInt64Type>(Column::CgroupId, 65), Some(1 << 33 | 1));
    assert_eq!(
        batch.shared_at::<UInt64Type>(Column::NetnsCookie, 65),
        Some(1 << 40 | 1)
    );
    let bytes_a_flow = batch.bytes() / batch.rows();
    assert!(bytes_a_flow <= 128, "{bytes_a_flow} bytes a flow");
    println!("{bytes_a_flow} bytes a flow");
}
