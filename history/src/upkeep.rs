//! Keeps a history in shape: merges small files, and deletes the oldest when there is too much.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use bytes::Bytes;
use flow::table::table_schema;
use object_store::path::Path;

use crate::error::{HistoryError, in_background};
use crate::layout::{FileName, HistoryFile, Kind, hour_of};
use crate::lost::lost_schema;
use crate::merge::{merge, worth_merging};
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

/// How far the running writer is: its files beyond that may be the first of several that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Number after that of its last flow.
    pub flows: u64,
    /// Number after that of its last loss.
    pub losses: u64,
}

/// Keeps the files of a node in shape, while one run writes more.
#[derive(Debug)]
pub struct Upkeep {
    store: Store,
    node: String,
    log_id: u64,
    retention: Retention,
    doomed: VecDeque<(Instant, Path)>,
    /// Files that can't be read: readers skip them and say so, and they go when they are old.
    broken: HashSet<Path>,
}

impl Upkeep {
    /// The upkeep of what `node` has written, whose running log has the number `log_id`.
    #[must_use]
    pub fn new(store: Store, node: String, log_id: u64, retention: Retention) -> Self {
        Self {
            store,
            node,
            log_id,
            retention,
            doomed: VecDeque::new(),
            broken: HashSet::new(),
        }
    }

    /// Deletes the oldest files if there is too much, and what was merged a while ago; merges what is worth it.
    /// `now_ns` is the time by the clock that flows have.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn maintain(&mut self, now_ns: i64, written: Written) -> Result<Kept, HistoryError> {
        self.delete_doomed().await?;
        let flows = self.own(Kind::Flows).await?;
        let losses = self.own(Kind::Lost).await?;
        // Losses go with the flows of their time: a history without them would look complete.
        let mut all = [flows.as_slice(), losses.as_slice()].concat();
        all.sort_by_key(|file| file.name.time_range);
        // First, as a merge takes space, and a store that is full may have none.
        let (kept, deleted) = self.retire(&all, now_ns).await?;
        for (kind, files, schema, by, end) in [
            (Kind::Flows, flows, table_schema(), "time", written.flows),
            (Kind::Lost, losses, lost_schema(), "from_time", written.losses),
        ] {
            let complete = |file: &HistoryFile| {
                (file.name.log_id != self.log_id || file.name.end_sequence <= end)
                    && !deleted.contains(&file.location)
                    && !self.broken.contains(&file.location)
            };
            let files: Vec<HistoryFile> = files.into_iter().filter(complete).collect();
            self.merge_own(kind, schema, by, files, now_ns).await?;
        }
        Ok(kept)
    }

    /// The files of this node. Those that merged ones have replaced will go.
    async fn own(&mut self, kind: Kind) -> Result<Vec<HistoryFile>, HistoryError> {
        let listing = self.store.list(kind, None).await?;
        for file in listing.obsolete {
            if file.name.node == self.node {
                self.doom(file.location);
            }
        }
        let mut files = listing.files;
        files.retain(|file| file.name.node == self.node);
        Ok(files)
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

    /// Deletes the oldest files if there is too much; returns what stays, and what was deleted.
    async fn retire(&self, own: &[HistoryFile], now_ns: i64) -> Result<(Kept, HashSet<Path>), HistoryError> {
        let mut kept = Kept {
            files: own.len() as u64,
            bytes: own.iter().map(|file| file.size).sum(),
        };
        let mut deleted = HashSet::new();
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
            deleted.insert(file.location.clone());
        }
        Ok((kept, deleted))
    }

    async fn merge_own(
        &mut self,
        kind: Kind,
        schema: SchemaRef,
        by: &'static str,
        own: Vec<HistoryFile>,
        now_ns: i64,
    ) -> Result<(), HistoryError> {
        let mut groups: BTreeMap<(i64, u64), Vec<HistoryFile>> = BTreeMap::new();
        for file in own {
            let key = (hour_of(file.name.time_range.0), file.name.log_id);
            groups.entry(key).or_default().push(file);
        }
        for ((hour, log_id), mut files) in groups {
            files.sort_by_key(|file| file.name.first_sequence);
            let over = hour_of(now_ns) > hour || log_id != self.log_id;
            let Some(files) = worth_merging(&files, over) else {
                continue;
            };
            let Some(merged) = self.merge(files, &schema, by).await? else {
                continue;
            };
            let times = || files.iter().map(|file| file.name.time_range);
            let name = FileName {
                node: self.node.clone(),
                log_id,
                first_sequence: files[0].name.first_sequence,
                end_sequence: files[files.len() - 1].name.end_sequence,
                time_range: (
                    times().map(|(earliest, _)| earliest).min().unwrap_or_default(),
                    times().map(|(_, latest)| latest).max().unwrap_or_default(),
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
        by: &'static str,
    ) -> Result<Option<Bytes>, HistoryError> {
        let mut contents = Vec::with_capacity(files.len());
        for file in files {
            contents.push(self.store.read(&file.location).await?);
        }
        let (sources, columns) = (contents.clone(), schema.clone());
        let failure = match in_background(move || merge(&sources, &columns, by)).await {
            Ok(merged) => return Ok(Some(merged)),
            Err(failure) => failure,
        };
        let known = self.broken.len();
        for (file, content) in files.iter().zip(contents) {
            let columns = schema.clone();
            if let Err(error) = in_background(move || merge(&[content], &columns, by)).await {
                tracing::warn!("{} cannot be read and is not merged: {error}", file.location);
                self.broken.insert(file.location.clone());
            }
        }
        match self.broken.len() > known {
            true => Ok(None),
            false => Err(failure),
        }
    }
}
