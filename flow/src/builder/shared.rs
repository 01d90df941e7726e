//! Columns that describe one thing together: the names of an endpoint, the place of a drop. Rows hold a key to the
//! thing, and all columns of the thing share the keys.

use std::sync::Arc;

use arrow_array::types::UInt16Type;
use arrow_array::{Array, DictionaryArray, PrimitiveArray, StringArray, UInt32Array};
use rustc_hash::FxHashMap;

use super::column::{Finished, Numbers};

/// The distinct things of a batch. They are told apart by address, not by content: whoever makes records keeps one
/// `Arc` for each thing, so that finding its key costs one look-up of a pointer.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    items: Vec<Arc<T>>,
    index: FxHashMap<usize, u16>,
    last: Option<(usize, u16)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            index: FxHashMap::default(),
            last: None,
        }
    }
}

impl<T> Shared<T> {
    #[inline]
    pub(crate) fn key(&mut self, item: &Arc<T>) -> u16 {
        let address = Arc::as_ptr(item).addr();
        if let Some((last, key)) = self.last
            && last == address
        {
            return key;
        }
        let key = match self.index.get(&address) {
            Some(key) => *key,
            None => {
                let key = u16::try_from(self.items.len())
                    .expect("invariant: a batch has at most two endpoints a row, which fits the keys");
                // Keeping the `Arc` keeps its address from being used for another thing.
                self.items.push(Arc::clone(item));
                self.index.insert(address, key);
                key
            }
        };
        self.last = Some((address, key));
        key
    }

    /// A text column of the things; `None` if it is empty for all of them. Empty text is null.
    pub(crate) fn text(&self, keys: &KeyArray, get: impl Fn(&T) -> &str) -> Option<Finished> {
        let values: StringArray = self
            .items
            .iter()
            .map(|item| Some(get(item.as_ref())).filter(|text| !text.is_empty()))
            .collect();
        if values.null_count() == values.len() {
            return None;
        }
        let bytes = values.get_buffer_memory_size();
        Some(Finished::new(
            DictionaryArray::new(keys.array.clone(), Arc::new(values)),
            bytes,
        ))
    }

    /// A column of numbers of the things; `None` if it is zero for all of them. Zero is null.
    pub(crate) fn number(&self, keys: &KeyArray, get: impl Fn(&T) -> u32) -> Option<Finished> {
        let values: UInt32Array = self
            .items
            .iter()
            .map(|item| Some(get(item.as_ref())).filter(|number| *number != 0))
            .collect();
        if values.null_count() == values.len() {
            return None;
        }
        let bytes = values.get_buffer_memory_size();
        Some(Finished::new(
            DictionaryArray::new(keys.array.clone(), Arc::new(values)),
            bytes,
        ))
    }
}

/// The rows' keys.
#[derive(Debug, Default)]
pub(crate) struct Keys(Numbers<UInt16Type>);

/// Keys of a sealed batch, and the memory they hold.
#[derive(Debug)]
pub(crate) struct KeyArray {
    array: PrimitiveArray<UInt16Type>,
    pub(crate) bytes: usize,
}

impl Keys {
    #[inline]
    pub(crate) fn set_some(&mut self, row: usize, key: Option<u16>) {
        self.0.set_some(row, key);
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Arc<KeyArray>> {
        self.0
            .finish_keys(rows)
            .map(|(array, bytes)| Arc::new(KeyArray { array, bytes }))
    }
}
