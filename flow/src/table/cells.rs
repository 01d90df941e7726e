//! Arrays of the table from arrays of a batch. What repeats in a batch is turned into text once.

use std::hash::Hash;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt16Type};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, StringViewArray, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use rustc_hash::FxHashMap;

use super::names::{self, Name};
use crate::batch::FlowBatch;
use crate::schema::{Column, Kind};
use crate::wire::address::{push_address, push_mac};

/// A text column, each distinct value changed by `change`.
pub(super) fn shared_text(stored: &ArrayRef, change: impl Fn(&str) -> Option<&str>) -> Result<ArrayRef, ArrowError> {
    let stored = stored.as_dictionary::<UInt16Type>();
    let values = stored.values().as_string::<i32>();
    let values: StringViewArray = values.iter().map(|value| value.and_then(&change)).collect();
    take(&values, stored.keys(), None)
}

/// A column of numbers stored once a batch.
pub(super) fn shared_number(stored: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let stored = stored.as_dictionary::<UInt16Type>();
    take(stored.values(), stored.keys(), None)
}

/// An enumeration.
pub(super) fn named(stored: &ArrayRef, kind: Kind, name: Name) -> Result<ArrayRef, ArrowError> {
    macro_rules! numbers {
        ($type:ty) => {{
            let stored = stored.as_primitive::<$type>();
            text(stored.iter(), |number, out| {
                let name = u32::try_from(number).ok().and_then(name);
                name.is_some_and(|name| {
                    out.extend_from_slice(name.as_bytes());
                    true
                })
            })
        }};
    }
    Ok(match kind {
        Kind::U8 => numbers!(UInt8Type),
        Kind::U16 => numbers!(UInt16Type),
        Kind::I32 => numbers!(Int32Type),
        other => {
            return Err(ArrowError::SchemaError(format!("{other:?} cannot be an enumeration")));
        }
    })
}

/// The sub types of events; what they mean depends on the type.
pub(super) fn event_sub_type(batch: &FlowBatch, stored: &ArrayRef) -> ArrayRef {
    let types = batch.numbers::<Int32Type>(Column::EventType);
    let sub_types = stored.as_primitive::<Int32Type>();
    let pairs = sub_types.iter().enumerate().map(|(row, sub_type)| {
        let of_type = types.filter(|types| types.is_valid(row)).map(|types| types.value(row));
        of_type.zip(sub_type)
    });
    text(pairs, |(of_type, sub_type), out| {
        out.extend_from_slice(names::event_sub_type(of_type, sub_type).as_bytes());
        true
    })
}

/// IP addresses.
pub(super) fn address(stored: &ArrayRef) -> ArrayRef {
    text(bytes::<16>(stored.as_fixed_size_binary()), |address, out| {
        push_address(out, address);
        true
    })
}

/// MAC addresses.
pub(super) fn mac(stored: &ArrayRef) -> ArrayRef {
    text(bytes::<6>(stored.as_fixed_size_binary()), |mac, out| {
        push_mac(out, mac);
        true
    })
}

fn bytes<const N: usize>(stored: &FixedSizeBinaryArray) -> impl Iterator<Item = Option<[u8; N]>> {
    stored.iter().map(|value| value.and_then(|value| value.try_into().ok()))
}

/// Text of each value, made once for each distinct one. `write` says whether there is any.
fn text<T: Copy + Eq + Hash>(
    rows: impl Iterator<Item = Option<T>>,
    write: impl Fn(T, &mut Vec<u8>) -> bool,
) -> ArrayRef {
    let mut known: FxHashMap<T, Option<u32>> = FxHashMap::default();
    let mut last: Option<(T, Option<u32>)> = None;
    let mut values = StringViewBuilder::new();
    let mut line = Vec::new();
    let mut next = 0;
    let keys: UInt32Array = rows
        .map(|value| {
            let value = value?;
            if let Some((of, key)) = last
                && of == value
            {
                return key;
            }
            let key = *known.entry(value).or_insert_with(|| {
                line.clear();
                let some = write(value, &mut line);
                let text = std::str::from_utf8(&line).expect("invariant: addresses and names are written as text");
                some.then(|| {
                    values.append_value(text);
                    next += 1;
                    next - 1
                })
            });
            last = Some((value, key));
            key
        })
        .collect();
    let values: ArrayRef = Arc::new(values.finish());
    take(&values, &keys, None).expect("invariant: each key is the place of a value")
}
