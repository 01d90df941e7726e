//! Metrics by OTLP, as a receiver that others have written understands them: the numbers of the page, one by one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metrics::config::parse;
use metrics::flow_metrics::Limits;
use observer::metrics::Metrics;
use observer::metrics::flows::{FlowMeter, Wanted};
use observer::metrics::otlp::{Collector, Protocol, Signal};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::LARGE;
use crate::node::TestNode;
use crate::otlp_receiver::{PATIENCE, Receiver, interpreter};

type Series = BTreeMap<(String, Vec<(String, String)>), f64>;

/// The samples of a page. Labels of these tests have no commas and quotes.
fn samples(page: &str) -> Series {
    let mut samples = Series::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty());
        let mut labels: Vec<_> = labels
            .map(|label| label.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        labels.sort();
        samples.insert((name.to_owned(), labels), value.parse().unwrap());
    }
    samples
}

/// The name that a metric has on the page.
fn page_name(point: &Value) -> String {
    let name = point["name"].as_str().unwrap().replace('.', "_");
    let unit = match point["unit"].as_str().unwrap() {
        "By" => "_bytes",
        "s" => "_seconds",
        _ => "",
    };
    let total = if point["kind"] == "sum" { "_total" } else { "" };
    format!("{name}{unit}{total}")
}

fn labels(point: &Value) -> Vec<(String, String)> {
    let labels = point["labels"].as_object().unwrap().iter();
    let mut labels: Vec<_> = labels
        .map(|(name, value)| (name.replace('.', "_"), value.as_str().unwrap().to_owned()))
        .collect();
    labels.sort();
    labels
}

/// What changes between two looks.
fn is_moving(name: &str) -> bool {
    name.starts_with("process_") || name.starts_with("parallax_otlp")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_numbers_of_the_page() {
    let python = match spawn_blocking(interpreter).await.unwrap() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let receiver = spawn_blocking(move || Receiver::start(&python, &[])).await.unwrap();
    for (protocol, port, how) in [
        (Protocol::Grpc, receiver.grpc, "grpc"),
        (Protocol::Http, receiver.http, "http /v1/metrics"),
    ] {
        let mut node = TestNode::start(LARGE).await;
        let configs = parse("flow:labelsContext=source_ip drop tcp port-distribution connection traffic").unwrap();
        let meter = FlowMeter::start(Wanted::Fixed(configs), Limits::default(), node.log.clone()).unwrap();
        let collector = Collector::new(
            Signal::Metrics,
            Some(&format!("http://127.0.0.1:{port}")),
            Some(protocol),
        )
        .unwrap();
        let metrics = Metrics::new(&node.state, Some(meter), collector.as_ref()).unwrap();
        node.append(2000);
        node.show();
        let end = Instant::now() + PATIENCE;
        let counted = |page: &str| {
            let flows = samples(page)
                .into_iter()
                .filter(|((name, _), _)| name == "hubble_flows_processed_total");
            flows.map(|(_, value)| value).sum::<f64>()
        };
        while counted(&metrics.text()) < 2000.0 {
            assert!(Instant::now() < end, "{}", metrics.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let page = samples(&metrics.text());
        // At its end everything is sent once more.
        spawn_blocking(move || drop(metrics)).await.unwrap();
        let got = receiver.next();
        assert_eq!(got["how"], how);
        assert_eq!(got["resource"]["service.name"], "parallax-observer");
        assert_eq!(got["resource"]["host.name"], "test-node");
        let mut compared = 0;
        for point in got["points"].as_array().unwrap() {
            let name = page_name(point);
            if is_moving(&name) {
                continue;
            }
            if point["kind"] == "exponential_histogram" {
                let of = |part: &str| page[&(format!("{name}_{part}"), labels(point))];
                assert_eq!(point["count"].as_f64().unwrap(), of("count"), "{point}");
                assert_eq!(point["sum"].as_f64().unwrap(), of("sum"), "{point}");
            } else {
                let value = page.get(&(name.clone(), labels(point)));
                assert_eq!(point["value"].as_f64(), value.copied(), "{point} is {name}");
            }
            compared += 1;
        }
        let counters = page.keys().filter(|(name, _)| {
            !is_moving(name)
                && name != "target_info"
                && !["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end))
        });
        let histograms = page.keys().filter(|(name, _)| name.ends_with("_count"));
        assert_eq!(
            compared,
            counters.count() + histograms.count(),
            "nothing of the page is missing"
        );
        println!("{how}: {compared} series are the same");
        node.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_is_counted_and_disturbs_nobody() {
    let mut node = TestNode::start(LARGE).await;
    let collector = Collector::new(Signal::Metrics, Some("http://127.0.0.1:1"), None).unwrap();
    let metrics = Metrics::new(&node.state, None, collector.as_ref()).unwrap();
    let before = metrics.text();
    assert!(
        before.contains("parallax_otlp_exports_total{outcome=\"failed\"} 0"),
        "{before}"
    );
    let failed = spawn_blocking(move || {
        let failed = metrics.send();
        (failed, metrics.text())
    });
    let (failed, page) = failed.await.unwrap();
    assert!(failed.is_err());
    assert!(
        page.contains("parallax_otlp_exports_total{outcome=\"failed\"} 1"),
        "{page}"
    );
    node.append(10);
    node.show();
    node.stop();
}
