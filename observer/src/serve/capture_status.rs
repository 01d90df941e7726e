//! What the observer counts of its own work, for `ServerStatus` and for metrics.

use bpf_probes::event::SourceCounters;
use flow::api::Timestamp;
use flow::api::parallax::{CaptureStatus, SourceStatus, StageLoss};

use super::NodeState;
use crate::log::Source;
use crate::metrics::flows::Overflows;
use flow::clock::wall_ns;

impl NodeState {
    /// What is counted on the way from the kernel into the log and the history.
    pub(crate) fn capture_status(&self) -> CaptureStatus {
        let counters = self.counters.read().clone();
        let state = self.log.state();
        let lost = self.log.losses().sums();
        let time = |nanos| Some(Timestamp::from_nanos(nanos));
        CaptureStatus {
            mode: self.mode.clone(),
            interfaces: self.interfaces.watched(),
            packets_seen: counters.packets_seen,
            drops_seen: counters.drops_seen,
            tcp_events_seen: counters.tcp_events_seen,
            delivered: counters.delivered,
            aggregated: counters.aggregated,
            sources: sources(&counters.sources),
            not_ip: counters.not_ip,
            malformed: counters.malformed,
            lost: lost
                .into_iter()
                .map(|((stage, source, cpu), count)| StageLoss {
                    stage: stage.name().to_owned(),
                    cpu,
                    count,
                    source: source.map_or_else(String::new, |source| source.name().to_owned()),
                })
                .collect(),
            log_bytes: state.bytes as u64,
            log_budget_bytes: state.budget_bytes as u64,
            connections: counters.connections,
            connections_evicted: counters.connections_evicted,
            oldest_flow: state.time_range.and_then(|(oldest, _)| time(oldest)),
            newest_flow: state.time_range.and_then(|(_, newest)| time(newest)),
            flows_evicted: state.evicted,
            capture_filter: self.capture_filter.clone(),
            filtered: counters.filtered,
            requests_unwatched: counters.requests_unwatched,
            requests_undecided: counters.requests_undecided,
            history: self.history.as_ref().map(|progress| progress.status()),
            clock_ns: wall_ns(),
            metrics_overflowed: self.overflows.as_ref().map(Overflows::list).unwrap_or_default(),
        }
    }
}

/// A message for each source and CPU that has seen something.
fn sources(sources: &[Vec<SourceCounters>]) -> Vec<SourceStatus> {
    let of = |source: u32, cpu: u32, counted: &SourceCounters| SourceStatus {
        source: Source::of(source).name().to_owned(),
        cpu,
        seen: counted.seen,
        delivered: counted.delivered,
        aggregated: counted.aggregated,
        lost: counted.lost,
        not_ip: counted.not_ip,
        malformed: counted.malformed,
        filtered: counted.filtered,
    };
    (0..)
        .zip(sources)
        .flat_map(|(source, cpus)| (0..).zip(cpus).map(move |(cpu, counted)| of(source, cpu, counted)))
        .filter(|status| status.seen > 0)
        .collect()
}
