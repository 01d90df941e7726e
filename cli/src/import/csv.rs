//! Flows as CSV: rows of the table `flows` as text, with a header.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow_array::{Array as _, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use csv::{ErrorKind, StringRecord};
use flow::table::table_schema;

use super::content::open;
use super::left_out::LeftOut;
use super::rows::take;
use super::target::Import;
use crate::progress::Progress;

/// Lines that become columns together.
const CHUNK: usize = 4096;

/// Reads the file. Lines that are no flows are told on stderr; says how many.
pub(super) async fn read(path: &Path, import: &mut Import, progress: &Progress) -> Result<u64> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let header = reader.headers().context("its header can't be read")?.clone();
    let mut left_out = LeftOut::new(path);
    let mut ended = false;
    while !ended {
        let mut lines: Vec<(u64, StringRecord)> = Vec::with_capacity(CHUNK);
        while lines.len() < CHUNK {
            let mut record = StringRecord::new();
            match reader.read_record(&mut record) {
                Ok(true) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    lines.push((line, record));
                }
                Ok(false) => {
                    ended = true;
                    break;
                }
                Err(error) => tell(&error, &mut left_out)?,
            }
        }
        progress.add(lines.len() as u64);
        take_lines(&header, &lines, import, &mut left_out)?;
        import.make_room().await?;
        // So that Ctrl-C is heard.
        tokio::task::yield_now().await;
    }
    Ok(left_out.count())
}

/// Says what is wrong with a line; the error is one after which nothing more can be read.
fn tell(error: &csv::Error, left_out: &mut LeftOut) -> Result<()> {
    let line = error.position().map_or(0, csv::Position::line);
    let why = match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} columns, and the header has {expected_len}")
        }
        ErrorKind::Utf8 { .. } => "it is not text in UTF-8".to_owned(),
        _ => anyhow::bail!("it can't be read: {error}"),
    };
    left_out.tell(&format!("line {line}"), &why);
    Ok(())
}

fn take_lines(
    header: &StringRecord,
    lines: &[(u64, StringRecord)],
    import: &mut Import,
    left_out: &mut LeftOut,
) -> Result<()> {
    let schema = table_schema();
    let known: Vec<(usize, &Field)> = header
        .iter()
        .enumerate()
        .filter_map(|(place, name)| Some((place, schema.field_with_name(name).ok()?)))
        .collect();
    let mut wrong: Vec<Option<String>> = vec![None; lines.len()];
    let mut columns = Vec::with_capacity(known.len());
    for (place, field) in &known {
        let texts: StringArray = lines
            .iter()
            .map(|(_, line)| line.get(*place).filter(|text| !text.is_empty()))
            .collect();
        let column = of_text(&texts, field.data_type())?;
        for (row, why) in wrong.iter_mut().enumerate() {
            if texts.is_valid(row) && column.is_null(row) && why.is_none() {
                *why = Some(format!("`{}` is no {}", texts.value(row), field.name()));
            }
        }
        columns.push(column);
    }
    let fields: Vec<Field> = known
        .iter()
        .map(|(_, field)| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let good: arrow_array::BooleanArray = wrong.iter().map(|why| Some(why.is_none())).collect();
    let rows = arrow_select::filter::filter_record_batch(&rows, &good)?;
    let mut places = Vec::with_capacity(rows.num_rows());
    for ((line, _), why) in lines.iter().zip(&wrong) {
        let place = format!("line {line}");
        match why {
            Some(why) => left_out.tell(&place, why),
            None => places.push(place),
        }
    }
    take(&rows, &places, import, left_out)
}

/// A column from its text; null where the text is none of its values.
fn of_text(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef> {
    if *data_type == DataType::Binary {
        let bytes: BinaryArray = texts.iter().map(|text| text.and_then(bytes)).collect();
        return Ok(Arc::new(bytes));
    }
    Ok(cast(texts, data_type)?)
}

/// Bytes from hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(bytes("00ff1A"), Some(vec![0, 255, 26]));
        assert_eq!(bytes(""), Some(vec![]));
        assert_eq!((bytes("0"), bytes("zz"), bytes("ää")), (None, None, None));
    }

    #[test]
    fn what_is_no_value_is_null() {
        let texts = StringArray::from(vec![Some("443"), Some("x"), None, Some("70000")]);
        let ports = of_text(&texts, &DataType::UInt16).unwrap();
        assert_eq!(ports.null_count(), 3);
    }
}
