//! Which observers and relays there are: from a list, a file, DNS, and what other servers tell.
//!
//! Each source has its own peers; together they are a set in which each address is once. The set changes while the relay
//! runs. A source that fails keeps the peers that it had.

mod dns;
mod file;
mod notify;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serving::connect::TlsOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use source::{DnsName, PeerSource};

/// One observer or relay, as discovery knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// `HOST:PORT`, `tls://HOST:PORT` or `unix:///path`. What DNS answers is `IP:PORT`.
    pub address: String,
    /// The name to expect in its certificate, where it isn't the host of the address.
    pub tls_server_name: Option<String>,
    /// Its name, where discovery knows it.
    pub name: Option<String>,
}

/// Why peers can't be looked for.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// There is no source.
    #[error(
        "there are no peers; name observers with --peers HOST:PORT,…, or where to find them: dns:HOST:PORT, srv:NAME, file:PATH, notify:ADDRESS"
    )]
    None,
    /// A file can't be read, or is not right.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// The system's DNS settings can't be read.
    #[error("cannot look names up: {0}; --dns-server names a server")]
    Resolver(String),
}

/// What looking for peers needs to know.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// The DNS server to ask; `None`: those of the system.
    pub dns_server: Option<SocketAddr>,
    /// How often a name is asked for again.
    pub dns_interval: Duration,
    /// How to connect to those who tell of peers.
    pub tls: TlsOptions,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            dns_server: None,
            // The records of a cluster change with its nodes.
            dns_interval: Duration::from_secs(10),
            tls: TlsOptions::default(),
        }
    }
}

/// The peers now, and a notice when they change.
pub type PeerSet = Arc<BTreeSet<PeerAddress>>;

/// All peers of all sources. It stops looking when it is dropped.
#[derive(Debug)]
pub struct Peers {
    found: Found,
    _tasks: JoinSet<()>,
}

/// Where sources put what they have found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    by_source: Arc<Mutex<BTreeMap<usize, BTreeSet<PeerAddress>>>>,
    all: watch::Sender<PeerSet>,
}

impl Found {
    fn new() -> Self {
        Self {
            by_source: Arc::default(),
            all: watch::Sender::new(Arc::default()),
        }
    }

    /// Takes the place of what a source has found before.
    pub(crate) fn put(&self, source: usize, peers: BTreeSet<PeerAddress>) {
        let mut by_source = self.by_source.lock();
        by_source.insert(source, peers);
        // The source that was named first says what is known of an address.
        let mut all: BTreeMap<&str, &PeerAddress> = BTreeMap::new();
        for peer in by_source.values().flatten() {
            all.entry(&peer.address).or_insert(peer);
        }
        let all: BTreeSet<PeerAddress> = all.into_values().cloned().collect();
        let changed = self.all.send_if_modified(|known| {
            let new = **known != all;
            if new {
                *known = Arc::new(all.clone());
            }
            new
        });
        if changed && all.is_empty() {
            tracing::warn!("there are no peers any more; the sources of --peers have none");
        } else if changed {
            tracing::info!(peers = all.len(), "peers");
        }
    }
}

impl Peers {
    /// Starts looking.
    ///
    /// # Errors
    /// For what can't become right by itself: no source, a file that can't be read.
    pub async fn start(sources: Vec<PeerSource>, options: PeerOptions) -> Result<Self, PeersError> {
        if sources.is_empty() {
            return Err(PeersError::None);
        }
        let found = Found::new();
        let mut tasks = JoinSet::new();
        let mut listed = BTreeSet::new();
        let mut resolver = None;
        for (place, source) in sources.into_iter().enumerate() {
            // The list is the first source.
            let place = place + 1;
            match source {
                PeerSource::Address(peer) => {
                    listed.insert(peer);
                }
                PeerSource::File(path) => {
                    tasks.spawn(file::watch(&path, place, found.clone())?);
                }
                PeerSource::Dns(name) => {
                    let resolver = match &resolver {
                        Some(resolver) => Arc::clone(resolver),
                        None => Arc::clone(resolver.insert(Arc::new(dns::resolver(options.dns_server)?))),
                    };
                    tasks.spawn(dns::watch(resolver, name, options.dns_interval, place, found.clone()));
                }
                PeerSource::Notify(peer) => {
                    tasks.spawn(notify::watch(peer, options.tls.clone(), place, found.clone()));
                }
            }
        }
        if !listed.is_empty() {
            found.put(0, listed);
        }
        Ok(Self { found, _tasks: tasks })
    }

    /// The peers now, and changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<PeerSet> {
        self.found.all.subscribe()
    }
}

#[cfg(test)]
mod tests;
