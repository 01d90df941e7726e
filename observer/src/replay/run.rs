//! A replay from its file into the log.

use std::path::Path;
use std::sync::Arc;

use bpf_probes::capture_filter::{CompiledFilter, accepts};
use flow::api::flow::LostEventSource;
use flow::api::observer::export_event::ResponseTypes;
use flow::from_api::FlowReader;
use parking_lot::RwLock;
use rustc_hash::FxHashSet;

use super::flows::read_flows;
use super::pcap::read_packets;
use super::{Format, ReplayError, format_of};
use crate::capture::CaptureCounters;
use crate::log::{FlowLog, Loss, Stage};
use crate::pipeline::Pipeline;

/// Reads the whole file into the log, and closes it. What a damaged file has before the damage is in the log. Packets
/// that the filter leaves out are counted.
///
/// # Errors
/// If the file can't be replayed, or is damaged.
pub fn replay(
    path: &Path,
    capture: &CompiledFilter,
    mut pipeline: Pipeline,
    log: &FlowLog,
    counters: &Arc<RwLock<CaptureCounters>>,
) -> Result<(), ReplayError> {
    pipeline.refresh_names(FxHashSet::default());
    let result = match format_of(path) {
        Ok(Format::Packets) => packets(path, capture, &mut pipeline, log, counters),
        Ok(Format::Flows) => flows(path, &mut pipeline, log),
        Err(error) => Err(error),
    };
    publish_sealed(&mut pipeline, log);
    log.publish_tail(pipeline.snapshot());
    log.close();
    result
}

fn publish_sealed(pipeline: &mut Pipeline, log: &FlowLog) {
    for batch in pipeline.take_sealed() {
        log.publish(batch);
    }
}

fn packets(
    path: &Path,
    capture: &CompiledFilter,
    pipeline: &mut Pipeline,
    log: &FlowLog,
    counters: &Arc<RwLock<CaptureCounters>>,
) -> Result<(), ReplayError> {
    let mut counted = CaptureCounters::default();
    let result = read_packets(path, |packet| {
        if !accepts(capture, &packet.event.headers) {
            counted.filtered += 1;
            return;
        }
        counted.delivered += 1;
        // The packets' own times drive the timers. What the file is too short to decide stays open.
        pipeline.tick(packet.event.time_ns);
        pipeline.packet(packet);
        if pipeline.has_sealed() {
            publish_sealed(pipeline, log);
        }
    });
    // A damaged file has delivered what came before the damage.
    counted.packets_seen = counted.delivered + counted.filtered;
    if let Ok(read) = &result {
        counted.packets_seen = read.packets;
        counted.not_ip = read.not_ip;
        tracing::info!(path = %path.display(), packets = read.packets, not_ip = read.not_ip, filtered = counted.filtered, "replayed");
    }
    counted.connections = pipeline.connections().len() as u64;
    counted.connections_evicted = pipeline.connections().evicted();
    (counted.requests_unwatched, counted.requests_undecided) = pipeline.requests_unwatched_undecided();
    *counters.write() = counted;
    result.map(drop)
}

fn flows(path: &Path, pipeline: &mut Pipeline, log: &FlowLog) -> Result<(), ReplayError> {
    let mut reader = FlowReader::default();
    let read = read_flows(path, |event, at| match event {
        ResponseTypes::Flow(flow) => {
            reader.append(&flow, pipeline.builder());
            publish_sealed(pipeline, log);
        }
        ResponseTypes::LostEvents(lost) => {
            let stage = match lost.source() {
                LostEventSource::PerfEventRingBuffer => Stage::KernelRing,
                LostEventSource::ObserverEventsQueue => Stage::Undecodable,
                _ => Stage::Elsewhere,
            };
            let time = |time: Option<flow::api::Timestamp>| time.or(at).map_or(0, |time| time.to_nanos());
            log.losses().record(Loss {
                source: None,
                stage,
                cpu: lost.cpu.and_then(|cpu| u32::try_from(cpu.value).ok()),
                count: lost.num_events_lost,
                time_range: (time(lost.first), time(lost.last)),
            });
        }
        _ => {}
    })?;
    tracing::info!(path = %path.display(), events = read.events, unreadable = read.unreadable, "replayed");
    Ok(())
}
