//! What the viewer hears of.

use std::time::Duration;

use flow::batch::FlowBatch;

/// Something new.
#[derive(Clone, Debug)]
pub enum News {
    /// Flows, in about the order of time.
    Flows {
        /// The flows.
        batch: FlowBatch,
        /// Further flows that the server has seen and not sent, because there are more than a screen can show. They are none
        /// of drops unless there are more drops than fit.
        left_out: LeftOut,
    },
    /// Flows that the server has left out where it has sent none.
    LeftOut(LeftOut),
    /// Flows that nobody has seen.
    Lost {
        /// The node; empty if it isn't known.
        node: String,
        /// How many.
        count: u64,
        /// Where: `kernel ring`, `slow client`, …
        place: &'static str,
    },
    /// How the nodes are.
    Nodes(Vec<NodeNews>),
    /// A node can't be reached.
    NodeDown {
        /// Its name.
        node: String,
        /// Why, in a line.
        why: String,
    },
    /// How the connection to the server is.
    Connection(Connection),
    /// Where a replay is.
    Replay(Replay),
    /// Rows of an answer in SQL, as text, or what is wrong with the question.
    Answer(Result<Table, String>),
    /// Something to tell for a moment.
    Notice(String),
}

impl News {
    /// Flows of which none was left out.
    #[must_use]
    pub fn flows(batch: FlowBatch) -> Self {
        Self::Flows {
            batch,
            left_out: LeftOut::default(),
        }
    }
}

/// How many flows a server has left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Flows that are no drops.
    pub others: u64,
    /// Drops, errors and requests without an answer.
    pub drops: u64,
}

impl LeftOut {
    /// All of them.
    #[must_use]
    pub fn all(self) -> u64 {
        self.others + self.drops
    }
}

/// A node as the server knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeNews {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub is_connected: bool,
    /// What is wrong with it, in a line; empty if nothing is.
    pub problem: String,
    /// Version of its observer.
    pub version: String,
    /// Since when it runs.
    pub uptime: Duration,
    /// Flows that it has seen.
    pub flows_seen: u64,
    /// Flows that it keeps, and may keep.
    pub flows_kept: (u64, u64),
    /// Events that it has lost.
    pub lost: u64,
    /// Flows a second, where the server says so.
    pub flows_per_second: Option<f64>,
    /// How far its clock is ahead of the server's, nanoseconds.
    pub skew_ns: i64,
}

/// The connection to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Not there yet.
    #[default]
    Connecting,
    /// It is there.
    Connected {
        /// What the server says of itself: name and version.
        server: String,
    },
    /// It broke, or can't be made.
    Lost {
        /// Why, in a line.
        why: String,
        /// When it is tried again.
        again_in: Duration,
    },
    /// All that there is was shown: the end of a file.
    Ended,
}

/// Where a replay is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// What is replayed.
    pub name: String,
    /// How much faster than it was.
    pub speed: f64,
    /// Whether it stands still.
    pub is_paused: bool,
    /// Time of the last flow, nanoseconds since the Unix epoch.
    pub at_ns: Option<i64>,
    /// First and last time, where they are known.
    pub range_ns: Option<(i64, i64)>,
    /// Time without flows that was passed over last.
    pub skipped: Option<Duration>,
}

/// Rows as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Cells of each row.
    pub rows: Vec<Vec<String>>,
    /// A line about them: how long it took, what is missing.
    pub footer: String,
}
