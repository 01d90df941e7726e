//! The newest flows, within bounds.

use std::collections::VecDeque;

use flow::batch::FlowBatch;

use crate::row::Row;

/// Flows that are kept at most.
pub const ROWS: usize = 200_000;
/// Memory that they may take, bytes.
pub const BYTES: usize = 192 << 20;

/// Flows in the order in which they came. Each has a number, which goes on when older ones leave.
#[derive(Debug)]
pub struct Log {
    chunks: VecDeque<(u64, FlowBatch)>,
    rows: usize,
    bytes: usize,
    end: u64,
    most_rows: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self::new(ROWS)
    }
}

impl Log {
    /// A log of about so many rows at most.
    #[must_use]
    pub fn new(most_rows: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            rows: 0,
            bytes: 0,
            end: 0,
            most_rows,
        }
    }

    /// Appends flows; the number of the first one.
    pub fn push(&mut self, batch: FlowBatch) -> u64 {
        let first = self.end;
        self.end += batch.rows() as u64;
        self.rows += batch.rows();
        self.bytes += batch.bytes();
        self.chunks.push_back((first, batch));
        while (self.rows > self.most_rows || self.bytes > BYTES) && self.chunks.len() > 1 {
            if let Some((_, oldest)) = self.chunks.pop_front() {
                self.rows -= oldest.rows();
                self.bytes -= oldest.bytes();
            }
        }
        first
    }

    /// Numbers of the flows that are here.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        self.chunks.front().map_or(self.end, |(first, _)| *first)..self.end
    }

    /// How many flows are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The flow of that number, if it is here.
    #[must_use]
    pub fn row(&self, number: u64) -> Option<Row<'_>> {
        let after = self.chunks.partition_point(|(first, _)| *first <= number);
        let (first, batch) = self.chunks.get(after.checked_sub(1)?)?;
        let place = usize::try_from(number - first).ok()?;
        (place < batch.rows()).then(|| Row::new(batch, place))
    }

    /// The batches with the number of each one's first flow, oldest first.
    pub fn batches(&self) -> impl DoubleEndedIterator<Item = (u64, &FlowBatch)> {
        self.chunks.iter().map(|(first, batch)| (*first, batch))
    }

    /// All flows from the newest on, with their numbers.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, Row<'_>)> {
        self.batches().rev().flat_map(|(first, batch)| {
            (0..batch.rows())
                .rev()
                .map(move |place| (first + place as u64, Row::new(batch, place)))
        })
    }

    /// All flows from the oldest on, with their numbers.
    pub fn oldest_first(&self) -> impl Iterator<Item = (u64, Row<'_>)> {
        self.batches().flat_map(|(first, batch)| {
            (0..batch.rows()).map(move |place| (first + place as u64, Row::new(batch, place)))
        })
    }
}

#[cfg(test)]
mod tests {
    use flow::builder::FlowBatchBuilder;
    use flow::record::FlowRecord;

    use super::*;

    fn batch(rows: i64) -> FlowBatch {
        let mut builder = FlowBatchBuilder::new(1, 0);
        for time_ns in 0..rows {
            builder.append(&FlowRecord {
                time_ns,
                ..FlowRecord::default()
            });
        }
        builder.seal().unwrap()
    }

    #[test]
    fn the_oldest_flows_leave_and_the_others_keep_their_numbers() {
        let mut log = Log::new(25);
        for first in [0, 10, 20, 30] {
            assert_eq!(log.push(batch(10)), first);
        }
        assert_eq!((log.range(), log.len()), (20..40, 20));
        assert!(log.row(19).is_none() && log.row(40).is_none());
        assert_eq!(log.row(35).map(|row| row.time_ns()), Some(5));
        let numbers: Vec<u64> = log.newest_first().map(|(number, _)| number).collect();
        assert_eq!(
            (numbers.first(), numbers.last(), numbers.len()),
            (Some(&39), Some(&20), 20)
        );
    }

    #[test]
    fn one_batch_that_is_larger_than_the_log_is_kept() {
        let mut log = Log::new(5);
        log.push(batch(3));
        log.push(batch(10));
        assert_eq!(log.range(), 3..13);
    }
}
