//! The flows of one peer for one request: a feed, opened again when it breaks, going on where it was.

mod from_api;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use feed::decode::FeedDecoder;
use feed::{FeedMessage, FeedRequest, Position, request};
use flow::api::observer::GetFlowsRequest;
use flow::batch::FlowBatch;
use serving::connect::told;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::{Code, Status};

use crate::connection::{Connected, Peer, PeerState, lost};
use crate::counts::Counts;

/// Largest message that is read.
const MESSAGE_BYTES: usize = 64 << 20;
/// Flows of less than this time come together, milliseconds.
const PACE_MS: u32 = 20;
/// The pause before a stream that broke off is opened again.
const RETRY: Duration = Duration::from_millis(500);

/// A peer in a request: its place among the request's peers.
pub(crate) type PeerId = usize;

/// What a request asks each peer for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Which flows.
    pub(crate) flows: GetFlowsRequest,
    /// Columns that are wanted; none: all.
    pub(crate) columns: Vec<String>,
    /// From the newest to the oldest.
    pub(crate) newest_first: bool,
    /// Where to go on.
    pub(crate) resume: Vec<Position>,
    /// Rows a second at most; 0: all.
    pub(crate) most_per_second: u32,
}

/// What is heard of a peer.
#[derive(Debug)]
pub(crate) enum Event {
    /// It answers.
    Up(PeerId),
    /// A message of its feed.
    Heard(Box<Heard>),
    /// It can't be reached, or its feed broke off. A request that follows tries again.
    Down { peer: PeerId, why: String },
    /// It refuses the request, and would do so again.
    Refused { peer: PeerId, status: Box<Status> },
    /// No more comes from it.
    Ended(PeerId),
}

/// A message of a peer's feed.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) peer: PeerId,
    /// When it came.
    pub(crate) at: Instant,
    pub(crate) told: FeedMessage,
    pub(crate) batch: Option<FlowBatch>,
    /// How far its node's clock is before ours.
    pub(crate) skew_ns: i64,
    /// Its place in the queue, free when it is dropped.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// Where messages of peers meet: so many, and so many bytes of flows.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Event>,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
}

/// How much waits in a queue.
#[derive(Debug)]
pub(crate) struct QueueDepth {
    sender: mpsc::WeakSender<Event>,
    room: Arc<Semaphore>,
}

impl QueueDepth {
    /// Messages.
    pub(crate) fn messages(&self) -> usize {
        let sender = self.sender.upgrade();
        sender.map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }

    /// Bytes of their flows, in memory.
    pub(crate) fn bytes(&self) -> usize {
        QUEUE_BYTES.saturating_sub(self.room.available_permits())
    }
}

/// Messages that wait to be taken.
const QUEUE: usize = 64;
/// Flows of these messages, in memory.
const QUEUE_BYTES: usize = 8 << 20;

impl Queue {
    pub(crate) fn new(counts: Arc<Counts>) -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        (Self { sender, room, counts }, receiver)
    }

    pub(crate) fn depth(&self) -> QueueDepth {
        QueueDepth {
            sender: self.sender.downgrade(),
            room: Arc::clone(&self.room),
        }
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.sender.send(event).await.map_err(|_| Gone)
    }

    /// Waits for room for a batch.
    async fn room(&self, batch: Option<&FlowBatch>) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(batch?.bytes().min(QUEUE_BYTES)).ok()?;
        Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()
    }
}

/// Brings the flows of a peer to `out` until there are no more, or nobody listens.
pub(crate) async fn run(id: PeerId, peer: Arc<Peer>, ask: Ask, out: Queue) {
    // Whoever made the request is gone if sending fails; then this ends as well.
    let _ = Feed {
        id,
        state: peer.state(),
        ask,
        out,
        positions: BTreeMap::new(),
    }
    .run()
    .await;
}

/// Nobody listens any more.
struct Gone;

struct Feed {
    id: PeerId,
    state: watch::Receiver<PeerState>,
    ask: Ask,
    out: Queue,
    positions: BTreeMap<String, Position>,
}

enum Outcome {
    Done,
    Broken(String),
    Refused(Status),
}

impl Feed {
    async fn run(mut self) -> Result<(), Gone> {
        for position in &self.ask.resume {
            self.positions.insert(position.node.clone(), position.clone());
        }
        let mut told_why: Option<Arc<str>> = None;
        loop {
            let connected = loop {
                let state = self.state.borrow_and_update().clone();
                match state {
                    PeerState::Connected(connected) => break connected,
                    PeerState::Unavailable { why, .. } if told_why.as_ref() != Some(&why) => {
                        self.down(why.to_string()).await?;
                        told_why = Some(why);
                        if !self.ask.flows.follow {
                            return self.send(Event::Ended(self.id)).await;
                        }
                    }
                    _ => {}
                }
                tokio::select! {
                    changed = self.state.changed() => if changed.is_err() {
                        // The peer was taken away.
                        return self.send(Event::Ended(self.id)).await;
                    },
                    () = self.out.sender.closed() => return Err(Gone),
                }
            };
            self.send(Event::Up(self.id)).await?;
            told_why = None;
            match self.stream(&connected).await? {
                Outcome::Done => return self.send(Event::Ended(self.id)).await,
                Outcome::Refused(status) => {
                    let status = Box::new(status);
                    self.send(Event::Refused { peer: self.id, status }).await?;
                    return self.send(Event::Ended(self.id)).await;
                }
                Outcome::Broken(why) => {
                    self.down(why).await?;
                    if !self.ask.flows.follow {
                        return self.send(Event::Ended(self.id)).await;
                    }
                    // The connection may be well, and only this stream broken.
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        if let Event::Heard(heard) = &event {
            let rows = heard.batch.as_ref().map_or(0, FlowBatch::rows);
            let follows = self.ask.flows.follow;
            self.out.counts.heard(&heard.told, rows, heard.skew_ns, follows);
        }
        self.out.send(event).await
    }

    async fn room(&self, batch: Option<&FlowBatch>) -> Result<Option<OwnedSemaphorePermit>, Gone> {
        tokio::select! {
            room = self.out.room(batch) => Ok(room),
            () = self.out.sender.closed() => Err(Gone),
        }
    }

    async fn down(&self, why: String) -> Result<(), Gone> {
        self.send(Event::Down { peer: self.id, why }).await
    }

    /// One stream, from its start to its end.
    async fn stream(&mut self, connected: &Connected) -> Result<Outcome, Gone> {
        let wanted = FeedRequest {
            flows: Some(self.ask.flows.clone()),
            columns: self.ask.columns.clone(),
            resume: self.positions.values().cloned().collect(),
            pace_ms: PACE_MS,
            newest_first: self.ask.newest_first,
            most_per_second: self.ask.most_per_second,
            ..FeedRequest::default()
        };
        let mut client = FlightServiceClient::new(connected.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let mut messages = match client.do_get(request::ticket(wanted)).await {
            Ok(answer) => answer.into_inner(),
            // Hubble's servers know GetFlows only.
            Err(status) if status.code() == Code::Unimplemented => return self.by_api(connected).await,
            Err(status) if status.code() == Code::InvalidArgument => return Ok(Outcome::Refused(status)),
            Err(status) => return Ok(Outcome::Broken(told(&status))),
        };
        let mut decoder = FeedDecoder::default();
        let mut ended = false;
        loop {
            let message = tokio::select! {
                message = messages.message() => message,
                why = lost(&mut self.state, connected.generation) => return Ok(Outcome::Broken(why)),
                () = self.out.sender.closed() => return Err(Gone),
            };
            let data = match message {
                Ok(Some(data)) => data,
                Ok(None) if ended || !self.ask.flows.follow => return Ok(Outcome::Done),
                Ok(None) => return Ok(Outcome::Broken("it ended the stream".to_owned())),
                Err(status) if status.code() == Code::InvalidArgument => return Ok(Outcome::Refused(status)),
                Err(status) => return Ok(Outcome::Broken(told(&status))),
            };
            let (told, batch) = match decoder.push(data) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => continue,
                Err(error) => return Ok(Outcome::Broken(error.to_string())),
            };
            ended = told.end;
            let position = Position {
                node: told.node.clone(),
                log_id: told.log_id,
                next_sequence: told.next_sequence,
                next_loss: told.next_loss,
            };
            self.positions.insert(told.node.clone(), position);
            let skew_ns = connected.skew_ns(&told.node);
            let heard = Heard {
                _room: self.room(batch.as_ref()).await?,
                peer: self.id,
                at: Instant::now(),
                told,
                batch,
                skew_ns,
            };
            self.send(Event::Heard(Box::new(heard))).await?;
        }
    }
}
