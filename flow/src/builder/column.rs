//! Columns of the row's own values. Each takes memory for a full batch with its first value, so that a value is then set
//! by two stores; rows without a value are null.

use std::hash::Hash;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, TimestampNanosecondType, UInt16Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use rustc_hash::FxHashMap;

use super::MAX_ROWS;

/// A column of a batch, and the memory that is its own.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) array: ArrayRef,
    pub(crate) bytes: usize,
}

impl Finished {
    pub(crate) fn new(array: impl Array + 'static, bytes: usize) -> Self {
        // What Arrow needs to describe an array, beside its buffers.
        const ARRAY_BYTES: usize = 128;
        Self {
            array: Arc::new(array),
            bytes: bytes + ARRAY_BYTES,
        }
    }
}

/// A bit for each row of a batch.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    #[inline]
    fn set(&mut self, row: usize) {
        if self.0.is_empty() {
            self.0 = vec![0; MAX_ROWS / 64];
        }
        self.0[row / 64] |= 1 << (row % 64);
    }

    fn finish(&self, rows: usize) -> BooleanBuffer {
        let words = self.0.iter().take(rows.div_ceil(64));
        let mut bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(rows.div_ceil(8), 0);
        BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows)
    }
}

/// Which rows have a value.
#[derive(Debug, Default)]
struct Validity {
    bits: Bits,
    count: usize,
}

impl Validity {
    /// Marks `row` as valid, which it isn't yet.
    #[inline]
    fn set(&mut self, row: usize) {
        self.bits.set(row);
        self.count += 1;
    }

    /// `None` if all of the rows are valid.
    fn finish(&self, rows: usize) -> Option<NullBuffer> {
        (self.count < rows).then(|| NullBuffer::new(self.bits.finish(rows)))
    }
}

fn null_bytes(nulls: Option<&NullBuffer>) -> usize {
    nulls.map_or(0, |nulls| nulls.len().div_ceil(8))
}

#[derive(Debug)]
pub(crate) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
}

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            validity: Validity::default(),
        }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: T::Native) {
        if self.values.is_empty() {
            self.values = vec![T::Native::default(); MAX_ROWS];
        }
        self.values[row] = value;
        self.validity.set(row);
    }

    /// Zero is null.
    #[inline]
    pub(crate) fn set_known(&mut self, row: usize, value: T::Native) {
        if value != T::Native::default() {
            self.set(row, value);
        }
    }

    #[inline]
    pub(crate) fn set_some(&mut self, row: usize, value: Option<T::Native>) {
        if let Some(value) = value {
            self.set(row, value);
        }
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        let (array, bytes) = self.array(rows)?;
        Some(Finished::new(array, bytes))
    }

    fn array(&self, rows: usize) -> Option<(PrimitiveArray<T>, usize)> {
        if self.values.is_empty() {
            return None;
        }
        let nulls = self.validity.finish(rows);
        let bytes = rows * size_of::<T::Native>() + null_bytes(nulls.as_ref());
        Some((
            PrimitiveArray::new(ScalarBuffer::from(self.values[..rows].to_vec()), nulls),
            bytes,
        ))
    }
}

/// Large numbers of which a batch has few: each distinct one is stored once.
#[derive(Debug)]
pub(crate) struct SharedNumbers<T: ArrowPrimitiveType> {
    keys: Numbers<UInt16Type>,
    values: Vec<T::Native>,
    index: FxHashMap<T::Native, u16>,
    last: Option<(T::Native, u16)>,
}

impl<T: ArrowPrimitiveType> Default for SharedNumbers<T> {
    fn default() -> Self {
        Self {
            keys: Numbers::default(),
            values: Vec::new(),
            index: FxHashMap::default(),
            last: None,
        }
    }
}

impl<T: ArrowPrimitiveType<Native: Eq + Hash>> SharedNumbers<T> {
    /// Zero is null.
    #[inline]
    pub(crate) fn set_known(&mut self, row: usize, value: T::Native) {
        if value == T::Native::default() {
            return;
        }
        let key = match self.last {
            Some((last, key)) if last == value => key,
            _ => self.key(value),
        };
        self.keys.set(row, key);
    }

    fn key(&mut self, value: T::Native) -> u16 {
        let values = &mut self.values;
        let key = *self.index.entry(value).or_insert_with(|| {
            values.push(value);
            u16::try_from(values.len() - 1).expect("invariant: a batch has fewer rows than keys")
        });
        self.last = Some((value, key));
        key
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        let (keys, bytes) = self.keys.finish_keys(rows)?;
        let values = PrimitiveArray::<T>::from_iter_values(self.values.iter().copied());
        let held = bytes + values.get_buffer_memory_size();
        Some(Finished::new(DictionaryArray::new(keys, Arc::new(values)), held))
    }
}

impl Numbers<TimestampNanosecondType> {
    pub(crate) fn finish_time(&self, rows: usize) -> Option<Finished> {
        let (array, bytes) = self.array(rows)?;
        Some(Finished::new(array.with_timezone("UTC"), bytes))
    }
}

impl Numbers<UInt16Type> {
    pub(crate) fn finish_keys(&self, rows: usize) -> Option<(PrimitiveArray<UInt16Type>, usize)> {
        self.array(rows)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bools {
    values: Bits,
    validity: Validity,
}

impl Bools {
    #[inline]
    pub(crate) fn set_some(&mut self, row: usize, value: Option<bool>) {
        let Some(value) = value else { return };
        if value {
            self.values.set(row);
        }
        self.validity.set(row);
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        if self.validity.count == 0 {
            return None;
        }
        let nulls = self.validity.finish(rows);
        let bytes = rows.div_ceil(8) + null_bytes(nulls.as_ref());
        Some(Finished::new(BooleanArray::new(self.values.finish(rows), nulls), bytes))
    }
}

/// Values of `N` bytes.
#[derive(Debug)]
pub(crate) struct Fixed<const N: usize> {
    values: Vec<[u8; N]>,
    validity: Validity,
}

impl<const N: usize> Default for Fixed<N> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            validity: Validity::default(),
        }
    }
}

impl<const N: usize> Fixed<N> {
    #[inline]
    pub(crate) fn set(&mut self, row: usize, value: [u8; N]) {
        if self.values.is_empty() {
            self.values = vec![[0; N]; MAX_ROWS];
        }
        self.values[row] = value;
        self.validity.set(row);
    }

    #[inline]
    pub(crate) fn set_some(&mut self, row: usize, value: Option<[u8; N]>) {
        if let Some(value) = value {
            self.set(row, value);
        }
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        if self.values.is_empty() {
            return None;
        }
        let bytes = self.values[..rows].as_flattened().to_vec();
        let nulls = self.validity.finish(rows);
        let held = bytes.len() + null_bytes(nulls.as_ref());
        let width = i32::try_from(N).expect("invariant: addresses are 6 or 16 bytes");
        Some(Finished::new(
            FixedSizeBinaryArray::new(width, Buffer::from_vec(bytes), nulls),
            held,
        ))
    }
}

/// Text of the row's own, each distinct one stored once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    keys: Numbers<UInt16Type>,
    values: Vec<String>,
    index: FxHashMap<String, u16>,
}

impl Texts {
    pub(crate) fn set(&mut self, row: usize, text: &str) {
        let key = match self.index.get(text) {
            Some(key) => *key,
            None => {
                let key = u16::try_from(self.values.len()).expect("invariant: a batch has fewer rows than keys");
                self.values.push(text.to_owned());
                self.index.insert(text.to_owned(), key);
                key
            }
        };
        self.keys.set(row, key);
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        let (keys, bytes) = self.keys.finish_keys(rows)?;
        let values = StringArray::from_iter_values(&self.values);
        let held = bytes + values.get_buffer_memory_size();
        Some(Finished::new(DictionaryArray::new(keys, Arc::new(values)), held))
    }
}

/// Bytes of any length, for few rows.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    values: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl Bytes {
    pub(crate) fn set(&mut self, row: usize, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.ends.push((row, self.values.len()));
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        if self.ends.is_empty() {
            return None;
        }
        let mut validity = Validity::default();
        let mut lengths = vec![0; rows];
        let mut start = 0;
        for (row, end) in &self.ends {
            validity.set(*row);
            lengths[*row] = end - start;
            start = *end;
        }
        let nulls = validity.finish(rows);
        let bytes = self.values.len() + rows * size_of::<i32>() + null_bytes(nulls.as_ref());
        let offsets = OffsetBuffer::from_lengths(lengths);
        Some(Finished::new(
            BinaryArray::new(offsets, Buffer::from_slice_ref(&self.values), nulls),
            bytes,
        ))
    }
}
