//! Which flow a row is, in batches whose rows are not numbered through.

use arrow_array::{Array, UInt64Array};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::FilterPredicate;

use crate::batch::FlowBatch;

/// The log of each row, and its number there.
#[derive(Clone, Debug, PartialEq)]
pub struct RowIds {
    log_ids: UInt64Array,
    sequences: UInt64Array,
}

impl RowIds {
    /// `None` if the columns are not of one length, or have nulls.
    #[must_use]
    pub fn new(log_ids: UInt64Array, sequences: UInt64Array) -> Option<Self> {
        let whole = log_ids.len() == sequences.len() && log_ids.null_count() + sequences.null_count() == 0;
        whole.then_some(Self { log_ids, sequences })
    }

    /// The ids that a batch's rows have, written out.
    #[must_use]
    pub fn of(batch: &FlowBatch) -> Self {
        batch.ids().cloned().unwrap_or_else(|| Self {
            log_ids: UInt64Array::from_value(batch.log_id(), batch.rows()),
            sequences: UInt64Array::from_iter_values(batch.first_sequence()..batch.end_sequence()),
        })
    }

    /// Those of the marked rows, `predicate` being made of `marked`.
    pub(crate) fn filter(batch: &FlowBatch, marked: &BooleanBuffer, predicate: &FilterPredicate) -> Option<Self> {
        if let Some(ids) = batch.ids() {
            return Self::new(filter(predicate, &ids.log_ids)?, filter(predicate, &ids.sequences)?);
        }
        let first = batch.first_sequence();
        let sequences = UInt64Array::from_iter_values(marked.set_indices().map(|row| first + row as u64));
        Self::new(UInt64Array::from_value(batch.log_id(), sequences.len()), sequences)
    }

    /// How many rows.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch has at least one row")]
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Log and number of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> (u64, u64) {
        (self.log_ids.value(row), self.sequences.value(row))
    }

    /// The logs.
    #[must_use]
    pub fn log_ids(&self) -> &UInt64Array {
        &self.log_ids
    }

    /// The numbers.
    #[must_use]
    pub fn sequences(&self) -> &UInt64Array {
        &self.sequences
    }

    pub(crate) fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            log_ids: self.log_ids.slice(from, rows),
            sequences: self.sequences.slice(from, rows),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.len() * 2 * size_of::<u64>()
    }
}

/// Filtering without losing the type.
fn filter(predicate: &FilterPredicate, array: &UInt64Array) -> Option<UInt64Array> {
    let filtered = predicate.filter(array).ok()?;
    filtered.as_any().downcast_ref::<UInt64Array>().cloned()
}
