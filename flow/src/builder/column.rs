//! Columns of the row's own values. Each starts to take memory with its first value; rows before that, and rows without
//! a value since, are null.

use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::types::{ArrowPrimitiveType, TimestampNanosecondType, UInt16Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use rustc_hash::FxHashMap;

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

/// Which rows have a value. Dense columns never build the bits.
#[derive(Debug, Default)]
struct Validity {
    bits: Option<BooleanBufferBuilder>,
    len: usize,
}

impl Validity {
    /// Marks the rows up to `row` as null and `row` as valid. Returns how many nulls there were.
    fn set(&mut self, row: usize) -> usize {
        let missing = row - self.len;
        if missing > 0 && self.bits.is_none() {
            let mut bits = BooleanBufferBuilder::new(row + 1);
            bits.append_n(self.len, true);
            self.bits = Some(bits);
        }
        if let Some(bits) = &mut self.bits {
            bits.append_n(missing, false);
            bits.append(true);
        }
        self.len = row + 1;
        missing
    }

    fn finish(&self, rows: usize) -> Option<NullBuffer> {
        let missing = rows - self.len;
        if missing == 0 && self.bits.is_none() {
            return None;
        }
        let mut bits = BooleanBufferBuilder::new(rows);
        match &self.bits {
            Some(set) => bits.append_packed_range(0..self.len, set.as_slice()),
            None => bits.append_n(self.len, true),
        }
        bits.append_n(missing, false);
        Some(NullBuffer::new(bits.finish()))
    }
}

fn null_bytes(nulls: Option<&NullBuffer>) -> usize {
    nulls.map_or(0, |nulls| nulls.len().div_ceil(8))
}

/// Values with nulls filled in up to `rows`.
fn padded<T: Copy + Default>(values: &[T], rows: usize) -> Vec<T> {
    let mut all = Vec::with_capacity(rows);
    all.extend_from_slice(values);
    all.resize(rows, T::default());
    all
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
        if self.validity.set(row) > 0 {
            self.values.resize(row, T::Native::default());
        }
        self.values.push(value);
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
            PrimitiveArray::new(ScalarBuffer::from(padded(&self.values, rows)), nulls),
            bytes,
        ))
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
    values: Option<BooleanBufferBuilder>,
    validity: Validity,
}

impl Bools {
    #[inline]
    pub(crate) fn set_some(&mut self, row: usize, value: Option<bool>) {
        let Some(value) = value else { return };
        let values = self.values.get_or_insert_with(|| BooleanBufferBuilder::new(64));
        let missing = self.validity.set(row);
        values.append_n(missing, false);
        values.append(value);
    }

    pub(crate) fn finish(&self, rows: usize) -> Option<Finished> {
        let values = self.values.as_ref()?;
        let mut all = BooleanBufferBuilder::new(rows);
        all.append_packed_range(0..values.len(), values.as_slice());
        all.append_n(rows - values.len(), false);
        let nulls = self.validity.finish(rows);
        let bytes = rows.div_ceil(8) + null_bytes(nulls.as_ref());
        Some(Finished::new(BooleanArray::new(all.finish(), nulls), bytes))
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
        if self.validity.set(row) > 0 {
            self.values.resize(row, [0; N]);
        }
        self.values.push(value);
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
        let mut bytes = Vec::with_capacity(rows * N);
        bytes.extend_from_slice(self.values.as_flattened());
        bytes.resize(rows * N, 0);
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
