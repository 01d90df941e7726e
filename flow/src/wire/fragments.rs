//! Bytes of the things that a batch stores once: made when a row first needs them, copied for the others.

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt16Type;
use arrow_array::{Array, PrimitiveArray};

use crate::batch::FlowBatch;
use crate::schema::Column;

/// Appends the fields that tell the thing in a row of a batch.
type Write = fn(&FlowBatch, usize, &mut Vec<u8>);

#[derive(Debug)]
pub(super) enum Fragments {
    /// No row has the thing.
    Absent,
    /// Rows with the same key have the same thing.
    ByKey {
        keys: PrimitiveArray<UInt16Type>,
        /// Where in `bytes` the thing with that key is, once it is there.
        places: Vec<Option<(u32, u32)>>,
        bytes: Vec<u8>,
    },
    /// The columns of the thing don't share their keys, so there is nothing to keep.
    ByRow,
}

impl Fragments {
    /// Of the thing that these columns are about.
    pub(super) fn new(batch: &FlowBatch, columns: &[Column]) -> Self {
        let mut present = columns
            .iter()
            .filter_map(|column| batch.column(*column))
            .map(|array| array.as_dictionary::<UInt16Type>());
        let Some(first) = present.next() else {
            return Self::Absent;
        };
        let mut things = first.values().len();
        for other in present {
            if !first.keys().values().inner().ptr_eq(other.keys().values().inner()) {
                return Self::ByRow;
            }
            things = things.max(other.values().len());
        }
        Self::ByKey {
            keys: first.keys().clone(),
            places: vec![None; things],
            bytes: Vec::new(),
        }
    }

    /// Appends the thing in that row to `out`.
    #[inline]
    pub(super) fn write(&mut self, batch: &FlowBatch, row: usize, out: &mut Vec<u8>, write: Write) {
        match self {
            Self::Absent => {}
            Self::ByRow => write(batch, row, out),
            Self::ByKey { keys, places, bytes } => {
                if keys.is_null(row) {
                    return;
                }
                let place = &mut places[usize::from(keys.value(row))];
                let (start, end) = *place.get_or_insert_with(|| {
                    let start = bytes.len();
                    write(batch, row, bytes);
                    (start as u32, bytes.len() as u32)
                });
                out.extend_from_slice(&bytes[start as usize..end as usize]);
            }
        }
    }
}
