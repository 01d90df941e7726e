//! A client of the relay, and what it got.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flow::api::flow::{EventTypeFilter, Flow, FlowFilter, LostEvent, LostEventSource};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse, GetNodesRequest, Node};
use flow::api::relay::{NodeState, NodeStatusEvent};
use serving::connect::{Target, channel};
use tonic::Streaming;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(60);

/// Packets to a port as they leave their sender's node: each is such a flow once.
pub fn sent_to(port: u16) -> FlowFilter {
    FlowFilter {
        destination_port: vec![port.to_string()],
        event_type: vec![EventTypeFilter {
            r#type: 4,
            match_sub_type: true,
            sub_type: TO_ENDPOINT,
        }],
        ..FlowFilter::default()
    }
}

/// The trace point of packets that leave a node's veth, as the API numbers sub types: an endpoint is behind it.
const TO_ENDPOINT: i32 = 0;

#[derive(Clone)]
pub struct Client {
    pub observer: ObserverClient<Channel>,
}

impl Client {
    pub async fn connect(socket: &Path) -> Self {
        let end = Instant::now() + PATIENCE;
        loop {
            match channel(&Target::Unix(socket.to_owned()), None, |endpoint| endpoint).await {
                Ok(channel) => {
                    return Self {
                        observer: ObserverClient::new(channel),
                    };
                }
                Err(error) => assert!(Instant::now() < end, "no relay: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn nodes(&mut self) -> Vec<Node> {
        self.observer
            .get_nodes(GetNodesRequest {})
            .await
            .unwrap()
            .into_inner()
            .nodes
    }

    pub async fn connected(&mut self) -> usize {
        let nodes = self.nodes().await;
        nodes
            .iter()
            .filter(|node| node.state() == NodeState::NodeConnected)
            .count()
    }

    /// All that a request brings.
    pub async fn ask(&mut self, request: GetFlowsRequest) -> Got {
        let mut stream = self.follow(request).await;
        let end = Instant::now() + PATIENCE;
        while !stream.ended {
            assert!(Instant::now() < end, "the answer has no end");
            stream.read_for(Duration::from_millis(100), |_| {}).await;
        }
        stream.got
    }

    pub async fn follow(&mut self, request: GetFlowsRequest) -> Reading {
        Reading {
            stream: self.observer.get_flows(request).await.unwrap().into_inner(),
            got: Got::default(),
            ended: false,
        }
    }
}

/// A stream, and what it has brought so far.
pub struct Reading {
    stream: Streaming<GetFlowsResponse>,
    pub got: Got,
    pub ended: bool,
}

impl Reading {
    /// Reads for so long; `delay` hears how old each flow is when it comes.
    pub async fn read_for(&mut self, time: Duration, mut delay: impl FnMut(Duration)) {
        let end = tokio::time::Instant::now() + time;
        while !self.ended {
            match tokio::time::timeout_at(end, self.stream.message()).await {
                Ok(Ok(Some(response))) => {
                    if let Some(age) = self.got.add(response) {
                        delay(age);
                    }
                }
                Ok(Ok(None) | Err(_)) => self.ended = true,
                Err(_) => return,
            }
        }
    }

    /// Reads until so many flows are there, or nothing has come for some seconds.
    pub async fn read_until(&mut self, flows: usize) {
        let mut before = usize::MAX;
        let end = Instant::now() + PATIENCE;
        while self.got.flows.len() < flows && self.got.flows.len() != before && !self.ended {
            assert!(Instant::now() < end, "{} flows of {flows}", self.got.flows.len());
            before = self.got.flows.len();
            for _ in 0..20 {
                if self.got.flows.len() < flows {
                    self.read_for(Duration::from_millis(250), |_| {}).await;
                }
            }
        }
    }
}

/// What came.
#[derive(Default)]
pub struct Got {
    pub flows: Vec<(String, Flow)>,
    pub lost: Vec<(String, LostEvent)>,
    pub status: Vec<NodeStatusEvent>,
}

impl Got {
    fn add(&mut self, response: GetFlowsResponse) -> Option<Duration> {
        match response.response_types? {
            ResponseTypes::Flow(flow) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let time = flow.time.as_ref().map_or(0, flow::api::Timestamp::to_nanos);
                self.flows.push((response.node_name, flow));
                Some(now.saturating_sub(Duration::from_nanos(time.unsigned_abs())))
            }
            ResponseTypes::LostEvents(lost) => {
                self.lost.push((response.node_name, lost));
                None
            }
            ResponseTypes::NodeStatus(status) => {
                self.status.push(status);
                None
            }
        }
    }

    pub fn times(&self) -> Vec<i64> {
        let time = |flow: &Flow| flow.time.as_ref().map_or(0, flow::api::Timestamp::to_nanos);
        self.flows.iter().map(|(_, flow)| time(flow)).collect()
    }

    pub fn uuids(&self) -> Vec<String> {
        self.flows.iter().map(|(_, flow)| flow.uuid.clone()).collect()
    }

    /// Distinct flows of each node.
    pub fn by_node(&self) -> BTreeMap<String, usize> {
        let mut seen = HashSet::new();
        let mut counts = BTreeMap::new();
        for (node, flow) in &self.flows {
            if seen.insert(&flow.uuid) {
                *counts.entry(node.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// Flows that came more than once.
    pub fn repeated(&self) -> usize {
        self.flows.len() - self.by_node().values().sum::<usize>()
    }

    /// Flows that left a node's log before they were sent; what its kernel lost never was in the log.
    pub fn lost_by_clients(&self, node: &str) -> u64 {
        let ours = |lost: &LostEvent| lost.source() == LostEventSource::HubbleRingBuffer;
        let of_node = self.lost.iter().filter(|(name, lost)| name == node && ours(lost));
        of_node.map(|(_, lost)| lost.num_events_lost).sum()
    }

    pub fn late(&self) -> usize {
        let late = |flow: &Flow| flow.detail.as_ref().is_some_and(|detail| detail.late);
        self.flows.iter().filter(|(_, flow)| late(flow)).count()
    }

    /// States that a node was told to be in.
    pub fn states(&self, node: &str) -> Vec<NodeState> {
        let told = self
            .status
            .iter()
            .filter(|event| event.node_names.iter().any(|name| name == node));
        told.map(NodeStatusEvent::state_change).collect()
    }
}
