//! Writes a history of a made-up day, for measuring questions over millions of flows: `history-load --to DIR`.
//!
//! Twenty teams with ten pods each talk to each other and to the world: TCP connections of a few packets to many, DNS
//! messages, and drops for several reasons. Files are those that an observer has after its upkeep has merged them.

mod day;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use flow::batch::FlowBatch;
use history::layout::{HOUR_NS, Kind, hour_of};
use history::merge::MERGED_ROWS;
use history::store::Store;
use history::writer::Writer;

use day::Day;

#[derive(Parser)]
struct Arguments {
    /// Folder to write to; it must not have a history yet
    #[arg(long, value_name = "DIR")]
    to: String,
    /// Flows in all
    #[arg(long, default_value_t = 50_000_000)]
    flows: u64,
    /// Hours over which they are spread
    #[arg(long, default_value_t = 24)]
    hours: u32,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let store = Store::open(&arguments.to)?;
    anyhow::ensure!(store.check().await.is_err(), "{} has a history already", arguments.to);
    std::fs::create_dir_all(&arguments.to)?;
    store.prepare().await?;
    let mut writer = Writer::new(store.clone(), "node-1".to_owned(), day::LOG_ID);
    let mut day = Day::new(arguments.flows, Duration::from_secs(3600 * u64::from(arguments.hours)));
    let started = Instant::now();
    let (mut waiting, mut rows, mut written): (Vec<FlowBatch>, u64, u64) = (Vec::new(), 0, 0);
    while let Some(batch) = day.next_batch() {
        // A file is of one hour, and of about a million rows.
        let hour = |batch: &FlowBatch| hour_of(batch.time_range().1);
        if rows >= MERGED_ROWS || waiting.last().is_some_and(|last| hour(last) != hour(&batch)) {
            writer.write(&waiting).await?;
            waiting.clear();
            written += std::mem::take(&mut rows);
            eprint!("\r{written} flows, {:.0} s", started.elapsed().as_secs_f64());
        }
        rows += batch.rows() as u64;
        waiting.push(batch);
    }
    writer.write(&waiting).await?;
    let files = store.list(Kind::Flows, None).await?.files;
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    let last = files
        .iter()
        .map(|file| file.name.end_sequence)
        .max()
        .context("no files")?;
    eprintln!();
    println!(
        "{last} flows of {} hours in {} files, {:.1} MiB: {:.2} bytes a flow; from {} s since 1970",
        arguments.hours,
        files.len(),
        bytes as f64 / f64::from(1 << 20),
        bytes as f64 / last as f64,
        day::START_NS / (HOUR_NS / 3600),
    );
    Ok(())
}
