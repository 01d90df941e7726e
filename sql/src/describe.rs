//! What `DESCRIBE` answers: each column with its type as SQL has it, and its sentence.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema};

/// The columns of a table as rows.
pub(crate) fn describe(schema: &Schema) -> Result<RecordBatch, ArrowError> {
    let fields = schema.fields();
    let text = |text: fn(&Field) -> String| -> StringArray { fields.iter().map(|field| Some(text(field))).collect() };
    RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            Field::new("column_name", DataType::Utf8, false),
            Field::new("data_type", DataType::Utf8, false),
            Field::new("is_nullable", DataType::Boolean, false),
            Field::new("description", DataType::Utf8, false),
        ])),
        vec![
            Arc::new(text(|field| field.name().clone())),
            Arc::new(text(|field| sql_type(field.data_type()))),
            Arc::new(
                fields
                    .iter()
                    .map(|field| Some(field.is_nullable()))
                    .collect::<BooleanArray>(),
            ),
            Arc::new(text(|field| field.metadata().get("doc").cloned().unwrap_or_default())),
        ],
    )
}

fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "VARCHAR".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Binary | DataType::BinaryView => "VARBINARY".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Duration(_) | DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::Dictionary(_, value) => sql_type(value),
        other => other.to_string(),
    }
}
