//! The feed for relays: rows of the log as Arrow batches, chosen and cut here, with what a relay needs to merge them and
//! to go on after it was cut off.
//!
//! A client that doesn't read stops its own stream and nothing else: the stream's window is its credit (RFC 9113,
//! section 5.2). What leaves the log meanwhile is counted in the next message.

mod newest_first;
mod oldest_first;

use std::sync::Arc;

use arrow_flight::Ticket;
use feed::FeedRequest;
use feed::serve::{Messages, one_by_one};
use flow::select::Columns;
use futures::{StreamExt as _, stream};
use serving::servers::ended;
use sql::server::{FlightStream, OtherTickets};
use tokio::sync::watch;
use tonic::Status;

use super::NodeState;
use super::query::FlowQuery;
use newest_first::NewestFirst;
use oldest_first::OldestFirst;

/// How far rows may be from the order of time in the log: rings are read every 10 ms, and requests without an answer are
/// looked for every 25 ms.
const DISORDER_NS: i64 = 40_000_000;

/// Answers requests for feeds.
#[derive(Clone, Debug)]
pub(super) struct Feeds {
    node: Arc<NodeState>,
    shutdown: watch::Receiver<bool>,
}

/// What a client asks for, checked.
#[derive(Debug)]
struct Wanted {
    query: FlowQuery,
    columns: Columns,
    /// Rows a second at most; 0: all.
    most_per_second: u32,
}

impl Feeds {
    pub(super) fn new(node: Arc<NodeState>, shutdown: watch::Receiver<bool>) -> Self {
        Self { node, shutdown }
    }

    /// Messages for a client, made when its connection has room for them.
    fn follow(&self, request: &FeedRequest) -> Result<Messages, Status> {
        let flows = request.flows.clone().unwrap_or_default();
        let query = FlowQuery::new(&flows)?;
        if request.newest_first && query.follows() {
            return Err(Status::invalid_argument(
                "newest_first and follow exclude each other: there is no newest flow yet",
            ));
        }
        let columns = Columns::by_name(&request.columns)
            .map_err(|name| Status::invalid_argument(format!("flows have no column `{name}`")))?;
        if request.newest_first && request.most_per_second > 0 {
            return Err(Status::invalid_argument(
                "newest_first and most_per_second exclude each other: what is not followed has no rate",
            ));
        }
        let wanted = Wanted {
            query,
            columns,
            most_per_second: request.most_per_second,
        };
        let node = Arc::clone(&self.node);
        let messages = if request.newest_first {
            one_by_one(
                stream::once(NewestFirst::start(wanted, node))
                    .flat_map(|answer| stream::unfold(answer, async |mut answer| Some((answer.next().await?, answer)))),
            )
        } else {
            let start = OldestFirst::start(wanted, node, request.resume.clone(), request.pace_ms);
            one_by_one(
                stream::once(start)
                    .flat_map(|answer| stream::unfold(answer, async |mut answer| Some((answer.next().await?, answer)))),
            )
        };
        let mut shutdown = self.shutdown.clone();
        Ok(Box::pin(messages.take_until(async move { ended(&mut shutdown).await })))
    }
}

impl OtherTickets for Feeds {
    fn answer(&self, ticket: &Ticket) -> Result<FlightStream, Status> {
        self.follow(&feed::request::wanted(ticket)?)
    }
}
