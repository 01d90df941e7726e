//! What a row costs on its way to a client: `cargo bench -p benches --bench serving`. Figures are per row.

use std::hint::black_box;
use std::time::Duration;

use benches::flows::Flows;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::wire::RowEncoder;
use prost::Message as _;

const ROWS: usize = 10_000;
const CHUNK_BYTES: usize = 64 << 10;

fn encode(criterion: &mut Criterion) {
    let batch = Flows::new(1).batch(ROWS);
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("row to bytes, straight", |bencher| {
        bencher.iter(|| {
            let mut encoder = RowEncoder::new(black_box(&batch), "node-1");
            let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
            let mut bytes = 0;
            for row in 0..ROWS {
                if chunk.len() >= CHUNK_BYTES {
                    bytes += chunk.len();
                    chunk.clear();
                }
                encoder.encode(row, &mut chunk);
            }
            bytes + chunk.len()
        });
    });
    group.bench_function("row to bytes, through a message", |bencher| {
        bencher.iter(|| {
            (0..ROWS)
                .map(|row| black_box(&batch).to_response(row).encode_to_vec().len())
                .sum::<usize>()
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("look up the columns of a batch, one row", |bencher| {
        bencher.iter(|| {
            let mut row = Vec::with_capacity(1024);
            RowEncoder::new(black_box(&batch), "node-1").encode(17, &mut row);
            row.len()
        });
    });
    group.finish();
    let mut rows = Vec::new();
    let mut encoder = RowEncoder::new(&batch, "node-1");
    (0..ROWS).for_each(|row| encoder.encode(row, &mut rows));
    println!("on the wire: {} bytes a row", rows.len() / ROWS);
}

criterion_group! {
    name = serving;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = encode
}
criterion_main!(serving);
