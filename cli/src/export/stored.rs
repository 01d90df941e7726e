//! Flows from the files of a history, in the order of their time.
//!
//! The order of all rows of a day needs more memory than there may be. So time is cut into slices with few rows each,
//! as the names of the files tell, and one after the other is asked for.

use std::collections::{BTreeMap, VecDeque};

use ::history::layout::{HOUR_NS, HistoryFile, Kind, hour_of};
use ::history::store::Store;
use ::sql::coverage::Coverage;
use anyhow::{Context as _, Result};
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use chrono::{DateTime, Utc};
use flow::from_table::TableReader;
use flow::table::table_schema;
use futures::TryStreamExt as _;

use crate::observe::matching::Matching;
use crate::observe::request::Window;
use crate::sql::files::Files;
use crate::sql::source::Rows;
use crate::sql::statements::Statement;
use crate::table_rows::table_rows;

/// Rows of a slice, about.
const SLICE_ROWS: u64 = 1 << 18;

/// Earliest and latest time, nanoseconds since the Unix epoch.
pub(crate) type Slice = (i64, i64);

/// The flows of a history that were asked for.
pub(crate) struct StoredFlows {
    files: Files,
    slices: VecDeque<Slice>,
    current: Option<Rows>,
    /// Rows that were read already.
    ready: VecDeque<RecordBatch>,
    matching: Matching,
    reader: TableReader,
    /// How many flows are still wanted.
    left: u64,
    pub(super) coverage: Option<Coverage>,
    /// Earliest and latest time of the flows that there are to read, as the names of the files tell.
    pub(crate) time_range: Option<Slice>,
}

impl StoredFlows {
    /// Opens the history, and looks which files have flows of that time.
    pub(crate) async fn open(place: &str, window: &Window, matching: Matching) -> Result<Self> {
        let mut files = Files::open(place).await?;
        let bounds = (nanoseconds(window.since, i64::MIN), nanoseconds(window.until, i64::MAX));
        let listing = Store::open(place)?.list(Kind::Flows, Some(bounds)).await?;
        let query = format!("SELECT count(*) FROM flows WHERE {}", within(bounds));
        let counted = files.query(&Statement::from(query.as_str())).await?;
        let coverage = counted.coverage.now();
        let _: Vec<RecordBatch> = counted.batches.try_collect().await?;
        let ranges = listing.files.iter().map(|file| file.name.time_range);
        let time_range = ranges
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
            .map(|range| (range.0.max(bounds.0), range.1.min(bounds.1)));
        let mut flows = Self {
            files,
            slices: slices(&listing.files, bounds),
            current: None,
            ready: VecDeque::new(),
            matching,
            reader: TableReader::default(),
            left: if window.number == 0 { u64::MAX } else { window.number },
            coverage,
            time_range,
        };
        if !window.first && flows.left < u64::MAX {
            flows.read_newest().await?;
        }
        Ok(flows)
    }

    /// The next rows; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        let rows = match self.ready.pop_front() {
            Some(rows) => Some(rows),
            None => self.read().await?,
        };
        let Some(rows) = rows else { return Ok(None) };
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(rows.num_rows());
        self.left -= wanted as u64;
        Ok(Some(rows.slice(0, wanted)))
    }

    /// Reads slices from the newest on until there are enough rows.
    async fn read_newest(&mut self) -> Result<()> {
        let mut slices = std::mem::take(&mut self.slices);
        let mut found = 0;
        while found < self.left
            && let Some(slice) = slices.pop_back()
        {
            self.slices.push_back(slice);
            let mut of_slice = Vec::new();
            while let Some(rows) = self.read().await? {
                found += rows.num_rows() as u64;
                of_slice.push(rows);
            }
            of_slice.into_iter().rev().for_each(|rows| self.ready.push_front(rows));
        }
        // Of the oldest slice, the oldest rows are too many.
        let mut surplus = found.saturating_sub(self.left);
        while surplus > 0
            && let Some(rows) = self.ready.pop_front()
        {
            let count = rows.num_rows();
            let skip = usize::try_from(surplus).unwrap_or(usize::MAX).min(count);
            surplus -= skip as u64;
            if skip < count {
                self.ready.push_front(rows.slice(skip, count - skip));
            }
        }
        Ok(())
    }

    /// The next rows of the slices that match.
    async fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let batch = match &mut self.current {
                Some(rows) => rows.batches.try_next().await?,
                None => {
                    let Some(slice) = self.slices.pop_front() else {
                        return Ok(None);
                    };
                    let query = format!(
                        "SELECT * FROM flows WHERE {} ORDER BY time, log_id, sequence",
                        within(slice)
                    );
                    self.current = Some(self.files.query(&Statement::from(query.as_str())).await?);
                    continue;
                }
            };
            let Some(batch) = batch else {
                self.current = None;
                continue;
            };
            let rows = self.matching(&batch)?;
            if rows.num_rows() > 0 {
                return Ok(Some(rows));
            }
        }
    }

    fn matching(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        // A query's answer has text in another type, and metadata of its own.
        let rows = table_rows(batch).context("the history has other columns than this program")?;
        let rows = RecordBatch::try_new(table_schema(), rows.columns().to_vec())?;
        if self.matching.is_all() {
            return Ok(rows);
        }
        let flows = self.reader.batch(&rows).context("a row of the history is no flow")?;
        Ok(match flows.and_then(|flows| self.matching.rows(&flows)) {
            Some(wanted) => filter_record_batch(&rows, &BooleanArray::new(wanted, None))?,
            None => rows,
        })
    }
}

fn nanoseconds(time: Option<DateTime<Utc>>, otherwise: i64) -> i64 {
    time.and_then(|time| time.timestamp_nanos_opt()).unwrap_or(otherwise)
}

/// A condition of SQL, both ends included.
fn within((from, to): Slice) -> String {
    let time = |nanoseconds| format!("arrow_cast({nanoseconds}, 'Timestamp(Nanosecond, Some(\"UTC\"))')");
    match (from, to) {
        (i64::MIN, i64::MAX) => "true".to_owned(),
        (from, i64::MAX) => format!("time >= {}", time(from)),
        (i64::MIN, to) => format!("time <= {}", time(to)),
        (from, to) => format!("time >= {} AND time <= {}", time(from), time(to)),
    }
}

/// The hours that have rows, those with many cut into parts.
fn slices(files: &[HistoryFile], bounds: Slice) -> VecDeque<Slice> {
    let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
    for file in files {
        let rows = file.name.end_sequence - file.name.first_sequence;
        let sum = hours.entry(hour_of(file.name.time_range.0)).or_default();
        *sum = sum.saturating_add(rows);
    }
    let mut slices = VecDeque::new();
    for (hour, rows) in hours {
        // The rows of a moment can't be told apart; beyond a part for each second nothing is gained.
        let parts = i64::try_from(rows.div_ceil(SLICE_ROWS))
            .unwrap_or(i64::MAX)
            .clamp(1, 3600);
        let length = HOUR_NS / parts;
        for part in 0..parts {
            let from = hour.saturating_mul(HOUR_NS).saturating_add(part * length);
            // The parts of an hour end with the hour, whatever was cut off by the division.
            let to = match part + 1 == parts {
                true => hour.saturating_mul(HOUR_NS).saturating_add(HOUR_NS - 1),
                false => from + length - 1,
            };
            let slice = (from.max(bounds.0), to.min(bounds.1));
            if slice.0 <= slice.1 {
                slices.push_back(slice);
            }
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::history::layout::FileName;

    fn file(hour: i64, rows: u64) -> HistoryFile {
        let name = FileName {
            node: "n".into(),
            log_id: 1,
            first_sequence: 0,
            end_sequence: rows,
            time_range: (hour * HOUR_NS + 7, hour * HOUR_NS + 8),
        };
        HistoryFile {
            location: name.path(Kind::Flows).into(),
            size: 1,
            name,
        }
    }

    #[test]
    fn slices_cover_each_moment_of_an_hour_once() {
        let files = [file(10, 7 * SLICE_ROWS), file(12, 5), file(12, 5)];
        let all = slices(&files, (i64::MIN, i64::MAX));
        assert_eq!(all.len(), 8);
        assert_eq!((all[0].0, all[6].1), (10 * HOUR_NS, 11 * HOUR_NS - 1));
        for (one, next) in all.iter().zip(all.iter().skip(1)).take(6) {
            assert_eq!(one.1 + 1, next.0);
        }
        assert_eq!(all[7], (12 * HOUR_NS, 13 * HOUR_NS - 1));
        let narrow = slices(&files, (11 * HOUR_NS, 12 * HOUR_NS + 5));
        assert_eq!(narrow, [(12 * HOUR_NS, 12 * HOUR_NS + 5)]);
        let far = file(i64::MAX / HOUR_NS, 1);
        assert_eq!(slices(&[far], (i64::MIN, i64::MAX)).len(), 1);
    }
}
