//! Where flows come from that are not in files yet.

use std::sync::Arc;

use flow::batch::FlowBatch;
use futures::future::BoxFuture;
use history::lost::LostInterval;
use history::session::Session;

/// An observer that runs.
pub trait LiveFlows: Send + Sync + std::fmt::Debug {
    /// What it has that the history doesn't have yet, at one moment.
    fn snapshot(&self) -> BoxFuture<'_, LiveSnapshot>;
}

/// What a running observer has at one moment.
#[derive(Clone, Debug)]
pub struct LiveSnapshot {
    /// What is known of its run, up to now.
    pub session: Session,
    /// All flows with a smaller number are in files; 0 without a history.
    pub persisted_until: u64,
    /// Batches that have rows from that number on, oldest first; the first one may start before it.
    pub batches: Vec<Arc<FlowBatch>>,
    /// Losses with a smaller number are in files; 0 without a history.
    pub losses_persisted_until: u64,
    /// Losses that are not in files.
    pub lost: Vec<LostInterval>,
}
