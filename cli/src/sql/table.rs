//! Answers as text for people: aligned columns, or a block for each row.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Schema, TimeUnit};
use chrono::{DateTime, Local};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// Cells as text, a row each. `local`: times in the zone of this machine.
pub(super) fn cells(batch: &RecordBatch, local: bool) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("");
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        if let (DataType::Timestamp(TimeUnit::Nanosecond, Some(_)), true) = (column.data_type(), local) {
            let times = column.as_primitive::<TimestampNanosecondType>();
            for (row, time) in rows.iter_mut().zip(times) {
                row.push(time.map_or_else(String::new, |time| {
                    let time = DateTime::from_timestamp_nanos(time).with_timezone(&Local);
                    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
                }));
            }
            continue;
        }
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        for (number, row) in rows.iter_mut().enumerate() {
            row.push(printable(&formatter.value(number).try_to_string()?));
        }
    }
    Ok(rows)
}

/// Names come from the network: no control character reaches the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

/// Aligned columns. `fits`: within the width of the terminal, long cells over several lines.
pub(super) fn aligned(schema: &Schema, rows: &[Vec<String>], fits: bool) -> String {
    let mut table = Table::new();
    if fits {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(schema.fields().iter().map(|field| Cell::new(printable(field.name()))));
    for row in rows {
        table.add_row(schema.fields().iter().zip(row).map(|(field, text)| {
            let alignment = if field.data_type().is_numeric() {
                CellAlignment::Right
            } else {
                CellAlignment::Left
            };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    format!("{table}\n")
}

/// A block for each row, a line for each column that has a value.
pub(super) fn expanded(schema: &Schema, rows: &[Vec<String>]) -> String {
    let width = schema
        .fields()
        .iter()
        .map(|field| field.name().len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text.push_str(&format!("-[ row {} ]-\n", number + 1));
        for (field, cell) in schema.fields().iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
            text.push_str(&format!("{:<width$} | {cell}\n", field.name()));
        }
    }
    text
}
