//! A sealed batch of flows: the only form in which flows are kept, filtered and queried.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, TimestampNanosecondType, UInt16Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray, new_null_array,
};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};
use rustc_hash::FxHashSet;
use uuid::Uuid;

use crate::builder::MAX_ROWS;
use crate::record::Address;
use crate::row_ids::RowIds;
use crate::schema::{Column, schema};

/// Rows that don't change any more.
///
/// A batch carries only the columns that have a value in at least one of its rows; a column that isn't there is null in
/// every row. Rows are numbered through: `first_sequence` is the number of the first one in the log that made it. In a
/// batch that is a choice of rows, or made of several logs' rows, each row has its own number: [`RowIds`].
#[derive(Clone, Debug)]
pub struct FlowBatch {
    columns: Arc<[Option<ArrayRef>]>,
    rows: usize,
    bytes: usize,
    log_id: u64,
    first_sequence: u64,
    time_range: (i64, i64),
    ids: Option<RowIds>,
}

/// Columns that can't be a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// There is no row.
    #[error("a batch of flows has at least one row")]
    Empty,
    /// Flows have a time.
    #[error("flows have no column `time`, or a row without a time")]
    NoTime,
    /// A column is of another type.
    #[error("the column `{column}` is {found}; in the schema of flows it is {expected}")]
    Type {
        /// The column.
        column: &'static str,
        /// What the schema says.
        expected: DataType,
        /// What there is.
        found: DataType,
    },
    /// A column is longer or shorter than the others.
    #[error("the column `{column}` has {found} rows, and the batch {expected}")]
    Length {
        /// The column.
        column: &'static str,
        /// Rows of the column `time`.
        expected: usize,
        /// Rows of that column.
        found: usize,
    },
    /// More rows than a batch can have.
    #[error("{rows} rows are more than the {MAX_ROWS} of a batch")]
    TooLong {
        /// Rows that there are.
        rows: usize,
    },
}

/// A text column: what is in a row is a key into the values, and null where there is no key.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    keys: &'a PrimitiveArray<UInt16Type>,
    values: &'a StringArray,
}

impl<'a> Text<'a> {
    /// The text in that row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let key = shared_key(self.keys, row)?;
        self.values.is_valid(key).then(|| self.values.value(key))
    }

    /// The distinct values (some may be null or equal), so that a filter looks at each once.
    #[must_use]
    pub fn values(&self) -> &'a StringArray {
        self.values
    }

    /// Each row's place in [`Text::values`].
    #[must_use]
    pub fn keys(&self) -> &'a PrimitiveArray<UInt16Type> {
        self.keys
    }
}

/// A column of numbers that are stored once a batch.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a, T: ArrowPrimitiveType> {
    keys: &'a PrimitiveArray<UInt16Type>,
    values: &'a PrimitiveArray<T>,
}

impl<'a, T: ArrowPrimitiveType> Shared<'a, T> {
    /// The number in that row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<T::Native> {
        let key = shared_key(self.keys, row)?;
        self.values.is_valid(key).then(|| self.values.value(key))
    }

    /// The distinct values, so that a filter looks at each once.
    #[must_use]
    pub fn values(&self) -> &'a PrimitiveArray<T> {
        self.values
    }

    /// Each row's place in [`Shared::values`].
    #[must_use]
    pub fn keys(&self) -> &'a PrimitiveArray<UInt16Type> {
        self.keys
    }
}

fn shared_key(keys: &PrimitiveArray<UInt16Type>, row: usize) -> Option<usize> {
    keys.is_valid(row).then(|| usize::from(keys.value(row)))
}

impl FlowBatch {
    pub(crate) fn new(
        columns: Vec<Option<ArrayRef>>,
        rows: usize,
        bytes: usize,
        log_id: u64,
        first_sequence: u64,
        time_range: (i64, i64),
    ) -> Self {
        debug_assert_eq!(columns.len(), Column::COUNT);
        Self {
            columns: columns.into(),
            rows,
            bytes,
            log_id,
            first_sequence,
            time_range,
            ids: None,
        }
    }

    /// A batch of columns that come from elsewhere, checked. `first_sequence` counts where rows have no `ids` of their own.
    /// Columns of one thing ([`SHARED_COLUMNS`](crate::shared_columns::SHARED_COLUMNS)) have the same keys.
    ///
    /// # Errors
    /// If the columns don't fit the schema or each other.
    pub fn from_columns(
        columns: impl IntoIterator<Item = (Column, ArrayRef)>,
        log_id: u64,
        first_sequence: u64,
        ids: Option<RowIds>,
    ) -> Result<Self, BatchError> {
        let mut places = vec![None; Column::COUNT];
        for (column, array) in columns {
            let expected = column.kind().data_type();
            if array.data_type() != &expected {
                let found = array.data_type().clone();
                let column = column.name();
                return Err(BatchError::Type {
                    column,
                    expected,
                    found,
                });
            }
            places[column.index()] = Some(array);
        }
        let Some(time) = places[Column::Time.index()]
            .as_ref()
            .filter(|time| time.null_count() == 0)
        else {
            return Err(BatchError::NoTime);
        };
        let times = time.as_primitive::<TimestampNanosecondType>().values();
        let rows = times.len();
        let earliest = times.iter().min().copied().ok_or(BatchError::Empty)?;
        let latest = times.iter().max().copied().ok_or(BatchError::Empty)?;
        if rows > MAX_ROWS {
            return Err(BatchError::TooLong { rows });
        }
        let lengths = Column::ALL.iter().zip(&places);
        let lengths = lengths.filter_map(|(column, array)| Some((column.name(), array.as_ref()?.len())));
        let numbers = ids.iter().map(|ids| ("sequence", ids.len()));
        for (column, found) in lengths.chain(numbers) {
            if found != rows {
                return Err(BatchError::Length {
                    column,
                    expected: rows,
                    found,
                });
            }
        }
        let bytes = held_bytes(&places) + ids.as_ref().map_or(0, RowIds::bytes);
        Ok(Self {
            ids,
            ..Self::new(places, rows, bytes, log_id, first_sequence, (earliest, latest))
        })
    }

    /// The same rows with these columns in place of its own, as many rows each.
    pub(crate) fn with_rows(&self, columns: Vec<Option<ArrayRef>>, ids: RowIds) -> Option<Self> {
        let all = Column::ALL.iter().copied().zip(columns);
        let columns = all.filter_map(|(column, array)| Some((column, array?)));
        Self::from_columns(columns, self.log_id, self.first_sequence, Some(ids)).ok()
    }

    /// The numbers of the rows, if each has its own.
    #[must_use]
    pub fn ids(&self) -> Option<&RowIds> {
        self.ids.as_ref()
    }

    /// The log that a row is of, and its number there.
    #[must_use]
    pub fn row_id(&self, row: usize) -> (u64, u64) {
        match &self.ids {
            Some(ids) => ids.get(row),
            None => (self.log_id, self.first_sequence + row as u64),
        }
    }

    /// Number of rows; at least 1.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Memory that the batch holds, in bytes, buffers shared between its columns counted once.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of the first row in the log that made the batch.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Number after that of the last row.
    #[must_use]
    pub fn end_sequence(&self) -> u64 {
        self.first_sequence + self.rows as u64
    }

    /// Random number of the log that made the batch.
    #[must_use]
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// Earliest and latest time in it, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time_range(&self) -> (i64, i64) {
        self.time_range
    }

    /// The column as an Arrow array; `None` if it is null in every row.
    #[must_use]
    pub fn column(&self, column: Column) -> Option<&ArrayRef> {
        self.columns[column.index()].as_ref()
    }

    /// A column of numbers.
    ///
    /// # Panics
    /// If the column isn't of that type, which [`Column::kind`] tells.
    #[must_use]
    pub fn numbers<T: ArrowPrimitiveType>(&self, column: Column) -> Option<&PrimitiveArray<T>> {
        self.column(column).map(|array| array.as_primitive())
    }

    /// A number; `None` if it is null.
    ///
    /// # Panics
    /// As [`FlowBatch::numbers`].
    #[must_use]
    pub fn number<T: ArrowPrimitiveType>(&self, column: Column, row: usize) -> Option<T::Native> {
        self.numbers::<T>(column)
            .filter(|array| array.is_valid(row))
            .map(|array| array.value(row))
    }

    /// A column of booleans.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn booleans(&self, column: Column) -> Option<&BooleanArray> {
        self.column(column).map(|array| array.as_boolean())
    }

    /// A column of addresses, or of MAC addresses.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn addresses(&self, column: Column) -> Option<&FixedSizeBinaryArray> {
        self.column(column).map(|array| array.as_fixed_size_binary())
    }

    /// An address; `None` if it is null.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn address(&self, column: Column, row: usize) -> Option<Address> {
        let array = self.addresses(column).filter(|array| array.is_valid(row))?;
        array.value(row).try_into().ok()
    }

    /// A column of text.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn text(&self, column: Column) -> Option<Text<'_>> {
        let array = self.column(column)?.as_dictionary::<UInt16Type>();
        Some(Text {
            keys: array.keys(),
            values: array.values().as_string(),
        })
    }

    /// A text; `None` if it is null.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn text_at(&self, column: Column, row: usize) -> Option<&str> {
        self.text(column)?.get(row)
    }

    /// A column of numbers stored once a batch.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn shared<T: ArrowPrimitiveType>(&self, column: Column) -> Option<Shared<'_, T>> {
        let array = self.column(column)?.as_dictionary::<UInt16Type>();
        Some(Shared {
            keys: array.keys(),
            values: array.values().as_primitive::<T>(),
        })
    }

    /// Such a number; `None` if it is null.
    ///
    /// # Panics
    /// If the column isn't of that type.
    #[must_use]
    pub fn shared_at<T: ArrowPrimitiveType>(&self, column: Column, row: usize) -> Option<T::Native> {
        self.shared::<T>(column)?.get(row)
    }

    /// Time of a row, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time_ns(&self, row: usize) -> i64 {
        self.number::<TimestampNanosecondType>(Column::Time, row)
            .unwrap_or_default()
    }

    /// The id of a row: the one it came with, or one that follows from the log and the row's number (RFC 9562, version 8).
    #[must_use]
    pub fn uuid(&self, row: usize) -> String {
        match self.text_at(Column::Uuid, row) {
            Some(uuid) => uuid.to_owned(),
            None => {
                let (log_id, sequence) = self.row_id(row);
                row_uuid(log_id, sequence).to_string()
            }
        }
    }

    /// The rows from place `row` on, without copying them; `None` if there are none.
    #[must_use]
    pub fn from_row(&self, row: usize) -> Option<Self> {
        let rows = self.rows.checked_sub(row).filter(|rows| *rows > 0)?;
        Some(self.slice(row, rows))
    }

    /// At most so many rows, the first ones, without copying them. There is at least one.
    #[must_use]
    pub fn first_rows(&self, most: usize) -> Self {
        self.slice(0, most.clamp(1, self.rows))
    }

    fn slice(&self, row: usize, rows: usize) -> Self {
        let columns = self
            .columns
            .iter()
            .map(|column| column.as_ref().map(|array| array.slice(row, rows)))
            .collect();
        Self {
            columns,
            rows,
            first_sequence: self.first_sequence + row as u64,
            ids: self.ids.as_ref().map(|ids| ids.slice(row, rows)),
            ..self.clone()
        }
    }

    /// The whole schema as an Arrow record batch, columns that have no value filled with nulls. Buffers are shared.
    ///
    /// # Errors
    /// If the columns don't fit the schema, which would be a fault of the builder.
    pub fn to_record_batch(&self) -> Result<RecordBatch, ArrowError> {
        let arrays = Column::ALL
            .iter()
            .map(|column| match self.column(*column) {
                Some(array) => Arc::clone(array),
                None => new_null_array(&column.kind().data_type(), self.rows),
            })
            .collect();
        RecordBatch::try_new(schema(), arrays)
    }
}

/// Memory of the columns; buffers that several of them share are counted once.
fn held_bytes(columns: &[Option<ArrayRef>]) -> usize {
    fn add(data: &ArrayData, counted: &mut FxHashSet<usize>) -> usize {
        let nulls = data.nulls().map(NullBuffer::buffer);
        let own = data.buffers().iter().chain(nulls);
        let own: usize = own
            .filter(|buffer| counted.insert(buffer.as_ptr().addr()))
            .map(Buffer::len)
            .sum();
        own + data.child_data().iter().map(|child| add(child, counted)).sum::<usize>()
    }
    let mut counted = FxHashSet::default();
    let columns = columns.iter().flatten();
    columns.map(|array| add(&array.to_data(), &mut counted)).sum()
}

/// The id of a row of a log.
#[must_use]
pub fn row_uuid(log_id: u64, sequence: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&log_id.to_be_bytes());
    bytes[8..].copy_from_slice(&sequence.to_be_bytes());
    Uuid::new_v8(bytes)
}
