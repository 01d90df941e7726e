//! The feed of the cluster: for other relays, which merge themselves, the messages of all nodes side by side; for other
//! clients of Arrow, flows in order.

use std::sync::Arc;

use arrow_flight::{FlightData, Ticket};
use feed::encode::FeedEncoder;
use feed::serve::{Messages, failed, one_by_one};
use feed::{FeedMessage, FeedRequest};
use flow::api::observer::GetFlowsRequest;
use flow::batch::FlowBatch;
use flow::filter::Filters;
use flow::interleave::Interleaver;
use flow::select::Columns;
use futures::{StreamExt as _, stream};
use tokio::sync::watch;
use tonic::Status;

use crate::cluster::Cluster;
use crate::cluster_flows::{Beside, ClusterFlows, Item};
use crate::merge::{Order, Released};
use crate::peer_flows::{Ask, Event};
use crate::peer_tasks::{News, PeerTasks};
use flow::clock::wall_ns;
use serving::servers::ended;
use sql::server::{FlightStream, OtherTickets};

/// Answers requests for feeds.
#[derive(Clone, Debug)]
pub(super) struct RelayFeeds {
    cluster: Arc<Cluster>,
    shutdown: watch::Receiver<bool>,
}

impl RelayFeeds {
    pub(super) fn new(cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) -> Self {
        Self { cluster, shutdown }
    }

    fn follow(&self, request: FeedRequest) -> Result<Messages, Status> {
        let flows = request.flows.clone().unwrap_or_default();
        Filters::compile(&flows.whitelist, &flows.blacklist)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Columns::by_name(&request.columns)
            .map_err(|name| Status::invalid_argument(format!("flows have no column `{name}`")))?;
        let cluster = Arc::clone(&self.cluster);
        if request.most_per_second > 0 && (request.merged || request.newest_first) {
            return Err(Status::invalid_argument(
                "most_per_second goes with neither merged nor newest_first: leave one of them away",
            ));
        }
        let messages = match request.merged {
            true if request.newest_first || (flows.number > 0 && !flows.first) => {
                return Err(Status::invalid_argument(
                    "merged goes with the oldest first: leave newest_first and number away, or ask without merged",
                ));
            }
            true => one_by_one(
                stream::once(Merged::start(cluster, flows, request.columns)).flat_map(|merged| {
                    stream::unfold(Some(merged), async |merged| {
                        let mut merged = merged?;
                        match merged.next().await {
                            Ok(Some(messages)) => Some((Ok(messages), Some(merged))),
                            Ok(None) => None,
                            Err(status) => Some((Err(status), None)),
                        }
                    })
                }),
            ),
            false => one_by_one(
                stream::once(SideBySide::start(cluster, flows, request))
                    .flat_map(|feed| stream::unfold(feed, async |mut feed| Some((feed.next().await?, feed)))),
            ),
        };
        let mut shutdown = self.shutdown.clone();
        Ok(Box::pin(messages.take_until(async move { ended(&mut shutdown).await })))
    }
}

impl OtherTickets for RelayFeeds {
    fn answer(&self, ticket: &Ticket) -> Result<FlightStream, Status> {
        self.follow(feed::request::wanted(ticket)?)
    }
}

/// The messages of all nodes as they come.
struct SideBySide {
    peers: PeerTasks,
    encoder: FeedEncoder,
}

impl SideBySide {
    async fn start(cluster: Arc<Cluster>, flows: GetFlowsRequest, request: FeedRequest) -> Self {
        let ask = Ask {
            flows,
            columns: request.columns,
            newest_first: request.newest_first,
            resume: request.resume,
            most_per_second: request.most_per_second,
        };
        Self {
            peers: PeerTasks::start(cluster, ask).await,
            encoder: FeedEncoder::default(),
        }
    }

    async fn next(&mut self) -> Option<Result<Vec<FlightData>, Status>> {
        loop {
            if self.peers.is_over() {
                return None;
            }
            let event = match self.peers.next().await {
                News::Event(event) => event,
                News::Asked(..) | News::Removed(_) => continue,
            };
            let (peer, why) = match event {
                Event::Heard(heard) => {
                    return Some(match &heard.batch {
                        Some(batch) => self.encoder.batch(&heard.told, batch).map_err(|error| failed(&error)),
                        None => Ok(vec![FeedEncoder::alone(&heard.told)]),
                    });
                }
                Event::Down { peer, why } => (peer, why),
                Event::Refused { peer, status } => (peer, status.message().to_owned()),
                Event::Up(_) | Event::Ended(_) => continue,
            };
            let address = self.peers.address(peer);
            let told = FeedMessage {
                node: address.name.clone().unwrap_or_else(|| address.address.clone()),
                unavailable: why,
                now_ns: wall_ns(),
                ..FeedMessage::default()
            };
            return Some(Ok(vec![FeedEncoder::alone(&told)]));
        }
    }
}

/// The flows of all nodes in order.
struct Merged {
    flows: Beside,
    encoder: FeedEncoder,
    interleaver: Interleaver,
    /// Flows that are still asked for.
    left: u64,
}

impl Merged {
    async fn start(cluster: Arc<Cluster>, flows: GetFlowsRequest, columns: Vec<String>) -> Self {
        let left = if flows.first && flows.number > 0 {
            flows.number
        } else {
            u64::MAX
        };
        Self {
            flows: ClusterFlows::start(cluster, flows, columns, Order::OldestFirst, Vec::new())
                .await
                .beside(),
            encoder: FeedEncoder::default(),
            interleaver: Interleaver::default(),
            left,
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<FlightData>>, Status> {
        if self.left == 0 {
            return Ok(None);
        }
        let told = FeedMessage::default();
        Ok(match self.flows.next().await? {
            None => None,
            Some(Item::Flows(released)) => Some(self.batch(&released)?),
            Some(Item::Lost(node, loss)) => Some(vec![FeedEncoder::alone(&FeedMessage {
                node,
                losses: vec![loss],
                now_ns: wall_ns(),
                ..told
            })]),
            Some(Item::Status(event)) => {
                let messages = event.node_names.iter().map(|node| {
                    FeedEncoder::alone(&FeedMessage {
                        node: node.clone(),
                        unavailable: event.message.clone(),
                        now_ns: wall_ns(),
                        ..FeedMessage::default()
                    })
                });
                Some(messages.collect())
            }
        })
    }

    fn batch(&mut self, released: &Released) -> Result<Vec<FlightData>, Status> {
        let batches: Vec<&FlowBatch> = released.batches.iter().map(|(_, batch)| &**batch).collect();
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut messages = Vec::new();
        let mut rows: Vec<(usize, usize)> = released
            .rows
            .iter()
            .take(most)
            .map(|row| (row.batch, row.row))
            .collect();
        self.left -= rows.len() as u64;
        let late = released.rows.iter().take(most).filter(|row| row.late).count() as u64;
        let mut told = FeedMessage {
            now_ns: wall_ns(),
            late,
            ..FeedMessage::default()
        };
        // Rows of very many nodes may describe more endpoints than keys can tell apart: then in halves.
        let mut parts = vec![std::mem::take(&mut rows)];
        while let Some(part) = parts.pop() {
            match self.interleaver.batch(&batches, &part) {
                Ok(Some(batch)) => {
                    messages.extend(self.encoder.batch(&told, &batch).map_err(|error| failed(&error))?);
                    told.late = 0;
                }
                Ok(None) => {}
                Err(error) if part.len() < 2 => return Err(Status::internal(error.to_string())),
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second.to_vec());
                    parts.push(first.to_vec());
                }
            }
        }
        Ok(messages)
    }
}
