//! An executor: asks a scheduler for work, reads files, computes, keeps what other executors will fetch.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::session;

/// How often an executor tells the scheduler that it is there.
pub(crate) const HEARTBEAT_SECONDS: u64 = 5;

/// What an executor starts from.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Where other executors and clients fetch results.
    pub listen: SocketAddr,
    /// Where the scheduler reaches it.
    pub listen_control: SocketAddr,
    /// Host and port of the scheduler.
    pub scheduler: (String, u16),
    /// How many parts of a query it works on at a time.
    pub threads: usize,
    /// Folder for what lies between two stages; a temporary one if `None`.
    pub work_folder: Option<PathBuf>,
}

/// How long an executor that is told to end may go on with what it computes.
const GRACE: Duration = Duration::from_secs(3);

/// Runs an executor until it is told to end, by SIGTERM or Ctrl-C, and for 3 s after that.
///
/// What it computes may go on in other threads when this returns, and never ends if it is a join without rows: the
/// caller has to end the process, not to wait for its threads.
///
/// # Errors
/// If an address can't be listened on, or the scheduler can't be reached.
pub async fn run(options: ExecutorOptions) -> Result<()> {
    // The library would leave a folder that it makes itself behind when the process ends early.
    let (folder, _temporary) = match options.work_folder.clone() {
        Some(folder) => (folder, None),
        None => {
            let folder = tempfile::Builder::new().prefix("parallax-executor-").tempdir();
            let folder = folder.context("cannot make a temporary folder; name one with --work-folder")?;
            (folder.path().to_owned(), Some(folder))
        }
    };
    tokio::select! {
        ended = serve(options, folder) => ended,
        signal = told_to_end() => {
            signal.context("cannot listen for signals")?;
            tokio::time::sleep(GRACE).await;
            Ok(())
        }
    }
}

/// Comes with the first SIGTERM or Ctrl-C.
async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => pressed,
    }
}

async fn serve(options: ExecutorOptions, folder: PathBuf) -> Result<()> {
    let (scheduler_host, scheduler_port) = options.scheduler.clone();
    let state = session::state(session::config())?;
    let config = ExecutorProcessConfig {
        bind_host: options.listen.ip().to_string(),
        external_host: Some(options.listen.ip().to_string()),
        port: options.listen.port(),
        grpc_port: options.listen_control.port(),
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: 10,
        vcores: options.threads,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_heartbeat_interval_seconds: HEARTBEAT_SECONDS,
        work_dir: Some(folder.display().to_string()),
        override_config_producer: Some(Arc::new(session::config)),
        override_runtime_producer: Some(Arc::new(|_| session::runtime())),
        override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&state))),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config))
        .await
        .with_context(|| format!("the executor on {} failed", options.listen))
}
