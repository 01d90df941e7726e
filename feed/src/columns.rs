//! A batch of flows as a record batch of the wire, and back.
//!
//! Columns that stand alone keep their type. Those that describe one thing together become one column: a dictionary whose
//! values are structs. `log_id` and `sequence` are there where rows are not numbered through.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, RecordBatch, StructArray, UInt16Array, new_empty_array, new_null_array,
};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use flow::batch::FlowBatch;
use flow::row_ids::RowIds;
use flow::schema::Column;
use flow::shared_columns::{SHARED_COLUMNS, is_shared};

use crate::FeedError;

const LOG_ID: &str = "log_id";
const SEQUENCE: &str = "sequence";

/// The columns that a stream has had so far: a schema holds for all further batches, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    columns: Vec<bool>,
    ids: bool,
}

impl Known {
    /// Learns of the columns of a batch; whether any of them is new.
    pub(crate) fn learn(&mut self, batch: &FlowBatch) -> bool {
        self.columns.resize(Column::COUNT, false);
        let mut new = batch.ids().is_some() && !self.ids;
        self.ids |= new;
        for (known, column) in self.columns.iter_mut().zip(Column::ALL) {
            if !*known && batch.column(*column).is_some() {
                *known = true;
                new = true;
            }
        }
        new
    }

    fn has(&self, column: Column) -> bool {
        Column::ALL
            .iter()
            .zip(&self.columns)
            .any(|(one, known)| *one == column && *known)
    }

    fn things(&self) -> impl Iterator<Item = (&'static str, Vec<Column>)> {
        SHARED_COLUMNS.iter().filter_map(|(name, columns)| {
            let known: Vec<Column> = columns.iter().copied().filter(|column| self.has(*column)).collect();
            (!known.is_empty()).then_some((*name, known))
        })
    }

    fn alone(&self) -> impl Iterator<Item = Column> {
        let columns = Column::ALL.iter().copied();
        columns.filter(|column| self.has(*column) && !is_shared(*column))
    }

    /// What batches of the stream look like.
    pub(crate) fn schema(&self) -> SchemaRef {
        let mut fields = Vec::new();
        if self.ids {
            fields.push(Field::new(LOG_ID, DataType::UInt64, false));
            fields.push(Field::new(SEQUENCE, DataType::UInt64, false));
        }
        for column in self.alone() {
            fields.push(Field::new(
                column.name(),
                column.kind().data_type(),
                column != Column::Time,
            ));
        }
        for (name, columns) in self.things() {
            let values = DataType::Struct(value_fields(&columns));
            let data_type = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(values));
            fields.push(Field::new(name, data_type, true));
        }
        Arc::new(Schema::new(fields))
    }

    /// The batch in that schema, which [`Known::learn`] has learned.
    pub(crate) fn to_wire(&self, schema: &SchemaRef, batch: &FlowBatch) -> Result<RecordBatch, FeedError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        if self.ids {
            let ids = RowIds::of(batch);
            arrays.push(Arc::new(ids.log_ids().clone()));
            arrays.push(Arc::new(ids.sequences().clone()));
        }
        for column in self.alone() {
            arrays.push(match batch.column(column) {
                Some(array) => Arc::clone(array),
                None => new_null_array(&column.kind().data_type(), batch.rows()),
            });
        }
        for (_, columns) in self.things() {
            arrays.push(thing(batch, &columns)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
    }
}

fn value_type(column: Column) -> DataType {
    match column.kind().data_type() {
        DataType::Dictionary(_, values) => *values,
        other => other,
    }
}

fn value_fields(columns: &[Column]) -> Fields {
    let field = |column: &Column| Field::new(column.name(), value_type(*column), true);
    columns.iter().map(field).collect()
}

/// The columns of a thing as one.
fn thing(batch: &FlowBatch, columns: &[Column]) -> Result<ArrayRef, FeedError> {
    let one = columns.iter().find_map(|column| batch.column(*column));
    let Some(one) = one else {
        let keys = UInt16Array::new_null(batch.rows());
        let values = new_empty_array(&DataType::Struct(value_fields(columns)));
        return Ok(Arc::new(DictionaryArray::<UInt16Type>::try_new(keys, values)?));
    };
    let one = one.as_dictionary::<UInt16Type>();
    let values: Vec<ArrayRef> = columns
        .iter()
        .map(|column| match batch.column(*column) {
            Some(array) => Arc::clone(array.as_dictionary::<UInt16Type>().values()),
            None => new_null_array(&value_type(*column), one.values().len()),
        })
        .collect();
    let values = StructArray::try_new(value_fields(columns), values, None)?;
    let keys = one.keys().clone();
    Ok(Arc::new(DictionaryArray::<UInt16Type>::try_new(
        keys,
        Arc::new(values),
    )?))
}

/// A batch of flows from the wire. Columns that aren't known here are passed over: a newer peer may have them.
///
/// # Errors
/// If what is known is not as the schema of flows has it.
pub(crate) fn from_wire(wire: &RecordBatch, log_id: u64, first_sequence: u64) -> Result<FlowBatch, FeedError> {
    let mut columns: Vec<(Column, ArrayRef)> = Vec::new();
    for (field, array) in wire.schema_ref().fields().iter().zip(wire.columns()) {
        let name = field.name().as_str();
        if SHARED_COLUMNS.iter().any(|(thing, _)| *thing == name) {
            things(name, array, &mut columns)?;
        } else if let Some(column) = Column::by_name(name)
            && array.null_count() < array.len()
        {
            columns.push((column, Arc::clone(array)));
        }
    }
    let ids = match (wire.column_by_name(LOG_ID), wire.column_by_name(SEQUENCE)) {
        (Some(logs), Some(numbers)) => {
            let logs = logs.as_primitive_opt::<UInt64Type>();
            let numbers = numbers.as_primitive_opt::<UInt64Type>();
            let ids = logs
                .zip(numbers)
                .and_then(|(logs, numbers)| RowIds::new(logs.clone(), numbers.clone()));
            let wrong = || FeedError::Message("`log_id` and `sequence` are not numbers for each row".to_owned());
            Some(ids.ok_or_else(wrong)?)
        }
        _ => None,
    };
    Ok(FlowBatch::from_columns(columns, log_id, first_sequence, ids)?)
}

/// The columns that a column of the wire is made of.
fn things(name: &str, array: &ArrayRef, columns: &mut Vec<(Column, ArrayRef)>) -> Result<(), FeedError> {
    let wrong = || {
        FeedError::Message(format!(
            "`{name}` is {}, not a dictionary of structs",
            array.data_type()
        ))
    };
    let dictionary = array.as_dictionary_opt::<UInt16Type>().ok_or_else(wrong)?;
    let values = dictionary.values().as_struct_opt().ok_or_else(wrong)?;
    if values.null_count() > 0 {
        return Err(FeedError::Message(format!("`{name}` has values that are null")));
    }
    for (field, values) in values.fields().iter().zip(values.columns()) {
        let Some(column) = Column::by_name(field.name()) else {
            continue;
        };
        if values.null_count() < values.len() {
            let array = DictionaryArray::<UInt16Type>::try_new(dictionary.keys().clone(), Arc::clone(values))?;
            columns.push((column, Arc::new(array)));
        }
    }
    Ok(())
}
