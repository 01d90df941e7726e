//! Rows of several batches as one batch, in any order: what a merge hands on.

mod things;

use arrow_array::{Array, ArrayRef, UInt64Array, new_null_array};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave as interleave_arrays;

use crate::batch::{BatchError, FlowBatch};
use crate::builder::MAX_ROWS;
use crate::row_ids::RowIds;
use crate::schema::Column;
use crate::shared_columns::{SHARED_COLUMNS, is_shared};
use things::Things;

/// Why rows can't be one batch.
#[derive(Debug, thiserror::Error)]
pub enum InterleaveError {
    /// The things that the batches describe, endpoints for instance, are more than keys can tell apart.
    #[error("{0} values are more than the 65,536 that keys of 16 bits can tell apart; take rows of fewer batches")]
    TooManyValues(usize),
    /// Arrow can't put arrays together.
    #[error("cannot put flows together: {0}")]
    Arrow(#[from] ArrowError),
    /// The outcome is no batch.
    #[error("cannot put flows together: {0}")]
    Batch(#[from] BatchError),
}

/// Puts rows together. What rows describe (endpoints, say) is told apart by content and kept from one batch to the next:
/// as long as nothing new comes, all batches have the very same values.
#[derive(Debug, Default)]
pub struct Interleaver {
    things: [Things; SHARED_COLUMNS.len()],
}

impl Interleaver {
    /// The rows `(place in batches, row)` as a batch; `None` if there are no rows.
    ///
    /// # Errors
    /// If the rows describe more things than fit.
    ///
    /// # Panics
    /// If a batch doesn't have such a row, or there are more rows than [`MAX_ROWS`].
    pub fn batch(
        &mut self,
        batches: &[&FlowBatch],
        rows: &[(usize, usize)],
    ) -> Result<Option<FlowBatch>, InterleaveError> {
        assert!(rows.len() <= MAX_ROWS, "{} rows are too many for a batch", rows.len());
        let Some((first, _)) = rows.first() else {
            return Ok(None);
        };
        let mut columns: Vec<(Column, ArrayRef)> = Vec::new();
        for column in Column::ALL.iter().copied().filter(|column| !is_shared(*column)) {
            if batches.iter().any(|batch| batch.column(column).is_some()) {
                columns.push((column, plain(batches, rows, column)?));
            }
        }
        for (things, (_, of)) in self.things.iter_mut().zip(SHARED_COLUMNS) {
            things.columns(of, batches, rows, &mut columns)?;
        }
        let (log_ids, sequences): (Vec<u64>, Vec<u64>) =
            rows.iter().map(|(place, row)| batches[*place].row_id(*row)).unzip();
        let ids = RowIds::new(UInt64Array::from(log_ids), UInt64Array::from(sequences));
        let first = batches[*first];
        let batch = FlowBatch::from_columns(columns, first.log_id(), first.first_sequence(), ids)?;
        Ok(Some(batch))
    }
}

/// A column that stands alone.
fn plain(batches: &[&FlowBatch], rows: &[(usize, usize)], column: Column) -> Result<ArrayRef, InterleaveError> {
    let data_type = column.kind().data_type();
    let missing = new_null_array(&data_type, 1);
    let arrays: Vec<&dyn Array> = batches
        .iter()
        .map(|batch| batch.column(column).unwrap_or(&missing).as_ref())
        .collect();
    if batches.iter().all(|batch| batch.column(column).is_some()) {
        return Ok(interleave_arrays(&arrays, rows)?);
    }
    // A batch without the column has one null, which stands for all of its rows.
    let rows: Vec<(usize, usize)> = rows
        .iter()
        .map(|(place, row)| {
            (
                *place,
                if batches[*place].column(column).is_some() {
                    *row
                } else {
                    0
                },
            )
        })
        .collect();
    Ok(interleave_arrays(&arrays, &rows)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::UInt16Type;
    use proptest::prelude::*;

    use super::*;
    use crate::builder::FlowBatchBuilder;
    use crate::endpoint::Endpoint;
    use crate::record::FlowRecord;
    use crate::wire::tests::{batch, row};

    fn any_batch() -> impl Strategy<Value = FlowBatch> {
        prop::collection::vec(row(), 1..20).prop_map(|rows| batch(&rows))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_say_the_same_afterwards(batches in prop::collection::vec(any_batch(), 1..4), picks in prop::collection::vec(prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..20), 1..4)) {
            let all: Vec<&FlowBatch> = batches.iter().collect();
            let mut interleaver = Interleaver::default();
            for picks in picks {
                let rows: Vec<(usize, usize)> = picks
                    .iter()
                    .map(|(batch, row)| {
                        let place = batch.index(batches.len());
                        (place, row.index(batches[place].rows()))
                    })
                    .collect();
                let merged = interleaver.batch(&all, &rows).unwrap().unwrap();
                prop_assert_eq!(merged.rows(), rows.len());
                for (place, (batch, row)) in rows.iter().enumerate() {
                    prop_assert_eq!(merged.to_response(place), batches[*batch].to_response(*row));
                    prop_assert_eq!(merged.row_id(place), batches[*batch].row_id(*row));
                }
            }
        }

        #[test]
        fn marked_rows_say_the_same_afterwards(batch in any_batch(), marks in prop::collection::vec(any::<bool>(), 64)) {
            let marked: arrow_buffer::BooleanBuffer = (0..batch.rows()).map(|row| marks[row % marks.len()]).collect();
            let wanted: Vec<usize> = marked.set_indices().collect();
            let chosen = batch.select(&marked);
            prop_assert_eq!(chosen.as_ref().map_or(0, FlowBatch::rows), wanted.len());
            for (place, row) in wanted.into_iter().enumerate() {
                let chosen = chosen.as_ref().expect("there are rows");
                prop_assert_eq!(chosen.to_response(place), batch.to_response(row));
            }
        }
    }

    /// Rows of endpoints with these numbers.
    fn of_endpoints(numbers: impl IntoIterator<Item = usize>) -> FlowBatch {
        let mut builder = FlowBatchBuilder::new(1, 0);
        for number in numbers {
            let endpoint = Arc::new(Endpoint {
                pod: format!("pod-{number}"),
                ..Endpoint::default()
            });
            builder.append(&FlowRecord {
                source: Some(&endpoint),
                ..FlowRecord::default()
            });
        }
        builder.seal().unwrap()
    }

    #[test]
    fn values_stay_the_same_ones_as_long_as_nothing_new_comes() {
        let mut interleaver = Interleaver::default();
        let values = |batch: &FlowBatch| {
            Arc::clone(
                batch
                    .column(Column::SourcePod)
                    .unwrap()
                    .as_dictionary::<UInt16Type>()
                    .values(),
            )
        };
        let one = interleaver
            .batch(&[&of_endpoints([1, 2, 1])], &[(0, 0), (0, 1), (0, 2)])
            .unwrap()
            .unwrap();
        let again = interleaver
            .batch(&[&of_endpoints([2, 1])], &[(0, 1), (0, 0)])
            .unwrap()
            .unwrap();
        assert!(Arc::ptr_eq(&values(&one), &values(&again)), "told apart by content");
        assert_eq!(
            (again.text_at(Column::SourcePod, 0), values(&one).len()),
            (Some("pod-1"), 2)
        );
        let more = interleaver.batch(&[&of_endpoints([3])], &[(0, 0)]).unwrap().unwrap();
        assert_eq!(values(&more).len(), 3);
    }

    #[test]
    fn more_values_than_keys_begin_anew() {
        let mut interleaver = Interleaver::default();
        for start in (0..100_000).step_by(10_000) {
            let batch = of_endpoints(start..start + 10_000);
            let rows: Vec<(usize, usize)> = (0..10_000).map(|row| (0, row)).collect();
            let merged = interleaver.batch(&[&batch], &rows).unwrap().unwrap();
            assert_eq!(
                merged.text_at(Column::SourcePod, 9_999),
                batch.text_at(Column::SourcePod, 9_999)
            );
        }
    }
}
