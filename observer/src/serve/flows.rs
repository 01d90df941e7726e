//! The answer to one `GetFlows`: rows of the log, encoded, as the client takes them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow_buffer::BooleanBuffer;
use bytes::Bytes;
use flow::api::Timestamp;
use flow::api::flow::{LostEvent, LostEventSource};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use flow::batch::FlowBatch;
use flow::clock::wall_ns;
use flow::mask::FlowMask;
use flow::wire::RowEncoder;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use prost::Message as _;
use serving::frames::Frames;
use serving::get_flows::FlowAnswers;
use serving::servers::ended;
use tokio::sync::watch;
use tokio::time::{Instant, Interval};
use tonic::Status;

use super::NodeState;
use super::query::FlowQuery;
use super::shared_rows::{Chunk, Reader, SharedRows};
use crate::log::{FlowLog, Follower, Loss, Stage};

/// A chunk ends with the row that brings it to this size.
const CHUNK_BYTES: usize = 64 << 10;
/// What rows take that have not been encoded yet, for memory that is set aside; most take less.
const ROW_BYTES: usize = 512;
/// How often a follower looks for losses, should there be no flows.
const LOSS_INTERVAL: Duration = Duration::from_millis(500);

/// From so many followers on each gets rows at most once in [`PACE`]: what costs is waking a connection, not its bytes.
const MANY_FOLLOWERS: usize = 16;
/// Rows come from the kernel every 10 ms. This is well below what a person notices, and halves the work.
const PACE: Duration = Duration::from_millis(20);

/// Answers `GetFlows` from the log.
#[derive(Clone, Debug)]
pub(super) struct LogAnswers {
    node: Arc<NodeState>,
    shared: Arc<SharedRows>,
    shutdown: watch::Receiver<bool>,
}

impl LogAnswers {
    pub(super) fn new(node: Arc<NodeState>, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            node,
            shared: Arc::default(),
            shutdown,
        }
    }
}

impl FlowAnswers for LogAnswers {
    fn answer(&self, request: GetFlowsRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let query = FlowQuery::new(&request)?;
        let node = &self.node;
        let start = FlowAnswer::start(
            query,
            Arc::clone(&node.log),
            node.name.clone(),
            Arc::clone(&self.shared),
        );
        let chunks = stream::once(start).flat_map(|answer| {
            stream::unfold(answer, async |mut answer| {
                let chunk = answer.next().await?;
                Some((Ok(chunk), answer))
            })
        });
        let mut shutdown = self.shutdown.clone();
        // Also in the middle of an answer: a client that never reaches the end is no reason to stay.
        let ended = async move { ended(&mut shutdown).await };
        Ok(chunks.take_until(ended).boxed())
    }
}

/// What a client gets, made only when its connection has room for more.
#[derive(Debug)]
struct FlowAnswer {
    query: FlowQuery,
    log: Arc<FlowLog>,
    node_name: String,
    reader: Reader,
    news: watch::Receiver<u64>,
    /// Until the end of the request comes into sight.
    follower: Option<Follower>,
    deadline: Option<Instant>,
    /// Kept from one wait to the next: setting a timer for each costs more than the wait.
    loss_ticks: Interval,
    /// The batch that the next row is in, once rows of it have been looked at.
    walk: Option<Walk>,
    /// Number of the next row to look at.
    cursor: u64,
    /// Number after that of the last row that is asked for.
    last: u64,
    losses_from: u64,
    /// Losses that were over before this time are of no interest.
    losses_since_ns: Option<i64>,
    sent: u64,
    /// Time of the last row that was looked at.
    last_ns: i64,
    /// Whether it got rows since it waited last.
    served: bool,
    done: bool,
}

impl FlowAnswer {
    async fn start(query: FlowQuery, log: Arc<FlowLog>, node_name: String, shared: Arc<SharedRows>) -> Self {
        log.catch_up().await;
        let news = log.news();
        let end = log.range().1;
        let start = query.start(&log, end);
        let losses_from = if query.follows() && start.sequence == end {
            log.losses().end()
        } else {
            0
        };
        Self {
            reader: shared.join(query.wish()),
            node_name,
            news,
            follower: query.follows().then(|| log.follow()),
            deadline: query.until_ns().filter(|_| query.follows()).map(until),
            loss_ticks: tokio::time::interval_at(Instant::now() + LOSS_INTERVAL, LOSS_INTERVAL),
            walk: None,
            cursor: start.sequence,
            // The limit of what follows is how far back it starts.
            last: if query.follows() { u64::MAX } else { end },
            losses_from,
            losses_since_ns: start.time_ns.or(query.since_ns()),
            sent: 0,
            last_ns: 0,
            served: false,
            done: false,
            query,
            log,
        }
    }

    /// More messages; `None` at the end. Waits for flows if the client follows.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.done {
            // The client has room again: it has taken what came before.
            if let Some(follower) = &self.follower {
                follower.at(self.cursor);
            }
            self.news.mark_unchanged();
            if let Some(frames) = self.rows() {
                if !frames.is_empty() {
                    self.served = true;
                    return Some(frames);
                }
                // A long way without a row that is asked for: others want to run as well.
                tokio::task::yield_now().await;
                continue;
            }
            self.done |= self.follower.is_none();
            let losses = self.losses();
            if !losses.is_empty() {
                return Some(losses);
            }
            if !self.done {
                self.wait().await;
            }
        }
        None
    }

    /// Waits for flows, for losses, or for the end.
    async fn wait(&mut self) {
        if std::mem::take(&mut self.served) && self.log.followers() >= MANY_FOLLOWERS {
            let next = next_pace().min(self.deadline.unwrap_or_else(next_pace));
            tokio::time::sleep_until(next).await;
            return;
        }
        tokio::select! {
            _ = self.news.changed() => {}
            _ = self.loss_ticks.tick() => {}
            () = sleep_until(self.deadline) => {
                self.log.catch_up().await;
                self.follower = None;
            }
        }
    }

    /// Messages about the next rows, perhaps none; `None` if there are no more rows for now.
    fn rows(&mut self) -> Option<Bytes> {
        if self.done || self.cursor >= self.last {
            return None;
        }
        if self.query.most().is_none()
            && let Some(chunk) = self.reader.get(self.cursor, |chunk| {
                chunk.end <= self.last && self.query.spans(chunk.time_range)
            })
        {
            return Some(self.passed(chunk));
        }
        let walk = match self.walk.take() {
            Some(walk) if walk.next_sequence() == self.cursor => walk,
            _ => {
                let batch = self.log.next_batch(self.cursor)?;
                // What left the log beyond `last` was not asked for.
                let missed = batch.first_sequence().min(self.last).saturating_sub(self.cursor);
                if missed > 0 {
                    self.cursor = batch.first_sequence();
                    return Some(self.missed(missed, batch.time_range().0));
                }
                Walk::new(&self.query, &batch, self.cursor)?
            }
        };
        let first = self.cursor;
        let chunk = self.encode(walk);
        if self.query.most().is_none() && chunk.end <= self.last && self.query.spans(chunk.time_range) {
            self.reader.put(first, &chunk);
        }
        Some(self.passed(chunk))
    }

    /// Accounts for rows that the client gets.
    fn passed(&mut self, chunk: Chunk) -> Bytes {
        self.cursor = chunk.end;
        self.sent += chunk.rows;
        self.last_ns = self.last_ns.max(chunk.last_ns);
        self.done = self.query.most().is_some_and(|most| self.sent >= most);
        chunk.frames
    }

    /// A chunk of the rows that are left of a batch.
    fn encode(&mut self, mut walk: Walk) -> Chunk {
        let most = self.query.most().map_or(u64::MAX, |most| most - self.sent);
        let mask = self.query.mask();
        let mut frames = Frames::with_capacity(walk.left().saturating_mul(ROW_BYTES).min(CHUNK_BYTES + ROW_BYTES));
        let mut rows = 0;
        while rows < most
            && frames.len() < CHUNK_BYTES
            && let Some(row) = walk.next_row(self.last)
        {
            frames.push_with(|out| walk.encode(row, &self.node_name, mask, out));
            rows += 1;
        }
        let chunk = Chunk {
            frames: frames.into_bytes(),
            rows,
            end: walk.next_sequence().min(self.last),
            time_range: walk.batch.time_range(),
            last_ns: walk.last_ns(),
        };
        self.walk = (walk.left() > 0).then_some(walk);
        chunk
    }

    /// The client was too slow, or asked for rows that were leaving the log.
    fn missed(&mut self, count: u64, next_ns: i64) -> Bytes {
        let time_range = (if self.last_ns == 0 { next_ns } else { self.last_ns }, next_ns);
        let loss = Loss {
            stage: Stage::Client,
            source: None,
            cpu: None,
            count,
            time_range,
        };
        self.log.losses().record(loss);
        let mut frames = Frames::default();
        frames.push(&self.lost(&loss));
        frames.into_bytes()
    }

    /// What was lost on the way into the log since the last time.
    fn losses(&mut self) -> Bytes {
        let (losses, next) = self.log.losses().since(self.losses_from);
        self.losses_from = next;
        let mut frames = Frames::default();
        for loss in losses {
            let (from, to) = loss.time_range;
            if self.losses_since_ns.is_none_or(|since| since <= to)
                && self.query.until_ns().is_none_or(|until| from <= until)
            {
                frames.push(&self.lost(&loss));
            }
        }
        frames.into_bytes()
    }

    fn lost(&self, loss: &Loss) -> GetFlowsResponse {
        GetFlowsResponse {
            node_name: self.node_name.clone(),
            time: Some(Timestamp::from_nanos(loss.time_range.1)),
            response_types: Some(ResponseTypes::LostEvents(lost_event(loss))),
        }
    }
}

/// A loss as the API tells it.
pub(super) fn lost_event(loss: &Loss) -> LostEvent {
    let source = match loss.stage {
        Stage::KernelRing | Stage::KernelBusy => LostEventSource::PerfEventRingBuffer,
        Stage::Undecodable => LostEventSource::ObserverEventsQueue,
        Stage::Client | Stage::History | Stage::Elsewhere => LostEventSource::HubbleRingBuffer,
    };
    let cpu = loss.cpu.and_then(|cpu| i32::try_from(cpu).ok());
    LostEvent {
        source: source.into(),
        num_events_lost: loss.count,
        cpu: cpu.map(|value| pbjson_types::Int32Value { value }),
        first: Some(Timestamp::from_nanos(loss.time_range.0)),
        last: Some(Timestamp::from_nanos(loss.time_range.1)),
    }
}

/// The moment at which our clock will show that time; now, if it did already.
pub(super) fn until(until_ns: i64) -> Instant {
    let left = u64::try_from(until_ns.saturating_sub(wall_ns())).unwrap_or(0);
    Instant::now() + Duration::from_nanos(left)
}

/// The same moment for all followers, so that they share the rows that one of them has encoded.
fn next_pace() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let pace = PACE.as_nanos();
    let passed = START.elapsed().as_nanos() / pace + 1;
    *START + PACE * u32::try_from(passed).unwrap_or(u32::MAX)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A batch, and how far a client has come in it.
#[derive(Debug)]
struct Walk {
    batch: FlowBatch,
    /// The rows that are asked for; `None`: all.
    marked: Option<BooleanBuffer>,
    /// Made when there is a row to encode.
    encoder: Option<RowEncoder>,
    next: usize,
}

impl Walk {
    /// From row number `sequence` on, which is in the batch.
    fn new(query: &FlowQuery, batch: &FlowBatch, sequence: u64) -> Option<Self> {
        let skip = usize::try_from(sequence - batch.first_sequence()).ok()?;
        if query.is_everything(batch) {
            return Some(Self {
                batch: batch.clone(),
                marked: None,
                encoder: None,
                next: skip,
            });
        }
        let batch = batch.from_row(skip)?;
        Some(Self {
            marked: Some(query.matches(&batch)),
            batch,
            encoder: None,
            next: 0,
        })
    }

    /// Rows that have not been looked at.
    fn left(&self) -> usize {
        self.batch.rows() - self.next
    }

    /// Number of the next row to look at.
    fn next_sequence(&self) -> u64 {
        self.batch.first_sequence() + self.next as u64
    }

    /// Time of the last row that was looked at.
    fn last_ns(&self) -> i64 {
        if self.left() == 0 {
            return self.batch.time_range().1;
        }
        self.batch.time_ns(self.next.saturating_sub(1))
    }

    /// Goes on to the next row that is asked for and has a number less than `last`; without one, to the end.
    fn next_row(&mut self, last: u64) -> Option<usize> {
        let row = match &self.marked {
            None => (self.left() > 0).then_some(self.next),
            Some(marked) => marked
                .slice(self.next, self.left())
                .set_indices()
                .next()
                .map(|skip| self.next + skip),
        };
        let row = row.filter(|row| self.batch.first_sequence() + (*row as u64) < last);
        self.next = row.map_or(self.batch.rows(), |row| row + 1);
        row
    }

    fn encode(&mut self, row: usize, node_name: &str, mask: Option<&FlowMask>, out: &mut Vec<u8>) {
        let Some(mask) = mask else {
            self.encoder
                .get_or_insert_with(|| RowEncoder::new(&self.batch, node_name))
                .encode(row, out);
            return;
        };
        let mut response = self.batch.to_response(row);
        if let Some(ResponseTypes::Flow(flow)) = &mut response.response_types {
            *flow = mask.apply(flow);
        }
        if response.node_name.is_empty() {
            node_name.clone_into(&mut response.node_name);
        }
        response.encode(out).expect("invariant: a vector has no end");
    }
}
