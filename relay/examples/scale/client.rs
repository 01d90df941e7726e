//! The client that is measured: it follows, decodes every flow, and looks at its age.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow_array::types::TimestampNanosecondType;
use arrow_flight::flight_service_client::FlightServiceClient;
use feed::decode::FeedDecoder;
use feed::{FeedRequest, request};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetNodesRequest};
use flow::api::relay::NodeState;
use flow::clock::wall_ns;
use flow::schema::Column;
use serving::connect::{Target, channel};
use tonic::transport::Channel;

use crate::ClientKind;

/// Before this time after the start nothing is measured.
const WARM_UP: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest message that is read.
const MESSAGE_BYTES: usize = 256 << 20;

/// What a measurement brought.
pub struct Outcome {
    pub flows: u64,
    pub missed: u64,
    pub lost: u64,
    pub late: u64,
    pub time: Duration,
    pub cpu: [Duration; 3],
    /// Flows by age, a millisecond each.
    ages: Vec<u64>,
}

impl Outcome {
    /// The age, in milliseconds, that this share of flows was at most.
    pub fn age_ms(&self, share: f64) -> f64 {
        let total: u64 = self.ages.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (age, count) in self.ages.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return age as f64;
            }
        }
        0.0
    }

    fn note(&mut self, time_ns: i64, now_ns: i64) {
        let age = usize::try_from((now_ns - time_ns) / 1_000_000).unwrap_or_default();
        let last = self.ages.len() - 1;
        self.ages[age.min(last)] += 1;
        self.flows += 1;
    }
}

async fn connect(socket: &Path, nodes: usize) -> Result<Channel> {
    let end = Instant::now() + PATIENCE;
    let windows = |endpoint: tonic::transport::Endpoint| {
        endpoint
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
    };
    loop {
        if let Ok(channel) = channel(&Target::Unix(socket.to_owned()), None, windows).await {
            let known = ObserverClient::new(channel.clone())
                .get_nodes(GetNodesRequest {})
                .await?
                .into_inner()
                .nodes;
            if known
                .iter()
                .filter(|node| node.state() == NodeState::NodeConnected)
                .count()
                == nodes
            {
                return Ok(channel);
            }
        }
        anyhow::ensure!(Instant::now() < end, "the relay doesn't reach all nodes");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Follows for so long. `cpu` tells processor times of relay, nodes and client.
pub async fn measure(
    socket: &Path,
    kind: ClientKind,
    nodes: usize,
    time: Duration,
    cpu: impl Fn() -> [Duration; 3],
) -> Result<Outcome> {
    let channel = connect(socket, nodes).await?;
    let mut outcome = Outcome {
        flows: 0,
        missed: 0,
        lost: 0,
        late: 0,
        time: Duration::ZERO,
        cpu: [Duration::ZERO; 3],
        ages: vec![0; 10_000],
    };
    let flows = GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    };
    let start = Instant::now();
    let mut begun: Option<(Instant, [Duration; 3])> = None;
    let mut measured = |outcome: &mut Outcome| -> bool {
        if begun.is_none() && start.elapsed() >= WARM_UP {
            *outcome = Outcome {
                ages: vec![0; 10_000],
                flows: 0,
                missed: 0,
                lost: 0,
                late: 0,
                ..*outcome
            };
            begun = Some((Instant::now(), cpu()));
        }
        let Some((at, before)) = begun else { return false };
        let over = at.elapsed() >= time;
        if over {
            outcome.time = at.elapsed();
            let now = cpu();
            outcome.cpu = std::array::from_fn(|place| now[place].saturating_sub(before[place]));
        }
        over
    };
    match kind {
        ClientKind::Arrow => {
            let wanted = FeedRequest {
                flows: Some(flows),
                merged: true,
                ..FeedRequest::default()
            };
            let mut messages = FlightServiceClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES)
                .do_get(request::ticket(wanted))
                .await?
                .into_inner();
            let mut decoder = FeedDecoder::default();
            while !measured(&mut outcome) {
                let data = messages.message().await?.context("the relay ended the stream")?;
                let Some((told, batch)) = decoder.push(data)? else {
                    continue;
                };
                outcome.missed += told.missed;
                outcome.late += told.late;
                outcome.lost += told.losses.iter().map(|loss| loss.num_events_lost).sum::<u64>();
                if let Some(times) = batch
                    .as_ref()
                    .and_then(|batch| batch.numbers::<TimestampNanosecondType>(Column::Time))
                {
                    let now = wall_ns();
                    times.values().iter().for_each(|time| outcome.note(*time, now));
                }
            }
        }
        ClientKind::Grpc => {
            let mut stream = ObserverClient::new(channel).get_flows(flows).await?.into_inner();
            while !measured(&mut outcome) {
                let response = stream.message().await?.context("the relay ended the stream")?;
                match response.response_types {
                    Some(ResponseTypes::Flow(flow)) => {
                        outcome.late += u64::from(flow.detail.as_ref().is_some_and(|detail| detail.late));
                        let time = flow.time.as_ref().map_or(0, flow::api::Timestamp::to_nanos);
                        outcome.note(time, wall_ns());
                    }
                    Some(ResponseTypes::LostEvents(lost)) => outcome.lost += lost.num_events_lost,
                    Some(ResponseTypes::NodeStatus(_)) | None => {}
                }
            }
        }
    }
    Ok(outcome)
}
