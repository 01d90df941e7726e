//! Writes what an observer sees into a history, merges small files, and deletes the oldest when there is too much.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use flow::batch::FlowBatch;
use flow::table::{table_batch, table_schema};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::error::HistoryError;
use crate::file::{FileWriter, sorted};
use crate::layout::{FileName, HistoryFile, Kind, hour_of};
use crate::lost::{LostInterval, lost_batch, lost_schema};
use crate::merge::{merge, worth_merging};
use crate::session::Session;
use crate::store::Store;

/// Queries that were planned before a merge still read the files that it replaced; they are deleted so much later.
const GRACE: Duration = Duration::from_secs(120);

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of all files of this node; `None`: any number.
    pub bytes: Option<u64>,
    /// Age of the oldest flow; `None`: any.
    pub age: Option<Duration>,
}

/// What is in the history of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// Writes the history of one run of an observer.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    node: String,
    log_id: u64,
    retention: Retention,
    /// Number of the next loss.
    losses: u64,
    doomed: VecDeque<(Instant, Path)>,
    /// Files that can't be read: readers skip them and say so, and they go when they are old.
    broken: HashSet<Path>,
}

impl Writer {
    /// A writer for a run. The history must be [prepared](Store::prepare).
    #[must_use]
    pub fn new(store: Store, node: String, log_id: u64, retention: Retention) -> Self {
        Self {
            store,
            node,
            log_id,
            retention,
            losses: 0,
            doomed: VecDeque::new(),
            broken: HashSet::new(),
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
    /// If the store refuses; what was written is written once more by the next call, and counts once.
    pub async fn write(&self, batches: &[FlowBatch]) -> Result<(), HistoryError> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Ok(());
        };
        let range = (first.first_sequence(), last.end_sequence());
        let all: Vec<usize> = (0..table_schema().fields().len()).collect();
        let tables = batches
            .iter()
            .map(|batch| table_batch(batch, &all))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = concat_batches(&table_schema(), &tables)?;
        self.write_by_hour(Kind::Flows, &rows, "time", range).await
    }

    /// Writes losses.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write_lost(&mut self, losses: &[LostInterval]) -> Result<(), HistoryError> {
        if losses.is_empty() {
            return Ok(());
        }
        let range = (self.losses, self.losses + losses.len() as u64);
        self.write_by_hour(Kind::Lost, &lost_batch(losses)?, "from_time", range)
            .await?;
        self.losses = range.1;
        Ok(())
    }

    async fn write_by_hour(
        &self,
        kind: Kind,
        rows: &RecordBatch,
        by: &str,
        (first_sequence, end_sequence): (u64, u64),
    ) -> Result<(), HistoryError> {
        let schema = rows.schema();
        let times = rows
            .column(schema.index_of(by)?)
            .as_primitive::<TimestampNanosecondType>();
        let mut hours: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, time) in (0..).zip(times.values()) {
            hours.entry(hour_of(*time)).or_default().push(row);
        }
        for of_hour in hours.into_values() {
            let part = match of_hour.len() == rows.num_rows() {
                true => rows.clone(),
                false => take_record_batch(rows, &UInt32Array::from(of_hour))?,
            };
            let part = sorted(&part, by)?;
            let times = part
                .column(schema.index_of(by)?)
                .as_primitive::<TimestampNanosecondType>();
            let name = FileName {
                node: self.node.clone(),
                log_id: self.log_id,
                first_sequence,
                end_sequence,
                time_range: (times.value(0), times.value(times.len() - 1)),
            };
            let mut writer = FileWriter::new(&schema)?;
            writer.write(&part)?;
            self.store.put(&name.path(kind), writer.finish()?).await?;
        }
        Ok(())
    }

    /// Merges what is worth it, deletes what was merged a while ago, and the oldest files if there is too much.
    /// `now_ns` is the time by the clock that flows have.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn maintain(&mut self, now_ns: i64) -> Result<Kept, HistoryError> {
        self.delete_doomed().await?;
        let mut all = Vec::new();
        for (kind, schema, by) in [
            (Kind::Flows, table_schema(), "time"),
            (Kind::Lost, lost_schema(), "from_time"),
        ] {
            let listing = self.store.list(kind, None).await?;
            for file in listing.obsolete {
                if file.name.node == self.node {
                    self.doom(file.location);
                }
            }
            let own: Vec<HistoryFile> = listing
                .files
                .into_iter()
                .filter(|file| file.name.node == self.node)
                .collect();
            self.merge_own(kind, &schema, by, &own, now_ns).await?;
            all.extend(own);
        }
        // Losses go with the flows of their time: a history without them would look complete.
        all.sort_by_key(|file| file.name.time_range);
        self.retire(&all, now_ns).await
    }

    fn doom(&mut self, path: Path) {
        if !self.doomed.iter().any(|(_, doomed)| *doomed == path) {
            self.doomed.push_back((Instant::now(), path));
        }
    }

    async fn delete_doomed(&mut self) -> Result<(), HistoryError> {
        while let Some((since, path)) = self.doomed.front()
            && since.elapsed() >= GRACE
        {
            self.store.delete(path).await?;
            self.doomed.pop_front();
        }
        Ok(())
    }

    async fn merge_own(
        &mut self,
        kind: Kind,
        schema: &SchemaRef,
        by: &str,
        own: &[HistoryFile],
        now_ns: i64,
    ) -> Result<(), HistoryError> {
        let mut groups: BTreeMap<(i64, u64), Vec<HistoryFile>> = BTreeMap::new();
        for file in own.iter().filter(|file| !self.broken.contains(&file.location)) {
            let key = (hour_of(file.name.time_range.0), file.name.log_id);
            groups.entry(key).or_default().push(file.clone());
        }
        for ((hour, log_id), mut files) in groups {
            files.sort_by_key(|file| file.name.first_sequence);
            let over = hour_of(now_ns) > hour || log_id != self.log_id;
            let Some(files) = worth_merging(&files, over) else {
                continue;
            };
            let Some(merged) = self.merge(files, schema, by).await? else {
                continue;
            };
            let name = FileName {
                node: self.node.clone(),
                log_id,
                first_sequence: files[0].name.first_sequence,
                end_sequence: files[files.len() - 1].name.end_sequence,
                time_range: (
                    files
                        .iter()
                        .map(|file| file.name.time_range.0)
                        .min()
                        .unwrap_or_default(),
                    files
                        .iter()
                        .map(|file| file.name.time_range.1)
                        .max()
                        .unwrap_or_default(),
                ),
            };
            self.store.put(&name.path(kind), merged).await?;
            for file in files {
                self.doom(file.location.clone());
            }
        }
        Ok(())
    }

    /// The files as one; `None` if one of them can't be read, which is left alone from now on.
    async fn merge(
        &mut self,
        files: &[HistoryFile],
        schema: &SchemaRef,
        by: &str,
    ) -> Result<Option<Bytes>, HistoryError> {
        let objects = self.store.object_store();
        let mut contents = Vec::with_capacity(files.len());
        for file in files {
            let content = match objects.get(&file.location).await {
                Ok(content) => content.bytes().await,
                Err(error) => Err(error),
            };
            contents.push(content.map_err(|source| HistoryError::Store {
                what: format!("read {}", file.location),
                location: self.store.location().to_owned(),
                source,
            })?);
        }
        let failure = match merge(&contents, schema, by) {
            Ok(merged) => return Ok(Some(merged)),
            Err(failure) => failure,
        };
        let known = self.broken.len();
        for (file, content) in files.iter().zip(contents) {
            if let Err(error) = merge(&[content], schema, by) {
                tracing::warn!("{} cannot be read and is not merged: {error}", file.location);
                self.broken.insert(file.location.clone());
            }
        }
        match self.broken.len() > known {
            true => Ok(None),
            false => Err(failure),
        }
    }

    /// Deletes the oldest of the files of this node if there is too much; returns what stays.
    async fn retire(&self, own: &[HistoryFile], now_ns: i64) -> Result<Kept, HistoryError> {
        let mut kept = Kept {
            files: own.len() as u64,
            bytes: own.iter().map(|file| file.size).sum(),
        };
        let oldest = self
            .retention
            .age
            .map(|age| now_ns.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
        for file in own {
            let too_old = oldest.is_some_and(|oldest| file.name.time_range.1 < oldest);
            let too_much = self.retention.bytes.is_some_and(|bytes| kept.bytes > bytes);
            if !too_old && !too_much {
                break;
            }
            self.store.delete(&file.location).await?;
            kept.files -= 1;
            kept.bytes -= file.size;
        }
        Ok(kept)
    }

    /// Closes the runs of this node that ended without saying so, and tells what they lost: a row for each, from when its
    /// last flow was written to when it was heard of last. How many flows that were, the run's own state says, where there
    /// is one.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn close_earlier_runs(&mut self) -> Result<Vec<LostInterval>, HistoryError> {
        let mut open = self.store.sessions().await?;
        open.retain(|session| session.node == self.node && session.log_id != self.log_id && session.ended_ns.is_none());
        if open.is_empty() {
            return Ok(Vec::new());
        }
        // Of any time: a run may have seen flows from before its start, if the clock was set back or a file replayed.
        let files = self.store.list(Kind::Flows, None).await?.files;
        let mut losses = Vec::new();
        for mut session in open {
            let state = self.store.read_state(&session);
            let seen_ns = state.map_or(session.seen_ns, |state| state.time_ns.max(session.seen_ns));
            let own = || {
                files
                    .iter()
                    .map(|file| &file.name)
                    .filter(|name| name.node == session.node && name.log_id == session.log_id)
            };
            let written = own().map(|name| name.end_sequence).max().unwrap_or(0);
            let last_ns = own().map(|name| name.time_range.1).max().unwrap_or(session.started_ns);
            let count = state.map(|state| state.end_sequence.saturating_sub(written));
            if count != Some(0) {
                let loss = LostInterval {
                    from_ns: last_ns,
                    to_ns: seen_ns.max(last_ns),
                    node: self.node.clone(),
                    stage: "history".to_owned(),
                    source: None,
                    cpu: None,
                    count,
                };
                self.write_lost(std::slice::from_ref(&loss)).await?;
                losses.push(loss);
            }
            session.seen_ns = seen_ns;
            session.ended_ns = Some(seen_ns);
            session.flows = state.map_or(session.flows, |state| state.end_sequence);
            session.lost += count.unwrap_or(0);
            self.store.put_session(&session).await?;
            self.store.forget_state(&session);
        }
        Ok(losses)
    }

    /// Writes what is known of this run.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn write_session(&self, session: &Session) -> Result<(), HistoryError> {
        self.store.put_session(session).await
    }
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
