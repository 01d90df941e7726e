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
        self.lost_events() == 0 && self.unknown_losses == 0 && self.files_skipped.is_empty()
    }

    fn cover(&mut self, (earliest, latest): (i64, i64)) {
        self.from_ns = Some(self.from_ns.map_or(earliest, |from| from.min(earliest)));
        self.to_ns = Some(self.to_ns.map_or(latest, |to| to.max(latest)));
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

/// Gathers the coverage of one query while it is planned.
#[derive(Debug, Default)]
pub(crate) struct Collector(Mutex<Coverage>);

impl Collector {
    pub(crate) fn live(&self, rows: u64, time_range: (i64, i64)) {
        let mut coverage = self.0.lock();
        coverage.live_rows += rows;
        coverage.cover(time_range);
    }

    pub(crate) fn file(&self, time_range: (i64, i64)) {
        let mut coverage = self.0.lock();
        coverage.files_read += 1;
        coverage.cover(time_range);
    }

    pub(crate) fn pruned(&self, files: usize) {
        self.0.lock().files_pruned += files;
    }

    pub(crate) fn skipped(&self, skipped: Skipped) {
        let mut coverage = self.0.lock();
        if !coverage.files_skipped.contains(&skipped) {
            coverage.files_skipped.push(skipped);
        }
    }

    /// As [`Collector::finish`], and begins anew.
    pub(crate) fn take(&self, losses: &[LostInterval]) -> Coverage {
        let coverage = self.finish(losses);
        *self.0.lock() = Coverage::default();
        coverage
    }

    /// What was looked at, with the losses of that time.
    pub(crate) fn finish(&self, losses: &[LostInterval]) -> Coverage {
        let mut coverage = self.0.lock().clone();
        coverage.count_losses(losses);
        coverage
    }
}
