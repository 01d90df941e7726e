//! What the viewer costs: taking flows, and drawing a frame.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::from_api::FlowReader;
use flow::record::{FlowRecord, Ip, Transport};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use top::app::{App, Settings};
use top::news::News;
use top::screen::Screen;
use top::theme::Palette;
use top::view;

fn demo() -> FlowBatch {
    let text = include_str!("../tests/screens/flows.jsonl");
    let flows: Vec<_> = text
        .lines()
        .filter_map(|line| match serde_json::from_str::<GetFlowsResponse>(line) {
            Ok(GetFlowsResponse {
                response_types: Some(ResponseTypes::Flow(flow)),
                ..
            }) => Some(flow),
            _ => None,
        })
        .collect();
    FlowReader::default().batch(&flows).expect("flows")
}

fn app(batches: usize) -> (App, i64) {
    let mut app = App::new(Settings {
        palette: Palette::Sixteen,
        ..Settings::default()
    });
    let flows = demo();
    let now_ns = flows.time_range().1 + 1_000_000_000;
    for _ in 0..batches {
        app.hear(News::flows(flows.clone()), now_ns);
    }
    (app, now_ns)
}

/// Flows of as many connections as there are rows, from as many addresses, in batches of 4,000.
fn scan(rows: usize) -> Vec<FlowBatch> {
    let address = |number: usize| Some(Ipv4Addr::from(0x0a00_0000 | number as u32).to_ipv6_mapped().octets());
    let starts = (0..rows).step_by(4_000);
    let batch = |start: usize| {
        let mut builder = FlowBatchBuilder::new(1, start as u64);
        for row in start..(start + 4_000).min(rows) {
            builder.append(&FlowRecord {
                time_ns: 1_700_000_000_000_000_000 + row as i64,
                verdict: 1,
                event_type: Some(4),
                packets: 1,
                length: 60,
                is_reply: Some(false),
                ip: Some(Ip {
                    version: 4,
                    source: address(row),
                    destination: address((1 << 20) | (row % 50)),
                    ..Ip::default()
                }),
                transport: Transport {
                    protocol: Some(6),
                    ports: Some((40_000, 443)),
                    tcp_flags: Some(2),
                    ..Transport::default()
                },
                ..FlowRecord::default()
            });
        }
        builder.seal().expect("there are rows")
    };
    starts.map(batch).collect()
}

/// The worst that a network can do to the viewer: everybody talks to everybody.
fn scanned(criterion: &mut Criterion) {
    let batches = scan(200_000);
    let now_ns = 1_700_000_001_000_000_000;
    let mut app = App::new(Settings {
        palette: Palette::Sixteen,
        ..Settings::default()
    });
    for batch in &batches {
        app.hear(News::flows(batch.clone()), now_ns);
    }
    let mut group = criterion.benchmark_group("200,000 connections");
    group.throughput(Throughput::Elements(4_000));
    let mut turn = batches.iter().cycle();
    group.bench_function("take flows", |bencher| {
        bencher.iter(|| {
            let batch = turn.next().expect("it has no end").clone();
            app.hear(News::flows(black_box(batch)), now_ns);
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("200,000 connections, frame with new lists");
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("memory");
    for screen in Screen::ALL {
        app.show(screen);
        let mut at_ns = now_ns;
        group.bench_function(screen.title(), |bencher| {
            bencher.iter(|| {
                at_ns += 300_000_000;
                app.tick(at_ns);
                terminal.draw(|frame| view::draw(frame, &mut app)).expect("memory");
            });
        });
    }
    group.finish();
}

fn viewer(criterion: &mut Criterion) {
    let flows = demo();
    let mut group = criterion.benchmark_group("viewer");
    group.throughput(Throughput::Elements(flows.rows() as u64));
    let (mut taking, now_ns) = app(1);
    group.bench_function("take flows", |bencher| {
        bencher.iter(|| taking.hear(News::flows(black_box(flows.clone())), now_ns));
    });
    group.finish();

    // As full as it gets: 200,000 flows.
    let mut group = criterion.benchmark_group("frame");
    let (mut full, now_ns) = app(600);
    for (width, height) in [(80, 24), (120, 40), (300, 100)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
        for screen in Screen::ALL {
            full.show(screen);
            let mut at_ns = now_ns;
            group.bench_function(format!("{} {width}x{height}", screen.title()), |bencher| {
                bencher.iter(|| {
                    // Lists are made again every 250 ms, which is in every tenth frame or so.
                    at_ns += 33_000_000;
                    full.tick(at_ns);
                    terminal.draw(|frame| view::draw(frame, &mut full)).expect("memory");
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = viewer, scanned
}
criterion_main!(benches);
