mod http;

use bpf_probes::event::{Drop, KIND_DROP, KIND_PACKET};
use flow::endpoint::Endpoint;
use flow::record::to_stored;
use flow::schema::Column;

use super::*;
use crate::names::NameTable;

struct FixedNames;

impl KernelNames for FixedNames {
    fn reason(&self, code: u32) -> Option<String> {
        (code == 3).then(|| "NO_SOCKET".to_owned())
    }

    fn symbol(&mut self, address: u64) -> Option<String> {
        (address == 0x1234).then(|| "tcp_v4_rcv+0x10".to_owned())
    }
}

fn pipeline() -> Pipeline {
    let names = Arc::new(Names::default());
    let mut table = NameTable::default();
    let web = Endpoint {
        namespace: "team-a".into(),
        pod: "web-0".into(),
        identity: 1001,
        ..Endpoint::default()
    };
    table.insert("10.1.0.10/32".parse().unwrap(), Arc::new(web));
    names.publish(table);
    let mut pipeline = Pipeline::new(PipelineOptions {
        log_id: 1,
        node: Node {
            name: "node-1".into(),
            labels: String::new(),
        },
        connections: 100,
        names,
        kernel_names: Box::new(FixedNames),
        netns_cookie: 42,
        silence: Some(Duration::from_secs(3)),
        http: true,
    });
    pipeline.set_interfaces([(7, "veth0".to_owned(), Role::Endpoint)]);
    pipeline
}

fn syn() -> Event {
    Event {
        time_ns: 1000,
        ifindex: 7,
        length: 74,
        segments: 1,
        kind: KIND_PACKET,
        direction: DIRECTION_INGRESS,
        headers: PacketHeaders {
            source: to_stored("10.1.0.10".parse().unwrap()),
            destination: to_stored("192.0.2.1".parse().unwrap()),
            source_port: 40000,
            destination_port: 443,
            ip_version: 4,
            protocol: TCP,
            tcp_flags: 2,
            ..PacketHeaders::default()
        },
        ..Event::default()
    }
}

#[test]
fn a_packet_becomes_a_row_with_names_and_its_point() {
    let mut pipeline = pipeline();
    pipeline.set_clock_offset(5);
    pipeline.packet(&Decoded {
        event: syn(),
        outer: None,
        drop: None,
        totals: None,
        bytes: &[],
    });
    let batch = pipeline.snapshot().unwrap();
    assert_eq!(batch.time_ns(0), 1005);
    assert_eq!(batch.text_at(Column::SourcePod, 0), Some("web-0"));
    assert_eq!(
        batch.shared_at::<arrow_array::types::UInt32Type>(Column::DestinationIdentity, 0),
        Some(IDENTITY_WORLD)
    );
    assert_eq!(batch.text_at(Column::InterfaceName, 0), Some("veth0"));
    let number = |column| batch.number::<arrow_array::types::UInt8Type>(column, 0);
    assert_eq!(number(Column::ObservationPoint), Some(5));
    assert_eq!(number(Column::TrafficDirection), Some(EGRESS));
    assert_eq!(number(Column::Verdict), Some(FORWARDED));
}

#[test]
fn a_drop_says_why_and_where() {
    let mut pipeline = pipeline();
    let mut event = syn();
    event.kind = KIND_DROP;
    let drop = Drop {
        location: 0x1234,
        netns_cookie: 99,
        reason: 3,
        reserved: 0,
    };
    pipeline.packet(&Decoded {
        event,
        outer: None,
        drop: Some(drop),
        totals: None,
        bytes: &[],
    });
    let unknown = Drop {
        reason: 0x20_0001,
        location: 0x99,
        ..drop
    };
    pipeline.packet(&Decoded {
        event,
        outer: None,
        drop: Some(unknown),
        totals: None,
        bytes: &[],
    });
    let batch = pipeline.snapshot().unwrap();
    assert_eq!(batch.text_at(Column::DropReason, 0), Some("NO_SOCKET"));
    assert_eq!(batch.text_at(Column::DropSymbol, 0), Some("tcp_v4_rcv+0x10"));
    assert_eq!(
        batch.text_at(Column::InterfaceName, 0),
        None,
        "index 7 of another namespace is not our veth0"
    );
    assert_eq!(
        batch.shared_at::<arrow_array::types::UInt32Type>(Column::InterfaceIndex, 0),
        Some(7)
    );
    assert_eq!(batch.text_at(Column::DropReason, 1), Some("REASON_0x200001"));
    assert_eq!(batch.text_at(Column::DropSymbol, 1), Some("0x99"));
}

#[test]
fn full_batches_are_handed_over_in_order_and_nothing_is_lost() {
    let mut pipeline = pipeline();
    let count = flow::builder::MAX_ROWS * 2 + 5;
    for _ in 0..count {
        pipeline.packet(&Decoded {
            event: syn(),
            outer: None,
            drop: None,
            totals: None,
            bytes: &[],
        });
    }
    let sealed = pipeline.take_sealed();
    assert_eq!(sealed.len(), 2);
    assert_eq!(sealed[1].first_sequence(), sealed[0].end_sequence());
    assert_eq!(pipeline.snapshot().unwrap().rows(), 5);
    assert_eq!(pipeline.next_sequence(), count as u64);
    assert!(pipeline.take_sealed().is_empty());
}

#[test]
fn rubbish_is_counted() {
    let mut pipeline = pipeline();
    assert!(pipeline.record(&[1, 2, 3]).is_err());
    assert_eq!(pipeline.undecodable(), 1);
    assert!(pipeline.snapshot().is_none());
}

fn seen(event: Event, bytes: &[u8]) -> Decoded<'_> {
    Decoded {
        event,
        outer: None,
        drop: None,
        totals: None,
        bytes,
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_syn_without_an_answer_becomes_a_row_of_its_own() {
    let mut pipeline = pipeline();
    pipeline.packet(&seen(syn(), &[]));
    let mut again = syn();
    again.time_ns += SECOND;
    pipeline.packet(&seen(again, &[]));
    pipeline.tick(syn().time_ns + 3 * SECOND - 1);
    assert_eq!(pipeline.next_sequence(), 2);
    pipeline.tick(syn().time_ns + 3 * SECOND);
    let batch = pipeline.snapshot().unwrap();
    assert_eq!(batch.rows(), 3);
    let flow = batch.to_flow(2);
    assert_eq!(
        (flow.event_type.unwrap().r#type, flow.event_type.unwrap().sub_type),
        (161, 1)
    );
    assert_eq!(flow.verdict(), flow::api::flow::Verdict::Error);
    assert_eq!(flow.source.unwrap().pod_name, "web-0");
    assert_eq!(flow.interface.unwrap().name, "veth0");
    let detail = flow.detail.unwrap();
    assert_eq!(
        (detail.tries, detail.waited_ns, detail.packets, detail.length),
        (2, 3 * SECOND, 0, 0)
    );
    assert_eq!(
        flow.traffic_direction,
        i32::from(EGRESS),
        "as it was seen when it was sent"
    );
}

#[test]
fn a_kernel_drop_of_the_request_neither_asks_nor_answers() {
    let mut pipeline = pipeline();
    let mut dropped = syn();
    dropped.kind = KIND_DROP;
    dropped.time_ns += SECOND;
    let dropped = Decoded {
        drop: Some(Drop::default()),
        ..seen(dropped, &[])
    };
    pipeline.packet(&dropped);
    pipeline.tick(100 * SECOND);
    assert_eq!(pipeline.next_sequence(), 1, "nobody has seen it pass");
    let mut asked = syn();
    asked.time_ns = 200 * SECOND;
    pipeline.packet(&seen(asked, &[]));
    pipeline.packet(&dropped);
    pipeline.tick(300 * SECOND);
    let batch = pipeline.snapshot().unwrap();
    assert_eq!(batch.rows(), 4);
    assert_eq!(
        batch.number::<arrow_array::types::UInt32Type>(Column::Tries, 3),
        Some(1)
    );
}

#[test]
fn a_dns_query_without_an_answer_tells_its_question() {
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};

    let mut pipeline = pipeline();
    let query = |name: &str| {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    };
    let mut event = syn();
    event.kind = bpf_probes::event::KIND_PACKET_WITH_BYTES;
    event.headers.protocol = UDP;
    event.headers.tcp_flags = 0;
    event.headers.destination_port = 53;
    let (one, two) = (query("one.test."), query("two.test."));
    pipeline.packet(&seen(event, &one.to_vec().unwrap()));
    event.time_ns += 1;
    pipeline.packet(&seen(event, &two.to_vec().unwrap()));
    let mut answer = event;
    answer.time_ns += 1;
    std::mem::swap(&mut answer.headers.source, &mut answer.headers.destination);
    std::mem::swap(&mut answer.headers.source_port, &mut answer.headers.destination_port);
    let told = two.clone().into_response();
    // An answer is often longer than what is captured of it.
    let told = told.to_vec().unwrap();
    pipeline.packet(&seen(answer, &told[..14]));
    pipeline.tick(10 * SECOND);
    let batch = pipeline.snapshot().unwrap();
    let silent: Vec<usize> = (0..batch.rows())
        .filter(|row| batch.number::<arrow_array::types::Int32Type>(Column::EventType, *row) == Some(161))
        .collect();
    assert_eq!(silent.len(), 1);
    assert_eq!(batch.text_at(Column::DnsQuery, silent[0]), Some("one.test."));
    assert_eq!(
        flow::text::summary(&batch.to_flow(silent[0])),
        "no answer to 1 try in 3.0 s: DNS Query one.test. A"
    );
}
