//! Runs the real program against a server in this process that records what it is asked.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flow::api::flow::{Flow, FlowFilter, LostEvent, LostEventSource, Verdict};
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
enum Manner {
    #[default]
    Normal,
    /// Answers nothing.
    Silent,
    /// Refuses requests with a field mask, as servers do that don't know one of its paths.
    RefusesMasks,
    /// Refuses every request.
    RefusesAll,
}

#[derive(Clone, Default)]
struct Recorder {
    manner: Manner,
    requests: Arc<Mutex<Vec<GetFlowsRequest>>>,
}

fn flow_at(seconds: i64) -> GetFlowsResponse {
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
        };
        Ok(Response::new(ServerStatusResponse {
            num_flows: 50,
            max_flows: 100,
            capture: Some(CaptureStatus {
                mode: "kernel".to_owned(),
                interfaces: vec!["eth0".to_owned()],
                lost: vec![lost],
                ..Default::default()
            }),
            ..Default::default()
        }))
    }
}

/// A server on a unix socket in a directory of its own; it ends with this value.
struct Server {
    dir: tempfile::TempDir,
    requests: Arc<Mutex<Vec<GetFlowsRequest>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    fn start(manner: Manner) -> Self {
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

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.dir.path().join("observer.sock").display())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = parallax();
        command.env("PARALLAX_SERVER", self.address()).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program runs")
    }

    /// The request that these flags make.
    fn request(&self, args: &[&str]) -> GetFlowsRequest {
        let output = self.run(&[&["observe"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        self.requests
            .lock()
            .expect("not poisoned")
            .pop()
            .expect("a request came")
    }
}

fn parallax() -> Command {
    let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_parallax")));
    command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn flags_about_how_much_become_the_request() {
    let server = Server::start(Manner::Normal);
    let numbers = |args: &[&str]| {
        let request = server.request(args);
        (request.number, request.first, request.follow)
    };
    assert_eq!(numbers(&[]), (20, false, false));
    assert_eq!(numbers(&["--last", "7"]), (7, false, false));
    assert_eq!(numbers(&["--first", "7"]), (7, true, false));
    assert_eq!(numbers(&["--all"]), (u64::MAX, false, false));
    assert_eq!(numbers(&["--since", "2026-01-02T03:04:05Z"]), (0, false, false));
    let request = server.request(&["--since", "2020-01-02T03:04:05Z", "--until", "2026-01-02"]);
    assert_eq!(request.since.map(|time| time.seconds), Some(1_577_934_245));
    assert_eq!(request.until.map(|time| time.seconds), Some(1_767_312_000));
}

#[test]
fn filter_flags_become_the_lists() {
    let server = Server::start(Manner::Normal);
    let request = server.request(&[
        "--verdict",
        "dropped",
        "--ip",
        "192.0.2.1",
        "--not",
        "--port",
        "53-54",
        "--not",
        "--protocol",
        "UDP",
    ]);
    let side = |source: bool| {
        let ip = vec!["192.0.2.1".to_owned()];
        let (source_ip, destination_ip) = if source { (ip, vec![]) } else { (vec![], ip) };
        FlowFilter {
            source_ip,
            destination_ip,
            verdict: vec![Verdict::Dropped.into()],
            ..Default::default()
        }
    };
    assert_eq!(request.whitelist, [side(true), side(false)]);
    let ports = vec!["53".to_owned(), "54".to_owned()];
    let protocol = vec!["udp".to_owned()];
    assert_eq!(
        request.blacklist,
        [
            FlowFilter {
                source_port: ports.clone(),
                protocol: protocol.clone(),
                ..Default::default()
            },
            FlowFilter {
                destination_port: ports,
                protocol,
                ..Default::default()
            },
        ]
    );
}

#[test]
fn the_default_mask_has_what_compact_prints_and_json_has_none() {
    let server = Server::start(Manner::Normal);
    let paths = |args: &[&str]| {
        server
            .request(args)
            .field_mask
            .map(|mask| mask.paths)
            .unwrap_or_default()
    };
    let default = paths(&[]);
    for path in [
        "time",
        "traffic_direction",
        "destination_names",
        "ingress_denied_by",
        "policy_match_type",
        "detail",
    ] {
        assert!(
            default.iter().any(|shown| shown == path),
            "{path} is missing in {default:?}"
        );
    }
    assert!(paths(&["-o", "json"]).is_empty());
    assert!(paths(&["--use-default-field-masks=false"]).is_empty());
    assert_eq!(
        paths(&["-o", "json", "--field-mask", "time,verdict"]),
        ["time", "verdict"]
    );
}

#[test]
fn a_server_that_refuses_the_default_mask_is_asked_without() {
    let server = Server::start(Manner::RefusesMasks);
    let output = server.run(&["observe"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("FORWARDED"));
    assert_eq!(server.requests.lock().expect("not poisoned").len(), 2);
    let output = server.run(&["observe", "-o", "json", "--field-mask", "verdict"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "a mask that somebody typed is not dropped"
    );
}

#[test]
fn what_the_server_refuses_is_a_usage_error() {
    let server = Server::start(Manner::RefusesAll);
    let output = server.run(&["observe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("invalid CIDR: nonsense"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn flows_and_losses_of_a_server_are_printed() {
    let server = Server::start(Manner::Normal);
    let output = server.run(&["observe"]);
    let lines = text(&output.stdout);
    assert!(
        lines.contains("Nov 14 22:13:20.000") && lines.contains("FORWARDED"),
        "{lines}"
    );
    assert!(
        lines.contains("EVENTS LOST: HUBBLE_RING_BUFFER") && lines.contains("17"),
        "{lines}"
    );
}

#[test]
fn until_ends_a_stream_that_follows() {
    let server = Server::start(Manner::Normal);
    let started = Instant::now();
    let output = server.run(&["observe", "--follow", "--until", "-1s"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(started.elapsed() >= Duration::from_secs(1), "it followed until then");
    assert!(text(&output.stdout).contains("FORWARDED"));
}

#[test]
fn a_follow_that_loses_its_server_fails_and_says_so() {
    let mut server = Server::start(Manner::Normal);
    let mut child = server
        .command(&["observe", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut first = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut stdout, &mut first).expect("a flow comes");
    assert!(
        first.contains("FORWARDED"),
        "flows are printed while following: {first}"
    );
    server.stop();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("observer.sock"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::start(Manner::Silent);
    let output = server.run(&["status", "--request-timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("did not answer within 300ms"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_a_server_the_way_to_start_one_is_named() {
    let output = parallax()
        .args(["observe", "--server", "127.0.0.1:1", "--timeout", "1s"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output.stderr);
    assert!(
        line.contains("no server at 127.0.0.1:1: Connection refused") && line.contains("sudo parallax-observer"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn status_tells_losses_by_stage() {
    let server = Server::start(Manner::Normal);
    let output = text(&server.run(&["status"]).stdout);
    for line in [
        "): Ok",
        "Current/Max Flows: 50/100 (50.00%)",
        "Capture: kernel on eth0",
        "Lost Events: 5 (kernel ring 5)",
    ] {
        assert!(output.contains(line), "{line} in {output}");
    }
    let json = text(&server.run(&["status", "-o", "json"]).stdout);
    assert!(json.contains("\"num_flows\":\"50\""), "{json}");
}

#[test]
fn nodes_and_namespaces_are_listed() {
    let server = Server::start(Manner::Normal);
    assert!(text(&server.run(&["list", "nodes"]).stdout).contains("default/vm   Connected"));
    assert_eq!(
        text(&server.run(&["list", "namespaces"]).stdout),
        "NAMESPACE\nteam-a\nteam-b\n"
    );
    let wide = text(&server.run(&["list", "namespaces", "-o", "wide"]).stdout);
    assert_eq!(wide, "NAMESPACE   CLUSTER\nteam-a      default\nteam-b      default\n");
}

#[test]
fn events_that_a_server_does_not_offer_are_told_so() {
    let server = Server::start(Manner::Normal);
    let output = server.run(&["observe", "agent-events"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("this server has no agent events"),
        "{}",
        text(&output.stderr)
    );
    let output = server.run(&["observe", "debug-events"]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        server
            .run(&["observe", "agent-events", "--verdict", "DROPPED"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let server = Server::start(Manner::Normal);
    let file = server.dir.path().join("config.yaml");
    std::fs::write(&file, "server: localhost:1\ntimeout: 1s\n").expect("writable");
    let file = file.to_str().expect("UTF-8").to_owned();
    let get = |command: &mut Command| {
        text(
            &command
                .args(["config", "get", "server", "--config", &file])
                .output()
                .expect("runs")
                .stdout,
        )
    };
    assert_eq!(get(&mut parallax()), "localhost:1\n");
    assert_eq!(get(parallax().env("PARALLAX_SERVER", "localhost:2")), "localhost:2\n");
    assert_eq!(
        get(parallax()
            .env("PARALLAX_SERVER", "localhost:2")
            .args(["--server", "localhost:3"])),
        "localhost:3\n"
    );
    let from_file = |args: &[&str]| parallax().args(["--config", &file]).args(args).output().expect("runs");
    assert!(from_file(&["config", "set", "tls", "true"]).status.success());
    assert!(
        from_file(&["config", "set", "tls-ca-cert-files", "a,b"])
            .status
            .success()
    );
    assert!(from_file(&["config", "reset", "server"]).status.success());
    let written = std::fs::read_to_string(&file).expect("readable");
    assert!(
        written.contains("tls: true") && written.contains("- a") && !written.contains("server: "),
        "{written}"
    );
    assert_eq!(from_file(&["config", "set", "tls", "maybe"]).status.code(), Some(2));
    assert_eq!(from_file(&["config", "set", "tsl", "true"]).status.code(), Some(2));
}
