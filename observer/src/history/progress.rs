//! How far a history is: for queries, which read from files up to there, and for people.

use std::collections::BTreeMap;

use flow::api::parallax::HistoryStatus;
use history::store::Store;
use history::upkeep::Kept;
use parking_lot::Mutex;

/// What of the log is in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// Flows with a smaller number are.
    pub flows: u64,
    /// Losses with a smaller number are, as the log counts them.
    pub losses: u64,
    /// The same as names of files count them.
    pub written_losses: u64,
}

/// How far the history of this node is.
#[derive(Debug)]
pub struct Progress {
    store: Store,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    persisted: Persisted,
    accounted: Accounted,
    kept: Kept,
    problems: BTreeMap<Task, String>,
}

/// What the history can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// Writing what is new.
    Writing,
    /// Merging and deleting files.
    Upkeep,
}

/// What the history tells of: by rows in files, or by how many are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounted {
    /// Flows with a smaller number.
    pub(super) flows: u64,
    /// Losses with a smaller number, as names of files count them.
    pub(super) losses: u64,
    /// Events lost on their way into the log.
    pub(super) lost_events: u64,
}

impl Progress {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            inner: Mutex::default(),
        }
    }

    /// The history.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is in files.
    #[must_use]
    pub fn persisted(&self) -> Persisted {
        self.inner.lock().persisted
    }

    pub(super) fn accounted(&self) -> Accounted {
        self.inner.lock().accounted
    }

    /// For people.
    #[must_use]
    pub fn status(&self) -> HistoryStatus {
        let inner = self.inner.lock();
        HistoryStatus {
            location: self.store.location().to_owned(),
            problem: inner.problems.values().next().cloned().unwrap_or_default(),
            flows: inner.persisted.flows,
            files: inner.kept.files,
            bytes: inner.kept.bytes,
        }
    }

    pub(super) fn advance(&self, persisted: Persisted) {
        self.inner.lock().persisted = persisted;
    }

    pub(super) fn account(&self, accounted: Accounted) {
        self.inner.lock().accounted = accounted;
    }

    pub(super) fn keep(&self, kept: Kept) {
        self.inner.lock().kept = kept;
    }

    /// Says why something isn't done; returns whether that is news.
    pub(super) fn fails(&self, task: Task, problem: String) -> bool {
        self.inner.lock().problems.insert(task, problem).is_none()
    }

    /// Says that it is done again; returns whether that is news.
    pub(super) fn works(&self, task: Task) -> bool {
        self.inner.lock().problems.remove(&task).is_some()
    }
}
