//! One `GetFlows`: which rows it is about, and their way to the client.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::TimestampNanosecondType;
use flow::api::Timestamp;
use flow::api::flow::{LostEvent, LostEventSource};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use flow::batch::FlowBatch;
use flow::filter::Filters;
use flow::mask::FlowMask;
use flow::schema::Column;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::log::{FlowLog, Loss, Stage};

/// Responses that wait for the client at most, beside those that HTTP/2 has taken.
pub(super) const WAITING_RESPONSES: usize = 128;
/// How long a follower waits before it looks for losses, should there be no flows.
const LOSS_INTERVAL: Duration = Duration::from_millis(500);

/// What a client asks for, checked.
#[derive(Debug)]
pub(super) struct FlowQuery {
    filters: Filters,
    mask: Option<FlowMask>,
    number: u64,
    first: bool,
    follow: bool,
    since_ns: Option<i64>,
    until_ns: Option<i64>,
}

impl FlowQuery {
    /// # Errors
    /// `InvalidArgument` with what is wrong.
    pub(super) fn new(request: &GetFlowsRequest) -> Result<Self, Status> {
        if request.first && request.follow {
            return Err(Status::invalid_argument(
                "first and follow exclude each other: the oldest flows don't change",
            ));
        }
        let filters = Filters::compile(&request.whitelist, &request.blacklist)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let paths = request
            .field_mask
            .as_ref()
            .map(|mask| mask.paths.as_slice())
            .unwrap_or_default();
        let mask = FlowMask::new(paths).map_err(|error| Status::invalid_argument(format!("field mask: {error}")))?;
        Ok(Self {
            filters,
            mask,
            number: request.number,
            first: request.first,
            follow: request.follow,
            since_ns: request.since.map(|time| time.to_nanos()),
            until_ns: request.until.map(|time| time.to_nanos()),
        })
    }

    /// Marks the rows of a batch that are asked for.
    fn matches(&self, batch: &FlowBatch) -> arrow_buffer::BooleanBuffer {
        let marked = self.filters.matches(batch);
        let (earliest, latest) = batch.time_range();
        let inside =
            self.since_ns.is_none_or(|since| since <= earliest) && self.until_ns.is_none_or(|until| latest <= until);
        let Some(times) = batch
            .numbers::<TimestampNanosecondType>(Column::Time)
            .filter(|_| !inside)
        else {
            return marked;
        };
        let times = times.values();
        let wanted = arrow_buffer::BooleanBuffer::collect_bool(batch.rows(), |row| {
            self.since_ns.is_none_or(|since| since <= times[row])
                && self.until_ns.is_none_or(|until| times[row] <= until)
        });
        &marked & &wanted
    }

    /// Whether no row of the batch can be in the time that is asked for.
    fn outside(&self, batch: &FlowBatch) -> bool {
        let (earliest, latest) = batch.time_range();
        self.since_ns.is_some_and(|since| latest < since) || self.until_ns.is_some_and(|until| until < earliest)
    }

    /// Where to start. `end` is the number after that of the newest row there is.
    fn start(&self, log: &FlowLog, end: u64) -> Start {
        let (oldest, _) = log.range();
        let at = |sequence| Start {
            sequence,
            time_ns: None,
        };
        if self.first || (self.number == 0 && (!self.follow || self.since_ns.is_some())) {
            return at(oldest);
        }
        if self.number == 0 {
            return at(end);
        }
        let mut left = self.number;
        for batch in log.read_from(0).iter().rev().filter(|batch| !self.outside(batch)) {
            let marked = self.matches(batch);
            let count = marked.count_set_bits() as u64;
            if count >= left {
                let skip = usize::try_from(count - left).unwrap_or(usize::MAX);
                let row = marked.set_indices().nth(skip).unwrap_or_default();
                return Start {
                    sequence: batch.first_sequence() + row as u64,
                    time_ns: Some(batch.time_ns(row)),
                };
            }
            left -= count;
        }
        at(oldest)
    }
}

/// Where a request starts in the log.
struct Start {
    /// Number of the first row to look at.
    sequence: u64,
    /// Its time, if the rows before it are of no interest: neither are the losses.
    time_ns: Option<i64>,
}

/// Sends what was asked for; ends when that is done, when the client is gone, or with the server.
pub(super) async fn send(
    query: FlowQuery,
    log: Arc<FlowLog>,
    node_name: String,
    client: mpsc::Sender<Result<GetFlowsResponse, Status>>,
    mut shutdown: watch::Receiver<bool>,
) {
    // Also in the middle of sending: a client that doesn't read, or never reaches the end, is no reason to stay.
    tokio::select! {
        () = answer(query, log, node_name, client) => {}
        () = super::ended(&mut shutdown) => {}
    }
}

async fn answer(
    query: FlowQuery,
    log: Arc<FlowLog>,
    node_name: String,
    client: mpsc::Sender<Result<GetFlowsResponse, Status>>,
) {
    log.catch_up().await;
    let mut news = log.news();
    let end = log.range().1;
    let start = query.start(&log, end);
    let losses_from = if query.follow && start.sequence == end {
        log.losses().end()
    } else {
        0
    };
    let since_ns = query.since_ns;
    let mut sender = Sender {
        query,
        log: Arc::clone(&log),
        node_name,
        client,
        cursor: start.sequence,
        losses_from,
        losses_since_ns: start.time_ns.or(since_ns),
        sent: 0,
        last_ns: 0,
    };
    let follows = sender.query.follow.then(|| log.follow());
    // The limit of what follows is how far back it starts.
    let last = if sender.query.follow { u64::MAX } else { end };
    let deadline = sender.query.until_ns.filter(|_| follows.is_some()).map(until);
    loop {
        news.mark_unchanged();
        if !sender.catch_up(last).await || follows.is_none() {
            return;
        }
        tokio::select! {
            _ = news.changed() => {}
            () = tokio::time::sleep(LOSS_INTERVAL) => {}
            () = sleep_until(deadline) => {
                log.catch_up().await;
                sender.catch_up(last).await;
                return;
            }
            () = sender.client.closed() => return,
        }
    }
}

fn until(until_ns: i64) -> tokio::time::Instant {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let left = u64::try_from(i128::from(until_ns) - i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)).unwrap_or(0);
    tokio::time::Instant::now() + Duration::from_nanos(left)
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Sender {
    query: FlowQuery,
    log: Arc<FlowLog>,
    node_name: String,
    client: mpsc::Sender<Result<GetFlowsResponse, Status>>,
    /// Number of the next row to look at.
    cursor: u64,
    losses_from: u64,
    /// Losses that were over before this time are of no interest.
    losses_since_ns: Option<i64>,
    sent: u64,
    /// Time of the last row that was looked at.
    last_ns: i64,
}

impl Sender {
    /// Sends everything up to row number `last`; whether the client wants more.
    async fn catch_up(&mut self, last: u64) -> bool {
        while self.cursor < last {
            let Some(batch) = self.log.next_batch(self.cursor) else {
                break;
            };
            // What left the log beyond `last` was not asked for.
            let missed = batch.first_sequence().min(last).saturating_sub(self.cursor);
            if missed > 0 {
                self.cursor = batch.first_sequence();
                if !self.tell_missed(missed, batch.time_range().0).await {
                    return false;
                }
                if self.cursor >= last {
                    break;
                }
            }
            let skip = usize::try_from(self.cursor - batch.first_sequence()).unwrap_or(usize::MAX);
            let Some(batch) = batch.from_row(skip) else { break };
            self.cursor = batch.end_sequence();
            if !self.query.outside(&batch) {
                for row in self.query.matches(&batch).set_indices() {
                    if batch.first_sequence() + row as u64 >= last {
                        break;
                    }
                    if self.query.first && self.query.number > 0 && self.sent >= self.query.number {
                        return false;
                    }
                    if !self.flow(&batch, row).await {
                        return false;
                    }
                }
            }
            self.last_ns = batch.time_range().1;
        }
        self.losses().await
    }

    async fn flow(&mut self, batch: &FlowBatch, row: usize) -> bool {
        let mut response = batch.to_response(row);
        if let (Some(mask), Some(ResponseTypes::Flow(flow))) = (&self.query.mask, &mut response.response_types) {
            *flow = mask.apply(flow);
        }
        if response.node_name.is_empty() {
            response.node_name.clone_from(&self.node_name);
        }
        self.sent += 1;
        self.client.send(Ok(response)).await.is_ok()
    }

    /// The client was too slow, or asked for rows that were leaving the log.
    async fn tell_missed(&mut self, count: u64, next_ns: i64) -> bool {
        let time_range = (if self.last_ns == 0 { next_ns } else { self.last_ns }, next_ns);
        self.log.losses().record(Loss {
            stage: Stage::Client,
            source: None,
            cpu: None,
            count,
            time_range,
        });
        self.lost(LostEventSource::HubbleRingBuffer, None, count, time_range)
            .await
    }

    /// What was lost on the way into the log since the last time.
    async fn losses(&mut self) -> bool {
        let (losses, next) = self.log.losses().since(self.losses_from);
        self.losses_from = next;
        for loss in losses {
            let (from, to) = loss.time_range;
            let wanted = self.losses_since_ns.is_none_or(|since| since <= to)
                && self.query.until_ns.is_none_or(|until| from <= until);
            let source = match loss.stage {
                Stage::KernelRing => LostEventSource::PerfEventRingBuffer,
                Stage::Undecodable => LostEventSource::ObserverEventsQueue,
                Stage::Client | Stage::Elsewhere => LostEventSource::HubbleRingBuffer,
            };
            if wanted && !self.lost(source, loss.cpu, loss.count, loss.time_range).await {
                return false;
            }
        }
        true
    }

    async fn lost(&self, source: LostEventSource, cpu: Option<u32>, count: u64, (from, to): (i64, i64)) -> bool {
        let event = LostEvent {
            source: source.into(),
            num_events_lost: count,
            cpu: cpu
                .and_then(|cpu| i32::try_from(cpu).ok())
                .map(|value| pbjson_types::Int32Value { value }),
            first: Some(Timestamp::from_nanos(from)),
            last: Some(Timestamp::from_nanos(to)),
        };
        let response = GetFlowsResponse {
            node_name: self.node_name.clone(),
            time: Some(Timestamp::from_nanos(to)),
            response_types: Some(ResponseTypes::LostEvents(event)),
        };
        self.client.send(Ok(response)).await.is_ok()
    }
}
