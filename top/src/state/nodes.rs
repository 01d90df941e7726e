//! Nodes: how they are, how much they see, what they lose.

use std::collections::BTreeMap;

use flow::schema::Column;

use super::rates::Rates;
use crate::news::NodeNews;
use crate::row::Row;

/// Nodes that are kept.
const MOST: usize = 5_000;

/// A node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What the server says of it; `None` if it says nothing.
    pub told: Option<NodeNews>,
    /// Flows of it that came here, a second.
    pub flows: Rates,
    /// Drops of it, noise left away, a second.
    pub drops: Rates,
    /// Flows a second as the server counts them.
    pub seen_per_second: Option<f64>,
    /// Why it can't be reached.
    pub down: Option<String>,
    /// When something of it was heard of last.
    pub last_ns: i64,
    /// When the server told of it.
    told_ns: i64,
}

/// All nodes by name.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<String, Node>,
}

impl Nodes {
    /// Takes a row.
    pub fn push(&mut self, row: &Row<'_>, weight: f64, trouble: bool, second: i64, now_ns: i64) {
        let name = row.text(Column::NodeName);
        if !self.nodes.contains_key(name) {
            if self.nodes.len() >= MOST || name.is_empty() {
                return;
            }
            self.nodes.insert(name.to_owned(), Node::default());
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.flows.add(second, weight);
        if trouble {
            node.drops.add(second, weight);
        }
        node.last_ns = now_ns;
        if node.told.is_none() {
            node.down = None;
        }
    }

    /// Takes what the server says.
    pub fn hear(&mut self, news: Vec<NodeNews>, now_ns: i64) {
        // Who is no node any more, and has sent nothing, is none here.
        let named = |name: &str| news.iter().any(|told| told.name == name);
        self.nodes.retain(|name, node| named(name) || node.flows.total() > 0.0);
        for told in news {
            if self.nodes.len() >= MOST && !self.nodes.contains_key(&told.name) {
                continue;
            }
            let node = self.nodes.entry(told.name.clone()).or_default();
            let seconds = (now_ns - node.told_ns) as f64 / 1e9;
            let before = node.told.as_ref().filter(|before| before.flows_seen <= told.flows_seen);
            node.seen_per_second = match before {
                Some(before) if seconds > 0.2 => Some((told.flows_seen - before.flows_seen) as f64 / seconds),
                _ => told.flows_per_second,
            };
            node.told_ns = now_ns;
            node.down = match (told.is_connected, told.problem.as_str()) {
                (true, _) => None,
                (false, "") => Some("not connected".to_owned()),
                (false, problem) => Some(problem.to_owned()),
            };
            if told.is_connected {
                node.last_ns = now_ns;
            }
            node.told = Some(told);
        }
    }

    /// A node can't be reached. A server that tells of its nodes knows better what they are called.
    pub fn is_down(&mut self, name: &str, why: String) {
        if self.nodes.values().any(|node| node.told.is_some()) && !self.nodes.contains_key(name) {
            return;
        }
        if self.nodes.len() < MOST || self.nodes.contains_key(name) {
            self.nodes.entry(name.to_owned()).or_default().down = Some(why);
        }
    }

    /// All nodes by name, those that can't be reached first.
    #[must_use]
    pub fn list(&self) -> Vec<(&str, &Node)> {
        let mut list: Vec<_> = self.nodes.iter().map(|(name, node)| (name.as_str(), node)).collect();
        list.sort_by_key(|(_, node)| node.down.is_none());
        list
    }

    /// How many can be reached, and how many there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let down = self.nodes.values().filter(|node| node.down.is_some()).count();
        (self.nodes.len() - down, self.nodes.len())
    }
}
