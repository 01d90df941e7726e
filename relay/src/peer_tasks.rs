//! The tasks of a request, one for each peer, as peers come and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use flow::api::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::counts::{Following, Waiting};
use crate::peer_flows::{self, Ask, Event, PeerId, Queue};
use crate::peers::PeerAddress;
use flow::clock::wall_ns;

/// Rows a second that a node may send at least, however many nodes share what a client wants.
const LEAST_PER_SECOND: u32 = 20;

/// What happened.
#[derive(Debug)]
pub(crate) enum News {
    /// A peer has been asked; its name, as far as it is known.
    Asked(PeerId, String),
    /// A peer is no peer any more.
    Removed(PeerId),
    /// Something was heard of a peer.
    Event(Event),
}

/// Asks all peers, and those that come.
#[derive(Debug)]
pub(crate) struct PeerTasks {
    cluster: Arc<Cluster>,
    ask: Ask,
    addresses: Vec<PeerAddress>,
    running: BTreeSet<PeerId>,
    news: Vec<News>,
    events: mpsc::Receiver<Event>,
    queue: Queue,
    tasks: JoinSet<()>,
    changes: watch::Receiver<u64>,
    started_ns: i64,
    waiting: Arc<Waiting>,
    _following: Option<Following>,
}

impl PeerTasks {
    /// Asks the peers there are.
    pub(crate) async fn start(cluster: Arc<Cluster>, ask: Ask) -> Self {
        cluster.tried().await;
        let (queue, events) = Queue::new(Arc::clone(&cluster.counts));
        let mut this = Self {
            waiting: cluster.counts.request(queue.depth()),
            _following: ask.flows.follow.then(|| cluster.counts.follow()),
            ask,
            addresses: Vec::new(),
            running: BTreeSet::new(),
            news: Vec::new(),
            events,
            queue,
            tasks: JoinSet::new(),
            changes: cluster.changes(),
            started_ns: wall_ns(),
            cluster,
        };
        this.changes.mark_unchanged();
        this.update(true);
        this
    }

    /// Where a peer is.
    pub(crate) fn address(&self, peer: PeerId) -> &PeerAddress {
        &self.addresses[peer]
    }

    /// Notes how much waits in the merge of the request.
    pub(crate) fn merging(&self, bytes: usize) {
        self.waiting.set_merge_bytes(bytes);
    }

    /// What there is to tell now.
    pub(crate) fn try_next(&mut self) -> Option<News> {
        if let Some(news) = self.news.pop() {
            return Some(news);
        }
        let event = self.events.try_recv().ok()?;
        Some(self.told(event))
    }

    /// Waits for what happens next. It may be dropped at any time.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop() {
                return news;
            }
            tokio::select! {
                Some(event) = self.events.recv() => return self.told(event),
                changed = self.changes.changed(), if self.ask.flows.follow => {
                    if changed.is_ok() {
                        self.update(false);
                    }
                }
            }
        }
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.running.is_empty() && self.news.is_empty() && self.events.is_empty() && !self.ask.flows.follow
    }

    fn told(&mut self, event: Event) -> News {
        if let Event::Ended(peer) = &event {
            self.running.remove(peer);
        }
        News::Event(event)
    }

    fn update(&mut self, first: bool) {
        let now = self.cluster.peers();
        for (id, address) in self.addresses.iter().enumerate() {
            if self.running.contains(&id) && !now.iter().any(|peer| peer.address == *address) {
                self.news.push(News::Removed(id));
            }
        }
        let peers = u32::try_from(now.len()).unwrap_or(u32::MAX).max(1);
        for peer in now {
            let asked = self.running.iter().any(|id| self.addresses[*id] == peer.address);
            if asked {
                continue;
            }
            let mut ask = self.ask.clone();
            if ask.most_per_second > 0 {
                // A quiet node's flows are not to be lost among those of busy ones.
                ask.most_per_second = (ask.most_per_second / peers).max(LEAST_PER_SECOND);
            }
            let from_now = ask.flows.follow && ask.resume.is_empty() && ask.flows.since.is_none();
            if from_now || (!first && ask.flows.since.is_none()) {
                // What it has seen since the client asked: the same moment for all of them.
                ask.flows.number = 0;
                ask.flows.since = Some(Timestamp::from_nanos(self.started_ns));
            }
            let id = self.addresses.len();
            self.addresses.push(peer.address.clone());
            self.running.insert(id);
            self.news.push(News::Asked(id, peer.name()));
            self.tasks.spawn(peer_flows::run(id, peer, ask, self.queue.clone()));
        }
        // They are taken from the end.
        self.news.reverse();
    }
}
