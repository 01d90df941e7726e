//! A relay from start to end.

use std::sync::Arc;

use anyhow::{Context, Result};
use serving::signal::told_to_end;
use tokio::sync::watch;

use crate::cluster::{Cluster, MergeOptions};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::peers::{PeerOptions, Peers};
use crate::serve::RelayServers;

/// Merges and serves until a signal says to end.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(config: Config) -> Result<()> {
    let tls = config.tls();
    let budget = config.sort_memory.as_u64();
    let merge = MergeOptions {
        window: config.sort_window,
        budget_bytes: usize::try_from(budget).context("--sort-memory is more than this machine can address")?,
    };
    let sql = config.sql_limits();
    let (stop, shutdown) = watch::channel(false);
    let signalled = told_to_end().context("cannot wait for signals")?;
    tokio::spawn(async move {
        signalled.await;
        // Nobody listens any more if serving has ended by itself.
        let _ = stop.send(true);
    });
    let servers = RelayServers::bind(&config.listen, config.protection()?).await?;
    let metrics = Metrics::bind(&config.metrics).await?;
    let options = PeerOptions {
        dns_server: config.dns_server,
        tls: tls.clone(),
        ..PeerOptions::default()
    };
    let peers = Peers::start(config.peers, options).await?;
    let cluster = Cluster::new(merge, tls);
    let followed = tokio::spawn(Arc::clone(&cluster).follow(peers.subscribe()));
    let _metrics = metrics.serve(&cluster, &shutdown)?;
    tracing::info!(addresses = ?servers.addresses(), "serving");
    let served = servers.run(cluster, sql, shutdown).await;
    followed.abort();
    tracing::info!("ended");
    Ok(served?)
}
