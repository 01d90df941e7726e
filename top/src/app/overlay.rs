//! What is shown above a screen.

use super::{Details, Item, List};
use crate::app::lists::{Target, Tone};
use crate::columns::FlowColumn;
use crate::news::Table;
use crate::row::Row;
use crate::state::State;
use crate::state::drops::{GroupKey, advice};
use crate::state::map::EdgeKey;

/// Something above the screen.
#[derive(Debug)]
pub enum Overlay {
    /// What keys there are.
    Help {
        /// Line at the top.
        top: usize,
    },
    /// Columns to choose from.
    Columns {
        /// Place of the one that the keys are on.
        selected: usize,
    },
    /// What a flow could be copied as.
    CopyMenu {
        /// The flow.
        number: u64,
    },
    /// What was copied.
    Copied(Copied),
    /// Flows of a group of drops or an edge of the map.
    Packets(Packets),
    /// All about a flow.
    Details(Box<Details>),
    /// A question in SQL is being answered.
    Asking(String),
    /// Rows of an answer.
    Answer {
        /// The answer, or what is wrong with the question.
        answer: Result<Table, String>,
        /// Where the keys are.
        list: List,
        /// Columns that are left of the screen.
        left: usize,
    },
}

/// Text for the clipboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What it is.
    pub title: String,
    /// The text.
    pub text: String,
}

/// Flows that have something in common.
#[derive(Debug)]
pub struct Packets {
    /// What they have in common.
    pub title: String,
    /// Lines about all of them.
    pub about: Vec<String>,
    /// The flows.
    pub list: List,
}

impl super::App {
    /// Shows the newest flows of a group of drops.
    pub(crate) fn packets_of_group(&mut self, key: &GroupKey) {
        let Some(group) = self.state.drops.group(key) else {
            self.tell("these drops were long ago, and are forgotten");
            return;
        };
        let (meaning, next) = advice(&key.reason);
        let mut about = vec![format!("Means: {meaning}")];
        if !next.is_empty() {
            about.push(format!("Check: {next}"));
        }
        let mut title = format!("{} · {} → {} {}", key.reason, key.source, key.destination, key.service);
        if !key.function.is_empty() {
            title.push_str(&format!(" · in {}", key.function));
        }
        let list = list_of(&self.state, self.zone, group.flows.iter().rev().copied());
        self.overlays.push(Overlay::Packets(Packets { title, about, list }));
    }

    /// Shows the newest flows of an edge of the map.
    pub(crate) fn packets_of_edge(&mut self, key: &EdgeKey) {
        let numbers = flows_of_edge(&self.state, key);
        self.overlays.push(Overlay::Packets(Packets {
            title: format!("{} → {} {}", key.client, key.server, key.service),
            about: Vec::new(),
            list: list_of(&self.state, self.zone, numbers),
        }));
    }
}

/// Flows that are looked at to find those of an edge.
const SEARCHED: usize = 50_000;
/// Flows of an edge that are listed.
const LISTED: usize = 500;

/// Numbers of the newest flows of an edge, the newest first.
fn flows_of_edge(state: &State, edge: &EdgeKey) -> Vec<u64> {
    let belongs = |row: &Row<'_>| {
        let (mut client, mut server) = (row.source(), row.destination());
        if row.is_reply() == Some(true) {
            std::mem::swap(&mut client, &mut server);
        }
        let port = edge
            .service
            .rsplit_once(' ')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        port.unwrap_or_default() == server.port && server.group() == edge.server && client.group() == edge.client
    };
    let newest = state.log.newest_first().take(SEARCHED);
    newest
        .filter(|(_, row)| belongs(row))
        .map(|(number, _)| number)
        .take(LISTED)
        .collect()
}

/// A list of flows, those that have left the log left away.
fn list_of(state: &State, zone: chrono::FixedOffset, numbers: impl IntoIterator<Item = u64>) -> List {
    let items = numbers.into_iter().filter_map(|number| {
        let row = state.log.row(number)?;
        Some(Item {
            cells: PACKET_COLUMNS.iter().map(|column| column.cell(&row, zone)).collect(),
            tone: if row.is_trouble() { Tone::Bad } else { Tone::Usual },
            target: Target::Flow(number),
        })
    });
    List {
        items: items.collect(),
        ..List::default()
    }
}

/// Columns of such a list.
pub const PACKET_COLUMNS: [FlowColumn; 7] = [
    FlowColumn::Time,
    FlowColumn::Source,
    FlowColumn::Destination,
    FlowColumn::Outcome,
    FlowColumn::Summary,
    FlowColumn::Function,
    FlowColumn::Interface,
];
