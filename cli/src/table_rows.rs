//! Rows that should be those of the table `flows`, brought into its form.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use flow::from_table::TableError;
use flow::table::table_schema;

/// The columns of the table in its order and types. What other programs store in other types (text, times in
/// microseconds) is turned into them; columns that are missing become null, and those that the table doesn't have go.
///
/// # Errors
/// If a column can't be of the table's type, or there is no `time`.
pub(crate) fn table_rows(rows: &RecordBatch) -> Result<RecordBatch, TableError> {
    let schema = table_schema();
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    if rows.column_by_name("time").is_none() {
        return Err(TableError::NoTime);
    }
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, TableError> {
        let Some(column) = rows.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), rows.num_rows()));
        };
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &strict).map_err(|_| TableError::Type {
            column: field.name().clone(),
            found: column.data_type().clone(),
            expected: field.data_type().clone(),
        })
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    // The rows of other programs may lack what ours always have.
    let fields = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)
        .expect("invariant: each column has the type of the table and the length of the rows"))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::TimestampNanosecondType;
    use arrow_array::{StringArray, TimestampMicrosecondArray, UInt64Array, cast::AsArray};

    use super::*;

    #[test]
    fn rows_of_other_programs_get_the_types_of_the_table() {
        let rows = RecordBatch::try_from_iter([
            ("verdict", Arc::new(StringArray::from(vec!["DROPPED"])) as ArrayRef),
            ("time", Arc::new(TimestampMicrosecondArray::from(vec![5]))),
            ("source_port", Arc::new(UInt64Array::from(vec![443]))),
            ("mine", Arc::new(UInt64Array::from(vec![1]))),
        ])
        .unwrap();
        let rows = table_rows(&rows).unwrap();
        assert_eq!(rows.num_columns(), table_schema().fields().len());
        let times = rows.column_by_name("time").unwrap();
        assert_eq!(times.as_primitive::<TimestampNanosecondType>().value(0), 5_000);
        assert_eq!(
            rows.column_by_name("verdict").unwrap().as_string_view().value(0),
            "DROPPED"
        );
        assert!(rows.column_by_name("source_ip").unwrap().is_null(0));
    }

    #[test]
    fn columns_that_cannot_be_those_of_the_table_are_named() {
        let time = || Arc::new(TimestampMicrosecondArray::from(vec![5])) as ArrayRef;
        let port = Arc::new(UInt64Array::from(vec![70_000])) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("time", time()), ("source_port", port)]).unwrap();
        let error = table_rows(&rows).unwrap_err().to_string();
        assert_eq!(error, "the column `source_port` is UInt64 and should be UInt16");
        let rows = RecordBatch::try_from_iter([("other", time())]).unwrap();
        assert_eq!(table_rows(&rows).unwrap_err(), TableError::NoTime);
    }
}
