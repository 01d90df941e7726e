//! The lines between cards.

use std::collections::BTreeMap;

use super::columns::{Columns, Item, Pair};
use super::{Card, Mark, Stroke};

/// Which ways a line leaves a cell.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

#[derive(Default)]
struct Cell {
    ways: u8,
    mark: Mark,
    /// An arrow or a cross.
    sign: Option<char>,
}

#[derive(Default)]
struct Cells(BTreeMap<(u16, u16), Cell>);

impl Cells {
    fn add(&mut self, at: (u16, u16), ways: u8, mark: Mark) {
        let cell = self.0.entry(at).or_default();
        cell.ways |= ways;
        cell.mark = cell.mark.and(mark);
    }

    fn sign(&mut self, at: (u16, u16), sign: char, mark: Mark) {
        let cell = self.0.entry(at).or_default();
        cell.sign = Some(sign);
        cell.mark = cell.mark.and(mark);
    }

    /// Along a line of the screen, both ends included. An end joins what is there already.
    fn across(&mut self, (one, other): (u16, u16), y: u16, mark: Mark) {
        let (first, last) = (one.min(other), one.max(other));
        for x in first..=last {
            let left = if x > first { LEFT } else { 0 };
            let right = if x < last { RIGHT } else { 0 };
            self.add((x, y), left | right, mark);
        }
    }

    fn down(&mut self, x: u16, (one, other): (u16, u16), mark: Mark) {
        let (first, last) = (one.min(other), one.max(other));
        for y in first..=last {
            let up = if y > first { UP } else { 0 };
            let down = if y < last { DOWN } else { 0 };
            self.add((x, y), up | down, mark);
        }
    }
}

/// Draws all lines between cards that are where they belong.
#[must_use]
pub fn draw(cards: &[Card], pairs: &[Pair], columns: &Columns) -> BTreeMap<(u16, u16), Stroke> {
    let mut cells = Cells::default();
    for hop in &columns.hops {
        let channel = columns.channel_x(hop);
        let (from_y, targets) = columns.ends(hop, pairs);
        let (from_column, _) = columns.places[&hop.from];
        let (to_column, _) = columns.places[&hop.to];
        let is_same_column = from_column == to_column;
        let from_x = match hop.from {
            Item::Card(card) if hop.to_right || is_same_column => cards[card].x + cards[card].text_width(0) + 1,
            Item::Card(card) => cards[card].x.saturating_sub(1),
            Item::Pass { .. } if hop.to_right => columns.x[from_column] + columns.widths[from_column],
            Item::Pass { .. } => columns.x[from_column].saturating_sub(1),
        };
        for (to_y, mark) in targets {
            cells.across((from_x, channel), from_y, mark);
            cells.down(channel, (from_y, to_y), mark);
            let to_x = match hop.to {
                Item::Card(card) if hop.to_right => cards[card].x.saturating_sub(1),
                Item::Card(card) => {
                    let card = &cards[card];
                    card.x + card.text_width(usize::from(to_y - card.y)) + 1
                }
                // All the way through its column, to where the next hop begins.
                Item::Pass { .. } if hop.to_right => columns.x[to_column] + columns.widths[to_column],
                Item::Pass { .. } => columns.x[to_column].saturating_sub(1),
            };
            cells.across((channel, to_x), to_y, mark);
            if let Item::Card(_) = hop.to {
                cells.sign((to_x, to_y), if hop.to_right { '▶' } else { '◀' }, mark);
                if mark.is_bad {
                    let beside = if hop.to_right { channel + 1 } else { channel - 1 };
                    cells.sign((beside, to_y), '✗', mark);
                }
            }
        }
    }
    let stroke = |cell: Cell| Stroke {
        symbol: cell.sign.unwrap_or_else(|| symbol(cell.ways)),
        mark: cell.mark,
    };
    cells.0.into_iter().map(|(at, cell)| (at, stroke(cell))).collect()
}

fn symbol(ways: u8) -> char {
    const SYMBOLS: [char; 16] = [
        ' ', '│', '│', '│', '─', '╯', '╮', '┤', '─', '╰', '╭', '├', '─', '┴', '┬', '┼',
    ];
    SYMBOLS[usize::from(ways & 15)]
}
