//! The page as OpenMetrics, as the parser of Prometheus' Python client understands it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flow::api::flow::Flow;
use flow::from_api::FlowReader;
use metrics::config::parse;
use metrics::flow_metrics::Limits;
use observer::metrics::flows::{FlowMeter, Wanted};
use observer::metrics::{Metrics, Page};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::LARGE;
use crate::node::TestNode;
use crate::python::{python, run};

const PACKAGES: [&str; 1] = ["prometheus-client==0.26.0"];
const PATIENCE: Duration = Duration::from_secs(30);
/// A name that has all that must be escaped, and what looks like more of the line.
const ODD: &str = "a\"b\\c\nd,e=\"f\"} 1 # {é";

fn flows() -> Vec<Flow> {
    let trace = |digit: &str| json!({"parent": {"trace_id": digit.repeat(32)}});
    let drop = json!({"time": "2023-11-14T22:13:20.25Z", "verdict": "DROPPED", "event_type": {"type": 1, "sub_type": 133},
        "drop_reason_desc": "POLICY_DENIED", "source": {"namespace": ODD},
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2"}, "l4": {"TCP": {"source_port": 1, "destination_port": 2}},
        "trace_context": trace("a"), "detail": {"packets": 3},
        "l7": {"type": "REQUEST", "http": {"method": "GET", "headers": [
            {"key": "traceparent", "value": format!("00-{}-b7ad6b7169203331-01", "a".repeat(32))}]}}});
    let established = json!({"event_type": {"type": 160, "sub_type": 4}, "trace_context": trace("b"),
        "l4": {"TCP": {"source_port": 1, "destination_port": 2}},
        "detail": {"tcp_state_old": "SYN_SENT", "tcp_state_new": "ESTABLISHED", "srtt_us": 2000,
            "span_id": "00f067aa0ba902b7"}});
    let plain = json!({"verdict": "FORWARDED", "event_type": {"type": 4}});
    [drop, established, plain]
        .map(|flow| serde_json::from_value(flow).unwrap())
        .into()
}

/// The sample of that name that has this label.
fn sample<'a>(read: &'a Value, name: &str, label: (&str, &str)) -> &'a Value {
    let families = read["families"].as_array().unwrap().iter();
    let mut samples = families.flat_map(|family| family["samples"].as_array().unwrap());
    samples
        .find(|sample| sample["name"] == name && sample["labels"][label.0] == label.1)
        .unwrap_or_else(|| panic!("no {name} with {label:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn others_read_the_page_as_open_metrics_with_exemplars() {
    let python = match spawn_blocking(|| python("openmetrics", &PACKAGES)).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: no Python with {}: {reason}", PACKAGES.join(" and ")),
    };
    let node = TestNode::start(LARGE).await;
    let configs = parse("drop:labelsContext=source_namespace drop-reason flow connection").unwrap();
    let meter = FlowMeter::start(Wanted::Fixed(configs), Limits::default(), node.log.clone()).unwrap();
    let metrics = Metrics::new(&node.state, Some(meter), None).unwrap();
    node.log.publish(FlowReader::default().batch(&flows()).unwrap());
    let end = Instant::now() + PATIENCE;
    while !metrics.text().contains("hubble_drop_total{") {
        assert!(Instant::now() < end, "{}", metrics.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = metrics.text();
    let page = Page::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/metrics", page.address());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let served = tokio::spawn(page.serve(metrics, stopped));
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/open_metrics_reader.py");
    let output = spawn_blocking(move || run(&python, &[reader, &url], PATIENCE))
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        read["type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(read["end"], "# EOF\n");

    let drops = sample(&read, "hubble_drop_total", ("source_namespace", ODD));
    assert_eq!(
        (&drops["value"], &drops["labels"]["reason"]),
        (&json!(1.0), &json!("POLICY_DENIED"))
    );
    let ids = json!({"trace_id": "a".repeat(32), "span_id": "b7ad6b7169203331"});
    let exemplar = json!({"labels": ids, "value": 1.0, "time": 1_700_000_000.25});
    assert_eq!(drops["exemplar"], exemplar);
    let packets = sample(&read, "parallax_drops_total", ("noise", "false"));
    assert_eq!(
        (&packets["value"], &packets["exemplar"]["value"]),
        (&json!(3.0), &json!(3.0))
    );
    let bucket = |bound| &sample(&read, "parallax_tcp_handshake_duration_seconds_bucket", ("le", bound))["exemplar"];
    assert_eq!(
        bucket("0.0025")["labels"],
        json!({"trace_id": "b".repeat(32), "span_id": "00f067aa0ba902b7"})
    );
    assert!(bucket("0.001").is_null() && bucket("+Inf").is_null());
    let outcomes = sample(&read, "parallax_connection_outcomes_total", ("outcome", "established"));
    assert_eq!(outcomes["exemplar"]["labels"]["trace_id"], "b".repeat(32));

    // The same families as in the older format, by their names there.
    let types: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let families = read["families"].as_array().unwrap();
    let of_older = |family: &Value| {
        let (name, kind) = (family["name"].as_str().unwrap(), family["type"].as_str().unwrap());
        match kind {
            "counter" => (format!("{name}_total"), "counter".to_owned()),
            "info" => (format!("{name}_info"), "gauge".to_owned()),
            kind => (name.to_owned(), kind.to_owned()),
        }
    };
    let found: BTreeMap<String, String> = families.iter().map(of_older).collect();
    let wanted = types
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()));
    assert_eq!(found, wanted.collect());
    let size = families
        .iter()
        .find(|family| family["name"] == "parallax_log_size_bytes")
        .unwrap();
    assert_eq!((&size["unit"], &size["type"]), (&json!("bytes"), &json!("gauge")));
    println!("{} families are read", families.len());
    stop.send(true).unwrap();
    served.await.unwrap().unwrap();
    node.stop();
}
