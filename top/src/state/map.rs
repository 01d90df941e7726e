//! The service map: who talks to whom.

use rustc_hash::FxHashMap;

use super::quietest;
use super::talkers::Amount;
use crate::row::Row;

/// Edges that are kept; beyond, those that were quiet for longest go.
const MOST: usize = 2_000;

/// Somebody who talks to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// The client: a workload, or else its best name.
    pub client: String,
    /// The server.
    pub server: String,
    /// `TCP 80`.
    pub service: String,
}

/// What they say.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// In both directions.
    pub amount: Amount,
    /// Time of the last flow.
    pub last_ns: i64,
    /// The reason of the last drop; empty if there was none.
    pub reason: String,
}

/// The map.
#[derive(Debug, Default)]
pub struct Map {
    edges: FxHashMap<EdgeKey, Edge>,
}

impl Map {
    /// Takes a row. `counts`: it is the place where its connection is counted.
    pub fn push(&mut self, row: &Row<'_>, weight: f64, counts: bool) {
        if !counts && !row.is_trouble() {
            return;
        }
        let (mut client, mut server) = (row.source(), row.destination());
        if row.is_reply() == Some(true) {
            std::mem::swap(&mut client, &mut server);
        }
        let service = match server.port {
            0 => row.protocol_name(),
            port => format!("{} {port}", row.protocol_name()),
        };
        let key = EdgeKey {
            client: client.group(),
            server: server.group(),
            service,
        };
        if self.edges.len() >= MOST && !self.edges.contains_key(&key) {
            self.forget();
        }
        let edge = self.edges.entry(key).or_default();
        edge.amount.add(row, weight, counts);
        edge.last_ns = edge.last_ns.max(row.time_ns());
        if row.is_trouble() && !row.is_noise() {
            match row.drop_reason() {
                // That nobody answered says less than why.
                "" if edge.reason.is_empty() => edge.reason = "no answer".to_owned(),
                "" => {}
                reason => edge.reason = reason.to_owned(),
            }
        }
    }

    /// Those that were quiet for longest go, some at once, so that it is not done for every new one.
    fn forget(&mut self) {
        let limit = quietest(self.edges.values().map(|edge| edge.last_ns), MOST / 10);
        self.edges.retain(|_, edge| edge.last_ns > limit);
    }

    /// All edges, in no order.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeKey, &Edge)> {
        self.edges.iter()
    }

    /// All edges by client, clients with drops first, then those that say most.
    #[must_use]
    pub fn by_client(&self) -> Vec<(&str, Vec<(&EdgeKey, &Edge)>)> {
        let mut clients: FxHashMap<&str, Vec<(&EdgeKey, &Edge)>> = FxHashMap::default();
        for (key, edge) in &self.edges {
            clients.entry(&key.client).or_default().push((key, edge));
        }
        let rank = |edges: &[(&EdgeKey, &Edge)]| {
            let sum = |of: fn(&Amount) -> f64| edges.iter().map(|(_, edge)| of(&edge.amount)).sum::<f64>();
            (sum(|amount| amount.drops), sum(|amount| amount.packets))
        };
        let mut clients: Vec<_> = clients
            .into_iter()
            .map(|(client, edges)| (client, rank(&edges), edges))
            .collect();
        clients.sort_by(
            |(client, (drops, packets), _), (other, (other_drops, other_packets), _)| {
                (*other_drops > 0.0)
                    .cmp(&(*drops > 0.0))
                    .then(other_packets.total_cmp(packets))
                    .then(client.cmp(other))
            },
        );
        clients
            .into_iter()
            .map(|(client, _, mut edges)| {
                edges.sort_by(|(key, edge), (other_key, other)| {
                    (other.amount.drops > 0.0)
                        .cmp(&(edge.amount.drops > 0.0))
                        .then(other.amount.packets.total_cmp(&edge.amount.packets))
                        .then(key.cmp(other_key))
                });
                (client, edges)
            })
            .collect()
    }

    /// How many edges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use flow::builder::FlowBatchBuilder;
    use flow::record::{FlowRecord, Ip, Transport};

    use super::*;

    #[test]
    fn a_scan_leaves_the_newest_edges() {
        let mut builder = FlowBatchBuilder::new(1, 0);
        let rows = MOST + MOST / 2;
        for row in 0..rows {
            let address = |network: u32| Ipv4Addr::from(network | row as u32).to_ipv6_mapped().octets();
            builder.append(&FlowRecord {
                time_ns: row as i64,
                verdict: 1,
                event_type: Some(4),
                packets: 1,
                ip: Some(Ip {
                    version: 4,
                    source: Some(address(0x0b00_0000)),
                    destination: Some(address(0x0a00_0000)),
                    ..Ip::default()
                }),
                transport: Transport {
                    protocol: Some(6),
                    ports: Some((40_000, 443)),
                    ..Transport::default()
                },
                ..FlowRecord::default()
            });
        }
        let batch = builder.seal().expect("rows");
        let mut map = Map::default();
        for place in 0..rows {
            map.push(&Row::new(&batch, place), 1.0, true);
            assert!(map.len() <= MOST);
        }
        let oldest = map.edges().map(|(_, edge)| edge.last_ns).min();
        assert_eq!(
            oldest,
            Some((rows - map.len()) as i64),
            "none between the newest is missing"
        );
        assert!(map.len() >= MOST - MOST / 10);
    }
}
