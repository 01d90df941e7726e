//! A server in this process that records what it is asked.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use flow::api::flow::{Flow, LostEvent, LostEventSource, Verdict};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_server::{Observer, ObserverServer};
use flow::api::observer::*;
use flow::api::parallax::{CaptureStatus, StageLoss};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How the server behaves.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Manner {
    #[default]
    Normal,
    /// Answers nothing.
    Silent,
    /// Refuses requests with a field mask, as servers do that don't know one of its paths.
    RefusesMasks,
    /// Never stops sending flows.
    Flood,
    /// Refuses every request.
    RefusesAll,
}

#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) manner: Manner,
    pub(crate) requests: Arc<Mutex<Vec<GetFlowsRequest>>>,
}

pub(crate) fn flow_at(seconds: i64) -> GetFlowsResponse {
    let time = Some(flow::api::Timestamp { seconds, nanos: 0 });
    let flow = Flow {
        time,
        verdict: Verdict::Forwarded.into(),
        ..Default::default()
    };
    GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(flow)),
        time,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl Observer for Recorder {
    type GetFlowsStream = Events<GetFlowsResponse>;
    type GetAgentEventsStream = Events<GetAgentEventsResponse>;
    type GetDebugEventsStream = Events<GetDebugEventsResponse>;

    async fn get_flows(&self, request: Request<GetFlowsRequest>) -> Answer<Self::GetFlowsStream> {
        let request = request.into_inner();
        self.requests.lock().expect("not poisoned").push(request.clone());
        match self.manner {
            Manner::RefusesMasks if request.field_mask.is_some() => {
                return Err(Status::unknown("invalid field mask: no such path"));
            }
            Manner::RefusesAll => return Err(Status::invalid_argument("invalid CIDR: nonsense")),
            _ => {}
        }
        let lost = LostEvent {
            source: LostEventSource::HubbleRingBuffer.into(),
            num_events_lost: 17,
            ..Default::default()
        };
        let lost = GetFlowsResponse {
            response_types: Some(ResponseTypes::LostEvents(lost)),
            time: Some(flow::api::Timestamp {
                seconds: 1_700_000_001,
                nanos: 0,
            }),
            ..Default::default()
        };
        let some = tokio_stream::iter([flow_at(1_700_000_000), lost].map(Ok));
        if self.manner == Manner::Flood {
            let flows = std::iter::repeat_with(|| Ok(flow_at(1_700_000_000)));
            return Ok(Response::new(Box::pin(tokio_stream::iter(flows))));
        }
        if request.follow {
            Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain(
                some,
                tokio_stream::pending(),
            ))))
        } else {
            Ok(Response::new(Box::pin(some)))
        }
    }

    async fn get_agent_events(&self, _: Request<GetAgentEventsRequest>) -> Answer<Self::GetAgentEventsStream> {
        Err(Status::unimplemented("this server has no agent events"))
    }

    async fn get_debug_events(&self, _: Request<GetDebugEventsRequest>) -> Answer<Self::GetDebugEventsStream> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Answer<GetNodesResponse> {
        let node = Node {
            name: "default/vm".to_owned(),
            state: 1,
            ..Default::default()
        };
        Ok(Response::new(GetNodesResponse { nodes: vec![node] }))
    }

    async fn get_namespaces(&self, _: Request<GetNamespacesRequest>) -> Answer<GetNamespacesResponse> {
        let namespace = |name: &str| Namespace {
            cluster: "default".to_owned(),
            namespace: name.to_owned(),
        };
        Ok(Response::new(GetNamespacesResponse {
            namespaces: vec![namespace("team-a"), namespace("team-b")],
        }))
    }

    async fn server_status(&self, _: Request<ServerStatusRequest>) -> Answer<ServerStatusResponse> {
        if self.manner == Manner::Silent {
            std::future::pending::<()>().await;
        }
        let lost = StageLoss {
            stage: "kernel ring".to_owned(),
            cpu: Some(0),
            count: 5,
            source: "drop".to_owned(),
        };
        Ok(Response::new(ServerStatusResponse {
            num_flows: 50,
            max_flows: 100,
            capture: Some(CaptureStatus {
                mode: "kernel".to_owned(),
                interfaces: vec!["eth0".to_owned()],
                lost: vec![lost],
                capture_filter: "tcp port 443".to_owned(),
                filtered: 12_345,
                ..Default::default()
            }),
            ..Default::default()
        }))
    }
}

/// A server on a unix socket in a directory of its own; it ends with this value.
pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) requests: Arc<Mutex<Vec<GetFlowsRequest>>>,
    pub(crate) runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let recorder = Recorder {
            manner,
            ..Default::default()
        };
        let requests = Arc::clone(&recorder.requests);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let socket = dir.path().join("observer.sock");
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(socket).expect("the socket can be bound")
        };
        runtime.spawn(async move {
            let (health, health_service) = tonic_health::server::health_reporter();
            health.set_serving::<ObserverServer<Recorder>>().await;
            tonic::transport::Server::builder()
                .add_service(health_service)
                .add_service(ObserverServer::new(recorder))
                .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener))
                .await
        });
        Self {
            dir,
            requests,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.dir.path().join("observer.sock").display())
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = parallax();
        command.env("PARALLAX_SERVER", self.address()).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program runs")
    }

    /// The request that these flags make.
    pub(crate) fn request(&self, args: &[&str]) -> GetFlowsRequest {
        let output = self.run(&[&["observe"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        self.requests
            .lock()
            .expect("not poisoned")
            .pop()
            .expect("a request came")
    }
}

pub(crate) fn parallax() -> Command {
    let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_parallax")));
    command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}
