//! Many small files into one, with bounded memory.
//!
//! The files of a log follow each other in time but for a little disorder at their ends. So rows are sorted in a window
//! that moves over all of them: what is older than its half can go out.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use bytes::Bytes;

use crate::error::HistoryError;
use crate::file::{FileWriter, read, sorted};
use crate::layout::HistoryFile;

/// Rows that are sorted at a time.
pub const WINDOW_ROWS: usize = 64 << 10;
const BATCH_ROWS: usize = 8 << 10;

/// Fewer rows than this make a small file.
pub const SMALL_ROWS: u64 = 256 << 10;
/// A merged file has about so many rows at most.
pub const MERGED_ROWS: u64 = 1 << 20;
/// So many small files that follow each other are worth a merge even while their hour goes on.
pub const ENOUGH_FILES: usize = 30;

/// Merges files, sorted by the column `by`.
///
/// # Errors
/// If one isn't a file of a history, or has other columns.
pub fn merge(files: &[Bytes], schema: &SchemaRef, by: &str) -> Result<Bytes, HistoryError> {
    let mut writer = FileWriter::new(schema)?;
    let mut window: Vec<RecordBatch> = Vec::new();
    let mut rows = 0;
    for file in files {
        for batch in read(file.clone(), BATCH_ROWS)? {
            let batch = batch?;
            rows += batch.num_rows();
            window.push(batch);
            if rows >= WINDOW_ROWS {
                let all = sorted(&concat_batches(schema, &window)?, by)?;
                let half = rows / 2;
                write_in_parts(&mut writer, &all.slice(0, half))?;
                window = vec![all.slice(half, rows - half)];
                rows -= half;
            }
        }
    }
    if rows > 0 {
        write_in_parts(&mut writer, &sorted(&concat_batches(schema, &window)?, by)?)?;
    }
    writer.finish()
}

fn write_in_parts(writer: &mut FileWriter, batch: &RecordBatch) -> Result<(), HistoryError> {
    for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
        writer.write(&batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start)))?;
    }
    Ok(())
}

/// Which of these files, all of one hour and log and in the order of their numbers, should be merged next: neighbours
/// without a gap between them. `hour_is_over`: no more files will come.
#[must_use]
pub fn worth_merging(files: &[HistoryFile], hour_is_over: bool) -> Option<&[HistoryFile]> {
    let rows = |file: &HistoryFile| file.name.end_sequence - file.name.first_sequence;
    let mut start = 0;
    while start < files.len() {
        let (mut end, mut sum) = (start, 0);
        while end < files.len()
            && rows(&files[end]) < SMALL_ROWS
            && sum + rows(&files[end]) <= MERGED_ROWS
            && (end == start || files[end - 1].name.end_sequence == files[end].name.first_sequence)
        {
            sum += rows(&files[end]);
            end += 1;
        }
        let enough = if hour_is_over { 2 } else { ENOUGH_FILES };
        if end - start >= enough {
            return Some(&files[start..end]);
        }
        start = end.max(start + 1);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, StringViewArray};
    use arrow_schema::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::layout::{FileName, Kind};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("time", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, true),
        ]))
    }

    fn file(times: &[i64]) -> Bytes {
        let texts: StringViewArray = times.iter().map(|time| Some(time.to_string())).collect();
        let batch = RecordBatch::try_new(
            schema(),
            vec![Arc::new(Int64Array::from(times.to_vec())), Arc::new(texts)],
        )
        .unwrap();
        let mut writer = FileWriter::new(&schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_merged_file_has_every_row_once_and_in_order(files in prop::collection::vec(prop::collection::vec(0i64..1000, 1..40), 1..8)) {
            let merged = merge(&files.iter().map(|times| file(times)).collect::<Vec<_>>(), &schema(), "time").unwrap();
            let mut wanted: Vec<i64> = files.concat();
            wanted.sort_unstable();
            let mut found = Vec::new();
            for batch in read(merged, 7).unwrap() {
                let batch = batch.unwrap();
                let times = batch.column(0).as_primitive::<Int64Type>();
                for (time, text) in times.values().iter().zip(batch.column(1).as_string_view()) {
                    let wanted = time.to_string();
                    prop_assert_eq!(text, Some(wanted.as_str()));
                    found.push(*time);
                }
            }
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn neighbours_are_merged_and_gaps_stay() {
        let named = |first: u64, end: u64| {
            let name = FileName {
                node: "n".into(),
                log_id: 1,
                first_sequence: first,
                end_sequence: end,
                time_range: (0, 1),
            };
            HistoryFile {
                location: object_store::path::Path::from(name.path(Kind::Flows)),
                size: 1,
                name,
            }
        };
        let files = [
            named(0, SMALL_ROWS),
            named(SMALL_ROWS, SMALL_ROWS + 5),
            named(SMALL_ROWS + 5, SMALL_ROWS + 9),
            named(SMALL_ROWS + 20, SMALL_ROWS + 30),
        ];
        assert_eq!(worth_merging(&files, true), Some(&files[1..3]));
        assert_eq!(worth_merging(&files, false), None);
        assert_eq!(worth_merging(&files[..2], true), None);
        let many: Vec<HistoryFile> = (0..40).map(|number| named(number, number + 1)).collect();
        assert_eq!(worth_merging(&many, false).map(<[_]>::len), Some(40));
    }
}
