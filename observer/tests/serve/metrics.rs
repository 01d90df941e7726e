//! Metrics of the observer's own work.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metrics::config::parse;
use ::metrics::flow_metrics::Limits;
use arrow_flight::flight_service_client::FlightServiceClient;
use bpf_probes::event::SourceCounters;
use feed::{FeedRequest, request};
use flow::api::observer::{GetFlowsRequest, ServerStatusRequest};
use observer::log::{Loss, Source, Stage};
use observer::metrics::flows::{FlowMeter, Wanted};
use observer::metrics::{Metrics, Page};

use crate::LARGE;
use crate::node::TestNode;

const PATIENCE: Duration = Duration::from_secs(30);

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
    node.state.counters.write().ring_fill_permille = Some(125);
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
    assert!(page.contains("\nparallax_ring_fill_ratio 0.125\n"), "{page}");
    assert!(
        page.contains("service_name=\"parallax-observer\"") && page.contains("host_name=\"test-node\""),
        "{page}"
    );
    assert!(!page.contains("parallax_history"), "there is no history: {page}");
}

/// The value of a series, as soon as it is as it should be.
async fn until(metrics: &Metrics, series: &str, is_so: impl Fn(u64) -> bool) -> u64 {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = metrics.text();
        match value(&page, series) {
            Some(value) if is_so(value) => return value,
            _ => assert!(Instant::now() < end, "{series} in {page}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_which_metrics_overflow() {
    let mut meter = None;
    let limits = Limits {
        series: 1,
        ..Limits::default()
    };
    let mut node = TestNode::start_counted(LARGE, |log| {
        let wanted = Wanted::Fixed(parse("flow tcp").unwrap());
        let counting = FlowMeter::start(wanted, limits, Arc::clone(log)).unwrap();
        let overflows = counting.overflows();
        meter = Some(counting);
        Some(overflows)
    })
    .await;
    let metrics = Metrics::new(&node.state, meter, None).unwrap();
    let mut client = node.client().await;
    let before = client.server_status(ServerStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(before.capture.unwrap().metrics_overflowed, []);
    node.append(2000);
    node.show();
    let overflowed = "parallax_metrics_overflowed_total{metric=\"hubble_flows_processed\"}";
    until(&metrics, "parallax_log_unread_flows{reader=\"metrics\"}", |unread| {
        unread == 0
    })
    .await;
    let count = until(&metrics, overflowed, |count| count > 0).await;
    let status = client.server_status(ServerStatusRequest {}).await.unwrap().into_inner();
    let told = status.capture.unwrap().metrics_overflowed;
    let named: Vec<_> = told.iter().map(|told| (told.metric.as_str(), told.limit)).collect();
    assert_eq!(named, [("hubble_flows_processed", 1)]);
    assert!(told[0].count >= count, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_the_slowest_client_is_behind_is_known() {
    let mut node = TestNode::start(LARGE).await;
    let metrics = Metrics::new(&node.state, None, None).unwrap();
    let series = "parallax_log_unread_flows{reader=\"slowest follower\"}";
    assert_eq!(value(&metrics.text(), series), None, "nobody follows");
    let follow = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    let mut quick = node
        .client()
        .await
        .get_flows(follow.clone())
        .await
        .unwrap()
        .into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = quick.message().await {} });
    until(&metrics, series, |unread| unread == 0).await;
    let slow = node.narrow_client().await.get_flows(follow).await.unwrap();
    for _ in 0..50 {
        node.append(1000);
        node.seal();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let unread = until(&metrics, series, |unread| unread > 10_000).await;
    assert!(unread <= 50_000, "{unread}");
    drop(slow);
    until(&metrics, series, |unread| unread == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_feed_that_follow_count_as_well() {
    let mut node = TestNode::start(LARGE).await;
    let metrics = Metrics::new(&node.state, None, None).unwrap();
    let series = "parallax_log_unread_flows{reader=\"slowest follower\"}";
    let mut client = FlightServiceClient::new(node.narrow_channel().await);
    let wanted = FeedRequest {
        flows: Some(GetFlowsRequest {
            follow: true,
            ..GetFlowsRequest::default()
        }),
        ..FeedRequest::default()
    };
    let slow = client.do_get(request::ticket(wanted)).await.unwrap();
    until(&metrics, series, |unread| unread == 0).await;
    for _ in 0..50 {
        node.append(1000);
        node.seal();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let unread = until(&metrics, series, |unread| unread > 10_000).await;
    assert!(unread <= 50_000, "{unread}");
    // As soon as it reads on it is behind no more.
    let mut messages = slow.into_inner();
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = messages.message().await {} });
    until(&metrics, series, |unread| unread == 0).await;
    reading.abort();
    let end = Instant::now() + PATIENCE;
    while metrics.text().contains(series) {
        assert!(Instant::now() < end, "it has gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every metric of the page is in the manual, and has a line that says what it is.
#[tokio::test]
async fn the_manual_names_every_metric() {
    let node = node().await;
    let _follower = node.log.follow();
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
