//! Computes parts of queries over a history for a scheduler.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use distributed::executor::{ExecutorOptions, run};

/// Compute parts of queries over a history for a scheduler.
#[derive(Parser)]
#[command(name = "parallax-executor", version = distributed::VERSION)]
struct Arguments {
    /// The scheduler to work for.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    scheduler: String,
    /// Address to listen on, where clients and other executors fetch results: one that they reach. There is no
    /// authentication.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Address to listen on for the scheduler.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50052")]
    listen_control: SocketAddr,
    /// Parts of a query to work on at a time [default: one for each CPU].
    #[arg(long, value_name = "NUMBER")]
    threads: Option<usize>,
    /// Folder for what lies between two stages of a query [default: a temporary one].
    #[arg(long, value_name = "FOLDER")]
    work_folder: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scheduler = arguments
        .scheduler
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = scheduler.with_context(|| format!("--scheduler {}: write HOST:PORT", arguments.scheduler))?;
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    // Never dropped: that would wait for threads that may compute for ever.
    let runtime = std::mem::ManuallyDrop::new(distributed::runtime()?);
    let ended = runtime.block_on(run(ExecutorOptions {
        listen: arguments.listen,
        listen_control: arguments.listen_control,
        scheduler: (host.to_owned(), port),
        threads: arguments.threads.unwrap_or_else(cpus),
        work_folder: arguments.work_folder,
    }));
    if let Err(error) = ended {
        eprintln!("Error: {error:?}");
        std::process::exit(1);
    }
    std::process::exit(0)
}
