//! All peers, as they come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serving::connect::TlsOptions;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::connection::{Peer, PeerState};
use crate::counts::Counts;
use crate::peers::{PeerAddress, PeerSet};

/// How long the first requests wait for peers that have not been tried yet.
const FIRST_ATTEMPTS: Duration = Duration::from_secs(2);

/// How the relay merges.
#[derive(Clone, Copy, Debug)]
pub struct MergeOptions {
    /// How long a node may hold up the others.
    pub window: Duration,
    /// Memory for rows that wait, of each request.
    pub budget_bytes: usize,
}

/// The peers of the relay.
#[derive(Debug)]
pub struct Cluster {
    /// How to merge their flows.
    pub merge: MergeOptions,
    tls: TlsOptions,
    peers: RwLock<BTreeMap<PeerAddress, Arc<Peer>>>,
    changes: watch::Sender<u64>,
    /// What is counted of the flows on their way through.
    pub(crate) counts: Arc<Counts>,
    /// When it started.
    pub started: Instant,
}

impl Cluster {
    /// A cluster without peers.
    #[must_use]
    pub fn new(merge: MergeOptions, tls: TlsOptions) -> Arc<Self> {
        Arc::new(Self {
            merge,
            tls,
            peers: RwLock::default(),
            changes: watch::Sender::new(0),
            counts: Arc::default(),
            started: Instant::now(),
        })
    }

    /// Takes the place of the peers there were; connections to those that stay are kept.
    pub fn set_peers(&self, wanted: &PeerSet) {
        {
            let mut peers = self.peers.write();
            let before = peers.len();
            peers.retain(|address, _| wanted.contains(address));
            if peers.len() < before {
                self.counts
                    .keep_only(|node| peers.values().any(|peer| peer.knows(node)));
            }
            for address in wanted.iter() {
                if !peers.contains_key(address) {
                    let peer = Peer::start(address.clone(), self.tls.clone());
                    peers.insert(address.clone(), Arc::new(peer));
                }
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Follows what discovery finds.
    pub async fn follow(self: Arc<Self>, mut found: watch::Receiver<PeerSet>) {
        loop {
            let peers = found.borrow_and_update().clone();
            self.set_peers(&peers);
            if found.changed().await.is_err() {
                return;
            }
        }
    }

    /// The peers now.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.read().values().cloned().collect()
    }

    /// Tells when peers have been added or removed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until each peer has been tried once, but not for long.
    pub async fn tried(&self) {
        let until = Instant::now() + FIRST_ATTEMPTS;
        for peer in self.peers() {
            let mut state = peer.state();
            let known = state.wait_for(|state| !matches!(state, PeerState::Connecting));
            tokio::select! {
                _ = known => {}
                () = sleep_until(until) => return,
            }
        }
    }
}
