//! Where flows come from.

use ::sql::coverage::Coverage;
use anyhow::Result;
use arrow_array::RecordBatch;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;

use super::server::ServerFlows;
use super::stored::StoredFlows;
use crate::observe::filters::FilterLists;
use crate::observe::matching::Matching;
use crate::observe::request::Window;
use crate::settings::Settings;

/// Some flows, in the form that their source has them.
pub(super) enum Chunk {
    /// As a server sends them; losses are among them.
    Answers(Vec<GetFlowsResponse>),
    /// Rows of the table `flows`, all columns.
    Rows(RecordBatch),
}

impl Chunk {
    /// How many flows it has, and how many events it says were lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        match self {
            Self::Rows(rows) => (rows.num_rows() as u64, 0),
            Self::Answers(answers) => {
                answers
                    .iter()
                    .fold((0, 0), |(flows, lost), answer| match &answer.response_types {
                        Some(ResponseTypes::Flow(_)) => (flows + 1, lost),
                        Some(ResponseTypes::LostEvents(event)) => (flows, lost + event.num_events_lost),
                        _ => (flows, lost),
                    })
            }
        }
    }
}

/// Who has the flows.
pub(super) enum Source {
    Server(Box<ServerFlows>),
    Stored(Box<StoredFlows>),
}

impl Source {
    /// A server that answers `GetFlows`: an observer, a relay, or Hubble's.
    pub(super) async fn server(settings: &Settings, window: &Window, filters: &FilterLists) -> Result<Self> {
        let flows = ServerFlows::open(settings, window, filters).await?;
        Ok(Self::Server(Box::new(flows)))
    }

    /// The files of a history.
    pub(super) async fn stored(place: &str, window: &Window, matching: Matching) -> Result<Self> {
        let flows = StoredFlows::open(place, window, matching).await?;
        Ok(Self::Stored(Box::new(flows)))
    }

    /// The next flows; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>> {
        match self {
            Self::Server(server) => Ok(server.next().await?.map(Chunk::Answers)),
            Self::Stored(stored) => Ok(stored.next().await?.map(Chunk::Rows)),
        }
    }

    /// How complete a history is. A server tells of losses among its flows.
    pub(super) fn coverage(self) -> Option<Coverage> {
        match self {
            Self::Server(_) => None,
            Self::Stored(stored) => stored.coverage,
        }
    }
}
