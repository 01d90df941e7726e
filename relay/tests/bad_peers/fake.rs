//! A peer that is made up.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::{FlightData, Ticket};
use feed::FeedError;
use flow::api::Timestamp;
use flow::api::flow::{Endpoint, Flow, LostEvent, LostEventSource, Verdict};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_server::{Observer, ObserverServer};
use flow::api::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse, GetFlowsRequest,
    GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest, GetNodesResponse, Node,
    ServerStatusRequest, ServerStatusResponse,
};
use flow::api::parallax::CaptureStatus;
use flow::clock::wall_ns;
use futures::{Stream, StreamExt as _, stream};
use serving::listen::{Accepted, Listen, Listener, Protection};
use sql::engine::{Engine, Sources};
use sql::limits::Limits;
use sql::server::{FlightSqlServer, FlightStream, OtherTickets};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Nothing; it knows only Hubble's API. A flow every 10 ms, each with the next number as identity.
    Hubble,
    /// It answers with what is no feed.
    Rubbish,
    /// It wants another version of the feed.
    OtherVersion,
    /// Its feed has nothing, and its clock is so far before ours.
    Silent { ahead_ns: i64 },
}

/// A peer that is made up. It ends with the value.
pub struct Fake {
    pub socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn start(folder: &Path, name: &str, kind: Kind) -> Self {
        Self::start_at(folder, &format!("{name}.sock"), name, kind).await
    }

    pub async fn start_at(folder: &Path, file: &str, name: &str, kind: Kind) -> Self {
        let socket = folder.join(file);
        let listener = Listener::bind(&Listen::Unix(socket.clone())).await.unwrap();
        let service = Service {
            name: name.to_owned(),
            kind,
        };
        let mut routes = Routes::builder();
        routes.add_service(ObserverServer::new(service));
        if kind != Kind::Hubble {
            let engine = Engine::new(Sources::default(), Limits::default()).unwrap();
            let flight = FlightSqlServer::new(Arc::new(engine), Arc::new(kind), "fake").unwrap();
            routes.add_service(FlightServiceServer::new(flight));
        }
        let router = Server::builder().add_routes(routes.routes());
        let task = tokio::spawn(async move {
            if let Accepted::Unix(connections, guard) = listener.accepted(&Protection::default()) {
                router.serve_with_incoming(connections).await.unwrap();
                drop(guard);
            }
        });
        Self { socket, task }
    }
}

impl OtherTickets for Kind {
    fn answer(&self, _: &Ticket) -> Result<FlightStream, Status> {
        match self {
            Self::OtherVersion => Err(Status::invalid_argument(FeedError::Version { asked: 1 }.to_string())),
            Self::Rubbish => {
                let rubbish = stream::iter(0_u8..200).map(|number| {
                    Ok(FlightData {
                        data_header: vec![number; usize::from(number) + 1].into(),
                        data_body: vec![number; 100].into(),
                        app_metadata: vec![255 - number; 20].into(),
                        ..FlightData::default()
                    })
                });
                Ok(Box::pin(rubbish))
            }
            Self::Hubble | Self::Silent { .. } => Ok(Box::pin(stream::pending())),
        }
    }
}

struct Service {
    name: String,
    kind: Kind,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not here"))
}

/// Every tenth message tells of a loss.
fn message(node: &str, number: u32) -> GetFlowsResponse {
    let time = Timestamp::from_nanos(wall_ns());
    let types = if number % 10 == 9 {
        ResponseTypes::LostEvents(LostEvent {
            source: LostEventSource::PerfEventRingBuffer.into(),
            num_events_lost: 1,
            ..LostEvent::default()
        })
    } else {
        ResponseTypes::Flow(Flow {
            time: Some(time),
            node_name: node.to_owned(),
            verdict: Verdict::Forwarded.into(),
            source: Some(Endpoint {
                identity: number / 10 * 9 + number % 10,
                ..Endpoint::default()
            }),
            ..Flow::default()
        })
    };
    GetFlowsResponse {
        node_name: node.to_owned(),
        time: Some(time),
        response_types: Some(types),
    }
}

#[tonic::async_trait]
impl Observer for Service {
    type GetFlowsStream = Messages<GetFlowsResponse>;
    type GetAgentEventsStream = Messages<GetAgentEventsResponse>;
    type GetDebugEventsStream = Messages<GetDebugEventsResponse>;

    async fn get_flows(&self, _: Request<GetFlowsRequest>) -> Result<Response<Self::GetFlowsStream>, Status> {
        let name = self.name.clone();
        let messages = stream::iter(0..).then(move |number| {
            let name = name.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(message(&name, number))
            }
        });
        Ok(Response::new(Box::pin(messages)))
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
        if self.kind == Kind::Hubble {
            return not_here();
        }
        Ok(Response::new(GetNodesResponse {
            nodes: vec![Node {
                name: self.name.clone(),
                state: flow::api::relay::NodeState::NodeConnected.into(),
                ..Node::default()
            }],
        }))
    }
    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        not_here()
    }
    async fn server_status(&self, _: Request<ServerStatusRequest>) -> Result<Response<ServerStatusResponse>, Status> {
        let capture = match self.kind {
            Kind::Silent { ahead_ns } => Some(CaptureStatus {
                clock_ns: wall_ns() + ahead_ns,
                ..CaptureStatus::default()
            }),
            _ => None,
        };
        Ok(Response::new(ServerStatusResponse {
            capture,
            ..ServerStatusResponse::default()
        }))
    }
}
