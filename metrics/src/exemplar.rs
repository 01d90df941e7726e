//! Examples of what series have counted: flows whose trace is known, one of each series at most.

use std::sync::Arc;

use flow::trace::Trace;
use rustc_hash::FxHashMap;

use crate::series::Labels;

/// A flow that a series has counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The trace that it belongs to.
    pub trace: Trace,
    /// What it has added, or its value in a histogram.
    pub value: f64,
    /// When it was, nanoseconds since the Unix epoch.
    pub time_ns: i64,
}

/// The newest exemplar of each series that has one.
#[derive(Debug)]
pub(crate) struct Exemplars {
    limit: usize,
    newest: FxHashMap<Labels, (Exemplar, u64)>,
}

impl Exemplars {
    /// For so many series at most.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            newest: FxHashMap::default(),
        }
    }

    /// `now_s` is the time that series are touched at.
    pub(crate) fn set(&mut self, labels: Labels, exemplar: Exemplar, now_s: u64) {
        if self.newest.len() < self.limit || self.newest.contains_key(&labels) {
            self.newest.insert(labels, (exemplar, now_s));
        }
    }

    /// Forgets those of long ago. A series is never older than its exemplar.
    pub(crate) fn expire(&mut self, now_s: u64, idle_s: u64) {
        self.newest
            .retain(|_, (_, touched_s)| now_s.saturating_sub(*touched_s) < idle_s);
        if self.newest.capacity() > 4 * self.newest.len().max(64) {
            self.newest.shrink_to_fit();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[Arc<str>], Exemplar)> {
        let newest = self.newest.iter();
        newest.map(|(labels, (exemplar, _))| (&**labels, *exemplar))
    }
}
