//! Flows as rows of the table `flows`: from Parquet, and what CSV has in common with it.

use std::path::Path;

use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use flow::from_table::TableRows;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::content::open;
use super::left_out::LeftOut;
use super::target::Import;
use crate::progress::Progress;
use crate::table_rows::table_rows;

const BATCH_ROWS: usize = 8192;

/// Reads a Parquet file. Rows that are no flows are told on stderr; says how many.
pub(super) async fn read(path: &Path, import: &mut Import, progress: &Progress) -> Result<u64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(open(path)?)
        .context("it is no Parquet file that can be read")?
        .with_batch_size(BATCH_ROWS)
        .build()?;
    let mut left_out = LeftOut::new(path);
    let mut number = 0;
    for batch in reader {
        let batch = batch.with_context(|| format!("it is damaged after {number} rows"))?;
        let places: Vec<String> = (0..batch.num_rows())
            .map(|row| format!("row {}", number + row + 1))
            .collect();
        number += batch.num_rows();
        take(&batch, &places, import, &mut left_out)?;
        progress.add(batch.num_rows() as u64);
        import.make_room().await?;
        // So that Ctrl-C is heard.
        tokio::task::yield_now().await;
    }
    Ok(left_out.count())
}

/// Takes rows; `places` says where in the file they are.
pub(super) fn take(batch: &RecordBatch, places: &[String], import: &mut Import, left_out: &mut LeftOut) -> Result<()> {
    let rows = table_rows(batch).context("its columns are not those of the table `flows`")?;
    let table = TableRows::new(&rows)?;
    for (row, place) in places.iter().enumerate() {
        if let Err(error) = import.row(&table, row) {
            left_out.tell(place, &error.to_string());
        }
    }
    Ok(())
}
