//! The flows of all peers for one request, in one order of time.
//!
//! Each peer has a task that brings its messages (`peer_flows`); they meet in a bounded queue, and from
//! there in the [`merge`](crate::merge). A client that doesn't read stops the queue, the queue stops the streams, and what
//! leaves the nodes' logs meanwhile is counted there: nothing piles up here.

mod sources;
mod status;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use feed::{FeedMessage, Position};
use flow::api::Timestamp;
use flow::api::flow::{LostEvent, LostEventSource};
use flow::api::observer::GetFlowsRequest;
use flow::api::relay::NodeStatusEvent;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Status;

use crate::cluster::Cluster;
use crate::merge::{Merge, Order, Promise, Released};
use crate::peer_flows::{Ask, Event, Heard, PeerId};
use crate::peer_tasks::{News, PeerTasks};
use sources::Sources;
use status::StatusNews;

/// So much else to tell may wait.
const ITEMS: usize = 64;
/// Rows that are released at once.
const ROWS: usize = 2048;
/// How long a peer that still sends what it had may be silent, before the others go on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happens in the cluster.
#[derive(Debug)]
pub enum Item {
    /// Flows in order.
    Flows(Released),
    /// What a node has lost, and its name.
    Lost(String, LostEvent),
    /// Nodes have come or gone.
    Status(NodeStatusEvent),
}

/// So much that is merged waits for its client.
const BESIDE: usize = 4;

/// Flows that are merged in another task.
#[derive(Debug)]
pub struct Beside {
    items: mpsc::Receiver<Result<Option<Item>, Status>>,
    _task: JoinSet<()>,
}

impl Beside {
    /// As [`ClusterFlows::next`].
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self) -> Result<Option<Item>, Status> {
        self.items.recv().await.unwrap_or(Ok(None))
    }
}

/// The flows of all peers.
#[derive(Debug)]
pub struct ClusterFlows {
    cluster: Arc<Cluster>,
    follows: bool,
    merge: Merge,
    sources: Sources,
    peers: PeerTasks,
    items: VecDeque<Item>,
    status: StatusNews,
    refused: Option<Status>,
    /// Peers that have taken the request.
    answered: usize,
    /// Flows that the client still takes.
    left: u64,
}

impl ClusterFlows {
    /// Asks all peers for flows, of which only some columns may be wanted: none means all.
    pub async fn start(
        cluster: Arc<Cluster>,
        flows: GetFlowsRequest,
        columns: Vec<String>,
        order: Order,
        resume: Vec<Position>,
    ) -> Self {
        let follows = flows.follow;
        let newest = order == Order::NewestFirst;
        let limited = flows.number > 0 && (flows.first || newest);
        let left = if limited { flows.number } else { u64::MAX };
        let window = if follows { cluster.merge.window } else { PATIENCE };
        let ask = Ask {
            flows,
            columns,
            newest_first: newest,
            resume,
            most_per_second: 0,
        };
        Self {
            merge: Merge::new(order, window, cluster.merge.budget_bytes),
            follows,
            sources: Sources::default(),
            peers: PeerTasks::start(Arc::clone(&cluster), ask).await,
            items: VecDeque::new(),
            status: StatusNews::default(),
            refused: None,
            answered: 0,
            left,
            cluster,
        }
    }

    /// What happened next; `None` at the end, which a request that follows has not.
    ///
    /// # Errors
    /// If every peer refuses the request: what it said.
    pub async fn next(&mut self) -> Result<Option<Item>, Status> {
        loop {
            while !self.is_full()
                && let Some(news) = self.peers.try_next()
            {
                self.take(news);
            }
            self.peers.merging(self.merge.held_bytes());
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let now = Instant::now();
            if let Some(released) = self.merge.release(now, ROWS) {
                self.count(&released);
                return Ok(Some(Item::Flows(released)));
            }
            let over = self.peers.is_over();
            if let Some(event) = self.status.due(now, over) {
                return Ok(Some(Item::Status(event)));
            }
            if over {
                return match self.refused.take().filter(|_| self.answered == 0) {
                    Some(status) => Err(status),
                    None => Ok(None),
                };
            }
            let next = [self.merge.next_release(), self.status.next_due()];
            let alarm = async {
                match next.into_iter().flatten().min() {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                news = self.peers.next() => self.take(news),
                () = alarm => {}
            }
        }
    }

    /// Goes on in a task of its own, so that merging and making a client's form of flows share two cores. It ends with
    /// what is returned.
    #[must_use]
    pub fn beside(mut self) -> Beside {
        let (sender, items) = mpsc::channel(BESIDE);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let item = self.next().await;
                let last = !matches!(item, Ok(Some(_)));
                if sender.send(item).await.is_err() || last {
                    return;
                }
            }
        });
        Beside { items, _task: task }
    }

    /// How far each node is, for going on after this.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.sources.positions()
    }

    /// Whether more would not be kept.
    fn is_full(&self) -> bool {
        self.merge.held_bytes() > self.cluster.merge.budget_bytes || self.items.len() > ITEMS
    }

    fn take(&mut self, news: News) {
        let now = Instant::now();
        let event = match news {
            News::Asked(peer, name) => {
                let node = self.merge.add_node(now);
                self.sources.add_peer(peer, node, name);
                return;
            }
            News::Removed(peer) => {
                self.status.gone(self.names(peer));
                return;
            }
            News::Event(event) => event,
        };
        match event {
            Event::Up(peer) => {
                self.answered += 1;
                self.sources.up(peer, &mut self.merge, now);
            }
            Event::Heard(heard) => self.heard(*heard),
            Event::Down { peer, why } => {
                self.sources.down(peer, &mut self.merge);
                self.status.unavailable(self.names(peer), &why);
            }
            Event::Refused { peer, status } => {
                self.answered = self.answered.saturating_sub(1);
                self.status.failed(self.names(peer), status.message());
                self.refused = Some(*status);
            }
            Event::Ended(peer) => self.sources.down(peer, &mut self.merge),
        }
    }

    fn names(&self, peer: PeerId) -> Vec<String> {
        self.sources.names(peer, self.peers.address(peer))
    }

    fn heard(&mut self, heard: Heard) {
        let Heard {
            peer,
            at,
            told,
            batch,
            skew_ns,
            _room,
        } = heard;
        let (source, before) = self.sources.heard(peer, &told, &mut self.merge, at);
        let (node, name) = (source.node, source.name.clone());
        if let Some(before) = before {
            self.lost_with_a_run(&name, &before);
        }
        if told.unavailable.is_empty() {
            self.status.connected(name.clone());
        } else {
            self.status.unavailable(vec![name.clone()], &told.unavailable);
            self.merge.remove_node(node);
            return;
        }
        if told.missed > 0 {
            self.lost(&name, told.missed, told.now_ns);
        }
        for loss in &told.losses {
            self.items.push_back(Item::Lost(name.clone(), *loss));
        }
        if let Some(batch) = batch {
            self.merge.push(node, Arc::new(batch), at);
        }
        let promise = Promise {
            now_ns: told.now_ns,
            watermark_ns: told.watermark_ns,
            skew_ns,
        };
        self.merge.promise(node, promise, at);
        if told.end {
            self.merge.remove_node(node);
        }
    }

    /// An observer has started anew: what its earlier run had seen and not sent is gone.
    fn lost_with_a_run(&mut self, name: &str, before: &FeedMessage) {
        let unsent = before.log_end.saturating_sub(before.next_sequence);
        if unsent > 0 {
            self.cluster.counts.missed(name, unsent);
            self.lost(name, unsent, before.now_ns);
        }
    }

    fn lost(&mut self, name: &str, count: u64, at_ns: i64) {
        let event = LostEvent {
            source: LostEventSource::HubbleRingBuffer.into(),
            num_events_lost: count,
            cpu: None,
            first: Some(Timestamp::from_nanos(at_ns)),
            last: Some(Timestamp::from_nanos(at_ns)),
        };
        self.items.push_back(Item::Lost(name.to_owned(), event));
    }

    /// Counts what the client gets, and what came too late.
    fn count(&mut self, released: &Released) {
        let sent = (released.rows.len() as u64).min(self.left);
        self.left -= sent;
        self.cluster.counts.sent(sent);
        if !self.follows {
            return;
        }
        let mut late: FxHashMap<usize, u64> = FxHashMap::default();
        for row in released.rows.iter().filter(|row| row.late) {
            *late.entry(released.nodes[row.batch]).or_default() += 1;
        }
        for (node, count) in late {
            if let Some(name) = self.sources.name_of(node) {
                self.cluster.counts.late(name, count);
            }
        }
    }
}
