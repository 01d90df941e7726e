//! Connections, and what becomes of them.

mod connection;

use flow::record::Address;
use rustc_hash::FxHashMap;

pub use connection::{Connection, ConnectionState};

use super::quietest;
use crate::row::{Kind, Row};

/// Connections that are kept at most.
const MOST: usize = 50_000;
/// So many go at once where there are more.
const LEAVING: usize = MOST / 10;

/// Both ends and the protocol, the smaller end first, so that it is the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// The smaller end.
    pub first: (Address, u16),
    /// The other end.
    pub second: (Address, u16),
    /// IANA protocol number.
    pub protocol: u8,
}

impl ConnectionKey {
    /// The connection of a row, and whether the row goes from its second end to the first. `None` without addresses.
    #[must_use]
    pub fn of(row: &Row<'_>) -> Option<(Self, bool)> {
        let (source, destination) = (row.source_key()?, row.destination_key()?);
        let turned = source > destination;
        let (first, second) = if turned {
            (destination, source)
        } else {
            (source, destination)
        };
        let protocol = row.protocol().unwrap_or_default();
        Some((
            Self {
                first,
                second,
                protocol,
            },
            turned,
        ))
    }
}

/// All connections.
#[derive(Debug, Default)]
pub struct Connections {
    connections: FxHashMap<ConnectionKey, Connection>,
    forgotten: u64,
}

impl Connections {
    /// Takes a row with its number. Whether its packets count: each packet is seen at several places, and counts at one.
    pub fn push(&mut self, row: &Row<'_>, number: u64, weight: f64) -> bool {
        let Some((key, turned)) = ConnectionKey::of(row) else {
            return true;
        };
        // The first event of a socket that connects comes before it has a port: it says nothing of a connection yet.
        if matches!(row.kind(), Kind::Tcp(_)) && (key.first.1 == 0 || key.second.1 == 0) {
            return true;
        }
        if self.connections.len() >= MOST && !self.connections.contains_key(&key) {
            self.forget();
        }
        let connection = self
            .connections
            .entry(key)
            .or_insert_with(|| Connection::new(row, turned));
        connection.push(row, number, turned, weight)
    }

    /// Those that were quiet for longest go.
    fn forget(&mut self) {
        let limit = quietest(self.connections.values().map(|connection| connection.last_ns), LEAVING);
        let before = self.connections.len();
        self.connections.retain(|_, connection| connection.last_ns > limit);
        self.forgotten += (before - self.connections.len()) as u64;
    }

    /// The connection of that key.
    #[must_use]
    pub fn get(&self, key: &ConnectionKey) -> Option<&Connection> {
        self.connections.get(key)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConnectionKey, &Connection)> {
        self.connections.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many were forgotten, as there were too many.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
