//! The feed in the order of the log, which may go on for ever.

use std::sync::Arc;
use std::time::Duration;

use arrow_buffer::BooleanBuffer;
use arrow_flight::FlightData;
use feed::encode::FeedEncoder;
use feed::sample::Sampler;
use feed::serve::failed;
use feed::{FeedMessage, Position};
use flow::batch::FlowBatch;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::super::NodeState;
use super::super::flows::{lost_event, until};
use super::{DISORDER_NS, Wanted};
use crate::log::{FlowLog, Follower, Loss, Stage};
use flow::clock::wall_ns;

/// So many rows go out at once, whatever the pace.
const FULL_ROWS: u64 = 4096;
/// A message has at most so many rows, so that nobody has to keep large ones.
const LARGEST_ROWS: usize = 4096;
/// A follower hears from the node at least so often, so that quiet nodes don't hold up a merge.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// The longest pace that makes sense: a heartbeat comes in between otherwise.
const SLOWEST_PACE: Duration = HEARTBEAT;

/// What a client gets.
#[derive(Debug)]
pub(super) struct OldestFirst {
    wanted: Wanted,
    node: Arc<NodeState>,
    encoder: FeedEncoder,
    news: watch::Receiver<u64>,
    follower: Option<Follower>,
    /// When the time that is asked for is over.
    deadline: Option<Instant>,
    pace: Duration,
    /// Not before this time are a few rows worth a message.
    next_at: Instant,
    heartbeat_at: Instant,
    /// Number of the next row to look at, and of the first one that is not asked for.
    cursor: u64,
    last: u64,
    next_loss: u64,
    sent: u64,
    /// Since the last message.
    missed: u64,
    /// For a client that wants only so many rows.
    sampler: Option<Sampler>,
    /// What it has left out since the last message: others, and drops.
    left_out: (u64, u64),
    /// Time of the newest row looked at.
    newest_ns: i64,
    watermark_ns: i64,
    done: bool,
}

impl OldestFirst {
    pub(super) async fn start(wanted: Wanted, node: Arc<NodeState>, resume: Vec<Position>, pace_ms: u32) -> Self {
        let log = Arc::clone(&node.log);
        log.catch_up().await;
        let query = &wanted.query;
        let end = log.range().1;
        let ours = resume.into_iter().find(|position| position.node == node.name);
        let (cursor, next_loss) = match ours {
            Some(at) if at.log_id == log.id() => (at.next_sequence, at.next_loss),
            // This observer has started anew, and all that it has is new to the client.
            Some(_) => (0, 0),
            None => {
                let start = query.start(&log, end).sequence;
                let only_new = query.follows() && start == end;
                (start, if only_new { log.losses().end() } else { 0 })
            }
        };
        let now = Instant::now();
        Self {
            news: log.news(),
            follower: query.follows().then(|| log.follow()),
            last: if query.follows() { u64::MAX } else { end },
            deadline: query.until_ns().filter(|_| query.follows()).map(until),
            pace: Duration::from_millis(pace_ms.into()).min(SLOWEST_PACE),
            next_at: now,
            heartbeat_at: now,
            encoder: FeedEncoder::default(),
            cursor,
            next_loss,
            sent: 0,
            missed: 0,
            sampler: Sampler::new(wanted.most_per_second, now.into_std()),
            left_out: (0, 0),
            newest_ns: i64::MIN,
            watermark_ns: i64::MIN,
            done: false,
            wanted,
            node,
        }
    }

    fn log(&self) -> &Arc<FlowLog> {
        &self.node.log
    }

    /// The messages of the next batch, or one without flows; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<FlightData>, Status>> {
        while !self.done {
            if let Some(follower) = &self.follower {
                // The client has room again: it has taken what came before.
                follower.at(self.cursor);
            }
            self.news.mark_unchanged();
            let waiting = self.log().range().1.saturating_sub(self.cursor);
            if self.follower.is_some() && waiting < FULL_ROWS && Instant::now() < self.next_at {
                sleep_until(self.next_at).await;
                continue;
            }
            let read_until = self.log().read_until();
            if let Some(rows) = self.rows() {
                let caught_up = self.cursor >= self.log().range().1;
                self.advance(read_until, caught_up);
                let Some(rows) = rows else {
                    // A long way without a row that is asked for: others want to run as well.
                    tokio::task::yield_now().await;
                    continue;
                };
                self.sent += rows.rows() as u64;
                self.done = self.wanted.query.most().is_some_and(|most| self.sent >= most);
                return Some(self.message(&rows));
            }
            self.advance(read_until, true);
            if self.follower.is_none() {
                self.done = true;
                return Some(Ok(vec![FeedEncoder::alone(&self.told(None))]));
            }
            if Instant::now() >= self.heartbeat_at || self.missed > 0 {
                self.after_message();
                return Some(Ok(vec![FeedEncoder::alone(&self.told(None))]));
            }
            self.wait().await;
        }
        None
    }

    /// Waits for flows, for the time of a heartbeat, or for the end.
    async fn wait(&mut self) {
        let deadline = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.news.changed() => {}
            () = sleep_until(self.heartbeat_at) => {}
            () = deadline => {
                self.node.log.catch_up().await;
                self.last = self.node.log.range().1;
                self.follower = None;
            }
        }
    }

    /// The wanted rows of the next batch, perhaps none; `None` if there are no more rows for now.
    fn rows(&mut self) -> Option<Option<FlowBatch>> {
        if self.cursor >= self.last {
            return None;
        }
        let batch = self.log().next_batch(self.cursor)?;
        let first = batch.first_sequence().min(self.last);
        if first > self.cursor {
            let missed = first - self.cursor;
            let before = if self.newest_ns == i64::MIN {
                batch.time_range().0
            } else {
                self.newest_ns
            };
            self.log().losses().record(Loss {
                stage: Stage::Client,
                source: None,
                cpu: None,
                count: missed,
                time_range: (before, batch.time_range().0),
            });
            self.missed += missed;
            self.cursor = first;
            if first == self.last {
                return Some(None);
            }
        }
        let skip = usize::try_from(self.cursor - batch.first_sequence()).ok()?;
        let part = batch.from_row(skip)?.first_rows(LARGEST_ROWS);
        // Not the time range, which is that of the whole batch: its other rows are still to come.
        self.newest_ns = self.newest_ns.max(part.time_ns(part.rows() - 1));
        let asked_for = usize::try_from(self.last - self.cursor).unwrap_or(usize::MAX);
        self.cursor = part.end_sequence().min(self.last);
        let query = &self.wanted.query;
        let most = query.most().map_or(u64::MAX, |most| most - self.sent);
        if query.is_everything(&part) && part.rows() as u64 <= most && part.rows() <= asked_for {
            return Some(Some(part));
        }
        let mut left = most;
        let marked = query.matches(&part);
        let marked = BooleanBuffer::collect_bool(part.rows(), |row| {
            let wanted = marked.value(row) && row < asked_for && left > 0;
            left -= u64::from(wanted);
            wanted
        });
        Some(part.select(&marked))
    }

    /// Moves the watermark: what is still to come is not older.
    fn advance(&mut self, read_until: i64, caught_up: bool) {
        let watermark = match (caught_up, self.log().is_closed()) {
            (true, true) => wall_ns(),
            (true, false) if read_until > i64::MIN => read_until.saturating_sub(DISORDER_NS),
            _ => self.newest_ns.saturating_sub(DISORDER_NS),
        };
        self.watermark_ns = self.watermark_ns.max(watermark);
    }

    fn after_message(&mut self) {
        let now = Instant::now();
        self.next_at = now + self.pace;
        self.heartbeat_at = now + HEARTBEAT;
    }

    fn message(&mut self, rows: &FlowBatch) -> Result<Vec<FlightData>, Status> {
        self.after_message();
        let Some(rows) = self.sample(rows) else {
            return Ok(vec![FeedEncoder::alone(&self.told(None))]);
        };
        let told = self.told(Some(&rows));
        let rows = rows.only(&self.wanted.columns);
        self.encoder.batch(&told, &rows).map_err(|error| failed(&error))
    }

    /// As many of these rows as the client wants; `None` if that is none.
    fn sample(&mut self, rows: &FlowBatch) -> Option<FlowBatch> {
        let Some(sampler) = &mut self.sampler else {
            return Some(rows.clone());
        };
        let chosen = sampler.choose(rows, std::time::Instant::now());
        self.left_out.0 += chosen.left_out;
        self.left_out.1 += chosen.left_out_drops;
        chosen.of(rows)
    }

    fn told(&mut self, rows: Option<&FlowBatch>) -> FeedMessage {
        let (losses, next_loss) = self.log().losses().since(self.next_loss);
        let since = self.wanted.query.since_ns();
        let concerned = |loss: &&Loss| since.is_none_or(|since| since <= loss.time_range.1);
        self.next_loss = next_loss;
        let (left_out, left_out_drops) = std::mem::take(&mut self.left_out);
        FeedMessage {
            node: self.node.name.clone(),
            log_id: self.log().id(),
            first_sequence: rows.map_or(0, FlowBatch::first_sequence),
            next_sequence: self.cursor,
            next_loss,
            now_ns: wall_ns(),
            watermark_ns: self.watermark_ns,
            missed: std::mem::take(&mut self.missed),
            losses: losses.iter().filter(concerned).map(lost_event).collect(),
            log_end: self.log().range().1,
            end: self.done,
            left_out,
            left_out_drops,
            ..FeedMessage::default()
        }
    }
}
