//! News of nodes for a client: what happens to several of them at about the same time is one event.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flow::api::relay::{NodeState, NodeStatusEvent};

/// How long news wait for others like them.
const TOGETHER: Duration = Duration::from_millis(200);

/// What a client has been told, and what it is still to be told.
#[derive(Debug, Default)]
pub(super) struct StatusNews {
    told: BTreeMap<String, NodeState>,
    pending: BTreeMap<(i32, String), Vec<String>>,
    since: Option<Instant>,
}

impl StatusNews {
    pub(super) fn connected(&mut self, node: String) {
        self.note(node, NodeState::NodeConnected, String::new());
    }

    pub(super) fn unavailable(&mut self, nodes: Vec<String>, why: &str) {
        for node in nodes {
            self.note(node, NodeState::NodeUnavailable, why.to_owned());
        }
    }

    pub(super) fn failed(&mut self, nodes: Vec<String>, why: &str) {
        for node in nodes {
            self.note(node, NodeState::NodeError, why.to_owned());
        }
    }

    pub(super) fn gone(&mut self, nodes: Vec<String>) {
        for node in nodes {
            self.note(node, NodeState::NodeGone, "it is no peer any more".to_owned());
        }
    }

    fn note(&mut self, node: String, state: NodeState, why: String) {
        // A node that is down may say so for several reasons in a row; the first one is told.
        if self.told.get(&node) == Some(&state) {
            return;
        }
        self.told.insert(node.clone(), state);
        self.pending.entry((state.into(), why)).or_default().push(node);
        self.since.get_or_insert_with(Instant::now);
    }

    /// When news are to be told.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.since.map(|since| since + TOGETHER)
    }

    /// An event that is to be told now. `last`: there will be no more news.
    pub(super) fn due(&mut self, now: Instant, last: bool) -> Option<NodeStatusEvent> {
        if !last && self.next_due().is_none_or(|due| now < due) {
            return None;
        }
        let ((state_change, message), mut node_names) = self.pending.pop_first()?;
        if self.pending.is_empty() {
            self.since = None;
        }
        node_names.sort_unstable();
        Some(NodeStatusEvent {
            state_change,
            node_names,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_news_are_one_event_and_told_once() {
        let mut news = StatusNews::default();
        news.connected("b".to_owned());
        news.unavailable(vec!["c".to_owned()], "connection refused");
        news.connected("a".to_owned());
        news.connected("a".to_owned());
        news.unavailable(vec!["d".to_owned()], "connection refused");
        let now = Instant::now();
        assert!(news.due(now, false).is_none());
        let later = now + Duration::from_secs(1);
        let first = news.due(later, false).unwrap();
        assert_eq!(
            (first.state_change(), first.node_names),
            (NodeState::NodeConnected, vec!["a".into(), "b".into()])
        );
        let second = news.due(later, false).unwrap();
        assert_eq!(second.node_names, ["c", "d"]);
        assert_eq!(second.message, "connection refused");
        assert!(news.due(later, true).is_none() && news.next_due().is_none());
        news.unavailable(vec!["a".to_owned()], "x");
        assert!(news.due(now, true).is_some(), "nothing comes after it");
    }
}
