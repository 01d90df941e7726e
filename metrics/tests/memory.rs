//! What metrics of flows take while pods come and go. In a process of its own, since the allocator counts for all of it.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flow::api::flow::{Flow, Verdict};
use flow::from_api::FlowReader;
use metrics::config::parse;
use metrics::flow_metrics::{FlowMetrics, Limits};
use serde_json::json;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: by contract of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: by contract of the caller.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PODS: u64 = 100_000;
/// New ones in each second, busy for that second.
const A_SECOND: u64 = 500;
/// As the observer looks for what is idle.
const UPKEEP_S: u64 = 5;

/// Flows of pods to a server, the tenth of them dropped.
fn flows(pods: std::ops::Range<u64>) -> Vec<Flow> {
    let pod_0: Flow = serde_json::from_value(json!({
        "verdict": "FORWARDED",
        "event_type": {"type": 4, "sub_type": 3},
        "trace_observation_point": "TO_STACK",
        "IP": {"source": "10.0.0.1", "destination": "10.99.0.1", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": true}}},
        "source": {"namespace": "shop"},
        "destination": {"namespace": "shop", "pod_name": "payment-0"},
        "traffic_direction": "EGRESS",
    }))
    .unwrap();
    pods.map(|pod| {
        let mut flow = pod_0.clone();
        flow.source.as_mut().unwrap().pod_name = format!("checkout-7d4b9c6f5-{pod}");
        if pod % 10 == 9 {
            flow.verdict = Verdict::Dropped.into();
            flow.event_type.as_mut().unwrap().r#type = 1;
        }
        flow
    })
    .collect()
}

#[test]
fn what_pods_leave_behind_is_given_back() {
    let context = "sourceContext=pod;destinationContext=pod";
    let names = ["flow", "drop", "tcp", "port-distribution", "traffic", "drop-reason"];
    let configs = parse(&names.map(|name| format!("{name}:{context}")).join(" ")).unwrap();
    let limits = Limits {
        series: 10_000,
        idle: Duration::from_secs(12),
    };
    // Tables that are made once, and are not of the metrics.
    let mut warm = FlowMetrics::new(&configs, limits);
    warm.observe(&FlowReader::default().batch(&flows(0..A_SECOND)).unwrap(), 0);
    drop(warm);

    let start = HELD.load(Ordering::Relaxed);
    let held = || HELD.load(Ordering::Relaxed).saturating_sub(start);
    let mut metrics = FlowMetrics::new(&configs, limits);
    let before = held();
    let (mut most, mut most_series) = (0, 0);
    for second in 0..PODS / A_SECOND {
        let pods = second * A_SECOND..(second + 1) * A_SECOND;
        let batch = FlowReader::default().batch(&flows(pods)).unwrap();
        metrics.observe(&batch, second);
        drop(batch);
        most = most.max(held());
        most_series = most_series.max(metrics.families().map(|family| family.len()).sum());
        if second % UPKEEP_S == UPKEEP_S - 1 {
            metrics.expire(second);
        }
    }
    assert!(metrics.families().all(|family| family.overflow() == 0));
    metrics.expire(PODS / A_SECOND + limits.idle.as_secs());
    let after = held();
    let series: usize = metrics.families().map(|family| family.len()).sum();
    println!(
        "{PODS} pods, {A_SECOND} a second, forgotten after {:?}: {before} bytes before, {most} with {most_series} series \
         ({} bytes each), {after} after",
        limits.idle,
        most / most_series
    );
    assert_eq!(series, 0);
    assert!(
        most_series < 40_000,
        "{most_series}: of each metric those of a few seconds"
    );
    assert!(most < 400 * most_series, "{most}");
    assert!(after < before + 64 * 1024, "{after}");
}
