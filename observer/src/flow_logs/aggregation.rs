//! Flows that are the same in the fields that are looked at, as one line with how many they were.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flow::api::Timestamp;
use flow::api::flow::{Aggregate, Flow, TrafficDirection};
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::mask::FlowMask;
use prost::Message as _;
use rustc_hash::FxHashMap;

/// Lines that are kept for the end of an interval. Should there be more, the interval ends early.
const LINES: usize = 10_000;

/// Flows of the interval so far.
#[derive(Debug)]
pub(super) struct Aggregation {
    mask: Arc<FlowMask>,
    interval: Duration,
    due: Instant,
    lines: FxHashMap<Vec<u8>, Line>,
}

/// Flows that are one line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    node_name: String,
    /// That of the first.
    time: Option<Timestamp>,
    flow: Flow,
    counts: Aggregate,
}

impl Line {
    /// How many flows it stands for, and the line.
    pub(super) fn told(self) -> (u64, GetFlowsResponse) {
        let counts = &self.counts;
        let flows = [
            counts.ingress_flow_count,
            counts.egress_flow_count,
            counts.unknown_direction_flow_count,
        ];
        let flow = Flow {
            aggregate: Some(self.counts),
            ..self.flow
        };
        let response = GetFlowsResponse {
            node_name: self.node_name,
            time: self.time,
            response_types: Some(ResponseTypes::Flow(flow)),
        };
        (flows.into_iter().map(u64::from).sum(), response)
    }
}

impl Aggregation {
    pub(super) fn new(mask: Arc<FlowMask>, interval: Duration, now: Instant) -> Self {
        Self {
            mask,
            interval,
            due: now + interval,
            lines: FxHashMap::default(),
        }
    }

    /// Counts a flow.
    pub(super) fn add(&mut self, response: &GetFlowsResponse) {
        let Some(ResponseTypes::Flow(flow)) = &response.response_types else {
            return;
        };
        let looked_at = self.mask.apply(flow);
        let line = self.lines.entry(looked_at.encode_to_vec()).or_insert_with(|| Line {
            node_name: response.node_name.clone(),
            time: response.time,
            flow: looked_at,
            counts: Aggregate::default(),
        });
        let count = match flow.traffic_direction() {
            TrafficDirection::Ingress => &mut line.counts.ingress_flow_count,
            TrafficDirection::Egress => &mut line.counts.egress_flow_count,
            TrafficDirection::Unknown => &mut line.counts.unknown_direction_flow_count,
        };
        *count = count.saturating_add(1);
    }

    /// The lines, in the order of their first flows, if the interval is over or there are too many.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Line> {
        if now < self.due && self.lines.len() < LINES {
            return Vec::new();
        }
        self.due = now + self.interval;
        self.all()
    }

    /// The lines so far.
    pub(super) fn all(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = std::mem::take(&mut self.lines).into_values().collect();
        lines.sort_by_key(|line| line.time.as_ref().map_or(0, Timestamp::to_nanos));
        lines
    }
}
