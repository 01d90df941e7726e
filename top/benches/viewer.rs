//! What the viewer costs: taking flows, and drawing a frame.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::from_api::FlowReader;
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
    targets = viewer
}
criterion_main!(benches);
