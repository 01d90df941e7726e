//! Reads a log from now on, batch by batch, for those who take every row once.

use std::sync::Arc;

use flow::batch::FlowBatch;

use super::marks::Mark;
use super::{FlowLog, ReaderKind};

/// A place in a log.
#[derive(Debug)]
pub struct LogReader {
    log: Arc<FlowLog>,
    /// The number of the next row.
    next: u64,
    mark: Mark,
}

/// Rows that are new, and how many before them left the log unread.
#[derive(Debug)]
pub struct New {
    /// The rows.
    pub rows: FlowBatch,
    /// Rows that nobody can read any more.
    pub missed: u64,
}

impl LogReader {
    /// At the end of the log.
    #[must_use]
    pub fn new(log: Arc<FlowLog>, kind: ReaderKind) -> Self {
        let next = log.range().1;
        let mark = log.marks.add(kind);
        mark.set(next);
        Self { log, next, mark }
    }

    /// All rows that have come since the last time.
    pub async fn read(&mut self) -> Vec<New> {
        // What was read the last time is done with by now.
        self.mark.set(self.next);
        self.log.catch_up().await;
        let mut all = Vec::new();
        for batch in self.log.read_from(self.next) {
            let missed = batch.first_sequence().saturating_sub(self.next);
            let known = self.next.saturating_sub(batch.first_sequence());
            if let Some(rows) = usize::try_from(known).ok().and_then(|known| batch.from_row(known)) {
                self.next = batch.end_sequence();
                all.push(New { rows, missed });
            }
        }
        all
    }
}
