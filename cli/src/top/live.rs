//! Flows of a server for as long as the viewer runs, also when the server goes away and comes back.

use std::time::Duration;

use anyhow::Result;
use arrow_flight::flight_service_client::FlightServiceClient;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use feed::decode::FeedDecoder;
use feed::sample::Sampler;
use feed::{FeedMessage, FeedRequest, request};
use flow::api::Timestamp;
use flow::api::flow::LostEventSource;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{
    GetFlowsRequest, GetFlowsResponse, GetNodesRequest, ServerStatusRequest, ServerStatusResponse,
};
use flow::api::relay::NodeState;
use flow::batch::FlowBatch;
use flow::clock::wall_ns;
use flow::from_api::FlowReader;
use serving::connect::told;
use tokio::sync::mpsc::Sender;
use tonic::{Code, Status};
use top::news::{Connection, LeftOut, News, NodeNews};

use crate::connect::Server;
use crate::observe::filters::FilterLists;
use crate::settings::Settings;

/// Flows a second that a screen can make use of.
const MOST_PER_SECOND: u32 = 4_000;
/// Flows of less than this time come together.
const PACE: Duration = Duration::from_millis(50);
/// Flows that are there before the viewer starts: so many of one node, so old ones of several.
const BACKLOG: u64 = 2_000;
const BACKLOG_OF_NODES: Duration = Duration::from_secs(10);
/// Nodes are asked for so often.
const NODES: Duration = Duration::from_secs(2);
/// Pauses before a server is tried again.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// Largest message that is read.
const MESSAGE_BYTES: usize = 64 << 20;
/// Flows of a server that sends them one by one are put together up to so many.
const CHUNK: usize = 1_024;

/// Nobody listens any more.
struct Gone;

/// Brings flows of these filters to `out` until nobody listens. `server`: a connection that is there already.
pub(super) async fn run(settings: Settings, filters: FilterLists, server: Option<Server>, out: Sender<News>) {
    let mut first = server;
    let backoff = || {
        ExponentialBuilder::default()
            .with_min_delay(SHORTEST)
            .with_max_delay(LONGEST)
            .with_jitter()
            .without_max_times()
            .build()
    };
    let mut pauses = backoff();
    loop {
        let connected = match first.take() {
            Some(server) => Ok(server),
            None => Server::connect(&settings).await,
        };
        let why = match connected {
            Ok(server) => {
                pauses = backoff();
                match stream(&server, &filters, &out).await {
                    Ok(why) => why,
                    Err(Gone) => return,
                }
            }
            Err(error) => one_line(&format!("{error:#}")),
        };
        let pause = pauses.next().unwrap_or(LONGEST);
        let lost = Connection::Lost { why, again_in: pause };
        if out.send(News::Connection(lost)).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// One connection, from its start to its end; why it ended.
async fn stream(server: &Server, filters: &FilterLists, out: &Sender<News>) -> Result<String, Gone> {
    let mut client = ObserverClient::new(server.calls.clone());
    let status = match server.answer(client.server_status(ServerStatusRequest {})).await {
        Ok(status) => status,
        Err(error) => return Ok(one_line(&format!("{error:#}"))),
    };
    let connected = Connection::Connected {
        server: status.version.clone(),
    };
    send(out, News::Connection(connected)).await?;
    let wanted = wanted(filters, &status);
    tokio::select! {
        ended = flows(server, wanted, out) => ended,
        ended = nodes(server, out) => ended,
    }
}

async fn send(out: &Sender<News>, news: News) -> Result<(), Gone> {
    out.send(news).await.map_err(|_| Gone)
}

fn wanted(filters: &FilterLists, status: &ServerStatusResponse) -> GetFlowsRequest {
    let nodes = [status.num_connected_nodes, status.num_unavailable_nodes];
    let nodes: u32 = nodes.into_iter().flatten().map(|nodes| nodes.value).sum();
    // A number counts for each node, and there may be many.
    let is_relay = nodes > 1;
    let old_ns = i64::try_from(BACKLOG_OF_NODES.as_nanos()).unwrap_or_default();
    GetFlowsRequest {
        number: if is_relay { 0 } else { BACKLOG },
        since: is_relay.then(|| Timestamp::from_nanos(wall_ns() - old_ns)),
        follow: true,
        whitelist: filters.allow.clone(),
        blacklist: filters.deny.clone(),
        ..GetFlowsRequest::default()
    }
}

/// Flows as Arrow, or one by one where the server knows nothing else.
async fn flows(server: &Server, wanted: GetFlowsRequest, out: &Sender<News>) -> Result<String, Gone> {
    let request = FeedRequest {
        flows: Some(wanted.clone()),
        pace_ms: u32::try_from(PACE.as_millis()).unwrap_or_default(),
        most_per_second: MOST_PER_SECOND,
        ..FeedRequest::default()
    };
    let mut client = FlightServiceClient::new(server.calls.clone()).max_decoding_message_size(MESSAGE_BYTES);
    let mut messages = match client.do_get(request::ticket(request)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return by_api(server, wanted, out).await,
        Err(status) => return Ok(one_line(&told(&status))),
    };
    let mut decoder = FeedDecoder::default();
    loop {
        let data = match messages.message().await {
            Ok(Some(data)) => data,
            Ok(None) => return Ok("the server ended the stream; it may be restarting".to_owned()),
            Err(status) if status.code() == Code::Unimplemented => return by_api(server, wanted, out).await,
            Err(status) => return Ok(one_line(&told(&status))),
        };
        let (message, batch) = match decoder.push(data) {
            Ok(Some(decoded)) => decoded,
            Ok(None) => continue,
            Err(error) => return Ok(one_line(&error.to_string())),
        };
        for news in losses(&message) {
            send(out, news).await?;
        }
        let left_out = LeftOut {
            others: message.left_out,
            drops: message.left_out_drops,
        };
        match batch {
            Some(batch) => send(out, News::Flows { batch, left_out }).await?,
            None if left_out.all() > 0 => send(out, News::LeftOut(left_out)).await?,
            None => {}
        }
    }
}

/// What a message tells of losses and nodes.
fn losses(message: &FeedMessage) -> Vec<News> {
    let mut news = Vec::new();
    let mut lost = |count, place| {
        if count > 0 {
            news.push(News::Lost {
                node: message.node.clone(),
                count,
                place,
            });
        }
    };
    lost(message.missed, "too slow a reader");
    for loss in &message.losses {
        lost(loss.num_events_lost, place(loss.source()));
    }
    if !message.unavailable.is_empty() {
        news.push(News::NodeDown {
            node: message.node.clone(),
            why: one_line(&message.unavailable),
        });
    }
    news
}

fn place(source: LostEventSource) -> &'static str {
    match source {
        LostEventSource::PerfEventRingBuffer => "kernel ring",
        LostEventSource::ObserverEventsQueue => "observer's queue",
        LostEventSource::HubbleRingBuffer => "observer's log",
        LostEventSource::UnknownLostEventSource => "unknown place",
    }
}

/// Flows of a server that has only the API of Hubble.
async fn by_api(server: &Server, wanted: GetFlowsRequest, out: &Sender<News>) -> Result<String, Gone> {
    let mut client = ObserverClient::new(server.calls.clone()).max_decoding_message_size(MESSAGE_BYTES);
    let mut messages = match client.get_flows(wanted).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(one_line(&told(&status))),
    };
    let mut reader = FlowReader::default();
    let mut sampler = Sampler::new(MOST_PER_SECOND, std::time::Instant::now());
    let mut waiting: Vec<flow::api::flow::Flow> = Vec::new();
    let mut sent_at = tokio::time::Instant::now();
    loop {
        let next = match waiting.is_empty() {
            true => Some(messages.message().await),
            false => tokio::time::timeout_at(sent_at + PACE, messages.message()).await.ok(),
        };
        let ended = match next {
            Some(Ok(Some(response))) => {
                match sorted(response) {
                    Sorted::Flow(flow) => waiting.push(*flow),
                    Sorted::News(news) => send(out, *news).await?,
                    Sorted::Nothing => {}
                }
                None
            }
            Some(Ok(None)) => Some("the server ended the stream; it may be restarting".to_owned()),
            Some(Err(status)) => Some(one_line(&told(&status))),
            None => None,
        };
        let is_due = sent_at.elapsed() >= PACE || waiting.len() >= CHUNK || ended.is_some();
        if is_due && let Some(batch) = reader.batch(&waiting) {
            waiting.clear();
            sent_at = tokio::time::Instant::now();
            send(out, sampled(&mut sampler, batch)).await?;
        }
        if let Some(why) = ended {
            return Ok(why);
        }
    }
}

/// What a screen can show of the flows of a server that sends them all.
fn sampled(sampler: &mut Option<Sampler>, batch: FlowBatch) -> News {
    let Some(sampler) = sampler else {
        return News::flows(batch);
    };
    let chosen = sampler.choose(&batch, std::time::Instant::now());
    let left_out = LeftOut {
        others: chosen.left_out,
        drops: chosen.left_out_drops,
    };
    match chosen.of(&batch) {
        Some(batch) => News::Flows { batch, left_out },
        None => News::LeftOut(left_out),
    }
}

enum Sorted {
    Flow(Box<flow::api::flow::Flow>),
    News(Box<News>),
    Nothing,
}

fn sorted(response: GetFlowsResponse) -> Sorted {
    match response.response_types {
        Some(ResponseTypes::Flow(flow)) => Sorted::Flow(Box::new(flow)),
        Some(ResponseTypes::LostEvents(lost)) => Sorted::News(Box::new(News::Lost {
            node: response.node_name,
            count: lost.num_events_lost,
            place: place(lost.source()),
        })),
        Some(ResponseTypes::NodeStatus(status)) if status.state_change() != NodeState::NodeConnected => {
            match status.node_names.first() {
                Some(node) => Sorted::News(Box::new(News::NodeDown {
                    node: node.clone(),
                    why: one_line(&status.message),
                })),
                None => Sorted::Nothing,
            }
        }
        _ => Sorted::Nothing,
    }
}

/// Tells how the nodes are, again and again.
async fn nodes(server: &Server, out: &Sender<News>) -> Result<String, Gone> {
    let mut client = ObserverClient::new(server.calls.clone());
    loop {
        match tokio::time::timeout(server.request_timeout, client.get_nodes(GetNodesRequest {})).await {
            Ok(Ok(answer)) => {
                let nodes = answer.into_inner().nodes.into_iter().map(node).collect();
                send(out, News::Nodes(nodes)).await?;
            }
            // Hubble's own servers on a node don't know any.
            Ok(Err(status)) if matches!(status.code(), Code::Unimplemented) => std::future::pending().await,
            Ok(Err(status)) if is_gone(&status) => return Ok(one_line(&told(&status))),
            Ok(Err(status)) => tracing::debug!(%status, "nodes are not told"),
            // A server that stands still would keep its last flows on the screen as if nothing happened.
            Err(_) => return Ok("the server does not answer".to_owned()),
        }
        tokio::time::sleep(NODES).await;
    }
}

fn is_gone(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown)
}

fn node(node: flow::api::observer::Node) -> NodeNews {
    let state = node.state();
    let detail = node.detail.unwrap_or_default();
    NodeNews {
        is_connected: matches!(state, NodeState::NodeConnected | NodeState::UnknownNodeState),
        problem: one_line(&detail.problem),
        version: node.version,
        uptime: Duration::from_nanos(node.uptime_ns),
        flows_seen: node.seen_flows,
        flows_kept: (node.num_flows, node.max_flows),
        lost: detail.lost,
        flows_per_second: None,
        skew_ns: detail.skew_ns,
        name: node.name,
    }
}
