//! What the nodes of a merge have promised.

use std::time::{Duration, Instant};

use super::{Order, TOLERATED_SKEW};

/// A node of a merge.
pub type NodeId = usize;

/// What a node says with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its clock, nanoseconds since the Unix epoch.
    pub now_ns: i64,
    /// What is still to come is not older; in a merge of the newest first: not newer.
    pub watermark_ns: i64,
    /// How far its clock is before ours.
    pub skew_ns: i64,
}

#[derive(Debug)]
struct Node {
    present: bool,
    heard: Instant,
    promise: Option<Promise>,
    offset_ns: i64,
    /// Whether it has once sent all that it had.
    caught_up: bool,
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    pub(super) fn add(&mut self, now: Instant) -> NodeId {
        self.0.push(Node {
            present: true,
            heard: now,
            promise: None,
            offset_ns: 0,
            caught_up: false,
        });
        self.0.len() - 1
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.0[node].present = false;
    }

    pub(super) fn put_back(&mut self, node: NodeId, now: Instant) {
        let node = &mut self.0[node];
        node.present = true;
        node.heard = now;
        // What it sends now may be old, and must not hold up the others: they have gone on.
        node.promise = None;
    }

    pub(super) fn promise(&mut self, node: NodeId, promise: Promise, order: Order, window: Duration, now: Instant) {
        let node = &mut self.0[node];
        node.heard = now;
        node.promise = Some(promise);
        let skewed = promise.skew_ns.unsigned_abs() > nanos(TOLERATED_SKEW).unsigned_abs();
        node.offset_ns = if skewed { -promise.skew_ns } else { 0 };
        node.caught_up |= order == Order::OldestFirst && behind(&promise) <= nanos(window);
    }

    pub(super) fn offset_ns(&self, node: NodeId) -> i64 {
        self.0[node].offset_ns
    }

    /// The newest key that every node which holds up the others is done with.
    pub(super) fn frontier(&self, now: Instant, window: Duration, order: Order) -> i64 {
        let holding = self.0.iter().filter(|node| node.holds(now, window));
        holding.map(|node| node.done(order)).min().unwrap_or(i64::MAX)
    }
}

impl Node {
    /// Whether others wait for it: it is there, was heard of within the window, and is not behind by more than that. A node
    /// that has yet to send what it had when it was asked may be behind by any time.
    fn holds(&self, now: Instant, window: Duration) -> bool {
        if !self.present {
            return false;
        }
        let silent = nanos(now.saturating_duration_since(self.heard));
        let behind = match &self.promise {
            Some(promise) if self.caught_up => behind(promise),
            _ => 0,
        };
        silent.saturating_add(behind) <= nanos(window)
    }

    /// The newest key that it is done with.
    fn done(&self, order: Order) -> i64 {
        match (&self.promise, order) {
            (None, _) => i64::MIN,
            (Some(promise), Order::OldestFirst) => promise.watermark_ns.saturating_add(self.offset_ns),
            // What is still to come is not newer: keys count backwards.
            (Some(promise), Order::NewestFirst) => promise
                .watermark_ns
                .saturating_add(self.offset_ns)
                .saturating_neg()
                .saturating_sub(1),
        }
    }
}

fn behind(promise: &Promise) -> i64 {
    promise.now_ns.saturating_sub(promise.watermark_ns)
}

pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
