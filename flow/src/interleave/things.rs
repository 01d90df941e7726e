//! The distinct things of one kind that the rows of many batches describe.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, UInt16Array, new_empty_array, new_null_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::interleave::interleave;
use rustc_hash::FxHashMap;

use super::InterleaveError;
use crate::batch::FlowBatch;
use crate::schema::Column;

/// Keys have 16 bits.
const MOST: usize = 1 << 16;
/// Batches whose values are known by their place in memory; then it begins anew.
const REMEMBERED: usize = 4096;

/// Things by content.
#[derive(Debug, Default)]
pub(super) struct Things {
    /// The key of each, by all that is known of it.
    keys: FxHashMap<Box<[u8]>, u16>,
    /// The values of each column, in the order of keys.
    values: Vec<ArrayRef>,
    /// Keys of values that were met before, by where these are in memory; they are kept so that nothing else comes there.
    met: FxHashMap<usize, Met>,
}

#[derive(Debug)]
struct Met {
    _values: ArrayRef,
    keys: Vec<Option<u16>>,
}

/// A thing that is new: batch and key there.
type New = (usize, usize);

impl Things {
    /// The columns that describe the things of these rows.
    pub(super) fn columns(
        &mut self,
        of: &[Column],
        batches: &[&FlowBatch],
        rows: &[(usize, usize)],
        columns: &mut Vec<(Column, ArrayRef)>,
    ) -> Result<(), InterleaveError> {
        // Any of the columns has the keys of them all.
        let told: Vec<Option<&DictionaryArray<UInt16Type>>> = batches
            .iter()
            .map(|batch| {
                let array = of.iter().find_map(|column| batch.column(*column))?;
                Some(array.as_dictionary::<UInt16Type>())
            })
            .collect();
        if told.iter().all(Option::is_none) {
            return Ok(());
        }
        if self.values.is_empty() || self.met.len() > REMEMBERED {
            self.begin(of);
        }
        let keys = match self.find(of, batches, &told, rows) {
            Some((keys, new)) => {
                self.add(of, batches, &new)?;
                keys
            }
            None => {
                self.begin(of);
                let (keys, new) = self
                    .find(of, batches, &told, rows)
                    .ok_or(InterleaveError::TooManyValues(rows.len()))?;
                self.add(of, batches, &new)?;
                keys
            }
        };
        for (column, values) in of.iter().zip(&self.values) {
            if values.null_count() < values.len() {
                let array = DictionaryArray::<UInt16Type>::new(keys.clone(), Arc::clone(values));
                columns.push((*column, Arc::new(array)));
            }
        }
        Ok(())
    }

    fn begin(&mut self, of: &[Column]) {
        self.keys.clear();
        self.met.clear();
        self.values = of.iter().map(|column| new_empty_array(&value_type(*column))).collect();
    }

    /// The keys of the rows, and the things that are new; `None` if there are too many of them.
    fn find(
        &mut self,
        of: &[Column],
        batches: &[&FlowBatch],
        told: &[Option<&DictionaryArray<UInt16Type>>],
        rows: &[(usize, usize)],
    ) -> Option<(UInt16Array, Vec<New>)> {
        let mut new = Vec::new();
        let addresses: Vec<usize> = told
            .iter()
            .map(|told| told.map_or(0, |told| address(told.values())))
            .collect();
        for (address, told) in addresses.iter().zip(told) {
            if let Some(told) = told {
                self.met.entry(*address).or_insert_with(|| Met {
                    _values: Arc::clone(told.values()),
                    keys: vec![None; told.values().len()],
                });
            }
        }
        let mut content = Vec::new();
        let mut keys = Vec::with_capacity(rows.len());
        for (place, row) in rows {
            let key = told[*place].filter(|told| told.keys().is_valid(*row));
            let Some(key) = key.map(|told| usize::from(told.keys().value(*row))) else {
                keys.push(None);
                continue;
            };
            let met = self.met.get_mut(&addresses[*place])?;
            if let Some(known) = met.keys[key] {
                keys.push(Some(known));
                continue;
            }
            content.clear();
            for column in of {
                describe(batches[*place], *column, key, &mut content);
            }
            let found = match self.keys.get(content.as_slice()) {
                Some(found) => *found,
                None => {
                    let next = self.keys.len();
                    if next == MOST {
                        return None;
                    }
                    let next = u16::try_from(next).ok()?;
                    self.keys.insert(content.clone().into(), next);
                    new.push((*place, key));
                    next
                }
            };
            met.keys[key] = Some(found);
            keys.push(Some(found));
        }
        Some((keys.into_iter().collect(), new))
    }

    /// Adds the values of new things.
    fn add(&mut self, of: &[Column], batches: &[&FlowBatch], new: &[New]) -> Result<(), InterleaveError> {
        if new.is_empty() {
            return Ok(());
        }
        for (column, values) in of.iter().zip(&mut self.values) {
            let parts: Vec<ArrayRef> = batches
                .iter()
                .map(|batch| match batch.column(*column) {
                    Some(array) => Arc::clone(array.as_dictionary::<UInt16Type>().values()),
                    None => new_null_array(&value_type(*column), 1),
                })
                .collect();
            let places: Vec<(usize, usize)> = new
                .iter()
                .map(|(place, key)| {
                    (
                        *place,
                        if batches[*place].column(*column).is_some() {
                            *key
                        } else {
                            0
                        },
                    )
                })
                .collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            let added = interleave(&parts, &places)?;
            *values = concat(&[values.as_ref(), added.as_ref()])?;
        }
        Ok(())
    }
}

fn value_type(column: Column) -> DataType {
    match column.kind().data_type() {
        DataType::Dictionary(_, values) => *values,
        other => other,
    }
}

/// Where values are in memory: their buffer, since arrays around it are made anew for each batch that is received.
fn address(values: &ArrayRef) -> usize {
    let buffer = match (values.as_string_opt::<i32>(), values.as_primitive_opt::<UInt32Type>()) {
        (Some(texts), _) => texts.offsets().inner().inner().as_ptr(),
        (None, Some(numbers)) => numbers.values().inner().as_ptr(),
        (None, None) => Arc::as_ptr(values).cast::<u8>(),
    };
    buffer.addr()
}

/// What a column says of the thing with that key.
fn describe(batch: &FlowBatch, column: Column, key: usize, out: &mut Vec<u8>) {
    let values = batch
        .column(column)
        .map(|array| array.as_dictionary::<UInt16Type>().values());
    let Some(values) = values.filter(|values| values.is_valid(key)) else {
        out.push(0);
        return;
    };
    out.push(1);
    match values.as_string_opt::<i32>() {
        Some(texts) => {
            let text = texts.value(key).as_bytes();
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text);
        }
        None => {
            if let Some(numbers) = values.as_primitive_opt::<UInt32Type>() {
                out.extend_from_slice(&numbers.value(key).to_le_bytes());
            }
        }
    }
}
