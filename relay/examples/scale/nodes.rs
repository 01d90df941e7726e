//! Nodes that are not there: they speak the feed, and make their flows up.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use arrow_array::TimestampNanosecondArray;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use feed::FeedMessage;
use feed::encode::FeedEncoder;
use feed::serve::one_by_one;
use flow::api::observer::observer_server::{Observer, ObserverServer};
use flow::api::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse, GetFlowsRequest,
    GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest, GetNodesResponse, Node,
    ServerStatusRequest, ServerStatusResponse,
};
use flow::api::parallax::CaptureStatus;
use flow::api::relay::NodeState;
use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::clock::wall_ns;
use flow::endpoint::{self, Endpoint, Interface};
use flow::record::{FlowRecord, Ip, Transport};
use flow::schema::Column;
use futures::{Stream, stream};
use serving::listen::{Accepted, Listen, Listener, Protection};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Rows of the pattern that a node's flows are cut from.
const PATTERN: usize = 8192;
/// Connections that the flows of a node are of.
const CONNECTIONS: usize = 200;
/// The shortest time between two messages of a node.
const PACE: Duration = Duration::from_millis(20);
/// The longest one; a node with few flows waits for some.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Where a node listens.
pub fn socket(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("node{node}.sock"))
}

/// Serves all nodes until the process is ended.
pub async fn serve(folder: &Path, nodes: usize, rate: u64) -> Result<()> {
    let mut servers = JoinSet::new();
    for number in 0..nodes {
        let listener = Listener::bind(&Listen::Unix(socket(folder, number))).await?;
        let node = Simulated {
            name: format!("sim/node-{number}"),
            rate: rate as f64 / nodes as f64,
            pattern: Arc::new(pattern(number)),
        };
        let router = Server::builder()
            .add_service(ObserverServer::new(node.clone()))
            .add_service(FlightServiceServer::new(node));
        servers.spawn(async move {
            if let Accepted::Unix(connections, guard) = listener.accepted(&Protection::default()) {
                let served = router.serve_with_incoming(connections).await;
                drop(guard);
                served
            } else {
                Ok(())
            }
        });
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Packets of some connections in turn, as an observer's pipeline makes rows of them.
fn pattern(number: usize) -> FlowBatch {
    let node = Arc::new(endpoint::Node {
        name: format!("sim/node-{number}"),
        labels: String::new(),
    });
    let interface = Arc::new(Interface {
        index: 3,
        name: "eth0".to_owned(),
    });
    let ends: Vec<Arc<Endpoint>> = (0..40)
        .map(|place| {
            Arc::new(Endpoint {
                identity: 1000 + place,
                namespace: format!("team-{}", place % 5),
                pod: format!("web-{number}-{place}"),
                labels: format!("k8s:app=web,k8s:team=team-{}", place % 5),
                ..Endpoint::default()
            })
        })
        .collect();
    let mut builder = FlowBatchBuilder::new(1 + number as u64, 0);
    for row in 0..PATTERN {
        let connection = row % CONNECTIONS;
        let forward = (row / CONNECTIONS).is_multiple_of(2);
        let mut client = [0; 16];
        client[10..].copy_from_slice(&[0xff, 0xff, 10, number as u8, connection as u8, 1]);
        let mut server = [0; 16];
        server[10..].copy_from_slice(&[0xff, 0xff, 10, 200, (connection % 20) as u8, 2]);
        let (source, destination) = if forward { (client, server) } else { (server, client) };
        let (one, other) = (&ends[connection % 40], &ends[(connection * 7 + 1) % 40]);
        let port = 32_768 + connection as u16 * 3;
        builder.append(&FlowRecord {
            time_ns: 1,
            node: Some(&node),
            interface: Some(&interface),
            flow_type: 1,
            event_type: Some(4),
            event_sub_type: if forward { 5 } else { 0 },
            verdict: 1,
            traffic_direction: 1,
            observation_point: if forward { 5 } else { 101 },
            is_reply: Some(!forward),
            length: 60 + (row as u32 * 37) % 1400,
            packets: 1,
            ip: Some(Ip {
                version: 4,
                source: Some(source),
                destination: Some(destination),
                ttl: Some(64),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some(if forward { (port, 443) } else { (443, port) }),
                tcp_flags: Some(0x10),
                tcp: Some(((row as u32).wrapping_mul(2_654_435_761), row as u32, 512)),
                icmp: None,
            },
            source: Some(if forward { one } else { other }),
            destination: Some(if forward { other } else { one }),
            ..FlowRecord::default()
        });
    }
    builder.seal().expect("there are rows")
}

#[derive(Clone)]
struct Simulated {
    name: String,
    /// Flows a second.
    rate: f64,
    pattern: Arc<FlowBatch>,
}

/// A feed of one node.
struct Feed {
    node: Simulated,
    encoder: FeedEncoder,
    started: Instant,
    next: Instant,
    sent: u64,
    newest_ns: i64,
}

impl Feed {
    async fn next(&mut self) -> Result<Vec<FlightData>, Status> {
        sleep_until(self.next).await;
        let due = (self.started.elapsed().as_secs_f64() * self.node.rate) as u64;
        let now_ns = wall_ns();
        // A message when there are some flows, as an observer that is asked for them at a pace.
        let wait = Duration::from_secs_f64(32.0 / self.node.rate.max(0.1)).clamp(PACE, HEARTBEAT);
        self.next = Instant::now() + wait;
        let rows = usize::try_from(due - self.sent).unwrap_or(usize::MAX).min(4096);
        let told = FeedMessage {
            node: self.node.name.clone(),
            log_id: self.node.pattern.log_id(),
            first_sequence: self.sent,
            next_sequence: self.sent + rows as u64,
            now_ns,
            watermark_ns: now_ns,
            log_end: due,
            ..FeedMessage::default()
        };
        if rows == 0 {
            return Ok(vec![FeedEncoder::alone(&told)]);
        }
        let from = self.newest_ns.max(now_ns - 1_000_000_000);
        let step = (now_ns - from) / rows as i64;
        let times = TimestampNanosecondArray::from_iter_values((1..=rows as i64).map(|row| from + row * step));
        self.newest_ns = now_ns;
        let start = usize::try_from(self.sent).unwrap_or_default() % (PATTERN - 4096);
        let part = self
            .node
            .pattern
            .from_row(start)
            .expect("it is longer")
            .first_rows(rows);
        let columns = Column::ALL.iter().copied().filter(|column| *column != Column::Time);
        let columns = columns.filter_map(|column| Some((column, part.column(column)?.clone())));
        let time: (Column, arrow_array::ArrayRef) = (Column::Time, Arc::new(times.with_timezone("UTC")));
        let batch = FlowBatch::from_columns(columns.chain([time]), told.log_id, self.sent, None)
            .map_err(|error| Status::internal(error.to_string()))?;
        self.sent += rows as u64;
        self.encoder
            .batch(&told, &batch)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("a simulated node has feeds only"))
}

#[tonic::async_trait]
impl FlightService for Simulated {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoExchangeStream = Messages<FlightData>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let feed = Feed {
            node: self.clone(),
            encoder: FeedEncoder::default(),
            started: Instant::now(),
            next: Instant::now(),
            sent: 0,
            newest_ns: wall_ns(),
        };
        let messages = stream::unfold(feed, async |mut feed| {
            let messages = feed.next().await;
            Some((messages, feed))
        });
        Ok(Response::new(one_by_one(messages)))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        not_here()
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        not_here()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        not_here()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        not_here()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        not_here()
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        not_here()
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        not_here()
    }
    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        not_here()
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl Observer for Simulated {
    type GetFlowsStream = Messages<GetFlowsResponse>;
    type GetAgentEventsStream = Messages<GetAgentEventsResponse>;
    type GetDebugEventsStream = Messages<GetDebugEventsResponse>;

    async fn get_flows(&self, _: Request<GetFlowsRequest>) -> Result<Response<Self::GetFlowsStream>, Status> {
        not_here()
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
    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        not_here()
    }
    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        Ok(Response::new(GetNodesResponse {
            nodes: vec![Node {
                name: self.name.clone(),
                version: "simulated".to_owned(),
                state: NodeState::NodeConnected.into(),
                ..Node::default()
            }],
        }))
    }
    async fn server_status(&self, _: Request<ServerStatusRequest>) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(ServerStatusResponse {
            version: "simulated".to_owned(),
            capture: Some(CaptureStatus {
                mode: "simulated".to_owned(),
                clock_ns: wall_ns(),
                ..CaptureStatus::default()
            }),
            ..ServerStatusResponse::default()
        }))
    }
}
