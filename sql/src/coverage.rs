//! How complete an answer is: the time it looked at, what was lost in it, and which files could not be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringViewArray, TimestampNanosecondArray, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use history::lost::LostInterval;
use history::store::Skipped;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The key of the coverage, as JSON, in the metadata of an answer's schema.
pub const METADATA_KEY: &str = "parallax.coverage";

/// How complete an answer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The earliest time that could be in it, nanoseconds since the Unix epoch; `None` if there were no flows to look at.
    pub from_ns: Option<i64>,
    /// The latest one.
    pub to_ns: Option<i64>,
    /// Flows in the memory of a running observer that were looked at.
    pub live_rows: u64,
    /// Files that were looked at.
    pub files_read: usize,
    /// Files of the history that were not: their time is not that of the question.
    pub files_pruned: usize,
    /// Files that could not be read, or are not of a history.
    pub files_skipped: Vec<Skipped>,
    /// Events lost in that time, by stage.
    pub lost: BTreeMap<String, u64>,
    /// Times at which nobody knows how many were lost.
    pub unknown_losses: u64,
    /// Who was asked, if the answer is of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesCoverage>,
}

/// What nodes of a cluster have had to do with an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesCoverage {
    /// Nodes that have answered.
    pub answered: usize,
    /// Rows that they have sent for it.
    pub rows: u64,
    /// Bytes that these rows took on the way.
    pub bytes: u64,
    /// Nodes whose part is missing, and why.
    pub failed: BTreeMap<String, String>,
}

impl Coverage {
    /// Reads it from the metadata of an answer's schema.
    #[must_use]
    pub fn of(schema: &Schema) -> Option<Self> {
        serde_json::from_str(schema.metadata().get(METADATA_KEY)?).ok()
    }

    /// Whether the table `coverage` is about the answer to this query from now on. A query for that table is not: asked for
    /// twice, it says the same twice.
    #[must_use]
    pub fn is_of(sql: &str) -> bool {
        !sql.to_lowercase().contains("coverage")
    }

    /// Events lost, all stages together.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Whether nothing is missing, as far as anybody knows.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost_events() == 0
            && self.unknown_losses == 0
            && self.files_skipped.is_empty()
            && self.nodes.as_ref().is_none_or(|nodes| nodes.failed.is_empty())
    }

    fn cover(&mut self, (earliest, latest): (i64, i64)) {
        self.from_ns = Some(self.from_ns.map_or(earliest, |from| from.min(earliest)));
        self.to_ns = Some(self.to_ns.map_or(latest, |to| to.max(latest)));
    }

    /// Takes in what was said of another part of the same question: of the same rows and losses, as far as they overlap.
    fn merge(&mut self, other: &Self) {
        if let (Some(from), Some(to)) = (other.from_ns, other.to_ns) {
            self.cover((from, to));
        }
        self.live_rows = self.live_rows.max(other.live_rows);
        self.files_read = self.files_read.max(other.files_read);
        self.files_pruned = self.files_pruned.max(other.files_pruned);
        for skipped in &other.files_skipped {
            if !self.files_skipped.contains(skipped) {
                self.files_skipped.push(skipped.clone());
            }
        }
        for (stage, count) in &other.lost {
            let lost = self.lost.entry(stage.clone()).or_default();
            *lost = (*lost).max(*count);
        }
        self.unknown_losses = self.unknown_losses.max(other.unknown_losses);
        if let Some(beyond) = &other.nodes {
            let nodes = self.nodes.get_or_insert_default();
            nodes.answered = nodes.answered.max(beyond.answered);
            nodes.failed.extend(beyond.failed.clone());
        }
    }

    /// Takes in what a node said.
    fn add(&mut self, node: &str, said: &Self) {
        if let (Some(from), Some(to)) = (said.from_ns, said.to_ns) {
            self.cover((from, to));
        }
        self.live_rows += said.live_rows;
        self.files_read += said.files_read;
        self.files_pruned += said.files_pruned;
        self.files_skipped
            .extend(said.files_skipped.iter().map(|skipped| Skipped {
                path: format!("{node}: {}", skipped.path),
                why: skipped.why.clone(),
            }));
        for (stage, count) in &said.lost {
            *self.lost.entry(stage.clone()).or_default() += count;
        }
        self.unknown_losses += said.unknown_losses;
        if let Some(beyond) = &said.nodes {
            let nodes = self.nodes.get_or_insert_default();
            // A relay has answered for them.
            nodes.answered += beyond.answered.saturating_sub(1);
            nodes.failed.extend(beyond.failed.clone());
        }
    }

    fn count_losses(&mut self, losses: &[LostInterval]) {
        let (Some(from), Some(to)) = (self.from_ns, self.to_ns) else {
            return;
        };
        for loss in losses.iter().filter(|loss| loss.from_ns <= to && from <= loss.to_ns) {
            match loss.count {
                Some(count) => *self.lost.entry(loss.stage.clone()).or_default() += count,
                None => self.unknown_losses += 1,
            }
        }
    }
}

/// The columns of the table `coverage`.
#[must_use]
pub fn coverage_schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let field = |name: &str, data_type, nullable, doc: &str| {
        Field::new(name, data_type, nullable).with_metadata([("doc".to_owned(), doc.to_owned())].into())
    };
    Arc::new(Schema::new(vec![
        field(
            "from_time",
            time(),
            true,
            "The earliest time that the answer could have flows of.",
        ),
        field("to_time", time(), true, "The latest one."),
        field(
            "live_rows",
            DataType::UInt64,
            false,
            "Flows in memory that were looked at.",
        ),
        field("files_read", DataType::UInt64, false, "Files that were looked at."),
        field(
            "files_skipped",
            DataType::UInt64,
            false,
            "Files that could not be read, or are not of a history.",
        ),
        field(
            "stage",
            DataType::Utf8View,
            true,
            "A stage at which events were lost; a row for each, or one row with null.",
        ),
        field("lost", DataType::UInt64, false, "Events lost there in that time."),
    ]))
}

/// A coverage as rows of the table `coverage`.
///
/// # Errors
/// If the columns don't fit the schema, which would be a fault of this function.
pub fn coverage_batch(coverage: &Coverage) -> Result<RecordBatch, ArrowError> {
    let losses: Vec<(Option<&str>, u64)> = if coverage.lost.is_empty() {
        vec![(None, 0)]
    } else {
        coverage
            .lost
            .iter()
            .map(|(stage, count)| (Some(stage.as_str()), *count))
            .collect()
    };
    let rows = losses.len();
    let time = |time: Option<i64>| TimestampNanosecondArray::from(vec![time; rows]).with_timezone("UTC");
    let number = |number: u64| UInt64Array::from_value(number, rows);
    RecordBatch::try_new(
        coverage_schema(),
        vec![
            Arc::new(time(coverage.from_ns)),
            Arc::new(time(coverage.to_ns)),
            Arc::new(number(coverage.live_rows)),
            Arc::new(number(coverage.files_read as u64)),
            Arc::new(number(coverage.files_skipped.len() as u64)),
            Arc::new(losses.iter().map(|(stage, _)| *stage).collect::<StringViewArray>()),
            Arc::new(UInt64Array::from_iter_values(losses.iter().map(|(_, count)| *count))),
        ],
    )
}

/// The coverage of an answer that is settled with its last row.
#[derive(Debug)]
pub struct CoverageAtEnd(pub(crate) Arc<Collector>);

impl CoverageAtEnd {
    /// As it is now.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.0.finish(&[])
    }

    /// As it is now, for the wire.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(&self.coverage()).expect("invariant: numbers and text are JSON")
    }
}

/// Gathers the coverage of one query while it is planned, and while nodes answer their parts of it.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    own: Mutex<Coverage>,
    /// What each node has said, to all parts of the question together.
    nodes: Mutex<BTreeMap<String, Coverage>>,
}

impl Collector {
    pub(crate) fn live(&self, rows: u64, time_range: (i64, i64)) {
        let mut coverage = self.own.lock();
        coverage.live_rows += rows;
        coverage.cover(time_range);
    }

    pub(crate) fn file(&self, time_range: (i64, i64)) {
        let mut coverage = self.own.lock();
        coverage.files_read += 1;
        coverage.cover(time_range);
    }

    pub(crate) fn pruned(&self, files: usize) {
        self.own.lock().files_pruned += files;
    }

    pub(crate) fn skipped(&self, skipped: Skipped) {
        let mut coverage = self.own.lock();
        if !coverage.files_skipped.contains(&skipped) {
            coverage.files_skipped.push(skipped);
        }
    }

    /// What a node has said of its answer to a part of the question, and what the answer took on the way.
    pub(crate) fn node(&self, node: &str, said: &Coverage, rows: u64, bytes: u64) {
        self.nodes.lock().entry(node.to_owned()).or_default().merge(said);
        let mut coverage = self.own.lock();
        let nodes = coverage.nodes.get_or_insert_default();
        nodes.rows += rows;
        nodes.bytes += bytes;
    }

    /// A node has failed, and its part is left out.
    pub(crate) fn failed(&self, node: &str, why: &str) {
        let mut coverage = self.own.lock();
        let nodes = coverage.nodes.get_or_insert_default();
        nodes.failed.insert(node.to_owned(), why.to_owned());
    }

    /// As [`Collector::finish`], and begins anew.
    pub(crate) fn take(&self, losses: &[LostInterval]) -> Coverage {
        let coverage = self.finish(losses);
        *self.own.lock() = Coverage::default();
        coverage
    }

    /// What was looked at, with the losses of that time.
    pub(crate) fn finish(&self, losses: &[LostInterval]) -> Coverage {
        let mut coverage = self.own.lock().clone();
        coverage.count_losses(losses);
        let nodes = self.nodes.lock();
        for (node, said) in nodes.iter() {
            coverage.add(node, said);
        }
        if let Some(asked) = &mut coverage.nodes {
            let failed = asked.failed.keys().filter(|node| nodes.contains_key(*node)).count();
            asked.answered += nodes.len() - failed;
        }
        coverage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_summed_and_parts_of_one_are_not() {
        let said = |from, to, lost| Coverage {
            from_ns: Some(from),
            to_ns: Some(to),
            live_rows: 5,
            lost: [("kernel ring".to_owned(), lost)].into(),
            ..Coverage::default()
        };
        let collector = Collector::default();
        collector.node("a", &said(10, 20, 3), 7, 100);
        collector.node("a", &said(12, 30, 4), 1, 10);
        collector.node("b", &said(5, 8, 1), 2, 20);
        collector.failed("c", "it is away");
        let coverage = collector.finish(&[]);
        assert_eq!(
            (coverage.from_ns, coverage.to_ns, coverage.live_rows),
            (Some(5), Some(30), 10)
        );
        assert_eq!(coverage.lost_events(), 5, "the same losses of a node count once");
        let nodes = coverage.nodes.clone().unwrap();
        assert_eq!((nodes.answered, nodes.rows, nodes.bytes), (2, 10, 130));
        assert!(!coverage.is_complete());
        assert_eq!(CoverageAtEnd(Arc::new(collector)).coverage(), coverage);
    }
}
