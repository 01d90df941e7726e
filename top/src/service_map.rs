//! The service map as a drawing: cards of those who serve, with a line for each of their ports, and lines from those who
//! talk to them.
//!
//! Clients are left of their servers, in as many columns as there is room for ([`columns`]); what goes the other way, or
//! stays in its column, arrives from the right. Each client has a line of its own down the gap between two columns, from
//! which its connections branch off ([`strokes`]).
//!
//! ```text
//! ■ team-a/client ─┬───▶┏ team-a/web
//!                  ├───▶┃ TCP 80
//!                  ╰✗──▶┃ TCP 81  NO_SOCKET
//! ```

pub mod columns;
pub mod strokes;

use std::collections::BTreeMap;

use crate::state::map::{Edge, EdgeKey};
use crate::width::{clean, width};
use columns::{Columns, Pair};

/// How something is drawn. Where lines share a cell, it is as each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Something was dropped.
    pub is_bad: bool,
    /// The keys are on it.
    pub is_selected: bool,
}

impl Mark {
    fn and(self, other: Self) -> Self {
        Self {
            is_bad: self.is_bad || other.is_bad,
            is_selected: self.is_selected || other.is_selected,
        }
    }
}

/// A port of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `TCP 80`.
    pub service: String,
    /// Why packets to it were dropped; empty if none was.
    pub reason: String,
    /// How it is drawn.
    pub mark: Mark,
}

impl Port {
    /// Its line.
    #[must_use]
    pub fn text(&self) -> String {
        match self.reason.as_str() {
            "" => self.service.clone(),
            reason => format!("{}  {reason}", self.service),
        }
    }
}

/// Somebody who talks. The title is in the first line, a port in each line below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Who it is.
    pub name: String,
    /// How the title is drawn.
    pub mark: Mark,
    /// Ports, by name.
    pub ports: Vec<Port>,
    /// Left edge, cells.
    pub x: u16,
    /// Line of the title.
    pub y: u16,
    /// Cells from the left edge that are its own, the bar included.
    pub width: u16,
}

/// The bar at the left of a card, and a blank.
pub const BAR: u16 = 2;
/// What a card has room for at least, cells.
const LEAST_CARD: u16 = 14;

impl Card {
    fn height(&self) -> u16 {
        1 + self.ports.len() as u16
    }

    /// Cells from the left edge that the text of a line takes; 0 is the title.
    fn text_width(&self, line: usize) -> u16 {
        let text = match line.checked_sub(1) {
            None => width(&self.name),
            Some(port) => self.ports.get(port).map_or(0, |port| width(&port.text())),
        };
        (text as u16).saturating_add(BAR).min(self.width)
    }

    fn natural_width(&self) -> u16 {
        let texts = self.ports.iter().map(|port| width(&port.text()));
        let widest = texts.chain([width(&self.name)]).max().unwrap_or_default();
        u16::try_from(widest).unwrap_or(u16::MAX).saturating_add(BAR)
    }
}

/// A cell of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// What is drawn there.
    pub symbol: char,
    /// How.
    pub mark: Mark,
}

/// Cards and lines, in cells from the upper left corner.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// Cards; none is above another.
    pub cards: Vec<Card>,
    /// Lines by (x, y); none is on a card's text.
    pub strokes: BTreeMap<(u16, u16), Stroke>,
    /// Lines that it takes.
    pub height: u16,
    /// How many of the edges there was room for.
    pub edges: usize,
}

impl Drawing {
    /// Draws as many of the edges as there is room for, the first ones first.
    #[must_use]
    pub fn new(edges: &[(&EdgeKey, &Edge)], is_selected: impl Fn(&EdgeKey) -> bool, room: (u16, u16)) -> Self {
        // With fewer edges there is more room: the most that fit are found by halving. More than lines can't fit.
        let most = edges.len().min(usize::from(room.1) * columns::MOST);
        let (mut fits, mut too_many) = (0, most + 1);
        let mut drawing = Self::default();
        while too_many - fits > 1 {
            let count = fits.midpoint(too_many);
            match Self::of(&edges[..count], &is_selected, room) {
                Some(drawn) => (drawing, fits) = (drawn, count),
                None => too_many = count,
            }
        }
        drawing
    }

    /// Draws all of these, if there is room.
    fn of(edges: &[(&EdgeKey, &Edge)], is_selected: impl Fn(&EdgeKey) -> bool, room: (u16, u16)) -> Option<Self> {
        let mut cards = cards(edges, &is_selected);
        let place_of = |cards: &[Card], name: &str| cards.iter().position(|card| card.name == name);
        let mut pairs: Vec<Pair> = Vec::new();
        for (key, edge) in edges {
            let (client, server) = (place_of(&cards, &key.client)?, place_of(&cards, &key.server)?);
            let port = cards[server]
                .ports
                .iter()
                .position(|port| port.service == key.service)?;
            let mark = mark_of(key, edge, &is_selected);
            let place = pairs
                .iter()
                .position(|pair| (pair.client, pair.server) == (client, server));
            let place = place.unwrap_or_else(|| {
                pairs.push(Pair {
                    client,
                    server,
                    ports: Vec::new(),
                });
                pairs.len() - 1
            });
            pairs[place].ports.push((port, mark));
        }
        // Names are found by what they are, and measured as they are shown.
        for card in &mut cards {
            card.name = clean(&card.name);
        }
        // Who is left and who is right must depend neither on the keys nor on who has just said more.
        pairs.sort_by_key(|pair| (std::cmp::Reverse(pair.ports.len()), pair.client, pair.server));
        let columns = Columns::new(&cards, &pairs, room)?;
        columns.place(&mut cards);
        let strokes = strokes::draw(&cards, &pairs, &columns);
        Some(Self {
            cards,
            strokes,
            height: columns.height,
            edges: edges.len(),
        })
    }
}

fn mark_of(key: &EdgeKey, edge: &Edge, is_selected: impl Fn(&EdgeKey) -> bool) -> Mark {
    Mark {
        is_bad: edge.amount.drops > 0.0,
        is_selected: is_selected(key),
    }
}

/// All who talk, by name, with the ports that they are asked at.
fn cards(edges: &[(&EdgeKey, &Edge)], is_selected: impl Fn(&EdgeKey) -> bool) -> Vec<Card> {
    let mut cards: BTreeMap<&str, (Mark, BTreeMap<&str, Port>)> = BTreeMap::new();
    for (key, edge) in edges {
        let mark = mark_of(key, edge, &is_selected);
        // What a client was refused is at the server: red titles of clients would be everywhere.
        let client = cards.entry(&key.client).or_default();
        client.0.is_selected |= mark.is_selected;
        let (_, ports) = cards.entry(&key.server).or_default();
        let port = ports.entry(&key.service).or_insert_with(|| Port {
            service: key.service.clone(),
            reason: String::new(),
            mark: Mark::default(),
        });
        port.mark = port.mark.and(mark);
        if mark.is_bad && port.reason.is_empty() {
            port.reason = clean(&edge.reason);
        }
    }
    let card = |(name, (mark, ports)): (&str, (Mark, BTreeMap<&str, Port>))| Card {
        name: name.to_owned(),
        mark,
        ports: ports.into_values().collect(),
        x: 0,
        y: 0,
        width: 0,
    };
    cards.into_iter().map(card).collect()
}

#[cfg(test)]
mod tests;
