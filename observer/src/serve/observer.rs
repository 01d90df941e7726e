//! The service `observer.Observer`, all but `GetFlows`.

use std::pin::Pin;
use std::sync::Arc;

use flow::api::observer::observer_server::Observer;
use flow::api::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse, GetFlowsRequest,
    GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest, GetNodesResponse, Node,
    ServerStatusRequest, ServerStatusResponse,
};
use flow::api::parallax::NodeDetail;
use flow::api::relay::NodeState as ApiNodeState;
use tokio::sync::watch;
use tokio_stream::{Empty, Stream};
use tonic::{Request, Response, Status};

use super::namespaces;
use super::{NodeState, open_until};
use flow::clock::wall_ns;

/// The window of `flows_rate`.
const RATE_SECONDS: i64 = 60;
/// A shorter window says nothing.
const MIN_RATE_SECONDS: f64 = 0.1;
/// Bytes a flow takes before there are any: for telling how many the log can hold.
const TYPICAL_FLOW_BYTES: u64 = 120;

pub(super) struct ObserverService {
    node: Arc<NodeState>,
    address: String,
    shutdown: watch::Receiver<bool>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl ObserverService {
    pub(super) fn new(node: Arc<NodeState>, address: String, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            node,
            address,
            shutdown,
        }
    }

    /// A stream without events. One that follows stays open, as a client expects.
    fn nothing<T: Send + 'static>(&self, follow: bool) -> Responses<T> {
        if !follow {
            return Box::pin(tokio_stream::empty());
        }
        Box::pin(open_until(self.shutdown.clone()))
    }

    fn uptime_ns(&self) -> u64 {
        u64::try_from(self.node.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How many flows fit into the log, as flows are now.
    fn max_flows(&self) -> u64 {
        let state = self.node.log.state();
        let bytes_a_flow = (state.bytes as u64)
            .checked_div(state.rows)
            .unwrap_or(TYPICAL_FLOW_BYTES)
            .max(1);
        (state.budget_bytes as u64 / bytes_a_flow).max(state.rows)
    }
}

#[tonic::async_trait]
impl Observer for ObserverService {
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
        request: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Ok(Response::new(self.nothing(request.get_ref().follow)))
    }

    async fn get_debug_events(
        &self,
        request: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Ok(Response::new(self.nothing(request.get_ref().follow)))
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        self.node.log.catch_up().await;
        let state = self.node.log.state();
        Ok(Response::new(GetNodesResponse {
            nodes: vec![Node {
                name: self.node.name.clone(),
                version: self.node.version.clone(),
                address: self.address.clone(),
                state: ApiNodeState::NodeConnected.into(),
                tls: None,
                uptime_ns: self.uptime_ns(),
                num_flows: state.rows,
                max_flows: self.max_flows(),
                seen_flows: state.seen,
                detail: Some(NodeDetail {
                    lost: self.node.log.losses().of_log().values().sum(),
                    ..NodeDetail::default()
                }),
            }],
        }))
    }

    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        self.node.log.catch_up().await;
        Ok(Response::new(GetNamespacesResponse {
            namespaces: namespaces::seen(&self.node.log, wall_ns()),
        }))
    }

    async fn server_status(&self, _: Request<ServerStatusRequest>) -> Result<Response<ServerStatusResponse>, Status> {
        self.node.log.catch_up().await;
        let state = self.node.log.state();
        let uptime_ns = self.uptime_ns();
        let now = wall_ns();
        let since = now - RATE_SECONDS * 1_000_000_000;
        let started = now.saturating_sub(i64::try_from(uptime_ns).unwrap_or(i64::MAX));
        // What has left the log can't be counted: then the rate is that of what is still there.
        let oldest = state
            .time_range
            .filter(|_| state.evicted > 0)
            .map_or(since, |(oldest, _)| oldest);
        let window = (now - since.max(started).max(oldest)) as f64 / 1e9;
        let recent = self.node.log.rows_since(since);
        Ok(Response::new(ServerStatusResponse {
            num_flows: state.rows,
            max_flows: self.max_flows(),
            seen_flows: state.seen,
            uptime_ns,
            num_connected_nodes: Some(pbjson_types::UInt32Value { value: 1 }),
            num_unavailable_nodes: Some(pbjson_types::UInt32Value { value: 0 }),
            unavailable_nodes: Vec::new(),
            version: self.node.version.clone(),
            flows_rate: recent as f64 / window.max(MIN_RATE_SECONDS),
            capture: Some(self.node.capture_status()),
        }))
    }
}
