//! The feed from the newest batch to the oldest: who wants the newest flows of many nodes takes only as much of each as it
//! needs.

use std::sync::Arc;

use arrow_buffer::BooleanBuffer;
use arrow_flight::FlightData;
use feed::FeedMessage;
use feed::encode::FeedEncoder;
use feed::serve::failed;
use flow::batch::FlowBatch;
use tonic::Status;

use super::super::NodeState;
use super::super::flows::lost_event;
use super::Wanted;
use crate::log::Loss;
use flow::clock::wall_ns;

/// Rows of the log that are still to be looked at.
#[derive(Debug)]
struct Part {
    first: u64,
    end: u64,
    /// The latest time in this part and in those before it.
    latest_ns: i64,
}

/// What a client gets.
#[derive(Debug)]
pub(super) struct NewestFirst {
    wanted: Wanted,
    node: Arc<NodeState>,
    encoder: FeedEncoder,
    /// The newest is the last one.
    parts: Vec<Part>,
    /// Number after that of the newest row.
    end: u64,
    /// Rows that are still asked for; `None`: all.
    left: Option<u64>,
    missed: u64,
    /// Losses that have not been told; the newest is the last one.
    losses: Vec<Loss>,
    next_loss: u64,
    done: bool,
}

impl NewestFirst {
    pub(super) async fn start(wanted: Wanted, node: Arc<NodeState>) -> Self {
        node.log.catch_up().await;
        let mut latest_ns = i64::MIN;
        let parts: Vec<Part> = node
            .log
            .read_from(0)
            .iter()
            .map(|batch| {
                latest_ns = latest_ns.max(batch.time_range().1);
                Part {
                    first: batch.first_sequence(),
                    end: batch.end_sequence(),
                    latest_ns,
                }
            })
            .collect();
        let (losses, next_loss) = node.log.losses().since(0);
        Self {
            losses,
            next_loss,
            left: wanted.query.newest(),
            end: parts.last().map_or(0, |part| part.end),
            encoder: FeedEncoder::default(),
            parts,
            missed: 0,
            done: false,
            wanted,
            node,
        }
    }

    /// The messages of the batch before; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<FlightData>, Status>> {
        while !self.done {
            let part = self.parts.pop().filter(|_| self.left != Some(0));
            let Some(part) = part else {
                self.done = true;
                return Some(Ok(vec![FeedEncoder::alone(&self.told(None))]));
            };
            let Some(rows) = self.rows(&part) else {
                tokio::task::yield_now().await;
                continue;
            };
            if let Some(left) = &mut self.left {
                *left -= rows.rows() as u64;
            }
            let told = self.told(Some(&rows));
            let rows = rows.only(&self.wanted.columns);
            return Some(self.encoder.batch(&told, &rows).map_err(|error| failed(&error)));
        }
        None
    }

    /// The newest of the wanted rows of that part, at most as many as are still asked for.
    fn rows(&mut self, part: &Part) -> Option<FlowBatch> {
        let batch = self.node.log.next_batch(part.first)?;
        if batch.first_sequence() > part.first {
            // The older ones have left with it.
            self.missed += batch.first_sequence().min(part.end) - part.first;
            self.parts.clear();
            if batch.first_sequence() >= part.end {
                return None;
            }
        }
        let query = &self.wanted.query;
        // What came since the start is not asked for.
        let rows = usize::try_from(part.end.min(batch.end_sequence()) - batch.first_sequence()).ok()?;
        let marked = query.matches(&batch);
        let marked = BooleanBuffer::collect_bool(batch.rows(), |row| row < rows && marked.value(row));
        let count = marked.count_set_bits() as u64;
        let mut skip = self.left.map_or(0, |left| count.saturating_sub(left));
        let marked = BooleanBuffer::collect_bool(batch.rows(), |row| {
            let skipped = marked.value(row) && skip > 0;
            skip -= u64::from(skipped);
            marked.value(row) && !skipped
        });
        batch.select(&marked)
    }

    fn told(&mut self, rows: Option<&FlowBatch>) -> FeedMessage {
        // With rows come the losses of their time, and with the end those of before, unless they are of no interest.
        let since = match rows {
            Some(rows) => Some(rows.time_range().0),
            None if self.left == Some(0) => Some(i64::MAX),
            None => self.wanted.query.since_ns(),
        };
        let known = self
            .losses
            .partition_point(|loss| since.is_some_and(|since| loss.time_range.1 < since));
        let losses = self.losses.split_off(known);
        let log = &self.node.log;
        FeedMessage {
            node: self.node.name.clone(),
            log_id: log.id(),
            first_sequence: rows.map_or(0, FlowBatch::first_sequence),
            next_sequence: self.end,
            next_loss: self.next_loss,
            now_ns: wall_ns(),
            watermark_ns: self.parts.last().map_or(i64::MIN, |part| part.latest_ns),
            missed: std::mem::take(&mut self.missed),
            losses: losses.iter().map(lost_event).collect(),
            log_end: log.range().1,
            end: self.done,
            ..FeedMessage::default()
        }
    }
}
