//! The series of a metric: a value for each combination of labels, and no more of them than there may be.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::exemplar::{Exemplar, Exemplars};

/// Values of labels, in the order of the metric's labels.
pub type Labels = Box<[Arc<str>]>;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyInfo {
    /// Its name, without `_total`.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Its unit as UCUM writes it.
    pub unit: &'static str,
    /// Its own labels; those of the context follow.
    pub labels: &'static [&'static str],
    /// Whether values are times, of which how they are distributed is of interest, and not counts.
    pub is_histogram: bool,
}

/// A metric that counts, with its series.
#[derive(Debug)]
pub struct Family {
    info: FamilyInfo,
    labels: Vec<&'static str>,
    limit: usize,
    series: FxHashMap<Labels, Series>,
    exemplars: Exemplars,
    overflow: u64,
    overflowed: u64,
    expired: u64,
}

#[derive(Debug)]
struct Series {
    value: u64,
    /// When something was added last, seconds.
    touched_s: u64,
}

impl Family {
    /// A metric of at most so many series, without any.
    #[must_use]
    pub fn new(info: FamilyInfo, context: &[&'static str], limit: usize) -> Self {
        Self {
            info,
            labels: [info.labels, context].concat(),
            limit,
            series: FxHashMap::default(),
            exemplars: Exemplars::new(limit),
            overflow: 0,
            overflowed: 0,
            expired: 0,
        }
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> FamilyInfo {
        self.info
    }

    /// Names of its labels.
    #[must_use]
    pub fn labels(&self) -> &[&'static str] {
        &self.labels
    }

    /// Adds to the series of these labels at that time. Beyond the limit it is added to the one of all others.
    pub fn add(&mut self, labels: Vec<Arc<str>>, value: u64, now_s: u64) {
        let labels = labels.into_boxed_slice();
        if let Some(series) = self.series.get_mut(&labels) {
            series.value += value;
            series.touched_s = now_s;
        } else if self.series.len() < self.limit {
            let touched_s = now_s;
            self.series.insert(labels, Series { value, touched_s });
        } else {
            self.overflow += value;
            self.overflowed += 1;
        }
    }

    /// An example of what was added to the series of these labels. One that has no place of its own gets none; histograms
    /// are kept elsewhere, their exemplars here.
    pub fn exemplify(&mut self, labels: Vec<Arc<str>>, exemplar: Exemplar, now_s: u64) {
        let labels = labels.into_boxed_slice();
        if self.info.is_histogram || self.series.contains_key(&labels) {
            self.exemplars.set(labels, exemplar, now_s);
        }
    }

    /// Labels and newest exemplar of each series that has one, in no order.
    pub fn exemplars(&self) -> impl Iterator<Item = (&[Arc<str>], Exemplar)> {
        self.exemplars.iter()
    }

    /// Forgets series that nothing was added to for so long.
    pub fn expire(&mut self, now_s: u64, idle_s: u64) {
        let before = self.series.len();
        self.series
            .retain(|_, series| now_s.saturating_sub(series.touched_s) < idle_s);
        self.expired += (before - self.series.len()) as u64;
        self.exemplars.expire(now_s, idle_s);
        if self.series.capacity() > 4 * self.series.len().max(64) {
            self.series.shrink_to_fit();
        }
    }

    /// Labels and value of each series, in no order.
    pub fn series(&self) -> impl Iterator<Item = (&[Arc<str>], u64)> {
        self.series.iter().map(|(labels, series)| (&**labels, series.value))
    }

    /// Series that there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Series that there may be.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What was added to series that there was no place for.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// How often that happened.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Series that were forgotten because nothing was added to them.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// All series together, as far as they are there.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.overflow + self.series.values().map(|series| series.value).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: FamilyInfo = FamilyInfo {
        name: "x",
        help: "x.",
        unit: "",
        labels: &["pod"],
        is_histogram: false,
    };

    fn labels(text: &str) -> Vec<Arc<str>> {
        vec![text.into()]
    }

    #[test]
    fn beyond_the_limit_all_others_are_one() {
        let mut family = Family::new(INFO, &[], 2);
        for (pod, value) in [("a", 1), ("b", 2), ("c", 4), ("a", 8), ("d", 16)] {
            family.add(labels(pod), value, 0);
        }
        assert_eq!((family.len(), family.overflow(), family.overflowed()), (2, 20, 2));
        assert_eq!(family.total(), 31);
    }

    #[test]
    fn pods_that_come_and_go_take_no_more_memory_than_those_that_are_there() {
        let mut family = Family::new(INFO, &[], 10_000);
        let mut most = 0;
        for pod in 0..100_000_u64 {
            // A hundred new pods a second, each busy for one.
            let now_s = pod / 100;
            family.add(labels(&format!("pod-{pod}")), 1, now_s);
            if pod % 100 == 99 {
                family.expire(now_s, 60);
                most = most.max(family.series.capacity());
            }
        }
        assert_eq!(family.len(), 6000);
        assert_eq!(family.expired(), 94_000);
        assert_eq!(family.overflow(), 0);
        assert!(most < 20_000, "{most}");
        family.expire(10_000, 60);
        assert!(family.is_empty() && family.series.capacity() < 1000);
    }
}
