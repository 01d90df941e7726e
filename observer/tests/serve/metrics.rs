//! Metrics of the observer's own work.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bpf_probes::event::SourceCounters;
use flow::api::observer::ServerStatusRequest;
use observer::log::{Loss, Source, Stage};
use observer::metrics::{Metrics, Page};

use crate::node::TestNode;

/// The value of a series, as the page has it.
fn value(page: &str, series: &str) -> Option<u64> {
    page.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

async fn node() -> TestNode {
    let mut node = TestNode::start(1 << 20).await;
    node.append(1500);
    node.show();
    let counted = |seen, delivered, aggregated, lost| SourceCounters {
        seen,
        delivered,
        aggregated,
        lost,
        ..SourceCounters::default()
    };
    node.state.counters.write().sources = vec![vec![counted(10, 7, 2, 1), counted(100, 70, 25, 5)]];
    for (stage, cpu, count) in [
        (Stage::KernelRing, Some(0), 1),
        (Stage::KernelRing, Some(1), 5),
        (Stage::Client, None, 9),
    ] {
        node.log.losses().record(Loss {
            stage,
            source: cpu.map(|_| Source::Ingress),
            cpu,
            count,
            time_range: (1, 2),
        });
    }
    node
}

#[tokio::test]
async fn metrics_have_the_numbers_of_the_status() {
    let node = node().await;
    let page = Metrics::new(&node.state, None, None).unwrap().text();
    let mut client = node.client().await;
    let status = client.server_status(ServerStatusRequest {}).await.unwrap().into_inner();
    let capture = status.capture.unwrap();
    assert_eq!((capture.lost.len(), capture.sources.len()), (3, 2));
    for loss in &capture.lost {
        let cpu = loss.cpu.map_or_else(String::new, |cpu| format!("cpu=\"{cpu}\","));
        let source = match loss.source.as_str() {
            "" => String::new(),
            source => format!("source=\"{source}\","),
        };
        let series = format!("parallax_lost_events_total{{{cpu}{source}stage=\"{}\"}}", loss.stage);
        assert_eq!(value(&page, &series), Some(loss.count), "{series} in {page}");
    }
    for (source, count) in [
        ("perf_event_ring_buffer", 6),
        ("observer_events_queue", 0),
        ("hubble_ring_buffer", 9),
    ] {
        let series = format!("hubble_lost_events_total{{source=\"{source}\"}}");
        assert_eq!(value(&page, &series), Some(count), "{series} in {page}");
    }
    for source in &capture.sources {
        let of = |outcome: &str| {
            let (source, cpu) = (&source.source, source.cpu);
            let series = format!("parallax_events_total{{cpu=\"{cpu}\",outcome=\"{outcome}\",source=\"{source}\"}}");
            value(&page, &series).unwrap_or_else(|| panic!("{series} in {page}"))
        };
        let outcomes = ["delivered", "aggregated", "lost", "not_ip", "malformed", "filtered"];
        assert_eq!(outcomes.map(of).iter().sum::<u64>(), source.seen);
        assert_eq!(of("lost"), source.lost);
    }
    assert_eq!(value(&page, "parallax_flows_total"), Some(status.seen_flows));
    assert_eq!(value(&page, "parallax_log_size_bytes"), Some(capture.log_bytes));
    assert!(
        page.contains("service_name=\"parallax-observer\"") && page.contains("host_name=\"test-node\""),
        "{page}"
    );
    assert!(!page.contains("parallax_history"), "there is no history: {page}");
}

/// Every metric of the page is in the manual, and has a line that says what it is.
#[tokio::test]
async fn the_manual_names_every_metric() {
    let node = node().await;
    let page = Metrics::new(&node.state, None, None).unwrap().text();
    let manual = include_str!("../../../docs/metrics.md");
    let names: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| *name != "target_info")
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for info in ::metrics::flow_metrics::FlowMetrics::known_families() {
        let unit = if info.unit == "By" { "_bytes" } else { "" };
        let name = match info.is_histogram {
            true => format!("{}_seconds", info.name),
            false => format!("{}{unit}_total", info.name),
        };
        assert!(
            manual.contains(&format!("`{name}`")),
            "docs/metrics.md does not name {name}"
        );
    }
    for name in names {
        assert!(
            manual.contains(&format!("`{name}`")),
            "docs/metrics.md does not name {name}"
        );
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is not explained");
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    get_as(address, path, "*/*")
}

fn get_as(address: SocketAddr, path: &str, accept: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_what_prometheus_expects() {
    let node = node().await;
    let page = Page::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = page.address();
    let taken = Page::bind(address).await.unwrap_err().to_string();
    assert!(taken.contains(&format!("cannot listen on {address}")), "{taken}");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let served = tokio::spawn(page.serve(Metrics::new(&node.state, None, None).unwrap(), stopped));
    let answer = get(address, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("# TYPE parallax_lost_events_total counter"), "{answer}");
    let answer = get_as(
        address,
        "/metrics",
        "application/openmetrics-text; version=1.0.0, text/plain; q=0.5",
    );
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.contains(kind) && answer.contains("vary: accept"), "{answer}");
    assert!(
        answer.contains("# TYPE parallax_lost_events counter") && answer.contains("# EOF\n"),
        "{answer}"
    );
    assert!(get(address, "/").contains("/metrics"));
    assert!(get(address, "/nothing").starts_with("HTTP/1.1 404"));
    stop.send(true).unwrap();
    served.await.unwrap().unwrap();
}
