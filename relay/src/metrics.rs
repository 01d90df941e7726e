//! What the relay tells as metrics: of its peers and nodes, of flows on their way through, and of what waits.
//!
//! They are read when somebody asks, from the same numbers as `ServerStatus` and `GetNodes`. docs/metrics.md lists them for
//! users; a test holds that it names each.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use flow::api::observer::Node;
use flow::api::relay::NodeState;
use flow::clock::wall_ns;
use metrics::instruments::{Instruments, Values, one};
use metrics::otlp::{Collector, Signal};
use metrics::page::Page;
use metrics::providers::{MetricsError, Providers};
use metrics::resource::{Place, resource};
use opentelemetry::KeyValue;
use serving::servers::ended;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::VERSION;
use crate::cluster::Cluster;
use crate::config::MetricsSettings;
use crate::connection::PeerState;
use crate::counts::NodeCounts;
use crate::serve::nodes;

/// Who will get metrics.
#[derive(Debug)]
pub struct Metrics {
    page: Option<Page>,
    collector: Option<Collector>,
}

impl Metrics {
    /// Takes the address, so that what is wrong with it is known before anything else starts.
    ///
    /// # Errors
    /// What is wrong with the address, or with the collector.
    pub async fn bind(settings: &MetricsSettings) -> Result<Self, MetricsError> {
        let collector = Collector::new(
            Signal::Metrics,
            settings.otlp_endpoint.as_deref(),
            settings.otlp_protocol,
        )?;
        let page = match settings.metrics_listen {
            Some(address) => Some(Page::bind(address).await?),
            None => None,
        };
        Ok(Self { page, collector })
    }

    /// Serves and sends them until `shutdown` becomes true, or until what it returns is dropped.
    ///
    /// # Errors
    /// If the collector can't be spoken to as it is said.
    pub fn serve(self, cluster: &Arc<Cluster>, shutdown: &watch::Receiver<bool>) -> Result<JoinSet<()>, MetricsError> {
        let mut server = JoinSet::new();
        if self.page.is_none() && self.collector.is_none() {
            return Ok(server);
        }
        let providers = of(cluster, self.collector.as_ref())?;
        if let Some(collector) = &self.collector {
            tracing::info!(%collector, "sending metrics");
        }
        let mut shutdown = shutdown.clone();
        server.spawn(async move {
            let Some(page) = self.page else {
                ended(&mut shutdown).await;
                return drop(providers);
            };
            tracing::info!(address = %page.address(), "serving metrics");
            if let Err(error) = page.serve(providers, shutdown).await {
                tracing::error!("metrics are not served any more: {error}");
            }
        });
        Ok(server)
    }
}

/// The metrics of a cluster.
fn of(cluster: &Arc<Cluster>, collector: Option<&Collector>) -> Result<Providers, MetricsError> {
    // Without a name of its own a relay goes by that of its machine.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let resource = resource(
        "parallax-relay",
        VERSION,
        Place::Host(host.trim()),
        uuid::Uuid::new_v4(),
    );
    let providers = Providers::new(resource, collector)?;
    for provider in providers.iter() {
        let own = Own(Instruments::new(provider, cluster));
        own.peers();
        own.nodes();
        own.requests();
    }
    Ok(providers)
}

struct Own(Instruments<Cluster>);

impl Own {
    fn peers(&self) {
        self.0.gauge(
            "parallax.relay.peers",
            "{peer}",
            "Peers by their state: connected, unavailable, or connecting.",
            |cluster| {
                let mut states = BTreeMap::from([("connected", 0.0), ("connecting", 0.0), ("unavailable", 0.0)]);
                for peer in cluster.peers() {
                    let state = match &*peer.state().borrow() {
                        PeerState::Connected(_) => "connected",
                        PeerState::Connecting => "connecting",
                        PeerState::Unavailable { .. } => "unavailable",
                    };
                    *states.entry(state).or_default() += 1.0;
                }
                let states = states.into_iter();
                states
                    .map(|(state, count)| (count, vec![KeyValue::new("state", state)]))
                    .collect()
            },
        );
        self.0.counter(
            "parallax.relay.reconnects",
            "{connection}",
            "How often the connection to a peer was made again.",
            |cluster| {
                let peers = cluster.peers().into_iter();
                peers
                    .map(|peer| (peer.reconnects(), vec![of_peer(&peer.address.address)]))
                    .collect()
            },
        );
        self.0.counter(
            "parallax.relay.lost_events",
            "{event}",
            "Events that the nodes of a peer have lost, by stage.",
            lost,
        );
    }

    fn nodes(&self) {
        self.0.gauge(
            "parallax.relay.node.connected",
            "",
            "Whether a node can be asked: 1 if so.",
            |cluster| {
                let is_there = |node: &Node| node.state() == NodeState::NodeConnected;
                of_nodes(cluster, |node, _| Some(f64::from(u8::from(is_there(node)))))
            },
        );
        self.0.gauge(
            "parallax.relay.clock_skew",
            "s",
            "How far the clock of a node is before the relay's, at least.",
            |cluster| of_nodes(cluster, |node, _| Some(seconds(node.detail.as_ref()?.skew_ns))),
        );
        self.0.gauge(
            "parallax.relay.watermark_age",
            "s",
            "How far what a node has sent to clients that follow is behind the wall clock.",
            |cluster| {
                let now_ns = wall_ns();
                of_nodes(cluster, |_, counts| {
                    Some(seconds(now_ns.saturating_sub(counts.watermark_ns?)))
                })
            },
        );
        self.0.counter(
            "parallax.relay.flows.received",
            "{flow}",
            "Flows that came from a node, for all requests together.",
            |cluster| of_nodes(cluster, |_, counts| Some(counts.received)),
        );
        self.0.counter(
            "parallax.relay.flows.missed",
            "{flow}",
            "Flows that left the log of a node before clients of the relay took them.",
            |cluster| of_nodes(cluster, |_, counts| Some(counts.missed)),
        );
        self.0.counter(
            "parallax.relay.flows.late",
            "{flow}",
            "Flows of a node that came too late for their place in the order of time.",
            |cluster| of_nodes(cluster, |node, _| Some(node.detail.as_ref()?.late)),
        );
    }

    fn requests(&self) {
        self.0.gauge(
            "parallax.relay.followers",
            "{client}",
            "Clients that follow the newest flows.",
            |cluster| one(cluster.counts.followers() as f64),
        );
        self.0.counter(
            "parallax.relay.flows.sent",
            "{flow}",
            "Flows that were merged and given to clients.",
            |cluster| one(cluster.counts.sent_flows()),
        );
        self.0.gauge(
            "parallax.relay.queue.messages",
            "{message}",
            "Messages of nodes that wait to be merged.",
            |cluster| one(cluster.counts.depths().messages as f64),
        );
        self.0.gauge(
            "parallax.relay.queue.size",
            "By",
            "Memory of the flows in these messages.",
            |cluster| one(cluster.counts.depths().queue_bytes as f64),
        );
        self.0.gauge(
            "parallax.relay.merge.size",
            "By",
            "Memory of the flows that wait in merges for their turn.",
            |cluster| one(cluster.counts.depths().merge_bytes as f64),
        );
    }
}

fn of_peer(address: &str) -> KeyValue {
    KeyValue::new("peer", address.to_owned())
}

fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

/// A value of each node that has one, with the node's name and the peer that it is reached through.
fn of_nodes<T>(cluster: &Cluster, read: impl Fn(&Node, NodeCounts) -> Option<T>) -> Values<T> {
    let nodes = nodes::of_cluster(cluster).into_iter();
    nodes
        .filter_map(|node| {
            let value = read(&node, cluster.counts.of(&node.name))?;
            let through = node.detail.as_ref().map(|detail| detail.relay.as_str());
            let peer = through.filter(|relay| !relay.is_empty()).unwrap_or(&node.address);
            Some((value, vec![KeyValue::new("node", node.name.clone()), of_peer(peer)]))
        })
        .collect()
}

/// Losses of each peer by stage, as it has told of them last.
fn lost(cluster: &Cluster) -> Values<u64> {
    let mut values = Vec::new();
    for peer in cluster.peers() {
        let last = peer.last();
        let losses = last.iter().filter_map(|last| last.status.capture.as_ref());
        let mut stages: BTreeMap<&str, u64> = BTreeMap::new();
        for loss in losses.flat_map(|capture| &capture.lost) {
            *stages.entry(&loss.stage).or_default() += loss.count;
        }
        for (stage, count) in stages {
            let labels = vec![of_peer(&peer.address.address), KeyValue::new("stage", stage.to_owned())];
            values.push((count, labels));
        }
    }
    values
}
