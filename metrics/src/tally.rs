//! What the rows of one batch add up to, by small keys.

use rustc_hash::FxHashMap;

/// Sums of a batch for one metric.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By the place among the metric's families, the number of the context, and the metric's own key.
    pub(crate) sums: FxHashMap<(u8, u32, u64), u64>,
    /// Values of histograms, with the same.
    pub(crate) values: Vec<Value>,
    /// The last row of a trace for each sum, and what it added.
    pub(crate) exemplars: FxHashMap<(u8, u32, u64), (usize, u64)>,
    /// The row that is counted, if it is of a trace.
    pub(crate) traced: Option<usize>,
}

/// A value of a histogram.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) key: (u8, u32, u64),
    pub(crate) value: f64,
    /// The row that it is of, if that is of a trace.
    pub(crate) traced: Option<usize>,
}

impl Tally {
    pub(crate) fn add(&mut self, family: u8, context: u32, key: u64, value: u64) {
        let key = (family, context, key);
        *self.sums.entry(key).or_default() += value;
        if let Some(row) = self.traced {
            self.exemplars.insert(key, (row, value));
        }
    }

    pub(crate) fn record(&mut self, family: u8, context: u32, key: u64, value: f64) {
        self.values.push(Value {
            key: (family, context, key),
            value,
            traced: self.traced,
        });
    }
}
