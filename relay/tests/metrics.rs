//! The page of metrics of a real relay, over real observers that replay flows, and over a peer that isn't there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetNodesRequest};
use serving::connect::{Target, channel};
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(60);

/// A program; it ends with the value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn observer_program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_parallax-relay")).with_file_name("parallax-observer")
}

/// An observer that replays so many flows, and its socket.
fn observer(folder: &Path, name: &str, flows: u32) -> (Program, String) {
    let lines: Vec<String> = (0..flows)
        .map(|number| {
            format!(
                "{{\"flow\":{{\"time\":\"2026-01-01T00:00:{:02}.{:03}Z\",\"verdict\":\"FORWARDED\",\"IP\":{{\"source\":\"10.0.0.1\",\"destination\":\"10.0.0.2\",\"ipVersion\":\"IPv4\"}},\"l4\":{{\"UDP\":{{\"source_port\":4000,\"destination_port\":53}}}}}}}}",
                number / 1000,
                number % 1000
            )
        })
        .collect();
    let file = folder.join(format!("{name}.jsonl"));
    fs::write(&file, lines.join("\n")).unwrap();
    (
        start(folder, name, &file),
        format!("unix://{}", socket(folder, name).display()),
    )
}

fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

fn start(folder: &Path, name: &str, file: &Path) -> Program {
    let child = Command::new(observer_program())
        .args(["--node-name", &format!("c/{name}"), "--log", "warn", "--replay"])
        .arg(file)
        .arg("--listen")
        .arg(format!("unix://{}", socket(folder, name).display()))
        .spawn();
    Program(child.unwrap())
}

/// A relay of these peers, its socket, and where its metrics are.
fn relay(folder: &Path, peers: &str) -> (Program, PathBuf, String) {
    let socket = socket(folder, "relay");
    let mut child = Command::new(env!("CARGO_BIN_EXE_parallax-relay"))
        .args(["--peers", peers, "--metrics-listen", "127.0.0.1:0"])
        .arg("--listen")
        .arg(format!("unix://{}", socket.display()))
        .env("NO_COLOR", "1")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let program = Program(child);
    let mut lines = log.lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("serving metrics")).unwrap();
    let address = told.rsplit_once("address=").unwrap().1.trim().to_owned();
    // Somebody has to read on, so that the relay never waits.
    std::thread::spawn(move || lines.for_each(drop));
    (program, socket, address)
}

fn page(address: &str) -> String {
    page_as(address, "*/*")
}

fn page_as(address: &str, accept: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    answer
}

/// The value of a series, as the page has it.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Asks until the page is as it should be.
async fn until(address: &str, what: &str, mut is_so: impl FnMut(&str) -> bool) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = page(address);
        if is_so(&page) {
            return page;
        }
        assert!(Instant::now() < end, "{what}: {page}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn client(socket: &Path) -> ObserverClient<Channel> {
    let target = Target::Unix(socket.to_owned());
    ObserverClient::new(channel(&target, None, |endpoint| endpoint).await.unwrap())
}

/// All flows of the past; how many.
async fn ask(client: &mut ObserverClient<Channel>, request: GetFlowsRequest) -> usize {
    use flow::api::observer::get_flows_response::ResponseTypes;
    let mut stream = client.get_flows(request).await.unwrap().into_inner();
    let mut flows = 0;
    while let Some(response) = stream.message().await.unwrap() {
        flows += usize::from(matches!(response.response_types, Some(ResponseTypes::Flow(_))));
    }
    flows
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_what_the_relay_knows() {
    if !observer_program().exists() {
        return println!("skipped: this needs parallax-observer beside parallax-relay (cargo build -p observer)");
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut one, of_one) = observer(folder.path(), "a", 700);
    let (_other, of_other) = observer(folder.path(), "b", 300);
    let nobody = "unix:///nonsense.sock";
    let (_relay, socket, address) = relay(folder.path(), &format!("{of_one},{of_other},{nobody}"));
    let states = |connected: u32, unavailable: u32| {
        move |page: &str| {
            value(page, "parallax_relay_peers{state=\"connected\"}") == Some(connected.into())
                && value(page, "parallax_relay_peers{state=\"unavailable\"}") == Some(unavailable.into())
        }
    };
    let first = until(&address, "two peers are there and one isn't", states(2, 1)).await;
    let connected =
        |node: &str, peer: &str| format!("parallax_relay_node_connected{{node=\"{node}\",peer=\"{peer}\"}}");
    assert_eq!(value(&first, &connected("c/a", &of_one)), Some(1.0), "{first}");
    assert_eq!(value(&first, &connected(nobody, nobody)), Some(0.0), "{first}");
    assert_eq!(value(&first, "parallax_relay_flows_sent_total"), Some(0.0));
    assert!(
        !first.contains("parallax_relay_watermark_age_seconds{"),
        "nobody follows: {first}"
    );

    let target = first.lines().find(|line| line.starts_with("target_info{")).unwrap();
    for label in [
        "deployment_environment_name=\"test\"",
        "service_name=\"parallax-relay\"",
        "service_instance_id=\"",
        "host_name=\"",
    ] {
        assert!(target.contains(label), "{label} is not in {target}");
    }
    assert!(!target.contains("k8s_"), "a relay stands for no node: {target}");
    let open = page_as(&address, "application/openmetrics-text; version=1.0.0");
    assert!(
        open.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{open}"
    );
    assert!(
        open.contains("# TYPE parallax_relay_flows_sent counter\n") && open.contains("# EOF\n"),
        "{open}"
    );

    let mut client = client(&socket).await;
    // The observers may still be reading their files.
    let end = Instant::now() + PATIENCE;
    while client
        .get_nodes(GetNodesRequest {})
        .await
        .unwrap()
        .into_inner()
        .nodes
        .iter()
        .map(|node| node.seen_flows)
        .sum::<u64>()
        < 1000
    {
        assert!(Instant::now() < end, "the replays don't end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = page(&address);
    let number = |page: &str, series: &str| value(page, series).unwrap_or_else(|| panic!("{series}: {page}"));
    let received =
        |node: &str, peer: &str| format!("parallax_relay_flows_received_total{{node=\"{node}\",peer=\"{peer}\"}}");
    assert_eq!(number(&before, &received("c/a", &of_one)), 0.0);
    assert_eq!(ask(&mut client, GetFlowsRequest::default()).await, 1000);
    let request = GetFlowsRequest {
        number: 20,
        ..GetFlowsRequest::default()
    };
    assert_eq!(ask(&mut client, request).await, 20);
    let request = GetFlowsRequest {
        number: 5,
        first: true,
        ..GetFlowsRequest::default()
    };
    assert_eq!(ask(&mut client, request).await, 5);
    let after = page(&address);
    assert_eq!(number(&after, "parallax_relay_flows_sent_total"), 1025.0, "{after}");
    assert!(number(&after, &received("c/a", &of_one)) >= 700.0, "{after}");
    assert!(number(&after, &received("c/b", &of_other)) >= 300.0, "{after}");
    assert_eq!(number(&after, "parallax_relay_queue_messages"), 0.0, "{after}");
    assert_eq!(number(&after, "parallax_relay_merge_size_bytes"), 0.0, "{after}");
    assert!(number(&after, "process_memory_usage_bytes") > 1e6, "{after}");

    let follow = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    let stream = client.get_flows(follow).await.unwrap();
    let age = format!("parallax_relay_watermark_age_seconds{{node=\"c/b\",peer=\"{of_other}\"}}");
    let followed = until(&address, "somebody follows", |page| {
        value(page, "parallax_relay_followers") == Some(1.0) && value(page, &age).is_some()
    })
    .await;
    assert!(
        number(&followed, &age) < 30.0,
        "a node that is idle is not behind: {followed}"
    );
    let skew = format!("parallax_relay_clock_skew_seconds{{node=\"c/b\",peer=\"{of_other}\"}}");
    assert!(number(&followed, &skew).abs() < 0.1, "it is the same clock: {followed}");
    drop(stream);
    until(&address, "nobody follows any more", |page| {
        value(page, "parallax_relay_followers") == Some(0.0) && value(page, &age).is_none()
    })
    .await;

    // An observer ends, and comes back.
    one.0.kill().unwrap();
    one.0.wait().unwrap();
    let gone = until(&address, "it is gone", states(1, 2)).await;
    assert_eq!(value(&gone, &connected("c/a", &of_one)), Some(0.0), "{gone}");
    let _one = start(folder.path(), "a", &folder.path().join("a.jsonl"));
    let back = until(&address, "it is back", states(2, 1)).await;
    let reconnects = |peer: &str| format!("parallax_relay_reconnects_total{{peer=\"{peer}\"}}");
    assert_eq!(value(&back, &reconnects(&of_one)), Some(1.0), "{back}");
    assert_eq!(value(&back, &reconnects(&of_other)), Some(0.0), "{back}");
    is_in_the_manual(&back);
    is_in_the_manual(&followed);
}

/// Every metric of the page is in the manual, and has a line that says what it is.
fn is_in_the_manual(page: &str) {
    let manual = include_str!("../../docs/metrics.md");
    let names: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| *name != "target_info")
        .collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        assert!(
            manual.contains(&format!("`{name}`")),
            "docs/metrics.md does not name {name}"
        );
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is not explained");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_told_of() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for (flags, why) in [
        (
            ["--metrics-listen", taken.as_str()],
            format!("--metrics-listen: cannot listen on {taken}"),
        ),
        (
            ["--otlp-endpoint", "ftp://c:1"],
            "`ftp://c:1` is no address of a collector".to_owned(),
        ),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_parallax-relay"))
            .args(["--peers", "a:1", "--listen", "127.0.0.1:0"])
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(1) && said.contains(&why), "{said}");
    }
}
