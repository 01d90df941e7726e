//! A service that answers, and one of whose streams never ends.

use std::pin::Pin;
use std::time::Duration;

use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::observer_server::Observer;
use flow::api::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse, GetFlowsRequest,
    GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest, GetNodesResponse,
    ServerStatusRequest, ServerStatusResponse,
};
use futures::{Stream, StreamExt as _, stream};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

pub struct Follows;

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl Observer for Follows {
    type GetFlowsStream = Messages<GetFlowsResponse>;
    type GetAgentEventsStream = Messages<GetAgentEventsResponse>;
    type GetDebugEventsStream = Messages<GetDebugEventsResponse>;

    async fn get_flows(&self, _: Request<GetFlowsRequest>) -> Result<Response<Self::GetFlowsStream>, Status> {
        let ticks = stream::repeat(()).then(async |()| {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(GetFlowsResponse::default())
        });
        Ok(Response::new(Box::pin(ticks)))
    }
    async fn get_agent_events(
        &self,
        _: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        not_here()
    }
    async fn get_debug_events(
        &self,
        _: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        not_here()
    }
    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        not_here()
    }
    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        not_here()
    }
    async fn server_status(&self, _: Request<ServerStatusRequest>) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(ServerStatusResponse::default()))
    }
}

/// Asks once; what is wrong is told as a client would tell it.
pub async fn status(channel: Channel) -> Result<(), String> {
    let asked = ObserverClient::new(channel).server_status(ServerStatusRequest {}).await;
    asked.map(drop).map_err(|status| serving::connect::reason(&status))
}

pub async fn follow(channel: Channel) -> Streaming<GetFlowsResponse> {
    let request = GetFlowsRequest::default();
    ObserverClient::new(channel)
        .get_flows(request)
        .await
        .expect("a stream")
        .into_inner()
}

/// Whether there is another message.
pub async fn next(stream: &mut Streaming<GetFlowsResponse>) -> bool {
    let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
    matches!(message, Ok(Ok(Some(_))))
}
