//! Flows as log records, as a receiver that others have written understands them: the flows of the API, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flow::api::flow::layer4::Protocol as Layer4;
use flow::api::flow::{Flow, FlowFilter, Verdict};
use flow::api::observer::GetFlowsRequest;
use flow::filter::Filters;
use flow::from_api::FlowReader;
use metrics::resource::{Place, resource};
use observer::log::FlowLog;
use observer::metrics::otlp::{Collector, Protocol, Signal};
use observer::otlp_logs::{Choice, OtlpLogs};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;

use crate::LARGE;
use crate::node::{START_NS, TestNode, ask};
use crate::otlp_receiver::{PATIENCE, Receiver, interpreter, records};

/// Every second one is a drop, every fourth of a trace, every eighth of a span of it.
fn flows(count: usize) -> Vec<Flow> {
    let flow = |number: usize| {
        let drop = json!({"kernel_drop_reason": "NO_SOCKET", "drop_symbol": "tcp_v4_rcv+0x1",
            "span_id": if number.is_multiple_of(8) { format!("{:016x}", number + 1) } else { String::new() }});
        let is_drop = number.is_multiple_of(2);
        json!({
            "time": flow::api::Timestamp::from_nanos(START_NS + number as i64),
            "verdict": if is_drop { "DROPPED" } else { "FORWARDED" },
            "event_type": {"type": if is_drop { 1 } else { 4 }}, "node_name": "test-node",
            "IP": {"source": format!("10.0.{}.1", number % 200), "destination": "2001:db8::1", "ipVersion": "IPv6"},
            "l4": {"TCP": {"source_port": 1 + number, "destination_port": 443}},
            "source": {"namespace": "shop", "pod_name": format!("web-{number}")},
            "detail": if is_drop { drop } else { json!(null) },
            "trace_context": if number.is_multiple_of(4) { json!({"parent": {"trace_id": format!("{:032x}", number + 1)}}) }
                else { json!(null) },
        })
    };
    (0..count)
        .map(|number| serde_json::from_value(flow(number)).unwrap())
        .collect()
}

fn publish(log: &FlowLog, count: usize) {
    log.publish(FlowReader::default().batch(&flows(count)).unwrap());
}

fn collector(port: u64, protocol: Protocol) -> Collector {
    let address = format!("http://127.0.0.1:{port}");
    Collector::new(Signal::Logs, Some(&address), Some(protocol))
        .unwrap()
        .unwrap()
}

fn start(collector: &Collector, choice: &str, rate: u32, log: &Arc<FlowLog>) -> OtlpLogs {
    let filters: Filters = choice.parse::<Choice>().unwrap().filters().unwrap().unwrap();
    let resource = resource("parallax-observer", "test", Place::Node("test-node"), log.id());
    OtlpLogs::start(collector, &resource, filters, rate, Arc::clone(log)).unwrap()
}

fn value(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

async fn wait_until(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the API says of a flow, as its record should have it.
fn told(flow: &Flow) -> BTreeMap<&'static str, String> {
    let ip = flow.ip.as_ref().unwrap();
    let ports = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Layer4::Tcp(tcp)) => (tcp.source_port, tcp.destination_port),
        other => panic!("{other:?}"),
    };
    let detail = flow.detail.as_ref().unwrap();
    let trace = flow.trace_context.as_ref().and_then(|context| context.parent.as_ref());
    BTreeMap::from([
        ("source.address", ip.source.clone()),
        ("destination.address", ip.destination.clone()),
        ("source.port", ports.0.to_string()),
        ("destination.port", ports.1.to_string()),
        ("source.k8s.pod.name", flow.source.as_ref().unwrap().pod_name.clone()),
        ("parallax.drop.reason", detail.kernel_drop_reason.clone()),
        ("parallax.drop.symbol", detail.drop_symbol.clone()),
        ("trace", trace.map(|parent| parent.trace_id.clone()).unwrap_or_default()),
        ("span", detail.span_id.clone()),
        ("time", flow.time.as_ref().unwrap().to_nanos().to_string()),
    ])
}

/// The same of a record.
fn received(record: &Value) -> BTreeMap<&'static str, String> {
    let keys = [
        "source.address",
        "destination.address",
        "source.port",
        "destination.port",
        "source.k8s.pod.name",
        "parallax.drop.reason",
        "parallax.drop.symbol",
    ];
    let attribute = |key: &'static str| (key, record["attributes"][key].as_str().unwrap_or_default().to_owned());
    let mut received = BTreeMap::from(keys.map(attribute));
    received.insert("trace", record["trace"].as_str().unwrap().to_owned());
    received.insert("span", record["span"].as_str().unwrap().to_owned());
    received.insert("time", record["time"].to_string());
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_drops_of_the_api() {
    let python = match spawn_blocking(interpreter).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let receiver = spawn_blocking(move || Receiver::start(&python, &[])).await.unwrap();
    for (protocol, port, how) in [
        (Protocol::Grpc, receiver.grpc, "grpc"),
        (Protocol::Http, receiver.http, "http /v1/logs"),
    ] {
        let node = TestNode::start(LARGE).await;
        let logs = start(&collector(port, protocol), "drops", 10_000, &node.log);
        publish(&node.log, 2000);
        let request = GetFlowsRequest {
            whitelist: vec![FlowFilter {
                verdict: vec![Verdict::Dropped.into()],
                ..FlowFilter::default()
            }],
            first: true,
            number: 10_000,
            ..GetFlowsRequest::default()
        };
        let asked = ask(&mut node.client().await, request).await.unwrap().flows;
        assert_eq!(asked.len(), 1000);
        let counts = logs.counts();
        wait_until(|| value(&counts.sent) == 1000).await;
        let exports = receiver.logs(1000);
        for export in &exports {
            assert_eq!(export["how"], how);
            assert_eq!(export["resource"]["service.name"], "parallax-observer");
            assert_eq!(export["resource"]["host.name"], "test-node");
        }
        let mut by_uuid: BTreeMap<&str, &Value> = BTreeMap::new();
        for record in records(&exports) {
            assert_eq!((&record["severity"], &record["number"]), (&json!("WARN"), &json!(13)));
            assert_eq!(record["event"], "parallax.drop");
            let body = record["body"].as_str().unwrap();
            assert!(body.contains("NO_SOCKET DROPPED") && !body.contains('\n'), "{body}");
            by_uuid.insert(record["attributes"]["parallax.flow.uuid"].as_str().unwrap(), record);
        }
        assert_eq!(by_uuid.len(), asked.len(), "each once");
        for flow in &asked {
            assert_eq!(received(by_uuid[flow.uuid.as_str()]), told(flow));
        }
        let traced = asked.iter().filter(|flow| flow.trace_context.is_some()).count();
        let spans = by_uuid.values().filter(|record| record["span"] != "").count();
        assert_eq!((traced, spans), (500, 250));
        println!(
            "{how}: {} drops are the same, {traced} with their trace, {spans} with their span",
            asked.len()
        );
        drop(logs);
        assert!(receiver.arrived().is_empty(), "nothing else was sent");
        node.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_gets_what_waited() {
    let python = match spawn_blocking(interpreter).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let receiver = spawn_blocking(move || Receiver::start(&python, &[])).await.unwrap();
    // The way to it breaks five times: the exporter tries four times at once, and then again after a pause.
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (u64::from(way.local_addr().unwrap().port()), receiver.http);
    let forwarding = tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = way.accept().await.unwrap();
            if number < 5 {
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(format!("127.0.0.1:{behind}")).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let log = Arc::new(FlowLog::new(1, LARGE));
    let logs = start(
        &collector(port, Protocol::Http),
        r#"{"verdict": ["FORWARDED"]}"#,
        10_000,
        &log,
    );
    publish(&log, 100);
    let counts = logs.counts();
    wait_until(|| value(&counts.sent) == 50).await;
    let exports = receiver.logs(50);
    let all = records(&exports);
    assert_eq!(all.len(), 50);
    assert!(
        all.iter()
            .all(|record| record["severity"] == "INFO" && record["event"] == "parallax.flow")
    );
    assert_eq!(
        (value(&counts.dropped), value(&counts.limited), value(&counts.missed)),
        (0, 0, 0)
    );
    assert_eq!((value(&counts.failed), value(&counts.exported)), (1, 1));
    drop(logs);
    forwarding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_is_counted_and_the_rest_goes_on() {
    let log = Arc::new(FlowLog::new(1, LARGE));
    let logs = start(&collector(1, Protocol::Grpc), "{}", 100_000, &log);
    let counts = logs.counts();
    publish(&log, 10_000);
    wait_until(|| value(&counts.dropped) > 0 && value(&counts.failed) > 0).await;
    assert!(value(&counts.dropped) <= 10_000 - 4096, "the queue takes what it can");
    let began = Instant::now();
    spawn_blocking(move || drop(logs)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!((value(&counts.dropped), value(&counts.sent)), (10_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_records_a_second_than_wanted() {
    let log = Arc::new(FlowLog::new(1, LARGE));
    let logs = start(&collector(1, Protocol::Http), "drops", 20, &log);
    let counts = logs.counts();
    publish(&log, 2000);
    wait_until(|| value(&counts.limited) > 0).await;
    assert_eq!(value(&counts.limited), 980);
    spawn_blocking(move || drop(logs)).await.unwrap();
    assert_eq!((value(&counts.dropped), value(&counts.sent)), (20, 0));
}
