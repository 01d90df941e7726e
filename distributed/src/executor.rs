//! An executor: asks a scheduler for work, reads files, computes, keeps what other executors will fetch.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};

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

/// Runs an executor until the process is ended.
///
/// # Errors
/// If an address can't be listened on, or the scheduler can't be reached.
pub async fn run(options: ExecutorOptions) -> Result<()> {
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
        work_dir: options.work_folder.map(|folder| folder.display().to_string()),
        override_config_producer: Some(Arc::new(session::config)),
        override_runtime_producer: Some(Arc::new(|_| session::runtime())),
        override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&state))),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config))
        .await
        .with_context(|| format!("the executor on {} failed", options.listen))
}
