//! `GetFlows` for the whole cluster.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use flow::api::Timestamp;
use flow::api::flow::LostEvent;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use flow::batch::FlowBatch;
use flow::filter::Filters;
use flow::mask::FlowMask;
use flow::wire::RowEncoder;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use rustc_hash::FxHashMap;
use serving::frames::Frames;
use serving::get_flows::FlowAnswers;
use serving::servers::ended;
use tokio::sync::watch;
use tonic::Status;

use crate::cluster::Cluster;
use crate::cluster_flows::{Beside, ClusterFlows, Item};
use crate::merge::{Order, Released};
use flow::clock::wall_ns;

/// A piece of the answer ends with the row that brings it to this size.
const CHUNK_BYTES: usize = 64 << 10;
/// More flows than these are not gathered to find the newest ones: all of them are sent.
const GATHERED: u64 = 10_000_000;

/// Answers `GetFlows` from all peers.
#[derive(Clone, Debug)]
pub(super) struct ClusterAnswers {
    cluster: Arc<Cluster>,
    shutdown: watch::Receiver<bool>,
}

impl ClusterAnswers {
    pub(super) fn new(cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) -> Self {
        Self { cluster, shutdown }
    }
}

/// What a client asks for, checked.
struct Wanted {
    request: GetFlowsRequest,
    mask: Option<FlowMask>,
}

impl Wanted {
    fn new(request: GetFlowsRequest) -> Result<Self, Status> {
        if request.first && request.follow {
            return Err(Status::invalid_argument(
                "first and follow exclude each other: the oldest flows don't change",
            ));
        }
        // Nodes check this too; a client hears of it once, and also where there are no nodes.
        Filters::compile(&request.whitelist, &request.blacklist)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let paths = request
            .field_mask
            .as_ref()
            .map(|mask| mask.paths.as_slice())
            .unwrap_or_default();
        let mask = FlowMask::new(paths).map_err(|error| Status::invalid_argument(format!("field mask: {error}")))?;
        Ok(Self { request, mask })
    }

    /// How many of the newest flows there are to be found first.
    fn newest(&self) -> Option<u64> {
        let number = self.request.number;
        (number > 0 && !self.request.first && number <= GATHERED).then_some(number)
    }

    /// The request to each node, but for how many.
    fn to_nodes(&self) -> GetFlowsRequest {
        GetFlowsRequest {
            field_mask: None,
            number: if self.request.first { self.request.number } else { 0 },
            ..self.request.clone()
        }
    }
}

impl FlowAnswers for ClusterAnswers {
    fn answer(&self, request: GetFlowsRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let wanted = Wanted::new(request)?;
        let cluster = Arc::clone(&self.cluster);
        let answer = stream::once(Answer::start(cluster, wanted)).flat_map(|answer| {
            stream::unfold(Some(answer), async |answer| {
                let mut answer = answer?;
                match answer.next().await {
                    Ok(Some(bytes)) => Some((Ok(bytes), Some(answer))),
                    Ok(None) => None,
                    Err(status) => Some((Err(status), None)),
                }
            })
        });
        let mut shutdown = self.shutdown.clone();
        Ok(answer.take_until(async move { ended(&mut shutdown).await }).boxed())
    }
}

/// What a client gets.
struct Answer {
    cluster: Arc<Cluster>,
    wanted: Wanted,
    /// The newest flows are looked for first, if they are asked for.
    phase: Phase,
    encoders: FxHashMap<u64, RowEncoder>,
    /// Flows to send, and how many of them have been.
    released: VecDeque<Released>,
    sent: usize,
    /// How many flows may still be sent.
    left: u64,
    frames: Frames,
    /// What nodes lost, as long as it isn't known since when it is of interest.
    lost: Vec<(String, LostEvent)>,
}

enum Phase {
    Newest(Box<ClusterFlows>, u64, Vec<Released>),
    Forward(Beside),
    Done,
}

impl Answer {
    async fn start(cluster: Arc<Cluster>, wanted: Wanted) -> Self {
        let phase = match wanted.newest() {
            Some(number) => {
                let request = GetFlowsRequest {
                    number,
                    follow: false,
                    ..wanted.to_nodes()
                };
                let flows = ClusterFlows::start(
                    Arc::clone(&cluster),
                    request,
                    Vec::new(),
                    Order::NewestFirst,
                    Vec::new(),
                );
                Phase::Newest(Box::new(flows.await), number, Vec::new())
            }
            None => {
                let flows = wanted.to_nodes();
                let flows =
                    ClusterFlows::start(Arc::clone(&cluster), flows, Vec::new(), Order::OldestFirst, Vec::new());
                Phase::Forward(flows.await.beside())
            }
        };
        let limited = wanted.request.first && wanted.request.number > 0;
        Self {
            left: if limited { wanted.request.number } else { u64::MAX },
            cluster,
            wanted,
            phase,
            encoders: FxHashMap::default(),
            released: VecDeque::new(),
            sent: 0,
            frames: Frames::default(),
            lost: Vec::new(),
        }
    }

    /// Messages; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            self.encode();
            if !self.frames.is_empty() {
                return Ok(Some(std::mem::take(&mut self.frames).into_bytes()));
            }
            if self.left == 0 {
                return Ok(None);
            }
            let item = match &mut self.phase {
                Phase::Newest(flows, number, found) => match flows.next().await? {
                    Some(Item::Flows(released)) => {
                        let rows = released.rows.len() as u64;
                        found.push(released);
                        *number = number.saturating_sub(rows);
                        if *number == 0 {
                            self.found().await;
                        }
                        continue;
                    }
                    Some(Item::Lost(node, event)) => {
                        self.lost.push((node, event));
                        continue;
                    }
                    Some(item) => item,
                    None => {
                        self.found().await;
                        continue;
                    }
                },
                Phase::Forward(flows) => match flows.next().await? {
                    Some(item) => item,
                    None => return Ok(None),
                },
                Phase::Done => return Ok(None),
            };
            match item {
                Item::Flows(released) => self.released.push_back(released),
                Item::Lost(node_name, event) => self.tell_loss(node_name, event),
                Item::Status(event) => self.frames.push(&GetFlowsResponse {
                    node_name: String::new(),
                    time: Some(Timestamp::from_nanos(wall_ns())),
                    response_types: Some(ResponseTypes::NodeStatus(event)),
                }),
            }
        }
    }

    fn tell_loss(&mut self, node_name: String, event: LostEvent) {
        self.frames.push(&GetFlowsResponse {
            node_name,
            time: event.last,
            response_types: Some(ResponseTypes::LostEvents(event)),
        });
    }

    /// All of the newest flows are there, the newest first: they are sent the other way round, and what follows after them.
    async fn found(&mut self) {
        let Phase::Newest(flows, _, found) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return;
        };
        let mut most = usize::try_from(self.wanted.request.number).unwrap_or(usize::MAX);
        let oldest = found.last().and_then(|released| {
            let row = released.rows.last()?;
            Some(released.batches[row.batch].1.time_ns(row.row))
        });
        // Without flows nothing is known of the time that was asked for.
        for (node, event) in std::mem::take(&mut self.lost) {
            let last = event.last.as_ref().map_or(0, Timestamp::to_nanos);
            if oldest.is_none_or(|oldest| oldest <= last) {
                self.tell_loss(node, event);
            }
        }
        for mut released in found {
            released.rows.truncate(most);
            most -= released.rows.len();
            released.rows.reverse();
            released.finished.clear();
            self.released.push_front(released);
        }
        if self.wanted.request.follow {
            let request = self.wanted.to_nodes();
            let resume = flows.positions();
            drop(flows);
            let cluster = Arc::clone(&self.cluster);
            let flows = ClusterFlows::start(cluster, request, Vec::new(), Order::OldestFirst, resume);
            self.phase = Phase::Forward(flows.await.beside());
        }
    }

    /// Puts flows that are to be sent into frames, up to the size of a chunk.
    fn encode(&mut self) {
        while self.frames.len() < CHUNK_BYTES
            && self.left > 0
            && let Some(released) = self.released.front()
        {
            let Some(row) = released.rows.get(self.sent).copied() else {
                for number in &released.finished {
                    self.encoders.remove(number);
                }
                self.released.pop_front();
                self.sent = 0;
                if self.released.is_empty() && matches!(self.phase, Phase::Done) {
                    self.encoders.clear();
                }
                continue;
            };
            let (number, batch) = &released.batches[row.batch];
            let mask = self.wanted.mask.as_ref();
            let encoders = &mut self.encoders;
            self.frames.push_with(|out| match mask {
                Some(mask) => masked(batch, row.row, row.late, mask, out),
                None => {
                    let encoder = encoders.entry(*number).or_insert_with(|| RowEncoder::new(batch, ""));
                    encoder.encode(row.row, out);
                    if row.late {
                        mark_late(out);
                    }
                }
            });
            self.sent += 1;
            self.left -= 1;
        }
    }
}

fn masked(batch: &FlowBatch, row: usize, late: bool, mask: &FlowMask, out: &mut Vec<u8>) {
    let mut response = batch.to_response(row);
    if let Some(ResponseTypes::Flow(flow)) = &mut response.response_types {
        *flow = mask.apply(flow);
    }
    response.encode(out).expect("invariant: a vector has no end");
    if late {
        mark_late(out);
    }
}

/// Adds `flow.detail.late` to a message that is encoded already: parts of a message that come twice are merged
/// (protobuf's encoding, "Last One Wins").
fn mark_late(out: &mut Vec<u8>) {
    const FLOW: u32 = 1;
    const DETAIL: u32 = 160_001;
    const LATE: u32 = 30;
    let mut detail = Vec::with_capacity(8);
    encode_key(LATE, WireType::Varint, &mut detail);
    encode_varint(1, &mut detail);
    let mut flow = Vec::with_capacity(16);
    encode_key(DETAIL, WireType::LengthDelimited, &mut flow);
    encode_varint(detail.len() as u64, &mut flow);
    flow.append(&mut detail);
    encode_key(FLOW, WireType::LengthDelimited, out);
    encode_varint(flow.len() as u64, out);
    out.append(&mut flow);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use flow::builder::FlowBatchBuilder;
    use flow::record::FlowRecord;

    #[test]
    fn a_late_flow_is_marked_and_says_the_rest_as_before() {
        let mut builder = FlowBatchBuilder::new(1, 0);
        builder.append(&FlowRecord {
            time_ns: 5,
            verdict: 2,
            length: 60,
            ..FlowRecord::default()
        });
        let batch = builder.seal().unwrap();
        let mut out = Vec::new();
        RowEncoder::new(&batch, "n").encode(0, &mut out);
        let before = GetFlowsResponse::decode(out.as_slice()).unwrap();
        mark_late(&mut out);
        let mut after = GetFlowsResponse::decode(out.as_slice()).unwrap();
        let Some(ResponseTypes::Flow(flow)) = &mut after.response_types else {
            panic!("no flow")
        };
        let detail = flow.detail.as_mut().unwrap();
        assert!(std::mem::take(&mut detail.late));
        assert_eq!(after, before);
    }
}
