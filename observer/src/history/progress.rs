//! How far a history is: for queries, which read from files up to there, and for people.

use flow::api::parallax::HistoryStatus;
use history::store::Store;
use history::writer::Kept;
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
    kept: Kept,
    problem: String,
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

    /// For people.
    #[must_use]
    pub fn status(&self) -> HistoryStatus {
        let inner = self.inner.lock();
        HistoryStatus {
            location: self.store.location().to_owned(),
            problem: inner.problem.clone(),
            flows: inner.persisted.flows,
            files: inner.kept.files,
            bytes: inner.kept.bytes,
        }
    }

    pub(super) fn advance(&self, persisted: Persisted) {
        self.inner.lock().persisted = persisted;
    }

    pub(super) fn keep(&self, kept: Kept) {
        self.inner.lock().kept = kept;
    }

    /// Says why nothing is written; returns whether that is news.
    pub(super) fn pause(&self, problem: String) -> bool {
        let mut inner = self.inner.lock();
        let news = inner.problem.is_empty();
        inner.problem = problem;
        news
    }

    /// Says that it is written again; returns whether that is news.
    pub(super) fn resume(&self) -> bool {
        !std::mem::take(&mut self.inner.lock().problem).is_empty()
    }
}
