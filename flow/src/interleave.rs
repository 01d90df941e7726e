//! Rows of several batches as one batch, in any order: what a merge hands on.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt16Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, UInt16Array, UInt64Array, new_null_array};
use arrow_schema::ArrowError;
use arrow_select::concat::concat;
use arrow_select::interleave::interleave as interleave_arrays;

use crate::batch::{BatchError, FlowBatch};
use crate::builder::MAX_ROWS;
use crate::row_ids::RowIds;
use crate::schema::Column;
use crate::shared_columns::{SHARED_COLUMNS, is_shared};

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

/// The rows `(place in batches, row)` as a batch; `None` if there are no rows.
///
/// # Errors
/// If the batches describe more things than fit.
///
/// # Panics
/// If a batch doesn't have such a row, or there are more rows than [`MAX_ROWS`].
pub fn interleave(batches: &[&FlowBatch], rows: &[(usize, usize)]) -> Result<Option<FlowBatch>, InterleaveError> {
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
    for (_, of) in SHARED_COLUMNS {
        shared(batches, rows, of, &mut columns)?;
    }
    let (log_ids, sequences): (Vec<u64>, Vec<u64>) =
        rows.iter().map(|(place, row)| batches[*place].row_id(*row)).unzip();
    let ids = RowIds::new(UInt64Array::from(log_ids), UInt64Array::from(sequences));
    let first = batches[*first];
    Ok(Some(FlowBatch::from_columns(
        columns,
        first.log_id(),
        first.first_sequence(),
        ids,
    )?))
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

/// The columns of one thing: the values of all batches one after the other, and keys moved by where each batch's begin.
fn shared(
    batches: &[&FlowBatch],
    rows: &[(usize, usize)],
    of: &[Column],
    columns: &mut Vec<(Column, ArrayRef)>,
) -> Result<(), InterleaveError> {
    // Any of the columns has the keys of them all.
    let keys: Vec<Option<&UInt16Array>> = batches
        .iter()
        .map(|batch| {
            let array = of.iter().find_map(|column| batch.column(*column))?;
            Some(array.as_dictionary::<UInt16Type>().keys())
        })
        .collect();
    if keys.iter().all(Option::is_none) {
        return Ok(());
    }
    let values_of = |batch: &FlowBatch| {
        let array = of.iter().find_map(|column| batch.column(*column))?;
        Some(array.as_dictionary::<UInt16Type>().values().len())
    };
    let mut starts = Vec::with_capacity(batches.len());
    let mut values = 0;
    for batch in batches {
        starts.push(values);
        values += values_of(batch).unwrap_or_default();
    }
    if values > usize::from(u16::MAX) + 1 {
        return Err(InterleaveError::TooManyValues(values));
    }
    let moved: UInt16Array = rows
        .iter()
        .map(|(place, row)| {
            let keys = keys[*place].filter(|keys| keys.is_valid(*row))?;
            u16::try_from(starts[*place] + usize::from(keys.value(*row))).ok()
        })
        .collect();
    for column in of {
        let data_type = match column.kind().data_type() {
            arrow_schema::DataType::Dictionary(_, values) => *values,
            other => other,
        };
        let parts: Vec<ArrayRef> = batches
            .iter()
            .filter_map(|batch| {
                Some(match batch.column(*column) {
                    Some(array) => Arc::clone(array.as_dictionary::<UInt16Type>().values()),
                    None => new_null_array(&data_type, values_of(batch)?),
                })
            })
            .collect();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let values = concat(&parts)?;
        if values.null_count() < values.len() {
            let array = DictionaryArray::<UInt16Type>::new(moved.clone(), values);
            columns.push((*column, Arc::new(array)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::tests::{batch, row};

    fn any_batch() -> impl Strategy<Value = FlowBatch> {
        prop::collection::vec(row(), 1..20).prop_map(|rows| batch(&rows))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_say_the_same_afterwards(batches in prop::collection::vec(any_batch(), 1..4), picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..20)) {
            let rows: Vec<(usize, usize)> = picks
                .iter()
                .map(|(batch, row)| {
                    let place = batch.index(batches.len());
                    (place, row.index(batches[place].rows()))
                })
                .collect();
            let all: Vec<&FlowBatch> = batches.iter().collect();
            let merged = interleave(&all, &rows).unwrap().unwrap();
            prop_assert_eq!(merged.rows(), rows.len());
            for (place, (batch, row)) in rows.iter().enumerate() {
                prop_assert_eq!(merged.to_response(place), batches[*batch].to_response(*row));
                prop_assert_eq!(merged.row_id(place), batches[*batch].row_id(*row));
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
}
