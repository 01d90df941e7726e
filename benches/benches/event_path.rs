//! Every step of the event path in user space, apart: `cargo bench -p benches`. Figures are per event.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bpf_probes::event::{DIRECTION_INGRESS, Drop, Event, KIND_DROP, KIND_PACKET, Outer, PacketHeaders};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flow::api::flow::FlowFilter;
use flow::api::flow::flow_filter::Experimental;
use flow::batch::FlowBatch;
use flow::builder::{FlowBatchBuilder, MAX_ROWS};
use flow::endpoint::{Endpoint, Interface, Node};
use flow::filter::Filters;
use flow::mask::FlowMask;
use flow::record::{FlowRecord, Ip, Transport, to_stored};
use observer::connection::{ConnectionTable, Passage};
use observer::decode::decode;
use observer::drop_site::KernelNames;
use observer::names::{NameTable, Names, Resolver};
use observer::observation_point::Role;
use observer::pipeline::{Pipeline, PipelineOptions};
use prost::Message;
use zerocopy::IntoBytes;

const CONNECTIONS: usize = 1000;
const SERVERS: usize = 20;

struct FixedNames;

impl KernelNames for FixedNames {
    fn reason(&self, _: u32) -> Option<String> {
        Some("NO_SOCKET".to_owned())
    }

    fn symbol(&mut self, _: u64) -> Option<String> {
        Some("tcp_v4_rcv+0x91".to_owned())
    }
}

fn address(host: usize) -> [u8; 16] {
    to_stored(Ipv4Addr::from(0x0a00_0000 + host as u32).into())
}

/// Packets of a thousand connections in turn, both directions, one in fifty a drop.
fn events() -> Vec<Vec<u8>> {
    (0..MAX_ROWS)
        .map(|number| {
            let connection = number % CONNECTIONS;
            let (client, server) = (address(1000 + connection), address(connection % SERVERS));
            let (port, service) = (32768 + connection as u16, [80, 443, 53, 5432][connection % 4]);
            let forward = (number / CONNECTIONS).is_multiple_of(2);
            let headers = PacketHeaders {
                source: if forward { client } else { server },
                destination: if forward { server } else { client },
                source_port: if forward { port } else { service },
                destination_port: if forward { service } else { port },
                ip_version: 4,
                ethertype: 0x0800,
                protocol: if service == 53 { 17 } else { 6 },
                tcp_flags: 0x10,
                ttl: 64,
                flags: 1,
                ..PacketHeaders::default()
            };
            let is_drop = number % 50 == 49;
            let event = Event {
                time_ns: number as u64 * 1000,
                ifindex: 7,
                length: 120,
                segments: 1,
                kind: if is_drop { KIND_DROP } else { KIND_PACKET },
                direction: DIRECTION_INGRESS,
                headers,
                ..Event::default()
            };
            let mut record = event.as_bytes().to_vec();
            if is_drop {
                record.extend(Outer::default().as_bytes());
                record.extend(
                    Drop {
                        reason: 3,
                        location: 1,
                        ..Drop::default()
                    }
                    .as_bytes(),
                );
            }
            record
        })
        .collect()
}

fn names() -> Arc<Names> {
    let names = Arc::new(Names::default());
    let mut table = NameTable::default();
    for server in 0..SERVERS {
        let endpoint = Endpoint {
            namespace: format!("team-{}", server % 5),
            pod: format!("web-{server}"),
            labels: format!("k8s:app=web,k8s:team=team-{}", server % 5),
            identity: 1000 + server as u32,
            ..Endpoint::default()
        };
        let network = Ipv4Addr::from(0x0a00_0000 + server as u32);
        table.insert(std::net::IpAddr::from(network).into(), Arc::new(endpoint));
    }
    names.publish(table);
    names
}

fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new(PipelineOptions {
        log_id: 1,
        node: Node {
            name: "node-1".into(),
            labels: String::new(),
        },
        connections: 65_536,
        names: names(),
        kernel_names: Box::new(FixedNames),
        netns_cookie: 0,
        silence: Some(Duration::from_secs(3)),
        http: true,
    });
    pipeline.set_interfaces([(7, "veth0".to_owned(), Role::Endpoint)]);
    pipeline
}

fn filled(events: &[Vec<u8>]) -> Pipeline {
    let mut pipeline = pipeline();
    for event in events {
        pipeline.record(event).expect("records of this build");
    }
    pipeline
}

/// Rows as the pipeline makes them of packets.
fn rows(headers: &[PacketHeaders]) -> Vec<FlowRecord<'static>> {
    // What rows borrow lives as long as the program: there is one set of it.
    let ends: &[Arc<Endpoint>] = Vec::leak((0..SERVERS).map(|_| Arc::new(Endpoint::default())).collect());
    let node: &Arc<Node> = Box::leak(Box::new(Arc::new(Node {
        name: "node-1".into(),
        labels: String::new(),
    })));
    let interface: &Arc<Interface> = Box::leak(Box::new(Arc::new(Interface {
        index: 7,
        name: "veth0".into(),
    })));
    let row = |(number, packet): (usize, &PacketHeaders)| FlowRecord {
        time_ns: number as i64 * 1000,
        node: Some(node),
        interface: Some(interface),
        flow_type: 1,
        event_type: Some(4),
        verdict: 1,
        traffic_direction: 1,
        observation_point: 5,
        is_reply: Some(number % 2 == 0),
        cgroup_id: 7,
        length: 120,
        packets: 1,
        mac: Some((packet.source_mac, packet.destination_mac)),
        ip: Some(Ip {
            version: packet.ip_version,
            source: Some(packet.source),
            destination: Some(packet.destination),
            ttl: Some(packet.ttl),
            ..Ip::default()
        }),
        transport: Transport {
            protocol: Some(packet.protocol),
            ports: Some((packet.source_port, packet.destination_port)),
            tcp_flags: Some(packet.tcp_flags.into()),
            tcp: Some((1, 2, 3)),
            icmp: None,
        },
        source: Some(&ends[number % SERVERS]),
        destination: Some(&ends[(number + 1) % SERVERS]),
        ..FlowRecord::default()
    };
    headers.iter().enumerate().map(row).collect()
}

fn batch(events: &[Vec<u8>]) -> FlowBatch {
    filled(events).snapshot().expect("there are rows")
}

fn capture(criterion: &mut Criterion) {
    let events = events();
    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| events.iter().filter(|event| decode(black_box(event)).is_ok()).count());
    });
    let headers: Vec<PacketHeaders> = events
        .iter()
        .map(|event| decode(event).expect("records of this build").event.headers)
        .collect();
    let mut table = ConnectionTable::new(65_536);
    group.bench_function("connection table", |bencher| {
        bencher.iter(|| {
            headers
                .iter()
                .filter(|packet| table.observe(black_box(packet), Passage::At(1)).is_reply == Some(true))
                .count()
        });
    });
    let mut resolver = Resolver::new(names());
    group.bench_function("enrich: both addresses", |bencher| {
        bencher.iter(|| {
            let mut named = 0;
            for packet in &headers {
                resolver.make_room();
                let ends = [packet.source, packet.destination].map(|address| resolver.find(black_box(address)));
                named += ends.iter().filter(|end| !resolver.get(**end).pod.is_empty()).count();
            }
            named
        });
    });
    let rows = rows(&headers);
    group.bench_function("append a row", |bencher| {
        bencher.iter_batched_ref(
            || FlowBatchBuilder::new(1, 0),
            |builder| {
                for row in &rows {
                    builder.append(black_box(row));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("whole: record to row", |bencher| {
        bencher.iter_batched_ref(
            pipeline,
            |pipeline| {
                for event in &events {
                    pipeline.record(black_box(event)).expect("records of this build");
                }
            },
            BatchSize::LargeInput,
        );
    });
    let full = filled(&events);
    group.bench_function("snapshot of a full batch", |bencher| bencher.iter(|| full.snapshot()));
    group.finish();
    let batch = batch(&events);
    println!("memory: {} bytes a flow", batch.bytes() / batch.rows());
}

fn filters(criterion: &mut Criterion) {
    let batch = batch(&events());
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(batch.rows() as u64));
    let text = |value: &str| vec![value.to_owned()];
    let filter = FlowFilter::default;
    let cel = Some(Experimental {
        cel_expression: text("_flow.verdict == Verdict.DROPPED"),
    });
    for (name, filter) in [
        (
            "verdict",
            FlowFilter {
                verdict: vec![2],
                ..filter()
            },
        ),
        (
            "port",
            FlowFilter {
                destination_port: text("443"),
                ..filter()
            },
        ),
        (
            "network",
            FlowFilter {
                source_ip: text("10.0.0.0/28"),
                ..filter()
            },
        ),
        (
            "pod",
            FlowFilter {
                source_pod: text("team-1/web"),
                ..filter()
            },
        ),
        (
            "label",
            FlowFilter {
                source_label: text("app=web,team in (team-1,team-2)"),
                ..filter()
            },
        ),
        (
            "expression over 2 % of the rows",
            FlowFilter {
                verdict: vec![2],
                experimental: cel,
                ..filter()
            },
        ),
    ] {
        let filters = Filters::compile(&[filter], &[]).expect("valid filters");
        group.bench_function(name, |bencher| {
            bencher.iter(|| filters.matches(black_box(&batch)).count_set_bits())
        });
    }
    group.finish();
}

fn serving(criterion: &mut Criterion) {
    let batch = batch(&events());
    let mut group = criterion.benchmark_group("serve");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("row to message", |bencher| {
        bencher.iter(|| {
            (0..1000)
                .map(|row| batch.to_response(row).node_name.len())
                .sum::<usize>()
        });
    });
    group.bench_function("row to bytes on the wire", |bencher| {
        bencher.iter(|| {
            (0..1000)
                .map(|row| batch.to_response(row).encode_to_vec().len())
                .sum::<usize>()
        });
    });
    let mask = FlowMask::new(&["time".to_owned(), "source.pod_name".to_owned(), "verdict".to_owned()]);
    let mask = mask.expect("fields of a flow").expect("not empty");
    group.bench_function("field mask", |bencher| {
        bencher.iter(|| {
            (0..1000)
                .map(|row| mask.apply(&batch.to_flow(row)).uuid.len())
                .sum::<usize>()
        });
    });
    let responses: Vec<_> = (0..1000).map(|row| batch.to_response(row)).collect();
    group.bench_function("message to JSON", |bencher| {
        bencher.iter(|| {
            let json = |response| serde_json::to_vec(response).expect("a flow has a JSON form").len();
            responses.iter().map(json).sum::<usize>()
        });
    });
    group.bench_function("message to a line of text", |bencher| {
        bencher.iter(|| {
            let mut printer = flow::text::Printer::new(Vec::new(), Vec::new(), flow::text::Options::default());
            for response in &responses {
                printer.print(response).expect("memory can be written");
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = event_path;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = capture, filters, serving
}
criterion_main!(event_path);
