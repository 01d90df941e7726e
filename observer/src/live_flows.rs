//! What queries see of the running observer: the rows that are not in files yet.

use std::sync::Arc;

use futures::future::BoxFuture;
use history::session::Session;
use sql::live::{LiveFlows, LiveSnapshot};

use crate::history::{interval, lost_events};
use crate::serve::NodeState;
use flow::clock::wall_ns;

/// The log of this node as a source of flows.
#[derive(Debug)]
pub struct NodeFlows(pub Arc<NodeState>);

impl LiveFlows for NodeFlows {
    fn snapshot(&self) -> BoxFuture<'_, LiveSnapshot> {
        Box::pin(async {
            let node = &self.0;
            node.log.catch_up().await;
            // First what is in files, then the rest: a row that is written meanwhile is taken from memory.
            let persisted = node
                .history
                .as_ref()
                .map(|history| history.persisted())
                .unwrap_or_default();
            let batches = node.log.read_from(persisted.flows);
            let (losses, _) = node.log.losses().since(persisted.losses);
            let now_ns = wall_ns();
            let age_ns = i64::try_from(node.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
            LiveSnapshot {
                session: Session {
                    node: node.name.clone(),
                    log_id: node.log.id(),
                    version: node.version.trim_start_matches("parallax ").to_owned(),
                    started_ns: now_ns.saturating_sub(age_ns),
                    seen_ns: now_ns,
                    ended_ns: None,
                    flows: node.log.range().1,
                    lost: lost_events(&node.log),
                },
                persisted_until: persisted.flows,
                batches,
                losses_persisted_until: persisted.written_losses,
                lost: losses.iter().map(|loss| interval(loss, &node.name)).collect(),
            }
        })
    }
}
