//! The scheduler: takes queries, cuts them into stages, gives these to executors.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;

use crate::session;

/// An executor that says nothing for so long is lost, and its work is done by another. One that works speaks every
/// [`HEARTBEAT_SECONDS`](crate::executor::HEARTBEAT_SECONDS).
const LOST_AFTER_SECONDS: u64 = 20;
/// How often it is looked for.
const LOOK_SECONDS: u64 = 5;

/// Runs a scheduler on that address until the process is ended.
///
/// # Errors
/// If the address can't be listened on.
pub async fn run(listen: SocketAddr) -> Result<()> {
    let config = SchedulerConfig {
        bind_host: listen.ip().to_string(),
        bind_port: listen.port(),
        external_host: listen.ip().to_string(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: LOST_AFTER_SECONDS,
        expire_dead_executor_interval_seconds: LOOK_SECONDS,
        no_executors_grace_period_seconds: LOST_AFTER_SECONDS,
        override_config_producer: Some(Arc::new(session::config)),
        override_session_builder: Some(Arc::new(session::state)),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await?;
    start_server(cluster, listen, Arc::new(config))
        .await
        .with_context(|| format!("the scheduler on {listen} failed"))
}
