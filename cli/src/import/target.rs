//! Where imported flows go: runs of their own in a history.

use std::collections::BTreeMap;
use std::path::Path;

use ::history::layout::Kind;
use ::history::lost::LostInterval;
use ::history::session::Session;
use ::history::store::Store;
use ::history::writer::Writer;
use anyhow::Result;
use chrono::{DateTime, Utc};
use flow::api::flow::Flow;
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::from_api::FlowReader;
use flow::from_table::{TableError, TableReader, TableRows};
use serde::{Deserialize, Serialize};

use super::content::{Digest, hexadecimal, log_id};

/// Rows that are kept in memory, of all nodes together; then they are written.
const ROWS_IN_MEMORY: usize = 1 << 19;

/// What the history remembers of a file that was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Imported {
    /// Name of the file.
    pub(super) file: String,
    /// When, nanoseconds since the Unix epoch.
    imported_ns: i64,
    /// By which version of this program.
    version: String,
    /// The runs that it became: nodes and numbers of their logs.
    pub(super) nodes: Vec<(String, u64)>,
    pub(super) flows: u64,
    /// Events that it tells were lost.
    pub(super) lost: u64,
    /// Lines or rows that could not be read.
    pub(super) left_out: u64,
}

impl Imported {
    /// For messages.
    pub(super) fn when(&self) -> String {
        DateTime::from_timestamp_nanos(self.imported_ns)
            .format("%Y-%m-%d %H:%M:%S UTC")
            .to_string()
    }
}

/// A file on its way into the history.
pub(super) struct Import {
    store: Store,
    digest: Digest,
    /// Node of flows that don't say theirs.
    unknown_node: String,
    nodes: BTreeMap<String, NodeRun>,
    rows_in_memory: usize,
    from_api: FlowReader,
    from_table: TableReader,
}

/// The flows of one node.
struct NodeRun {
    writer: Writer,
    builder: FlowBatchBuilder,
    sealed: Vec<FlowBatch>,
    lost: Vec<LostInterval>,
    lost_events: u64,
    time_range: Option<(i64, i64)>,
}

impl Import {
    pub(super) fn new(store: Store, digest: Digest, unknown_node: String) -> Self {
        Self {
            store,
            digest,
            from_table: TableReader::with_node(&unknown_node),
            unknown_node,
            nodes: BTreeMap::new(),
            rows_in_memory: 0,
            from_api: FlowReader::default(),
        }
    }

    fn marker(&self) -> String {
        format!("imports/{}.json", hexadecimal(&self.digest))
    }

    /// What the history remembers of this file, if it was imported to its end.
    pub(super) async fn known(&self) -> Result<Option<Imported>> {
        let text = self.store.find(&self.marker()).await?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Removes what the history has of this file: of an earlier import, or of this one, which then begins anew.
    pub(super) async fn forget(&mut self) -> Result<()> {
        let mut runs: Vec<(String, u64)> = self.known().await?.map(|known| known.nodes).unwrap_or_default();
        runs.extend(self.nodes.keys().map(|node| (node.clone(), log_id(&self.digest, node))));
        self.nodes.clear();
        self.rows_in_memory = 0;
        self.store.delete(&self.store.path(&self.marker())).await?;
        for kind in [Kind::Flows, Kind::Lost] {
            let listing = self.store.list(kind, None).await?;
            for file in listing.files.iter().chain(&listing.obsolete) {
                // The import before may have been killed, and have left no more than files.
                let is_ours = file.name.log_id == log_id(&self.digest, &file.name.node);
                if is_ours || runs.contains(&(file.name.node.clone(), file.name.log_id)) {
                    self.store.delete(&file.location).await?;
                }
            }
        }
        Ok(())
    }

    fn run(&mut self, node: &str) -> &mut NodeRun {
        let (store, digest) = (&self.store, &self.digest);
        if !self.nodes.contains_key(node) {
            let log_id = log_id(digest, node);
            let run = NodeRun {
                writer: Writer::new(store.clone(), node.to_owned(), log_id),
                builder: FlowBatchBuilder::new(log_id, 0),
                sealed: Vec::new(),
                lost: Vec::new(),
                lost_events: 0,
                time_range: None,
            };
            self.nodes.insert(node.to_owned(), run);
        }
        self.nodes
            .get_mut(node)
            .expect("invariant: it was inserted if it wasn't there")
    }

    /// Takes a flow of the API.
    pub(super) fn flow(&mut self, mut flow: Flow) {
        if flow.node_name.is_empty() {
            flow.node_name.clone_from(&self.unknown_node);
        }
        let mut reader = std::mem::take(&mut self.from_api);
        let run = self.run(&flow.node_name);
        reader.append(&flow, &mut run.builder);
        run.seal_if_full();
        self.from_api = reader;
        self.rows_in_memory += 1;
    }

    /// Takes a row of the table.
    pub(super) fn row(&mut self, rows: &TableRows<'_>, row: usize) -> Result<(), TableError> {
        let node = rows.node_name(row).filter(|node| !node.is_empty());
        let node = node.unwrap_or_else(|| self.unknown_node.clone());
        let mut reader = std::mem::take(&mut self.from_table);
        let run = self.run(&node);
        let done = reader.append(rows, row, &mut run.builder);
        run.seal_if_full();
        self.from_table = reader;
        self.rows_in_memory += usize::from(done.is_ok());
        done
    }

    /// Takes a loss.
    pub(super) fn lost(&mut self, mut loss: LostInterval) {
        if loss.node.is_empty() {
            loss.node.clone_from(&self.unknown_node);
        }
        let run = self.run(&loss.node.clone());
        run.lost_events += loss.count.unwrap_or_default();
        run.lost.push(loss);
    }

    /// Whether nothing was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Writes what was taken, if it is much.
    pub(super) async fn make_room(&mut self) -> Result<()> {
        if self.rows_in_memory < ROWS_IN_MEMORY {
            return Ok(());
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<()> {
        for run in self.nodes.values_mut() {
            run.write().await?;
        }
        self.rows_in_memory = 0;
        Ok(())
    }

    /// Writes the rest, and that the file is complete.
    pub(super) async fn finish(mut self, path: &Path, left_out: u64) -> Result<Imported> {
        self.write().await?;
        let mut imported = Imported {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            imported_ns: Utc::now().timestamp_nanos_opt().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            nodes: Vec::new(),
            flows: 0,
            lost: 0,
            left_out,
        };
        for (node, run) in &self.nodes {
            let (started_ns, ended_ns) = run.time_range.unwrap_or((imported.imported_ns, imported.imported_ns));
            let session = Session {
                node: node.clone(),
                log_id: log_id(&self.digest, node),
                version: format!("{} (import)", imported.version),
                started_ns,
                seen_ns: ended_ns,
                ended_ns: Some(ended_ns),
                flows: run.builder.next_sequence(),
                lost: run.lost_events,
            };
            run.writer.write_session(&session).await?;
            imported.flows += session.flows;
            imported.lost += session.lost;
            imported.nodes.push((session.node, session.log_id));
        }
        let text = serde_json::to_vec_pretty(&imported)?;
        self.store.put(&self.marker(), text.into()).await?;
        Ok(imported)
    }
}

impl NodeRun {
    fn seal_if_full(&mut self) {
        if self.builder.is_full() {
            self.sealed.extend(self.builder.seal());
        }
    }

    async fn write(&mut self) -> Result<()> {
        self.sealed.extend(self.builder.seal());
        for batch in &self.sealed {
            let (earliest, latest) = batch.time_range();
            let range = self.time_range.get_or_insert((earliest, latest));
            *range = (range.0.min(earliest), range.1.max(latest));
        }
        self.writer.write(&self.sealed).await?;
        self.sealed.clear();
        self.writer.write_lost(&self.lost).await?;
        self.lost.clear();
        Ok(())
    }
}
