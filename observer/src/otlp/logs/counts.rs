//! What becomes of flows that are to be log records.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers since the start.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Records that the collector has taken.
    pub sent: AtomicU64,
    /// Records that it has not: it was away for too long.
    pub dropped: AtomicU64,
    /// Flows that would have been more records a second than wanted.
    pub limited: AtomicU64,
    /// Flows that left the log before they were read, chosen or not.
    pub missed: AtomicU64,
    /// Attempts to send that went well.
    pub exported: AtomicU64,
    /// Attempts that did not.
    pub failed: AtomicU64,
}

impl LogCounts {
    /// Records by their outcome.
    #[must_use]
    pub fn records(&self) -> Vec<(&'static str, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![
            ("sent", read(&self.sent)),
            ("dropped", read(&self.dropped)),
            ("limited", read(&self.limited)),
            ("missed", read(&self.missed)),
        ]
    }

    /// Attempts by their outcome.
    #[must_use]
    pub fn exports(&self) -> Vec<(&'static str, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![("sent", read(&self.exported)), ("failed", read(&self.failed))]
    }
}
