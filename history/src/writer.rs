//! Writes what an observer sees into a history.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use flow::batch::FlowBatch;
use flow::table::{table_batch, table_schema};
use object_store::path::Path;

use crate::error::{HistoryError, in_background};
use crate::file::{FileWriter, sorted};
use crate::layout::{FileName, Kind, hour_of};
use crate::lost::{LostInterval, lost_batch};
use crate::session::Session;
use crate::store::Store;

/// Writes the history of one run of an observer.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    pub(crate) node: String,
    pub(crate) log_id: u64,
    /// Number of the next loss.
    losses: u64,
    /// Files of a call that failed. They may be there, and the next call writes their rows again, perhaps without those
    /// that have left the log meanwhile.
    unfinished: Vec<Path>,
}

impl Writer {
    /// A writer for a run. The history must be [prepared](Store::prepare).
    #[must_use]
    pub fn new(store: Store, node: String, log_id: u64) -> Self {
        Self {
            store,
            node,
            log_id,
            losses: 0,
            unfinished: Vec::new(),
        }
    }

    /// How many losses this run has written: the number of the next one, as names of files have it.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// The history.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes rows, a file for each hour that they are of. When it returns, they are there.
    ///
    /// # Errors
    /// If the store refuses; the next call begins with removing what this one has written.
    pub async fn write(&mut self, batches: &[FlowBatch]) -> Result<(), HistoryError> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Ok(());
        };
        let name = self.name(first.first_sequence(), last.end_sequence());
        let batches = batches.to_vec();
        let files = in_background(move || {
            let all: Vec<usize> = (0..table_schema().fields().len()).collect();
            let tables = batches
                .iter()
                .map(|batch| table_batch(batch, &all))
                .collect::<Result<Vec<_>, _>>()?;
            by_hour(&concat_batches(&table_schema(), &tables)?, "time", &name)
        });
        self.put(Kind::Flows, files.await?).await
    }

    /// Writes losses.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write_lost(&mut self, losses: &[LostInterval]) -> Result<(), HistoryError> {
        if losses.is_empty() {
            return Ok(());
        }
        let end = self.losses + losses.len() as u64;
        let files = by_hour(&lost_batch(losses)?, "from_time", &self.name(self.losses, end))?;
        self.put(Kind::Lost, files).await?;
        self.losses = end;
        Ok(())
    }

    /// The name of a file of this run, but for its time.
    fn name(&self, first_sequence: u64, end_sequence: u64) -> FileName {
        FileName {
            node: self.node.clone(),
            log_id: self.log_id,
            first_sequence,
            end_sequence,
            time_range: (0, 0),
        }
    }

    async fn put(&mut self, kind: Kind, files: Vec<(FileName, Bytes)>) -> Result<(), HistoryError> {
        while let Some(path) = self.unfinished.last() {
            self.store.delete(path).await?;
            self.unfinished.pop();
        }
        for (name, content) in files {
            let path = name.path(kind);
            self.unfinished.push(self.store.path(&path));
            self.store.put(&path, content).await?;
        }
        self.unfinished.clear();
        Ok(())
    }

    /// Writes what is known of this run.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn write_session(&self, session: &Session) -> Result<(), HistoryError> {
        self.store.put_session(session).await
    }
}

/// Rows as files, one for each hour of the column `by`, which they are sorted by.
fn by_hour(rows: &RecordBatch, by: &str, name: &FileName) -> Result<Vec<(FileName, Bytes)>, HistoryError> {
    let schema = rows.schema();
    let column = schema.index_of(by)?;
    let mut hours: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    let times = rows.column(column).as_primitive::<TimestampNanosecondType>();
    for (row, time) in (0..).zip(times.values()) {
        hours.entry(hour_of(*time)).or_default().push(row);
    }
    let mut files = Vec::with_capacity(hours.len());
    for of_hour in hours.into_values() {
        let part = match of_hour.len() == rows.num_rows() {
            true => rows.clone(),
            false => take_record_batch(rows, &UInt32Array::from(of_hour))?,
        };
        let part = sorted(&part, by)?;
        let times = part.column(column).as_primitive::<TimestampNanosecondType>().values();
        let name = FileName {
            time_range: (times[0], times[times.len() - 1]),
            ..name.clone()
        };
        let mut writer = FileWriter::new(&schema)?;
        writer.write(&part)?;
        files.push((name, writer.finish()?));
    }
    Ok(files)
}

/// The rows from number `from` on, cut from batches that may begin earlier; at most about `rows` of them.
#[must_use]
pub fn rows_from(batches: &[Arc<FlowBatch>], from: u64, rows: usize) -> Vec<FlowBatch> {
    let mut cut = Vec::new();
    let mut sum = 0;
    for batch in batches {
        let skip = usize::try_from(from.saturating_sub(batch.first_sequence())).unwrap_or(usize::MAX);
        cut.extend(batch.from_row(skip));
        sum += batch.rows();
        if sum >= rows {
            break;
        }
    }
    cut
}
