//! What is known of the nodes of a cluster.

use flow::api::observer::{Node, Tls};
use flow::api::parallax::NodeDetail;
use flow::api::relay::NodeState;

use crate::cluster::Cluster;
use crate::connection::{Connected, Peer, PeerState};

/// A node of each observer, and those that other relays tell of. A name that two of them have is a problem of both.
pub(crate) fn of_cluster(cluster: &Cluster) -> Vec<Node> {
    let peers = cluster.peers();
    let mut nodes: Vec<Node> = peers.iter().flat_map(|peer| of_peer(cluster, peer)).collect();
    nodes.sort_by(|one, other| (&one.name, &one.address).cmp(&(&other.name, &other.address)));
    let same = |one: &Node, other: &Node| one.name == other.name && !one.name.is_empty();
    for place in 0..nodes.len() {
        let name = nodes[place].clone();
        let before = place.checked_sub(1).map(|before| nodes[before].clone());
        let others = [before.as_ref(), nodes.get(place + 1)].into_iter().flatten();
        let twin = others
            .filter(|other| same(other, &name))
            .map(|other| other.address.clone())
            .next();
        if let Some(address) = twin {
            let detail = nodes[place].detail.get_or_insert_with(NodeDetail::default);
            if detail.problem.is_empty() {
                detail.problem = format!("the node at {address} has the same name; give each its own --node-name");
            }
        }
    }
    nodes
}

fn of_peer(cluster: &Cluster, peer: &Peer) -> Vec<Node> {
    let state = peer.state().borrow().clone();
    match state {
        PeerState::Connected(connected) => known(cluster, peer, &connected, None),
        PeerState::Unavailable { why, last } => match last {
            Some(last) => known(cluster, peer, &last, Some(&why)),
            None => vec![unknown(peer, NodeState::NodeUnavailable, &why)],
        },
        PeerState::Connecting => vec![unknown(peer, NodeState::UnknownNodeState, "it was not reached yet")],
    }
}

fn unknown(peer: &Peer, state: NodeState, why: &str) -> Node {
    Node {
        name: peer.name(),
        address: peer.address.address.clone(),
        state: state.into(),
        tls: tls(peer),
        detail: Some(NodeDetail {
            problem: why.to_owned(),
            ..NodeDetail::default()
        }),
        ..Node::default()
    }
}

fn tls(peer: &Peer) -> Option<Tls> {
    let enabled = peer.address.address.starts_with("tls://");
    enabled.then(|| Tls {
        enabled,
        server_name: peer.address.tls_server_name.clone().unwrap_or_default(),
    })
}

/// The nodes of a peer as it has told of them, the last time if it can't be reached.
fn known(cluster: &Cluster, peer: &Peer, connected: &Connected, lost: Option<&str>) -> Vec<Node> {
    let status = &connected.status;
    let mut nodes = connected.nodes.clone();
    if nodes.is_empty() {
        nodes.push(Node {
            name: peer.name(),
            version: status.version.clone(),
            state: NodeState::NodeConnected.into(),
            uptime_ns: status.uptime_ns,
            num_flows: status.num_flows,
            max_flows: status.max_flows,
            seen_flows: status.seen_flows,
            ..Node::default()
        });
    }
    let through = nodes.len() > 1 || connected.is_relay();
    for node in &mut nodes {
        let detail = node.detail.get_or_insert_with(NodeDetail::default);
        detail.skew_ns += connected.skew_ns;
        detail.late += cluster.counts.of(&node.name).late;
        if through {
            detail.relay.clone_from(&peer.address.address);
        } else {
            node.address.clone_from(&peer.address.address);
            node.tls = tls(peer);
        }
        if let Some(why) = lost {
            node.state = NodeState::NodeUnavailable.into();
            why.clone_into(&mut detail.problem);
        }
    }
    nodes
}
