//! Flows that nobody has seen: how many, where, and when.

use std::collections::BTreeMap;

use super::rates::Rates;

/// Losses since the viewer started.
#[derive(Debug, Default)]
pub struct Losses {
    rates: Rates,
    by_place: BTreeMap<(String, &'static str), u64>,
    last_ns: Option<i64>,
}

/// Nodes and places that are told apart.
const MOST: usize = 256;

impl Losses {
    /// Takes a loss.
    pub fn push(&mut self, node: &str, count: u64, place: &'static str, now_ns: i64) {
        if count == 0 {
            return;
        }
        self.rates.add(now_ns / 1_000_000_000, count as f64);
        self.last_ns = Some(now_ns);
        let mut key = (node.to_owned(), place);
        if self.by_place.len() >= MOST && !self.by_place.contains_key(&key) {
            key.0 = "other nodes".to_owned();
        }
        *self.by_place.entry(key).or_default() += count;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_place.values().sum()
    }

    /// Those of a node.
    #[must_use]
    pub fn of_node(&self, node: &str) -> u64 {
        let of_node = self.by_place.iter().filter(|((name, _), _)| name == node);
        of_node.map(|(_, count)| count).sum()
    }

    /// Those of the last minute.
    #[must_use]
    pub fn recent(&self, now_ns: i64) -> u64 {
        self.rates.recent(now_ns / 1_000_000_000, 60) as u64
    }

    /// Nodes and places, those that lost most first.
    #[must_use]
    pub fn places(&self) -> Vec<(&str, &'static str, u64)> {
        let mut places: Vec<_> = self
            .by_place
            .iter()
            .map(|((node, place), count)| (node.as_str(), *place, *count))
            .collect();
        places.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        places
    }
}
