//! What the rows of one batch add up to, by small keys.

use rustc_hash::FxHashMap;

/// Sums of a batch for one metric.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By the place among the metric's families, the number of the context, and the metric's own key.
    pub(crate) sums: FxHashMap<(u8, u32, u64), u64>,
    /// Values of histograms, with the same.
    pub(crate) values: Vec<((u8, u32, u64), f64)>,
}

impl Tally {
    pub(crate) fn add(&mut self, family: u8, context: u32, key: u64, value: u64) {
        *self.sums.entry((family, context, key)).or_default() += value;
    }

    pub(crate) fn record(&mut self, family: u8, context: u32, key: u64, value: f64) {
        self.values.push(((family, context, key), value));
    }
}
