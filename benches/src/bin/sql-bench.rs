//! Answers questions over a history and says how long each took: one a line on standard input, milliseconds and rows a
//! line on standard output. benches/sql-bench.py asks the same of DuckDB in turn.

use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::TryStreamExt as _;
use history::store::Store;
use sql::engine::{Engine, Sources};
use sql::limits::Limits;

#[derive(Parser)]
struct Arguments {
    /// Folder or URL of the history
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// Threads of a query
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let store = Store::open(&arguments.from)?;
    store.check().await?;
    let sources = Sources {
        live: None,
        history: Some(store),
        cluster: None,
    };
    let limits = Limits {
        memory_bytes: 4 << 30,
        rows: u64::MAX,
        time: Duration::from_secs(600),
        queries: 1,
        threads: arguments.threads,
        spills: true,
    };
    let engine = std::sync::Arc::new(Engine::new(sources, limits)?);
    for query in std::io::stdin().lock().lines() {
        let query = query?;
        let engine = std::sync::Arc::clone(&engine);
        let started = Instant::now();
        // On the threads of the runtime, as the server does it.
        let rows = tokio::spawn(async move {
            let answer = engine.query(&query, Vec::new()).await?;
            let batches: Vec<_> = answer.stream.try_collect().await?;
            anyhow::Ok(batches.iter().map(|batch| batch.num_rows()).sum::<usize>())
        });
        let rows = rows.await??;
        println!("{:.3} {rows}", started.elapsed().as_secs_f64() * 1e3);
        std::io::stdout().flush()?;
    }
    Ok(())
}
