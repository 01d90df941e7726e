//! The nodes that flows of a request come from. A peer that is an observer has one; a relay tells of many.

use std::collections::BTreeMap;
use std::time::Instant;

use feed::{FeedMessage, Position};
use rustc_hash::FxHashMap;

use crate::merge::{Merge, NodeId};
use crate::peer_flows::PeerId;
use crate::peers::PeerAddress;

/// A node of a request.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) peer: PeerId,
    pub(super) node: NodeId,
    pub(super) name: String,
    last: Option<FeedMessage>,
    present: bool,
}

/// All nodes of a request.
#[derive(Debug, Default)]
pub(super) struct Sources {
    all: Vec<Source>,
    by_name: FxHashMap<(PeerId, String), usize>,
    /// Where a peer's node is, as long as it hasn't said its name.
    unnamed: FxHashMap<PeerId, usize>,
}

impl Sources {
    /// A peer that holds up the others until it is heard of.
    pub(super) fn add_peer(&mut self, peer: PeerId, node: NodeId, name: String) {
        self.unnamed.insert(peer, self.all.len());
        self.all.push(Source {
            peer,
            node,
            name,
            last: None,
            present: true,
        });
    }

    /// Takes note of a message: its node, and the last message of that node's earlier run, if this is the first of a new
    /// one.
    pub(super) fn heard(
        &mut self,
        peer: PeerId,
        told: &FeedMessage,
        merge: &mut Merge,
        now: Instant,
    ) -> (&Source, Option<FeedMessage>) {
        let known = self.by_name.get(&(peer, told.node.clone())).copied();
        let place = known.unwrap_or_else(|| {
            let place = match self.unnamed.remove(&peer) {
                Some(place) => {
                    self.all[place].name.clone_from(&told.node);
                    place
                }
                None => {
                    self.all.push(Source {
                        peer,
                        node: merge.add_node(now),
                        name: told.node.clone(),
                        last: None,
                        present: true,
                    });
                    self.all.len() - 1
                }
            };
            self.by_name.insert((peer, told.node.clone()), place);
            place
        });
        let source = &mut self.all[place];
        if !source.present {
            source.present = true;
            merge.return_node(source.node, now);
        }
        let before = source.last.take().filter(|last| last.log_id != told.log_id);
        source.last = Some(FeedMessage {
            losses: Vec::new(),
            ..told.clone()
        });
        (source, before)
    }

    /// A peer answers again. Its nodes count from their first message on.
    pub(super) fn up(&mut self, peer: PeerId, merge: &mut Merge, now: Instant) {
        let Some(place) = self.unnamed.get(&peer) else {
            return;
        };
        let source = &mut self.all[*place];
        if !source.present {
            source.present = true;
            merge.return_node(source.node, now);
        }
    }

    /// A peer can't be reached, or has no more: nobody waits for its nodes.
    pub(super) fn down(&mut self, peer: PeerId, merge: &mut Merge) {
        for source in self
            .all
            .iter_mut()
            .filter(|source| source.peer == peer && source.present)
        {
            source.present = false;
            merge.remove_node(source.node);
        }
    }

    /// The nodes of a peer, or where it is if it hasn't said.
    pub(super) fn names(&self, peer: PeerId, address: &PeerAddress) -> Vec<String> {
        let nodes = self
            .all
            .iter()
            .filter(|source| source.peer == peer && !source.name.is_empty());
        let names: Vec<String> = nodes.map(|source| source.name.clone()).collect();
        if names.is_empty() {
            vec![address.name.clone().unwrap_or_else(|| address.address.clone())]
        } else {
            names
        }
    }

    pub(super) fn name_of(&self, node: NodeId) -> Option<&str> {
        let found = self.all.iter().find(|source| source.node == node);
        found.map(|source| source.name.as_str())
    }

    /// How far each node is.
    pub(super) fn positions(&self) -> Vec<Position> {
        let positions: BTreeMap<String, Position> = self
            .all
            .iter()
            .filter_map(|source| {
                let last = source.last.as_ref()?;
                let position = Position {
                    node: source.name.clone(),
                    log_id: last.log_id,
                    next_sequence: last.next_sequence,
                    next_loss: last.next_loss,
                };
                Some((source.name.clone(), position))
            })
            .collect();
        positions.into_values().collect()
    }
}
