//! The log: sealed batches, newest last, within a budget of bytes. Every reader has its own cursor into it.
//!
//! One thread writes. Readers are never waited for: what they haven't read when it leaves the log is lost to them, and
//! since rows are numbered through they can tell exactly how much that is.

mod loss;
mod marks;
pub mod reader;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::types::TimestampNanosecondType;
use flow::batch::FlowBatch;
use flow::schema::Column;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use loss::{Loss, LossNews, Losses, Place, Source, Stage};
pub use marks::ReaderKind;

use marks::{Mark, Marks};

/// How long a reader waits for the rows of the open batch; the writer looks every few milliseconds.
const TAIL_PATIENCE: Duration = Duration::from_millis(200);

/// The log of one node.
#[derive(Debug)]
pub struct FlowLog {
    id: u64,
    budget_bytes: usize,
    inner: Mutex<Inner>,
    /// Number after that of the newest row that can be read.
    news: watch::Sender<u64>,
    /// How often the writer has answered a request for the tail.
    answers: watch::Sender<u64>,
    tail_requested: AtomicBool,
    followers: AtomicUsize,
    closed: AtomicBool,
    /// What was seen before this time can be read, nanoseconds since the Unix epoch.
    read_until_ns: AtomicI64,
    losses: Losses,
    marks: Marks,
}

#[derive(Debug, Default)]
struct Inner {
    sealed: VecDeque<Arc<FlowBatch>>,
    tail: Option<Arc<FlowBatch>>,
    sealed_bytes: usize,
    evicted_rows: u64,
}

/// How full the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogState {
    /// Rows that can be read.
    pub rows: u64,
    /// Rows ever written.
    pub seen: u64,
    /// Rows that left because of the budget.
    pub evicted: u64,
    /// Memory that the batches hold.
    pub bytes: usize,
    /// The budget.
    pub budget_bytes: usize,
    /// Earliest and latest time, nanoseconds since the Unix epoch.
    pub time_range: Option<(i64, i64)>,
}

/// Keeps the writer making snapshots of the open batch, for as long as somebody follows.
#[derive(Debug)]
pub struct Follower {
    log: Arc<FlowLog>,
    mark: Mark,
}

impl Follower {
    /// It has read everything before that row.
    pub fn at(&self, next: u64) {
        self.mark.set(next);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.log.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FlowLog {
    /// An empty log. `id` is the random number that its batches carry.
    #[must_use]
    pub fn new(id: u64, budget_bytes: usize) -> Self {
        Self {
            id,
            budget_bytes,
            inner: Mutex::default(),
            news: watch::Sender::new(0),
            answers: watch::Sender::new(0),
            tail_requested: AtomicBool::new(false),
            followers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            read_until_ns: AtomicI64::new(i64::MIN),
            losses: Losses::default(),
            marks: Marks::default(),
        }
    }

    /// The random number that its batches carry.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What was lost on the way into the log.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Appends a full batch. It takes the place of the snapshots that were made of it.
    pub fn publish(&self, batch: FlowBatch) {
        let end = batch.end_sequence();
        {
            let mut inner = self.inner.lock();
            inner.tail = None;
            inner.sealed_bytes += batch.bytes();
            inner.sealed.push_back(Arc::new(batch));
            self.evict(&mut inner);
        }
        self.news.send_replace(end);
    }

    /// The rows of the open batch so far, for those who can't wait until it is full.
    pub fn publish_tail(&self, tail: Option<FlowBatch>) {
        if let Some(batch) = tail {
            let end = batch.end_sequence();
            {
                let mut inner = self.inner.lock();
                inner.tail = Some(Arc::new(batch));
                self.evict(&mut inner);
            }
            self.news.send_replace(end);
        }
        self.tail_requested.store(false, Ordering::Release);
        self.answers.send_modify(|count| *count += 1);
    }

    fn evict(&self, inner: &mut Inner) {
        let tail_bytes = inner.tail.as_ref().map_or(0, |tail| tail.bytes());
        while inner.sealed_bytes + tail_bytes > self.budget_bytes {
            // The newest batch stays, even if it alone is more than the budget.
            if inner.sealed.len() + usize::from(inner.tail.is_some()) <= 1 {
                break;
            }
            let Some(oldest) = inner.sealed.pop_front() else { break };
            inner.sealed_bytes -= oldest.bytes();
            inner.evicted_rows += oldest.rows() as u64;
        }
    }

    /// Whether somebody wants to see the rows of the open batch.
    #[must_use]
    pub fn wants_tail(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0 || self.tail_requested.load(Ordering::Acquire)
    }

    /// Says that no more rows will come.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.answers.send_modify(|count| *count += 1);
    }

    /// Says that everything seen before this time, nanoseconds since the Unix epoch, can be read.
    pub fn set_read_until(&self, time_ns: i64) {
        self.read_until_ns.store(time_ns, Ordering::Release);
    }

    /// Until when everything that was seen can be read; it goes on only while somebody follows. Ask before reading.
    #[must_use]
    pub fn read_until(&self) -> i64 {
        self.read_until_ns.load(Ordering::Acquire)
    }

    /// Whether no more rows will come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until the rows that exist now can be read. It gives up after a moment, should there be no writer.
    pub async fn catch_up(&self) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let mut answers = self.answers.subscribe();
        answers.mark_unchanged();
        self.tail_requested.store(true, Ordering::Release);
        let answered = tokio::time::timeout(TAIL_PATIENCE, answers.changed()).await;
        tracing::trace!(answered = answered.is_ok(), "asked for the open batch");
    }

    /// Keeps the open batch visible while the returned value lives.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Follower {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Follower {
            log: Arc::clone(self),
            mark: self.marks.add(ReaderKind::Follower),
        }
    }

    /// How many follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Rows that each kind of reader has yet to read, if there is one: of several readers, the one that is furthest behind.
    #[must_use]
    pub fn unread(&self) -> BTreeMap<ReaderKind, u64> {
        self.marks.unread(self.range().1)
    }

    /// Tells of new rows: the number after that of the newest one.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// All batches that have rows from number `sequence` on, oldest first. The first one may start before it; if it
    /// starts after it, the rows between are lost.
    #[must_use]
    pub fn read_from(&self, sequence: u64) -> Vec<Arc<FlowBatch>> {
        let inner = self.inner.lock();
        let first = inner.sealed.partition_point(|batch| batch.end_sequence() <= sequence);
        let tail = inner.tail.iter().filter(|tail| tail.end_sequence() > sequence);
        inner.sealed.range(first..).chain(tail).cloned().collect()
    }

    /// The batch with row number `sequence`, or the oldest one after it.
    #[must_use]
    pub fn next_batch(&self, sequence: u64) -> Option<Arc<FlowBatch>> {
        let inner = self.inner.lock();
        let first = inner.sealed.partition_point(|batch| batch.end_sequence() <= sequence);
        inner
            .sealed
            .get(first)
            .or(inner.tail.as_ref())
            .filter(|batch| batch.end_sequence() > sequence)
            .cloned()
    }

    /// Number of the oldest row that can be read, and the number after that of the newest one.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        let mut batches = inner.sealed.iter().chain(inner.tail.iter());
        let Some(first) = batches.next() else { return (0, 0) };
        let last = batches.next_back().unwrap_or(first);
        (first.first_sequence(), last.end_sequence())
    }

    /// How full it is.
    #[must_use]
    pub fn state(&self) -> LogState {
        let (start, end) = self.range();
        let inner = self.inner.lock();
        let batches = || inner.sealed.iter().chain(inner.tail.iter());
        let time_range = batches()
            .map(|batch| batch.time_range())
            .reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
        LogState {
            rows: end - start,
            seen: end,
            evicted: inner.evicted_rows,
            bytes: inner.sealed_bytes + inner.tail.as_ref().map_or(0, |tail| tail.bytes()),
            budget_bytes: self.budget_bytes,
            time_range,
        }
    }

    /// Rows with a time from `since_ns` on.
    #[must_use]
    pub fn rows_since(&self, since_ns: i64) -> u64 {
        let mut rows = 0;
        for batch in self.read_from(0).iter().rev() {
            let (earliest, latest) = batch.time_range();
            if earliest >= since_ns {
                rows += batch.rows() as u64;
            } else if latest >= since_ns
                && let Some(times) = batch.numbers::<TimestampNanosecondType>(Column::Time)
            {
                rows += times.values().iter().filter(|time| **time >= since_ns).count() as u64;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests;
