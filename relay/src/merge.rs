//! Batches of many nodes into one order of time: a streaming merge of runs, released by watermark.
//!
//! Every batch is a run of rows in the order of their time. A heap holds the next row of each run; rows are released as
//! long as they are not newer than what every node has promised to be done with (its watermark). So a row waits for the
//! slowest node that is heard of, and not for more rows: a trickle is as quick as a flood. A node that is silent, or behind,
//! for longer than the window holds nobody up; what it sends later is released at once, and marked as late.
//!
//! Clocks differ. Where a node's clock is further from ours than [`TOLERATED_SKEW`], its rows are put where they belong by
//! our clock; they keep the time that the node gave them.
//!
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//! use flow::{builder::FlowBatchBuilder, record::FlowRecord};
//! use relay::merge::{Merge, Order, Promise};
//!
//! let now = Instant::now();
//! let batch = |log_id, times: [i64; 2]| {
//!     let mut builder = FlowBatchBuilder::new(log_id, 0);
//!     times.map(|time_ns| builder.append(&FlowRecord { time_ns, ..Default::default() }));
//!     Arc::new(builder.seal().expect("two rows"))
//! };
//! let mut merge = Merge::new(Order::OldestFirst, Duration::from_secs(1), 64 << 20);
//! let (a, b) = (merge.add_node(now), merge.add_node(now));
//! merge.push(a, batch(1, [10, 30]), now);
//! merge.promise(a, Promise { now_ns: 30, watermark_ns: 30, skew_ns: 0 }, now);
//! assert!(merge.release(now, 100).is_none(), "b may still send an older one");
//! merge.push(b, batch(2, [20, 40]), now);
//! merge.promise(b, Promise { now_ns: 40, watermark_ns: 40, skew_ns: 0 }, now);
//! let released = merge.release(now, 100).expect("some");
//! let times: Vec<i64> = released.rows.iter().map(|row| released.batches[row.batch].1.time_ns(row.row)).collect();
//! assert_eq!(times, [10, 20, 30]);
//! ```

mod nodes;
mod runs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flow::batch::FlowBatch;

use nodes::Nodes;
pub use nodes::{NodeId, Promise};
use runs::Runs;

/// A clock that is not further from ours is believed.
pub const TOLERATED_SKEW: Duration = Duration::from_millis(100);

/// Which rows come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they happened.
    OldestFirst,
    /// The newest first, of nodes that send their batches so. Watermarks are then upper bounds.
    NewestFirst,
}

/// A row of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Place in [`Released::batches`].
    pub batch: usize,
    /// Row of that batch.
    pub row: usize,
    /// Whether a newer row was released before it.
    pub late: bool,
}

/// Rows in order.
#[derive(Debug, Default)]
pub struct Released {
    /// The batches that rows are of, each with a number that is its own for as long as the merge lives.
    pub batches: Vec<(u64, Arc<FlowBatch>)>,
    /// The node of each batch.
    pub nodes: Vec<NodeId>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Numbers of batches that have no more rows after these.
    pub finished: Vec<u64>,
}

/// Merges the batches of nodes.
#[derive(Debug)]
pub struct Merge {
    order: Order,
    window: Duration,
    budget_bytes: usize,
    nodes: Nodes,
    runs: Runs,
    /// The newest key that was released.
    released: i64,
}

impl Merge {
    /// A merge without nodes. A node may hold up the others for `window`. Rows of more than `budget_bytes` are not kept
    /// waiting: then the oldest go on before their time.
    #[must_use]
    pub fn new(order: Order, window: Duration, budget_bytes: usize) -> Self {
        Self {
            order,
            window,
            budget_bytes,
            nodes: Nodes::default(),
            runs: Runs::default(),
            released: i64::MIN,
        }
    }

    /// A node that batches will come from. Until it says something it may hold up the others.
    pub fn add_node(&mut self, now: Instant) -> NodeId {
        self.nodes.add(now)
    }

    /// A node from which nothing will come for now: it has said all, or can't be reached.
    pub fn remove_node(&mut self, node: NodeId) {
        self.nodes.remove(node);
    }

    /// A node that was removed is there again.
    pub fn return_node(&mut self, node: NodeId, now: Instant) {
        self.nodes.put_back(node, now);
    }

    /// What a node says of its clock and of what is still to come.
    pub fn promise(&mut self, node: NodeId, promise: Promise, now: Instant) {
        self.nodes.promise(node, promise, self.order, self.window, now);
    }

    /// Rows of a node.
    pub fn push(&mut self, node: NodeId, batch: Arc<FlowBatch>, now: Instant) {
        let offset = self.nodes.offset_ns(node);
        self.runs.push(node, batch, offset, self.order, now);
    }

    /// Bytes of the batches that have rows to be released.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.runs.bytes()
    }

    /// The next rows in order, at most `most`; `None` if there are none for now.
    pub fn release(&mut self, now: Instant, most: usize) -> Option<Released> {
        let mut until = self.nodes.frontier(now, self.window, self.order);
        // What has waited for the window goes on, whatever its time says.
        if let Some(key) = self.runs.waiting_since_before(now, self.window) {
            until = until.max(key);
        }
        if self.runs.bytes() > self.budget_bytes
            && let Some(key) = self.runs.oldest_key()
        {
            until = until.max(key);
        }
        let released = self.runs.release(until, most, &mut self.released);
        (!released.rows.is_empty()).then_some(released)
    }

    /// When rows can be released that can't be now, should nothing be heard until then; `None` if no row waits.
    #[must_use]
    pub fn next_release(&self) -> Option<Instant> {
        self.runs.first_arrival().map(|arrival| arrival + self.window)
    }
}

#[cfg(test)]
mod tests;
