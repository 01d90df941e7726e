//! The service `observer.Observer` for the whole cluster, all but `GetFlows`.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::observer_server::Observer;
use flow::api::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse, GetFlowsRequest,
    GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest, GetNodesResponse, Namespace,
    ServerStatusRequest, ServerStatusResponse,
};
use flow::api::parallax::{CaptureStatus, StageLoss};
use flow::api::relay::NodeState;
use futures::future::join_all;
use tokio::time::timeout;
use tokio_stream::{Empty, Stream};
use tonic::{Request, Response, Status};

use super::nodes;
use crate::VERSION;
use crate::cluster::Cluster;
use crate::connection::{Connected, PeerState};
use flow::clock::wall_ns;

/// How long a node may take for its part of an answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct ClusterService {
    cluster: Arc<Cluster>,
}

impl ClusterService {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Peers that answer.
    async fn connected(&self) -> Vec<Arc<Connected>> {
        self.cluster.tried().await;
        let peers = self.cluster.peers();
        let states = peers.iter().map(|peer| peer.state().borrow().clone());
        let connected = states.filter_map(|state| match state {
            PeerState::Connected(connected) => Some(connected),
            PeerState::Connecting | PeerState::Unavailable { .. } => None,
        });
        connected.collect()
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn only_of_nodes<T>() -> Result<T, Status> {
    Err(Status::unimplemented(
        "a relay has no events of its own; ask a node for them, `parallax list nodes -o wide` has their addresses",
    ))
}

#[tonic::async_trait]
impl Observer for ClusterService {
    type GetFlowsStream = Empty<Result<GetFlowsResponse, Status>>;
    type GetAgentEventsStream = Responses<GetAgentEventsResponse>;
    type GetDebugEventsStream = Responses<GetDebugEventsResponse>;

    async fn get_flows(&self, _: Request<GetFlowsRequest>) -> Result<Response<Self::GetFlowsStream>, Status> {
        Err(Status::internal(
            "GetFlows is answered by serving::get_flows, before a request comes here",
        ))
    }

    async fn get_agent_events(
        &self,
        _: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        only_of_nodes()
    }

    async fn get_debug_events(
        &self,
        _: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        only_of_nodes()
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        self.cluster.tried().await;
        Ok(Response::new(GetNodesResponse {
            nodes: nodes::of_cluster(&self.cluster),
        }))
    }

    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let connected = self.connected().await;
        let ask = |connected: &Arc<Connected>| {
            let mut client = ObserverClient::new(connected.channel.clone());
            async move { timeout(PATIENCE, client.get_namespaces(GetNamespacesRequest {})).await }
        };
        let answers = join_all(connected.iter().map(ask)).await;
        // A node that doesn't answer is missing in the list of nodes; what the others have seen is told all the same.
        let known = answers.into_iter().filter_map(|answer| answer.ok()?.ok());
        let all: BTreeSet<(String, String)> = known
            .flat_map(|answer| answer.into_inner().namespaces)
            .map(|namespace| (namespace.cluster, namespace.namespace))
            .collect();
        let namespaces = all
            .into_iter()
            .map(|(cluster, namespace)| Namespace { cluster, namespace });
        Ok(Response::new(GetNamespacesResponse {
            namespaces: namespaces.collect(),
        }))
    }

    async fn server_status(&self, _: Request<ServerStatusRequest>) -> Result<Response<ServerStatusResponse>, Status> {
        let connected = self.connected().await;
        let ask = |connected: &Arc<Connected>| {
            let mut client = ObserverClient::new(connected.channel.clone());
            let last = connected.status.clone();
            async move {
                match timeout(PATIENCE, client.server_status(ServerStatusRequest {})).await {
                    Ok(Ok(status)) => status.into_inner(),
                    Ok(Err(_)) | Err(_) => last,
                }
            }
        };
        let statuses = join_all(connected.iter().map(ask)).await;
        let nodes = nodes::of_cluster(&self.cluster);
        let (there, away): (Vec<_>, Vec<_>) = nodes
            .into_iter()
            .partition(|node| node.state() == NodeState::NodeConnected);
        let number = |count: usize| {
            Some(pbjson_types::UInt32Value {
                value: u32::try_from(count).unwrap_or(u32::MAX),
            })
        };
        let uptime = self.cluster.started.elapsed().as_nanos();
        Ok(Response::new(ServerStatusResponse {
            num_flows: statuses.iter().map(|status| status.num_flows).sum(),
            max_flows: statuses.iter().map(|status| status.max_flows).sum(),
            seen_flows: statuses.iter().map(|status| status.seen_flows).sum(),
            flows_rate: statuses.iter().map(|status| status.flows_rate).sum(),
            uptime_ns: u64::try_from(uptime).unwrap_or(u64::MAX),
            num_connected_nodes: number(there.len()),
            num_unavailable_nodes: number(away.len()),
            unavailable_nodes: away.into_iter().map(|node| node.name).collect(),
            version: format!("parallax-relay {VERSION}"),
            capture: Some(sum(statuses.iter().filter_map(|status| status.capture.as_ref()))),
        }))
    }
}

/// What all captures together have counted.
fn sum<'a>(captures: impl Iterator<Item = &'a CaptureStatus>) -> CaptureStatus {
    let mut all = CaptureStatus {
        mode: "relay".to_owned(),
        clock_ns: wall_ns(),
        ..CaptureStatus::default()
    };
    for one in captures {
        all.packets_seen += one.packets_seen;
        all.drops_seen += one.drops_seen;
        all.tcp_events_seen += one.tcp_events_seen;
        all.delivered += one.delivered;
        all.aggregated += one.aggregated;
        all.not_ip += one.not_ip;
        all.malformed += one.malformed;
        all.filtered += one.filtered;
        all.log_bytes += one.log_bytes;
        all.log_budget_bytes += one.log_budget_bytes;
        all.connections += one.connections;
        all.connections_evicted += one.connections_evicted;
        all.flows_evicted += one.flows_evicted;
        all.requests_unwatched += one.requests_unwatched;
        all.requests_undecided += one.requests_undecided;
        let nanos = |time: &Option<flow::api::Timestamp>| time.as_ref().map(flow::api::Timestamp::to_nanos);
        if nanos(&all.oldest_flow).is_none_or(|oldest| nanos(&one.oldest_flow).is_some_and(|time| time < oldest)) {
            all.oldest_flow = one.oldest_flow;
        }
        if nanos(&one.newest_flow) > nanos(&all.newest_flow) {
            all.newest_flow = one.newest_flow;
        }
        for overflow in &one.metrics_overflowed {
            let mut known = all.metrics_overflowed.iter_mut();
            match known.find(|known| known.metric == overflow.metric) {
                Some(known) => {
                    known.count += overflow.count;
                    known.limit = known.limit.max(overflow.limit);
                }
                None => all.metrics_overflowed.push(overflow.clone()),
            }
        }
        for loss in &one.lost {
            let known = all
                .lost
                .iter_mut()
                .find(|known| known.stage == loss.stage && known.source == loss.source);
            match known {
                Some(known) => known.count += loss.count,
                None => all.lost.push(StageLoss {
                    cpu: None,
                    ..loss.clone()
                }),
            }
        }
    }
    all
}
