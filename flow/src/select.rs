//! Some rows of a batch, or some columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt16Type;
use arrow_array::{ArrayRef, BooleanArray, DictionaryArray};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::FilterBuilder;
use rustc_hash::FxHashMap;

use crate::batch::FlowBatch;
use crate::row_ids::RowIds;
use crate::schema::Column;

/// A choice of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Vec<bool>);

impl Default for Columns {
    fn default() -> Self {
        Self(vec![true; Column::COUNT])
    }
}

impl Columns {
    /// The columns with these names, and the time, which every batch has; all of them if there are no names.
    ///
    /// # Errors
    /// The first name that is no column.
    pub fn by_name(names: &[String]) -> Result<Self, String> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let mut chosen = Self(vec![false; Column::COUNT]);
        chosen.0[Column::Time.index()] = true;
        for name in names {
            let column = Column::by_name(name).ok_or_else(|| name.clone())?;
            chosen.0[column.index()] = true;
        }
        Ok(chosen)
    }

    /// Whether a column is among them.
    #[must_use]
    pub fn contains(&self, column: Column) -> bool {
        self.0[column.index()]
    }
}

impl FlowBatch {
    /// The marked rows, each with its own number; `None` if there are none. Keys that columns share stay shared.
    ///
    /// ```
    /// use flow::{builder::FlowBatchBuilder, record::FlowRecord};
    ///
    /// let mut builder = FlowBatchBuilder::new(7, 100);
    /// for time_ns in 1..4 {
    ///     builder.append(&FlowRecord { time_ns, ..Default::default() });
    /// }
    /// let batch = builder.seal().expect("three rows");
    /// let odd = batch.select(&[true, false, true].into_iter().collect()).expect("two rows");
    /// assert_eq!((odd.rows(), odd.time_ns(1), odd.row_id(1)), (2, 3, (7, 102)));
    /// ```
    ///
    /// # Panics
    /// If there are not as many marks as rows.
    #[must_use]
    pub fn select(&self, marked: &BooleanBuffer) -> Option<Self> {
        assert_eq!(marked.len(), self.rows(), "a mark for each row");
        match marked.count_set_bits() {
            0 => return None,
            all if all == self.rows() => return Some(self.clone()),
            _ => {}
        }
        let predicate = FilterBuilder::new(&BooleanArray::new(marked.clone(), None))
            .optimize()
            .build();
        let mut moved: FxHashMap<usize, ArrayRef> = FxHashMap::default();
        let mut columns = Vec::with_capacity(Column::COUNT);
        for column in Column::ALL {
            let Some(array) = self.column(*column) else {
                columns.push(None);
                continue;
            };
            let filtered = match array.as_any_dictionary_opt() {
                None => predicate.filter(array).ok()?,
                Some(_) => {
                    let dictionary = array.as_dictionary::<UInt16Type>();
                    let keys = dictionary.keys();
                    let place = keys.values().inner().as_ptr().addr();
                    let keys = match moved.get(&place) {
                        Some(keys) => keys.clone(),
                        None => {
                            let keys = predicate.filter(keys).ok()?;
                            moved.insert(place, keys.clone());
                            keys
                        }
                    };
                    let keys = keys.as_primitive::<UInt16Type>().clone();
                    Arc::new(DictionaryArray::new(keys, Arc::clone(dictionary.values())))
                }
            };
            columns.push(Some(filtered));
        }
        let ids = RowIds::filter(self, marked, &predicate)?;
        self.with_rows(columns, ids)
    }

    /// The batch without other columns.
    #[must_use]
    pub fn only(&self, chosen: &Columns) -> Self {
        let columns = Column::ALL.iter().copied().filter(|column| chosen.contains(*column));
        let columns = columns.filter_map(|column| Some((column, self.column(column)?.clone())));
        Self::from_columns(columns, self.log_id(), self.first_sequence(), self.ids().cloned())
            .expect("invariant: columns of a batch fit, and the time is among them")
    }
}
