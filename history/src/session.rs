//! One run of an observer, as the history tells of it.

use serde::{Deserialize, Serialize};

/// One run of an observer. The file is written when it starts, every few seconds, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `cluster/node` or `node`.
    pub node: String,
    /// Number of the log that numbers its rows.
    pub log_id: u64,
    /// Version of the observer.
    pub version: String,
    /// When it started, nanoseconds since the Unix epoch.
    pub started_ns: i64,
    /// When the file was written last.
    pub seen_ns: i64,
    /// When it ended; `None` while it runs, and if it ended without saying so.
    pub ended_ns: Option<i64>,
    /// Flows that it has seen.
    pub flows: u64,
    /// Events that it has lost, as far as it knows.
    pub lost: u64,
}
