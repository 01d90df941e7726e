//! What metrics of flows cost, for each flow.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{DropSite, Endpoint};
use flow::record::{FlowRecord, Ip, Transport};
use metrics::config::{DEFAULT, parse};
use metrics::flow_metrics::{FlowMetrics, Limits};

const ROWS: usize = 8192;
const CONNECTIONS: usize = 200;
const ENDPOINTS: usize = 40;

/// Packets of some connections between some pods; every twentieth is a drop.
fn batch() -> FlowBatch {
    let site = Arc::new(DropSite {
        reason: "NETFILTER_DROP".into(),
        symbol: "nf_hook_slow+0x42".into(),
        ..DropSite::default()
    });
    let ends: Vec<Arc<Endpoint>> = (0..ENDPOINTS as u32)
        .map(|place| {
            Arc::new(Endpoint {
                identity: 1000 + place,
                namespace: format!("team-{}", place % 5),
                pod: format!("web-{place}"),
                labels: format!("k8s:app=web,k8s:team=team-{}", place % 5),
                workloads: format!("Deployment/web-{}", place % 20),
                ..Endpoint::default()
            })
        })
        .collect();
    let mut builder = FlowBatchBuilder::new(1, 0);
    for row in 0..ROWS {
        let connection = row % CONNECTIONS;
        let forward = (row / CONNECTIONS).is_multiple_of(2);
        let is_drop = row % 20 == 7;
        let address = |host: usize| {
            let mut bytes = [0; 16];
            bytes[10..].copy_from_slice(&[0xff, 0xff, 10, 0, (host / 250) as u8, (host % 250) as u8]);
            Some(bytes)
        };
        let (one, other) = (&ends[connection % ENDPOINTS], &ends[(connection * 7 + 1) % ENDPOINTS]);
        builder.append(&FlowRecord {
            time_ns: row as i64,
            verdict: if is_drop { 2 } else { 1 },
            event_type: Some(if is_drop { 1 } else { 4 }),
            drop: is_drop.then_some(&site),
            observation_point: if forward { 5 } else { 101 },
            traffic_direction: if forward { 2 } else { 1 },
            is_reply: Some(!forward),
            length: 60 + (row as u32 * 37) % 1400,
            packets: 1,
            ip: Some(Ip {
                version: 4,
                source: address(connection),
                destination: address(connection + 1000),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some(if forward { (40_000, 443) } else { (443, 40_000) }),
                tcp_flags: Some(if row % 50 == 0 { 2 } else { 16 }),
                ..Transport::default()
            },
            source: Some(if forward { one } else { other }),
            destination: Some(if forward { other } else { one }),
            ..FlowRecord::default()
        });
    }
    builder.seal().expect("there are rows")
}

fn metrics_of_flows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    group.throughput(Throughput::Elements(ROWS as u64));
    let batch = batch();
    for (name, config) in [
        ("drop, without labels", "drop"),
        (
            "all, without labels",
            "dns drop drop-reason flow flows-to-world icmp policy port-distribution tcp connection traffic",
        ),
        ("all, labels of the dashboards", DEFAULT),
        (
            "all, addresses as labels",
            &DEFAULT
                .replace("source_namespace", "source_ip")
                .replace("destination_namespace", "destination_ip"),
        ),
    ] {
        let configs = parse(config).expect("metrics");
        let mut metrics = FlowMetrics::new(&configs, Limits::default());
        group.bench_function(name, |bencher| bencher.iter(|| black_box(metrics.observe(&batch, 0))));
    }
    group.finish();
}

criterion_group!(benches, metrics_of_flows);
criterion_main!(benches);
