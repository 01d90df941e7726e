//! A server with a log that a test fills, on a unix socket, and clients of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flow::api::flow::{Flow, LostEvent};
use flow::api::observer::GetFlowsRequest;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{Endpoint, Node};
use flow::record::{FlowRecord, Ip, Transport};
use hyper_util::rt::TokioIo;
use observer::log::FlowLog;
use observer::metrics::flows::Overflows;
use observer::serve::{NodeState, ObserverServers};
use serving::listen::{Listen, Protection};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint as Target, Uri};
use tower::service_fn;

/// Time of the first flow of a test, nanoseconds since the Unix epoch; flows are a microsecond apart.
pub const START_NS: i64 = 1_700_000_000_000_000_000;

/// The window that HTTP/2 starts with (RFC 9113, section 6.9.2); clients of tonic take far more.
const NARROW_BYTES: u32 = 65_535;

pub struct TestNode {
    pub log: Arc<FlowLog>,
    pub state: Arc<NodeState>,
    builder: FlowBatchBuilder,
    web: Arc<Endpoint>,
    node: Arc<Node>,
    pub socket: std::path::PathBuf,
    /// `127.0.0.1:PORT`, for clients that are programs of their own.
    pub address: String,
    stop: watch::Sender<bool>,
    pub server: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl TestNode {
    pub async fn start(budget_bytes: usize) -> Self {
        Self::start_counted(budget_bytes, |_| None).await
    }

    /// A node whose flows are counted as metrics.
    pub async fn start_counted(budget_bytes: usize, count: impl FnOnce(&Arc<FlowLog>) -> Option<Overflows>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        let log = Arc::new(FlowLog::new(1, budget_bytes));
        let any_port = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let servers = ObserverServers::bind(&[Listen::Unix(socket.clone()), any_port], Protection::default())
            .await
            .unwrap();
        let address = servers.addresses().pop().unwrap();
        let (stop, shutdown) = watch::channel(false);
        let state = Arc::new(NodeState {
            name: "test-node".into(),
            version: "parallax test".into(),
            mode: "replay test".into(),
            started: Instant::now(),
            log: Arc::clone(&log),
            counters: Arc::default(),
            interfaces: Arc::default(),
            capture_filter: "tcp port 443".into(),
            history: None,
            overflows: count(&log),
            sql: sql::limits::Limits::default(),
        });
        let served = Arc::clone(&state);
        let server = tokio::spawn(async move { servers.run(served, shutdown).await.unwrap() });
        Self {
            log,
            state,
            builder: FlowBatchBuilder::new(1, 0),
            web: Arc::new(Endpoint {
                namespace: "team-a".into(),
                pod: "web-0".into(),
                identity: 1001,
                ..Endpoint::default()
            }),
            node: Arc::new(Node {
                name: "test-node".into(),
                labels: String::new(),
            }),
            socket,
            address,
            stop,
            server,
            _folder: folder,
        }
    }

    /// Appends flows; the destination port of flow number `n` is `n % 1000`.
    pub fn append(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.builder.next_sequence();
            self.builder.append(&FlowRecord {
                time_ns: START_NS + number as i64 * 1000,
                node: Some(&self.node),
                verdict: if number % 10 == 9 { 2 } else { 1 },
                event_type: Some(4),
                ip: Some(Ip {
                    version: 4,
                    source: Some([1; 16]),
                    destination: Some([2; 16]),
                    ..Ip::default()
                }),
                transport: Transport {
                    protocol: Some(17),
                    ports: Some((5000, (number % 1000) as u16)),
                    ..Transport::default()
                },
                source: Some(&self.web),
                ..FlowRecord::default()
            });
            if self.builder.rows() == 1000 {
                self.seal();
            }
        }
    }

    pub fn seal(&mut self) {
        if let Some(batch) = self.builder.seal() {
            self.log.publish(batch);
        }
    }

    /// Shows the open batch, as the capture does when somebody looks.
    pub fn show(&mut self) {
        self.log.publish_tail(self.builder.snapshot());
    }

    pub async fn channel(&self) -> Channel {
        self.connect(Target::from_static("http://test")).await
    }

    async fn connect(&self, target: Target) -> Channel {
        let socket = self.socket.clone();
        target
            .connect_with_connector(service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
            }))
            .await
            .unwrap()
    }

    /// A client whose connection holds so little that the server soon has to wait for it.
    pub async fn narrow_client(&self) -> ObserverClient<Channel> {
        ObserverClient::new(self.narrow_channel().await)
    }

    /// Such a connection.
    pub async fn narrow_channel(&self) -> Channel {
        let target = Target::from_static("http://test")
            .initial_stream_window_size(NARROW_BYTES)
            .initial_connection_window_size(NARROW_BYTES);
        self.connect(target).await
    }

    pub async fn client(&self) -> ObserverClient<Channel> {
        ObserverClient::new(self.channel().await)
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// What a stream has brought.
#[derive(Default)]
pub struct Brought {
    pub flows: Vec<Flow>,
    pub lost: Vec<LostEvent>,
}

impl Brought {
    pub fn ports(&self) -> Vec<u32> {
        use flow::api::flow::layer4::Protocol;
        let port = |flow: &Flow| match flow.l4.as_ref()?.protocol.as_ref()? {
            Protocol::Udp(udp) => Some(udp.destination_port),
            _ => None,
        };
        self.flows.iter().filter_map(port).collect()
    }

    pub fn lost_count(&self) -> u64 {
        self.lost.iter().map(|lost| lost.num_events_lost).sum()
    }

    fn add(&mut self, response: Option<ResponseTypes>) {
        match response {
            Some(ResponseTypes::Flow(flow)) => self.flows.push(flow),
            Some(ResponseTypes::LostEvents(lost)) => self.lost.push(lost),
            _ => {}
        }
    }
}

/// All that a query brings.
pub async fn ask(client: &mut ObserverClient<Channel>, request: GetFlowsRequest) -> Result<Brought, tonic::Status> {
    let stream = client.get_flows(request).await?.into_inner();
    Ok(read(stream, usize::MAX, Duration::from_secs(20)).await)
}

/// What a stream brings until it ends, until there are `most` flows, or until it has been silent for `patience`.
pub async fn read(
    mut stream: tonic::Streaming<flow::api::observer::GetFlowsResponse>,
    most: usize,
    patience: Duration,
) -> Brought {
    let mut brought = Brought::default();
    while brought.flows.len() < most {
        match tokio::time::timeout(patience, stream.message()).await {
            Ok(Ok(Some(response))) => brought.add(response.response_types),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(status)) => panic!("{status}"),
        }
    }
    brought
}
