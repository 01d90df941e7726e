//! How far those are who read a log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReaderKind {
    /// Metrics of flows.
    Metrics,
    /// Flow logs.
    FlowLogs,
    /// Log records for a collector.
    LogRecords,
    /// A client that follows.
    Follower,
}

impl ReaderKind {
    /// As metrics have it. Of clients the one counts that is furthest behind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::FlowLogs => "flow logs",
            Self::LogRecords => "log records",
            Self::Follower => "slowest follower",
        }
    }
}

/// A reader's place in the log: the number of the next row, once it has said it. It goes with the value.
#[derive(Debug)]
pub(super) struct Mark(Arc<AtomicU64>);

impl Mark {
    pub(super) fn set(&self, next: u64) {
        self.0.store(next, Ordering::Relaxed);
    }
}

/// The places of all readers.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Vec<(ReaderKind, Weak<AtomicU64>)>>);

impl Marks {
    /// A reader that is at the end, as far as anybody knows.
    pub(super) fn add(&self, kind: ReaderKind) -> Mark {
        let place = Arc::new(AtomicU64::new(u64::MAX));
        let mut all = self.0.lock();
        all.retain(|(_, place)| place.strong_count() > 0);
        all.push((kind, Arc::downgrade(&place)));
        Mark(place)
    }

    /// Rows before `end` that each kind of reader has yet to read: of several readers, the most.
    pub(super) fn unread(&self, end: u64) -> BTreeMap<ReaderKind, u64> {
        let mut most = BTreeMap::new();
        for (kind, place) in self.0.lock().iter() {
            if let Some(place) = place.upgrade() {
                let unread = end.saturating_sub(place.load(Ordering::Relaxed));
                let known = most.entry(*kind).or_default();
                *known = unread.max(*known);
            }
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_readers_the_one_furthest_behind_counts() {
        let marks = Marks::default();
        let (one, other, metrics) = (
            marks.add(ReaderKind::Follower),
            marks.add(ReaderKind::Follower),
            marks.add(ReaderKind::Metrics),
        );
        assert_eq!(
            marks.unread(10),
            BTreeMap::from([(ReaderKind::Follower, 0), (ReaderKind::Metrics, 0)]),
            "nobody has said anything"
        );
        one.set(3);
        other.set(7);
        metrics.set(12);
        assert_eq!(marks.unread(10)[&ReaderKind::Follower], 7);
        assert_eq!(marks.unread(10)[&ReaderKind::Metrics], 0);
        drop(one);
        assert_eq!(marks.unread(10)[&ReaderKind::Follower], 3);
        drop((other, metrics));
        assert!(marks.unread(10).is_empty());
    }
}
