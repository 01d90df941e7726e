//! The instruments. docs/metrics.md lists them for users; a test holds that it names each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use flow::api::parallax::{CaptureStatus, HistoryStatus, SourceStatus, StageLoss};
use metrics::instruments::{Instruments, Values, one};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;

use crate::flow_logs::AllCounts;
use crate::serve::NodeState;

pub(super) fn register(provider: &SdkMeterProvider, node: &Arc<NodeState>) {
    let own = Own(Instruments::new(provider, node));
    own.events();
    own.log();
    own.connections();
    if node.history.is_some() {
        own.history();
    }
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

struct Own(Instruments<NodeState>);

impl Own {
    fn events(&self) {
        self.0.counter(
            "parallax.events",
            "{event}",
            "Events that programs in the kernel were called for, by what became of them.",
            |node| node.capture_status().sources.iter().flat_map(outcomes).collect(),
        );
        self.0.counter(
            "parallax.lost_events",
            "{event}",
            "Events that were lost, by stage, source and CPU.",
            |node| node.capture_status().lost.iter().map(lost).collect(),
        );
        self.0.counter(
            "hubble_lost_events",
            "{event}",
            "The same by the sources that Hubble tells apart.",
            |node| hubble_losses(&node.capture_status().lost),
        );
        self.0.gauge(
            "parallax.ring.fill",
            "1",
            "How full the fullest ring was when it was read in the last 20 s: 1 is full.",
            |node| {
                let permille = node.counters.read().ring_fill_permille;
                permille.map_or_else(Vec::new, |permille| one(f64::from(permille) / 1000.0))
            },
        );
        self.0
            .counter("parallax.flows", "{flow}", "Flows that came into the log.", |node| {
                one(node.log.state().seen)
            });
    }

    fn log(&self) {
        self.0.counter(
            "parallax.log.evicted_flows",
            "{flow}",
            "Flows that left the log in memory because it was full.",
            |node| one(node.log.state().evicted),
        );
        self.0
            .gauge("parallax.log.size", "By", "Memory that the log takes.", |node| {
                one(node.log.state().bytes as f64)
            });
        self.0
            .gauge("parallax.log.limit", "By", "Memory that the log may take.", |node| {
                one(node.log.state().budget_bytes as f64)
            });
        self.0.gauge(
            "parallax.log.unread_flows",
            "{flow}",
            "Flows of the log that a reader has yet to read.",
            |node| {
                let readers = unread(node).into_iter();
                readers
                    .map(|(reader, flows)| (flows as f64, vec![KeyValue::new("reader", reader)]))
                    .collect()
            },
        );
        self.0.gauge(
            "parallax.followers",
            "{client}",
            "Clients that follow the newest flows.",
            |node| one(node.log.followers() as f64),
        );
    }

    fn connections(&self) {
        self.0.gauge(
            "parallax.connections",
            "{connection}",
            "Connections in the table.",
            |node| one(node.capture_status().connections as f64),
        );
        let single = |read: fn(&CaptureStatus) -> u64| move |node: &NodeState| one(read(&node.capture_status()));
        self.0.counter(
            "parallax.connections.evicted",
            "{connection}",
            "Connections that were forgotten because the table was full.",
            single(|status| status.connections_evicted),
        );
        self.0.counter(
            "parallax.requests.unwatched",
            "{request}",
            "Requests that could not be watched for an answer, as too many waited.",
            single(|status| status.requests_unwatched),
        );
        self.0.counter(
            "parallax.requests.undecided",
            "{request}",
            "Requests of which nobody can say whether they were answered, as packets were lost meanwhile.",
            single(|status| status.requests_undecided),
        );
    }

    fn history(&self) {
        let read = |node: &NodeState| {
            node.history
                .as_ref()
                .map(|history| history.status())
                .unwrap_or_default()
        };
        let of = move |value: fn(&HistoryStatus) -> u64| move |node: &NodeState| one(value(&read(node)) as f64);
        self.0.gauge(
            "parallax.history.paused",
            "",
            "Whether the history can't be written at the moment: 1 if so.",
            of(|history| u64::from(!history.problem.is_empty())),
        );
        self.0.counter(
            "parallax.history.flows",
            "{flow}",
            "Flows of this run that are in files.",
            move |node| one(read(node).flows),
        );
        self.0.gauge(
            "parallax.history.files",
            "{file}",
            "Files of this node in the history.",
            of(|history| history.files),
        );
        self.0.gauge(
            "parallax.history.size",
            "By",
            "Size of the files of this node in the history.",
            of(|history| history.bytes),
        );
    }
}

/// How far readers of the log are behind.
fn unread(node: &NodeState) -> Vec<(&'static str, u64)> {
    let readers = node.log.unread().into_iter();
    let mut unread: Vec<_> = readers.map(|(reader, flows)| (reader.name(), flows)).collect();
    if let Some(history) = &node.history {
        let end = node.log.range().1;
        unread.push(("history", end.saturating_sub(history.persisted().flows)));
    }
    unread
}

fn outcomes(source: &SourceStatus) -> Values<u64> {
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
fn hubble_losses(losses: &[StageLoss]) -> Values<u64> {
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
