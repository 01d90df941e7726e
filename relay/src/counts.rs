//! What is counted of flows on their way through the relay, by node, and what waits in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use feed::FeedMessage;
use parking_lot::Mutex;

use crate::peer_flows::QueueDepth;

/// Of one node, for all requests together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeCounts {
    /// Flows that came.
    pub(crate) received: u64,
    /// Flows that left its log before they could be sent, as the relay's clients did not take them.
    pub(crate) missed: u64,
    /// Flows that came too late for their place in the order of time.
    pub(crate) late: u64,
    /// Until when it has sent everything to those who follow, by the relay's clock; nanoseconds since the Unix epoch.
    pub(crate) watermark_ns: Option<i64>,
}

#[derive(Debug, Default)]
struct Nodes {
    by_name: BTreeMap<String, NodeCounts>,
    followers: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    nodes: Mutex<Nodes>,
    sent: AtomicU64,
    requests: Mutex<Vec<Weak<Waiting>>>,
}

/// What waits in one request.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: QueueDepth,
    merge_bytes: AtomicUsize,
}

impl Waiting {
    pub(crate) fn set_merge_bytes(&self, bytes: usize) {
        self.merge_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// What waits in all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    /// Messages that have come and are not in the merge yet.
    pub(crate) messages: usize,
    /// Bytes of their flows.
    pub(crate) queue_bytes: usize,
    /// Bytes of flows that wait in the merge for their turn.
    pub(crate) merge_bytes: usize,
}

/// A client that follows, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Following(Arc<Counts>);

impl Drop for Following {
    fn drop(&mut self) {
        let mut nodes = self.0.nodes.lock();
        nodes.followers -= 1;
        if nodes.followers == 0 {
            // Nobody hears any more how far nodes are.
            nodes.by_name.values_mut().for_each(|node| node.watermark_ns = None);
        }
    }
}

impl Counts {
    /// Counts a client that follows.
    pub(crate) fn follow(self: &Arc<Self>) -> Following {
        self.nodes.lock().followers += 1;
        Following(Arc::clone(self))
    }

    /// Clients that follow.
    pub(crate) fn followers(&self) -> u64 {
        self.nodes.lock().followers
    }

    /// Watches what waits in a request, for as long as it lives.
    pub(crate) fn request(&self, queue: QueueDepth) -> Arc<Waiting> {
        let waiting = Arc::new(Waiting {
            queue,
            merge_bytes: AtomicUsize::new(0),
        });
        let mut requests = self.requests.lock();
        requests.retain(|request| request.strong_count() > 0);
        requests.push(Arc::downgrade(&waiting));
        waiting
    }

    pub(crate) fn depths(&self) -> Depths {
        let requests = self.requests.lock();
        let waiting = requests.iter().filter_map(Weak::upgrade);
        waiting.fold(Depths::default(), |all, one| Depths {
            messages: all.messages + one.queue.messages(),
            queue_bytes: all.queue_bytes + one.queue.bytes(),
            merge_bytes: all.merge_bytes + one.merge_bytes.load(Ordering::Relaxed),
        })
    }

    /// A message of a node has come, with so many flows.
    pub(crate) fn heard(&self, told: &FeedMessage, flows: usize, skew_ns: i64, follows: bool) {
        let mut nodes = self.nodes.lock();
        let followed = follows && nodes.followers > 0;
        let node = nodes.of(&told.node);
        node.received += flows as u64;
        node.missed += told.missed;
        if followed && told.unavailable.is_empty() {
            node.watermark_ns = Some(told.watermark_ns.saturating_sub(skew_ns));
        }
    }

    /// Flows of an earlier run of a node are gone.
    pub(crate) fn missed(&self, node: &str, flows: u64) {
        self.nodes.lock().of(node).missed += flows;
    }

    pub(crate) fn late(&self, node: &str, flows: u64) {
        self.nodes.lock().of(node).late += flows;
    }

    /// Counts flows that a client gets.
    pub(crate) fn sent(&self, flows: u64) {
        self.sent.fetch_add(flows, Ordering::Relaxed);
    }

    /// Flows that clients got.
    pub(crate) fn sent_flows(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What was counted of a node.
    pub(crate) fn of(&self, node: &str) -> NodeCounts {
        self.nodes.lock().by_name.get(node).copied().unwrap_or_default()
    }

    /// Forgets nodes that are none any more.
    pub(crate) fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        self.nodes.lock().by_name.retain(|node, _| is_there(node));
    }
}

impl Nodes {
    fn of(&mut self, node: &str) -> &mut NodeCounts {
        if !self.by_name.contains_key(node) {
            self.by_name.insert(node.to_owned(), NodeCounts::default());
        }
        self.by_name.get_mut(node).expect("invariant: it was put in")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn how_far_a_node_is_is_known_while_somebody_follows() {
        let counts = Arc::<Counts>::default();
        let told = |watermark_ns, missed| FeedMessage {
            node: "a".to_owned(),
            watermark_ns,
            missed,
            ..FeedMessage::default()
        };
        counts.heard(&told(1000, 0), 7, 0, false);
        assert_eq!((counts.of("a").received, counts.of("a").watermark_ns), (7, None));
        let (one, other) = (counts.follow(), counts.follow());
        counts.heard(&told(1000, 3), 1, 100, true);
        drop(one);
        let node = counts.of("a");
        assert_eq!((node.received, node.missed, node.watermark_ns), (8, 3, Some(900)));
        assert_eq!(counts.followers(), 1);
        drop(other);
        assert_eq!(counts.of("a").watermark_ns, None);
        counts.heard(&told(2000, 0), 1, 0, true);
        assert_eq!(counts.of("a").watermark_ns, None, "of a feed that is about to end");
        counts.late("b", 2);
        counts.keep_only(|node| node == "b");
        assert_eq!((counts.of("a").received, counts.of("b").late), (0, 2));
    }
}
