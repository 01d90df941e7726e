//! The instruments. docs/metrics.md lists them for users; a test holds that it names each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use flow::api::parallax::{CaptureStatus, HistoryStatus, SourceStatus, StageLoss};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::otlp::Exports;
use crate::flow_logs::AllCounts;
use crate::serve::NodeState;

pub(super) fn register(provider: &SdkMeterProvider, node: &Arc<NodeState>) {
    let own = Own {
        meter: provider.meter("parallax"),
        node: Arc::clone(node),
    };
    own.events();
    own.log();
    own.connections();
    own.process();
    if node.history.is_some() {
        own.history();
    }
}

/// How sending to a collector goes.
pub(super) fn register_exports(provider: &SdkMeterProvider, exports: &Arc<Exports>) {
    let exports = Arc::clone(exports);
    provider
        .meter("parallax")
        .u64_observable_counter("parallax.otlp.exports")
        .with_unit("{export}")
        .with_description("How often metrics were sent to the collector.")
        .with_callback(move |observer| {
            let outcome = |name| [KeyValue::new("outcome", name)];
            observer.observe(exports.sent.load(Ordering::Relaxed), &outcome("sent"));
            observer.observe(exports.failed.load(Ordering::Relaxed), &outcome("failed"));
        })
        .build();
}

/// What was written to flow logs.
pub(super) fn register_flow_logs(provider: &SdkMeterProvider, counts: &AllCounts) {
    let counts = Arc::clone(counts);
    provider
        .meter("parallax")
        .u64_observable_counter("parallax.flow_logs.flows")
        .with_unit("{flow}")
        .with_description("Flows that were written to flow logs, and that could not be.")
        .with_callback(move |observer| {
            for (name, counts) in counts.lock().iter() {
                for (outcome, count) in [("written", &counts.written), ("failed", &counts.failed)] {
                    let labels = [KeyValue::new("name", name.clone()), KeyValue::new("outcome", outcome)];
                    observer.observe(count.load(Ordering::Relaxed), &labels);
                }
            }
        })
        .build();
}

/// Processor time of all threads, in the program and in the kernel for it (`proc_pid_stat(5)`: utime, stime).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have spaces.
    let after_name = stat.rsplit_once(')')?.1;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|text| text.parse::<u64>().ok())
        .sum();
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// `proc_pid_statm(5)`, the second number.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

struct Own {
    meter: Meter,
    node: Arc<NodeState>,
}

impl Own {
    /// A counter whose values are read when somebody asks.
    fn counter(
        &self,
        name: &'static str,
        unit: &'static str,
        doc: &'static str,
        read: impl Fn(&NodeState) -> Vec<(u64, Vec<KeyValue>)> + Send + Sync + 'static,
    ) {
        let node = Arc::clone(&self.node);
        self.meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(doc)
            .with_callback(move |observer| {
                for (value, attributes) in read(&node) {
                    observer.observe(value, &attributes);
                }
            })
            .build();
    }

    /// A value that goes up and down.
    fn gauge(
        &self,
        name: &'static str,
        unit: &'static str,
        doc: &'static str,
        read: impl Fn(&NodeState) -> u64 + Send + Sync + 'static,
    ) {
        let node = Arc::clone(&self.node);
        self.meter
            .u64_observable_gauge(name)
            .with_unit(unit)
            .with_description(doc)
            .with_callback(move |observer| observer.observe(read(&node), &[]))
            .build();
    }

    fn events(&self) {
        self.counter(
            "parallax.events",
            "{event}",
            "Events that programs in the kernel were called for, by what became of them.",
            |node| node.capture_status().sources.iter().flat_map(outcomes).collect(),
        );
        self.counter(
            "parallax.lost_events",
            "{event}",
            "Events that were lost, by stage, source and CPU.",
            |node| node.capture_status().lost.iter().map(lost).collect(),
        );
        self.counter(
            "hubble_lost_events",
            "{event}",
            "The same by the sources that Hubble tells apart.",
            |node| hubble_losses(&node.capture_status().lost),
        );
        self.counter("parallax.flows", "{flow}", "Flows that came into the log.", |node| {
            vec![(node.log.state().seen, Vec::new())]
        });
    }

    fn log(&self) {
        self.counter(
            "parallax.log.evicted_flows",
            "{flow}",
            "Flows that left the log in memory because it was full.",
            |node| vec![(node.log.state().evicted, Vec::new())],
        );
        self.gauge("parallax.log.size", "By", "Memory that the log takes.", |node| {
            node.log.state().bytes as u64
        });
        self.gauge("parallax.log.limit", "By", "Memory that the log may take.", |node| {
            node.log.state().budget_bytes as u64
        });
        self.gauge(
            "parallax.followers",
            "{client}",
            "Clients that follow the newest flows.",
            |node| node.log.followers() as u64,
        );
    }

    fn connections(&self) {
        self.gauge(
            "parallax.connections",
            "{connection}",
            "Connections in the table.",
            |node| node.capture_status().connections,
        );
        let single =
            |read: fn(&CaptureStatus) -> u64| move |node: &NodeState| vec![(read(&node.capture_status()), Vec::new())];
        self.counter(
            "parallax.connections.evicted",
            "{connection}",
            "Connections that were forgotten because the table was full.",
            single(|status| status.connections_evicted),
        );
        self.counter(
            "parallax.requests.unwatched",
            "{request}",
            "Requests that could not be watched for an answer, as too many waited.",
            single(|status| status.requests_unwatched),
        );
        self.counter(
            "parallax.requests.undecided",
            "{request}",
            "Requests of which nobody can say whether they were answered, as packets were lost meanwhile.",
            single(|status| status.requests_undecided),
        );
    }

    /// What the observer costs, by the names of OpenTelemetry's semantic conventions for processes.
    fn process(&self) {
        self.meter
            .f64_observable_counter("process.cpu.time")
            .with_unit("s")
            .with_description("Processor time that the observer has taken.")
            .with_callback(|observer| {
                if let Some(seconds) = cpu_seconds() {
                    observer.observe(seconds, &[]);
                }
            })
            .build();
        self.meter
            .u64_observable_gauge("process.memory.usage")
            .with_unit("By")
            .with_description("Memory of the observer that is resident.")
            .with_callback(|observer| {
                if let Some(bytes) = resident_bytes() {
                    observer.observe(bytes, &[]);
                }
            })
            .build();
    }

    fn history(&self) {
        let of = |read: fn(&HistoryStatus) -> u64| {
            move |node: &NodeState| node.history.as_ref().map_or(0, |history| read(&history.status()))
        };
        self.gauge(
            "parallax.history.paused",
            "",
            "Whether the history can't be written at the moment: 1 if so.",
            of(|history| u64::from(!history.problem.is_empty())),
        );
        let flows = of(|history| history.flows);
        self.counter(
            "parallax.history.flows",
            "{flow}",
            "Flows of this run that are in files.",
            move |node| vec![(flows(node), Vec::new())],
        );
        self.gauge(
            "parallax.history.files",
            "{file}",
            "Files of this node in the history.",
            of(|history| history.files),
        );
        self.gauge(
            "parallax.history.size",
            "By",
            "Size of the files of this node in the history.",
            of(|history| history.bytes),
        );
    }
}

fn outcomes(source: &SourceStatus) -> Vec<(u64, Vec<KeyValue>)> {
    [
        ("delivered", source.delivered),
        ("aggregated", source.aggregated),
        ("lost", source.lost),
        ("not_ip", source.not_ip),
        ("malformed", source.malformed),
        ("filtered", source.filtered),
    ]
    .into_iter()
    .map(|(outcome, count)| {
        let attributes = vec![
            KeyValue::new("source", source.source.clone()),
            KeyValue::new("cpu", source.cpu.to_string()),
            KeyValue::new("outcome", outcome),
        ];
        (count, attributes)
    })
    .collect()
}

/// Where Hubble would have lost what was lost; what the history lacks has no such place.
fn hubble_losses(losses: &[StageLoss]) -> Vec<(u64, Vec<KeyValue>)> {
    let of = |stages: &[&str]| {
        let lost = losses.iter().filter(|loss| stages.contains(&loss.stage.as_str()));
        lost.map(|loss| loss.count).sum()
    };
    [
        (
            "perf_event_ring_buffer",
            of(&["kernel ring", "busy program", "another observer"]),
        ),
        ("observer_events_queue", of(&["undecodable"])),
        ("hubble_ring_buffer", of(&["slow clients"])),
    ]
    .map(|(source, count)| (count, vec![KeyValue::new("source", source)]))
    .into()
}

fn lost(loss: &StageLoss) -> (u64, Vec<KeyValue>) {
    let mut attributes = vec![KeyValue::new("stage", loss.stage.clone())];
    if !loss.source.is_empty() {
        attributes.push(KeyValue::new("source", loss.source.clone()));
    }
    attributes.extend(loss.cpu.map(|cpu| KeyValue::new("cpu", cpu.to_string())));
    (loss.count, attributes)
}
