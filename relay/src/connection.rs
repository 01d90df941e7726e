//! The connection to a peer, kept up: made again when it breaks, asked how it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetNodesRequest, Node, ServerStatusRequest, ServerStatusResponse};
use serving::connect::{Target, Tls, TlsOptions, channel, reason, told};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::peers::PeerAddress;
use flow::clock::wall_ns;

/// How long connecting, and a question, may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a peer is asked how it is. One that doesn't answer is lost after this time and [`PATIENCE`].
const INTERVAL: Duration = Duration::from_secs(2);
/// Questions that the skew of a clock is taken from: clocks are set right now and then.
const REMEMBERED_SKEWS: usize = 16;
/// What one stream may have on the way: its credit.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// All streams of a connection together: as much as HTTP/2 allows, so that one whose client doesn't read stops no other.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// A peer, and how it is.
#[derive(Debug)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    state: watch::Receiver<PeerState>,
    /// How often it has answered on a new connection.
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// How a peer is.
#[derive(Clone, Debug)]
pub enum PeerState {
    /// It has not been reached yet, and nobody knows whether it can be.
    Connecting,
    /// It answers.
    Connected(Arc<Connected>),
    /// It doesn't.
    Unavailable {
        /// Why.
        why: Arc<str>,
        /// What it was when it answered last.
        last: Option<Arc<Connected>>,
    },
}

/// What a peer has said of itself.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Counts connections: streams of an earlier one are over.
    pub generation: u64,
    /// For questions and streams.
    pub channel: Channel,
    /// Its node, or those of a relay. Empty for servers that don't tell.
    pub nodes: Vec<Node>,
    /// How it was when it was asked last.
    pub status: ServerStatusResponse,
    /// How far its clock is before ours, at least: what the way of a question leaves open is taken off.
    pub skew_ns: i64,
}

/// How far a clock is before ours, as one question has it.
#[derive(Clone, Copy, Debug)]
struct Skew {
    measured_ns: i64,
    /// Half of the time that the question took.
    error_ns: i64,
}

impl Skew {
    /// What is sure of it.
    fn at_least(self) -> i64 {
        let sure = self.measured_ns.saturating_abs().saturating_sub(self.error_ns).max(0);
        sure * self.measured_ns.signum()
    }
}

impl Connected {
    /// Whether it speaks for others.
    #[must_use]
    pub fn is_relay(&self) -> bool {
        self.status
            .capture
            .as_ref()
            .is_some_and(|capture| capture.mode == "relay")
    }

    /// How far the clock of one of its nodes is before ours.
    #[must_use]
    pub fn skew_ns(&self, node: &str) -> i64 {
        let found = self.nodes.iter().find(|known| known.name == node);
        let beyond = found.and_then(|node| node.detail.as_ref());
        self.skew_ns + beyond.map_or(0, |detail| detail.skew_ns)
    }
}

impl Peer {
    /// Connects, and goes on doing so.
    #[must_use]
    pub fn start(address: PeerAddress, tls: TlsOptions) -> Self {
        let (sender, state) = watch::channel(PeerState::Connecting);
        let connections = Arc::<AtomicU64>::default();
        let task = tokio::spawn(keep_up(address.clone(), tls, sender, Arc::clone(&connections)));
        Self {
            address,
            state,
            connections,
            task,
        }
    }

    /// How it is now, and notices of changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PeerState> {
        self.state.clone()
    }

    /// Its name, as far as it is known: its node's, or where it is.
    #[must_use]
    pub fn name(&self) -> String {
        let known = self.last();
        let node = known.as_ref().and_then(|connected| match connected.nodes.as_slice() {
            [node] => Some(node.name.clone()),
            _ => None,
        });
        node.or_else(|| self.address.name.clone())
            .unwrap_or_else(|| self.address.address.clone())
    }
}

impl Peer {
    /// What it has said of itself last, if ever.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Connected>> {
        match &*self.state.borrow() {
            PeerState::Connected(connected) => Some(Arc::clone(connected)),
            PeerState::Unavailable { last, .. } => last.clone(),
            PeerState::Connecting => None,
        }
    }

    /// Whether a node is its, or was when it answered last.
    #[must_use]
    pub fn knows(&self, node: &str) -> bool {
        let last = self.last();
        last.is_some_and(|last| last.nodes.iter().any(|known| known.name == node)) || self.name() == node
    }

    /// How often the connection was made again.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.connections.load(Ordering::Relaxed).saturating_sub(1)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Comes when a connection to a peer is over; why.
pub(crate) async fn lost(state: &mut watch::Receiver<PeerState>, generation: u64) -> String {
    let over = |state: &PeerState| !matches!(state, PeerState::Connected(now) if now.generation == generation);
    match state.wait_for(over).await.as_deref() {
        Ok(PeerState::Unavailable { why, .. }) => why.to_string(),
        Ok(_) => "it was connected anew".to_owned(),
        Err(_) => "it is no peer any more".to_owned(),
    }
}

/// Pauses between attempts: from a quarter of a second to ten, with jitter, for ever.
pub(crate) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
}

/// A channel to a peer.
pub(crate) async fn connect(peer: &PeerAddress, tls: &TlsOptions) -> Result<Channel, String> {
    let target = Target::parse(&peer.address, false).map_err(|error| error.to_string())?;
    let tls = match &target {
        Target::Tcp { host, tls: true, .. } => {
            let options = TlsOptions {
                server_name: peer.tls_server_name.clone().or_else(|| tls.server_name.clone()),
                ..tls.clone()
            };
            // Read for each connection, so that new certificates count from the next one on.
            Some(Tls::new(&options, host).map_err(|error| error.to_string())?)
        }
        Target::Tcp { .. } | Target::Unix(_) => None,
    };
    let windows = |endpoint: tonic::transport::Endpoint| {
        endpoint
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
    };
    match timeout(PATIENCE, channel(&target, tls, windows)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

async fn keep_up(address: PeerAddress, tls: TlsOptions, state: watch::Sender<PeerState>, connections: Arc<AtomicU64>) {
    let mut pauses = backoff().build();
    let mut last: Option<Arc<Connected>> = None;
    for generation in 1.. {
        let started = Instant::now();
        let why = attempt(&address, &tls, generation, &state, &mut last, &connections).await;
        let was_connected = matches!(&*state.borrow(), PeerState::Connected(_));
        if was_connected {
            tracing::warn!(peer = address.address, "lost: {why}");
        } else {
            tracing::debug!(peer = address.address, "cannot be reached: {why}");
        }
        state.send_replace(PeerState::Unavailable {
            why: why.into(),
            last: last.clone(),
        });
        if was_connected && started.elapsed() > INTERVAL {
            pauses = backoff().build();
        }
        sleep(pauses.next().unwrap_or(PATIENCE)).await;
    }
}

/// One connection from its start to its end; why it ended.
async fn attempt(
    address: &PeerAddress,
    tls: &TlsOptions,
    generation: u64,
    state: &watch::Sender<PeerState>,
    last: &mut Option<Arc<Connected>>,
    connections: &AtomicU64,
) -> String {
    let channel = match connect(address, tls).await {
        Ok(channel) => channel,
        Err(why) => return why,
    };
    // The quickest of the last questions says most about the clock.
    let mut skews: VecDeque<Skew> = VecDeque::new();
    loop {
        let connected = match timeout(PATIENCE, ask(&channel, generation, &mut skews)).await {
            Ok(Ok(connected)) => Arc::new(connected),
            Ok(Err(why)) => return why,
            Err(_) => return format!("no answer within {PATIENCE:?}"),
        };
        if last.as_ref().is_none_or(|last| last.generation != generation) {
            connections.fetch_add(1, Ordering::Relaxed);
            tracing::info!(peer = address.address, version = connected.status.version, "connected");
        }
        *last = Some(Arc::clone(&connected));
        state.send_replace(PeerState::Connected(connected));
        sleep(INTERVAL).await;
    }
}

/// How the peer is.
async fn ask(channel: &Channel, generation: u64, skews: &mut VecDeque<Skew>) -> Result<Connected, String> {
    let mut client = ObserverClient::new(channel.clone());
    let asked_ns = wall_ns();
    let status = client
        .server_status(ServerStatusRequest {})
        .await
        .map_err(|status| match status.code() {
            Code::Unimplemented => "it is no observer: it does not know observer.Observer/ServerStatus".to_owned(),
            _ if speaks_otherwise(&status) => "what listens there is no observer: it does not speak gRPC".to_owned(),
            _ => told(&status),
        })?;
    let answered_ns = wall_ns();
    let status = status.into_inner();
    let clock_ns = status.capture.as_ref().map_or(0, |capture| capture.clock_ns);
    if clock_ns != 0 {
        let error_ns = (answered_ns - asked_ns) / 2;
        skews.push_back(Skew {
            measured_ns: clock_ns - (asked_ns + error_ns),
            error_ns,
        });
        if skews.len() > REMEMBERED_SKEWS {
            skews.pop_front();
        }
    }
    let best = skews.iter().min_by_key(|skew| skew.error_ns);
    let skew_ns = best.map_or(0, |skew| skew.at_least());
    // Hubble's agents know no other nodes and don't implement this.
    let nodes = match client.get_nodes(GetNodesRequest {}).await {
        Ok(answer) => answer.into_inner().nodes,
        Err(status) if status.code() == Code::Unimplemented => Vec::new(),
        Err(status) => return Err(told(&status)),
    };
    Ok(Connected {
        generation,
        channel: channel.clone(),
        nodes,
        status,
        skew_ns,
    })
}

/// Whether the other side has answered with something else than HTTP/2 (`h2::Error`, which is not ours to name).
fn speaks_otherwise(status: &Status) -> bool {
    let why = told(status);
    ["http2 error", "frame with invalid size", "connection error detected"]
        .iter()
        .any(|text| why.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_as_far_as_the_question_can_tell() {
        for (measured_ns, error_ns, sure) in [(0, 5, 0), (10, 4, 6), (-10, 4, -6), (3, 4, 0), (-600, 1, -599)] {
            assert_eq!(Skew { measured_ns, error_ns }.at_least(), sure);
        }
    }
}
