//! Looking at a column as a whole.

use arrow_array::types::{ArrowPrimitiveType, UInt16Type, UInt32Type};
use arrow_array::{Array, PrimitiveArray};
use arrow_buffer::BooleanBuffer;

use crate::batch::{FlowBatch, Text};
use crate::schema::Column;

/// Rows whose number fits; a null never does.
pub(super) fn numbers<T: ArrowPrimitiveType>(
    batch: &FlowBatch,
    column: Column,
    fits: impl Fn(T::Native) -> bool,
) -> BooleanBuffer {
    let Some(array) = batch.numbers::<T>(column) else {
        return BooleanBuffer::new_unset(batch.rows());
    };
    let values = array.values();
    let marked = BooleanBuffer::collect_bool(batch.rows(), |row| fits(values[row]));
    match array.nulls() {
        Some(nulls) => &marked & nulls.inner(),
        None => marked,
    }
}

/// Rows whose text fits; a null never does.
pub(super) fn texts(batch: &FlowBatch, column: Column, fits: impl Fn(&str) -> bool) -> BooleanBuffer {
    let Some(text) = batch.text(column) else {
        return BooleanBuffer::new_unset(batch.rows());
    };
    let values = text.values();
    let verdicts: Vec<bool> = (0..values.len())
        .map(|key| values.is_valid(key) && fits(values.value(key)))
        .collect();
    by_key(text.keys(), &verdicts)
}

/// Rows whose two texts fit together. A null counts as empty text.
pub(super) fn text_pairs(
    batch: &FlowBatch,
    columns: (Column, Column),
    fits: impl Fn(&str, &str) -> bool,
) -> BooleanBuffer {
    let (first, second) = (batch.text(columns.0), batch.text(columns.1));
    let value = |text: Option<Text<'_>>, key: usize| -> String {
        text.map(|text| text.values())
            .filter(|values| key < values.len() && values.is_valid(key))
            .map_or_else(String::new, |values| values.value(key).to_owned())
    };
    let keys = match (first, second) {
        (Some(one), Some(other)) if same_keys(one.keys(), other.keys()) => Some(one.keys()),
        (Some(one), None) | (None, Some(one)) => Some(one.keys()),
        _ => None,
    };
    match keys {
        // The columns of one endpoint share their keys, so each endpoint is looked at once.
        Some(keys) => {
            let count = first
                .iter()
                .chain(second.iter())
                .map(|text| text.values().len())
                .max()
                .unwrap_or(0);
            let verdicts: Vec<bool> = (0..count)
                .map(|key| fits(&value(first, key), &value(second, key)))
                .collect();
            by_key(keys, &verdicts)
        }
        None => BooleanBuffer::collect_bool(batch.rows(), |row| {
            let get = |text: Option<Text<'_>>| {
                text.and_then(|text| text.get(row).map(str::to_owned))
                    .unwrap_or_default()
            };
            fits(&get(first), &get(second))
        }),
    }
}

fn same_keys(one: &PrimitiveArray<UInt16Type>, other: &PrimitiveArray<UInt16Type>) -> bool {
    one.values().inner().ptr_eq(other.values().inner())
}

/// Rows whose key has a verdict of true; a row without a key has not.
fn by_key(keys: &PrimitiveArray<UInt16Type>, verdicts: &[bool]) -> BooleanBuffer {
    if verdicts.iter().all(|verdict| !verdict) {
        return BooleanBuffer::new_unset(keys.len());
    }
    let values = keys.values();
    let marked = BooleanBuffer::collect_bool(keys.len(), |row| {
        verdicts.get(usize::from(values[row])).copied().unwrap_or_default()
    });
    match keys.nulls() {
        Some(nulls) => &marked & nulls.inner(),
        None => marked,
    }
}

/// Rows whose shared number fits; a null counts as zero, as the API has it.
pub(super) fn shared_numbers(batch: &FlowBatch, column: Column, fits: impl Fn(u32) -> bool) -> BooleanBuffer {
    let Some(shared) = batch.shared::<UInt32Type>(column) else {
        return if fits(0) {
            BooleanBuffer::new_set(batch.rows())
        } else {
            BooleanBuffer::new_unset(batch.rows())
        };
    };
    let values = shared.values();
    let verdicts: Vec<bool> = (0..values.len())
        .map(|key| fits(if values.is_valid(key) { values.value(key) } else { 0 }))
        .collect();
    let marked = by_key(shared.keys(), &verdicts);
    match (shared.keys().nulls(), fits(0)) {
        (Some(nulls), true) => &marked | &!nulls.inner(),
        _ => marked,
    }
}

/// Rows where the column has a value.
pub(super) fn present(batch: &FlowBatch, column: Column) -> BooleanBuffer {
    match batch.column(column) {
        None => BooleanBuffer::new_unset(batch.rows()),
        Some(array) => match array.nulls() {
            Some(nulls) => nulls.inner().clone(),
            None => BooleanBuffer::new_set(batch.rows()),
        },
    }
}
