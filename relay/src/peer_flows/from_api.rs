//! Peers that don't speak the feed: flows by `GetFlows`, as Hubble's servers have it.
//!
//! They say neither how far they are nor what is in their log, so that a watermark is a guess, and what was missed while
//! the connection was broken is asked for by time.

use std::time::{Duration, Instant};

use feed::{FeedMessage, Position};
use flow::api::Timestamp;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use flow::api::relay::NodeState;
use flow::builder::FlowBatchBuilder;
use flow::from_api::FlowReader;
use serving::connect::told;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Code;

use super::{Event, Feed, Gone, Heard, MESSAGE_BYTES, Outcome};
use crate::connection::{Connected, lost};
use flow::clock::wall_ns;

/// How often rows go on, and a quiet peer is heard of.
const INTERVAL: Duration = Duration::from_millis(50);
/// So many rows go on at once.
const FULL_ROWS: usize = 1024;
/// How late a flow may be at such a server.
const DELAY_NS: i64 = 200_000_000;

impl Feed {
    pub(super) async fn by_api(&mut self, connected: &Connected) -> Result<Outcome, Gone> {
        let name = match connected.nodes.as_slice() {
            [node] => node.name.clone(),
            _ => String::new(),
        };
        let mut answer = Answer {
            name,
            log_id: stream_id(),
            reader: FlowReader::default(),
            builder: None,
            next_sequence: 0,
            newest_ns: 0,
        };
        let since = self.positions.values().next().map(|position| position.next_sequence);
        let flows = GetFlowsRequest {
            number: if since.is_some() { 0 } else { self.ask.flows.number },
            since: match since {
                Some(since) => Some(Timestamp::from_nanos(i64::try_from(since).unwrap_or_default())),
                None => self.ask.flows.since,
            },
            ..self.ask.flows.clone()
        };
        let mut client = ObserverClient::new(connected.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let mut stream = match client.get_flows(flows).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::InvalidArgument => return Ok(Outcome::Refused(status)),
            Err(status) => return Ok(Outcome::Broken(told(&status))),
        };
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                _ = ticks.tick() => {
                    let event = answer.event(self, connected, false);
                    self.send(event).await?;
                    continue;
                }
                why = lost(&mut self.state, connected.generation) => return Ok(Outcome::Broken(why)),
                () = self.out.sender.closed() => return Err(Gone),
            };
            match message {
                Ok(Some(response)) => {
                    if let Some(event) = answer.take(response, self, connected) {
                        self.send(event).await?;
                    }
                }
                Ok(None) => {
                    let event = answer.event(self, connected, !self.ask.flows.follow);
                    self.send(event).await?;
                    return Ok(match self.ask.flows.follow {
                        true => Outcome::Broken("it ended the stream".to_owned()),
                        false => Outcome::Done,
                    });
                }
                Err(status) if status.code() == Code::InvalidArgument => return Ok(Outcome::Refused(status)),
                Err(status) => return Ok(Outcome::Broken(told(&status))),
            }
        }
    }
}

/// Tells the rows of this stream from those of the next one. They mean nothing elsewhere: their flows have ids of their own.
fn stream_id() -> u64 {
    wall_ns().unsigned_abs()
}

struct Answer {
    name: String,
    log_id: u64,
    reader: FlowReader,
    builder: Option<FlowBatchBuilder>,
    next_sequence: u64,
    newest_ns: i64,
}

impl Answer {
    /// Takes a message; an event if rows, or a loss, are to go on at once.
    fn take(&mut self, response: GetFlowsResponse, feed: &mut Feed, connected: &Connected) -> Option<Event> {
        match response.response_types {
            Some(ResponseTypes::Flow(flow)) => {
                if self.name.is_empty() {
                    self.name.clone_from(&response.node_name);
                }
                let (log_id, next) = (self.log_id, self.next_sequence);
                let builder = self.builder.get_or_insert_with(|| FlowBatchBuilder::new(log_id, next));
                self.reader.append(&flow, builder);
                self.next_sequence = builder.next_sequence();
                let time = flow.time.as_ref().map_or(0, Timestamp::to_nanos);
                self.newest_ns = self.newest_ns.max(time);
                let full = builder.rows() >= FULL_ROWS;
                full.then(|| self.event(feed, connected, false))
            }
            Some(ResponseTypes::LostEvents(lost)) => {
                let mut event = self.event(feed, connected, false);
                if let Event::Heard(heard) = &mut event {
                    heard.told.losses.push(lost);
                }
                Some(event)
            }
            Some(ResponseTypes::NodeStatus(status)) => {
                let lost = matches!(status.state_change(), NodeState::NodeUnavailable | NodeState::NodeError);
                if lost {
                    tracing::warn!(nodes = ?status.node_names, "a peer tells of nodes that it can't reach: {}", status.message);
                }
                None
            }
            None => None,
        }
    }

    fn event(&mut self, feed: &mut Feed, connected: &Connected, end: bool) -> Event {
        let batch = self.builder.take().and_then(|mut builder| builder.seal());
        let now_ns = wall_ns();
        if self.newest_ns > 0 {
            let position = Position {
                node: self.name.clone(),
                log_id: self.log_id,
                next_sequence: u64::try_from(self.newest_ns).unwrap_or_default() + 1,
                next_loss: 0,
            };
            feed.positions.clear();
            feed.positions.insert(self.name.clone(), position);
        }
        let caught_up = feed.ask.flows.follow;
        let told = FeedMessage {
            node: self.name.clone(),
            log_id: self.log_id,
            next_sequence: self.next_sequence,
            now_ns,
            watermark_ns: match (feed.ask.newest_first, caught_up) {
                (true, _) => i64::MAX,
                (false, true) => now_ns - DELAY_NS,
                (false, false) => self.newest_ns,
            },
            log_end: self.next_sequence,
            end,
            ..FeedMessage::default()
        };
        Event::Heard(Box::new(Heard {
            peer: feed.id,
            at: Instant::now(),
            skew_ns: connected.skew_ns(&told.node),
            told,
            batch,
            _room: None,
        }))
    }
}
