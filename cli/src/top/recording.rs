//! Flows that were kept, in the order of their time: from a file, or from a history.
//!
//! They are read ahead of the player by a few batches and no more, however large the recording is.

mod file;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use chrono::{DateTime, Utc};
use flow::batch::FlowBatch;
use flow::from_table::TableReader;
use tokio::sync::mpsc;

use crate::export::stored::StoredFlows;
use crate::observe::filter_flags::FilterArgs;
use crate::observe::filters::FilterLists;
use crate::observe::matching::Matching;
use crate::observe::request::Window;

/// Rows of a batch, at most.
pub(crate) const MOST_ROWS: usize = 4096;
/// Batches that are read ahead.
const AHEAD: usize = 2;

type Sender = mpsc::Sender<Result<FlowBatch>>;

/// Flows that were kept.
pub(crate) struct Recording {
    batches: mpsc::Receiver<Result<FlowBatch>>,
    /// Earliest and latest time, nanoseconds since the Unix epoch, as far as they are known without reading everything.
    pub(crate) first_ns: Option<i64>,
    pub(crate) last_ns: Option<i64>,
    broken: Arc<AtomicU64>,
}

impl Recording {
    /// A file of JSON lines, as `observe --input-file` takes it; `-` is standard input. Lines that are somewhat out of
    /// order are put in order, if it is a file.
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        let (name, input) = crate::observe::offline::open(path)?;
        let streamed = path == Path::new("-");
        let (first_ns, last_ns) = match streamed {
            true => (None, None),
            false => file::time_range(path),
        };
        let broken = Arc::new(AtomicU64::new(0));
        let (sender, batches) = mpsc::channel(AHEAD);
        let left_out = Arc::clone(&broken);
        // A thread of its own: a runtime would wait at its end for one that waits for standard input.
        std::thread::Builder::new()
            .name("replay".to_owned())
            .spawn(move || file::read(name, input, streamed, &sender, &left_out))
            .context("start a thread")?;
        Ok(Self {
            batches,
            first_ns,
            last_ns,
            broken,
        })
    }

    /// The history in a folder or at a URL, between two times.
    pub(crate) async fn open_history(
        place: &str,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
    ) -> Result<Self> {
        let window = Window {
            number: 0,
            first: true,
            follow: false,
            since,
            until,
        };
        let all = Matching::new(&FilterLists::default(), &FilterArgs::default())?;
        let stored = StoredFlows::open(place, &window, all).await?;
        let range = stored.time_range;
        let (sender, batches) = mpsc::channel(AHEAD);
        // A task of its own: a query that is given up halfway loses its rows, and whoever waits for them may give up.
        tokio::spawn(read_history(stored, sender));
        Ok(Self {
            batches,
            first_ns: range.map(|range| range.0),
            last_ns: range.map(|range| range.1),
            broken: Arc::default(),
        })
    }

    /// The next flows, at most [`MOST_ROWS`] of them; `None` at the end. Nothing is lost if it is given up halfway.
    pub(crate) async fn next(&mut self) -> Result<Option<FlowBatch>> {
        self.batches.recv().await.transpose()
    }

    /// Batches that are there already.
    #[cfg(test)]
    pub(crate) fn of(all: Vec<FlowBatch>) -> Self {
        let (sender, batches) = mpsc::channel(all.len().max(1));
        for batch in all {
            sender
                .try_send(Ok(batch))
                .expect("invariant: there is room for all of them");
        }
        Self {
            batches,
            first_ns: None,
            last_ns: None,
            broken: Arc::default(),
        }
    }

    /// How many lines were left out so far, because they are no flows.
    pub(crate) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }
}

async fn read_history(mut stored: StoredFlows, sender: Sender) {
    let mut reader = TableReader::default();
    loop {
        let rows = tokio::select! {
            rows = stored.next() => rows,
            () = sender.closed() => return,
        };
        let rows = match rows {
            Ok(Some(rows)) => rows,
            Ok(None) => return,
            Err(error) => {
                // Nobody is left to be told if it can't be sent.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        for first in (0..rows.num_rows()).step_by(MOST_ROWS) {
            let part = rows.slice(first, MOST_ROWS.min(rows.num_rows() - first));
            let Some(batch) = flows(&mut reader, &part).transpose() else {
                continue;
            };
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    }
}

fn flows(reader: &mut TableReader, rows: &RecordBatch) -> Result<Option<FlowBatch>> {
    reader.batch(rows).context("a row of the history is no flow")
}

#[cfg(test)]
mod tests;
