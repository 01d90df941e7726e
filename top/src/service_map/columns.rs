//! In which column each card is, in which line, and where lines pass columns that they have no card in.

use std::collections::BTreeMap;

use super::{Card, LEAST_CARD, Mark};

/// Columns at most.
pub const MOST: usize = 4;
/// Cells of a gap before its lines: a blank, an arrow back to the left, its cross.
const LEAD: u16 = 3;
/// Cells of a gap beside its lines; behind them, a cross, a line and an arrow.
const GAP: u16 = LEAD + 2;
/// A gap that no line goes down.
const EMPTY_GAP: u16 = 2;

/// A client and a server, cards by their places.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Who asks.
    pub client: usize,
    /// Who is asked.
    pub server: usize,
    /// At which ports of the server, by their places.
    pub ports: Vec<(usize, Mark)>,
}

/// What takes lines in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A card, by its place.
    Card(usize),
    /// Where the lines of a client pass a column; `to_right` or back.
    Pass {
        /// Whose lines.
        client: usize,
        /// Which column.
        column: usize,
        /// Towards the right, or back to the left.
        to_right: bool,
    },
}

/// From one item to another, down the gap between their columns.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Where it comes from.
    pub from: Item,
    /// Where it goes to.
    pub to: Item,
    /// Which pair it belongs to, by its place.
    pub pair: usize,
    /// The gap, which is right of the column of this number.
    pub gap: usize,
    /// Whether it goes from left to right; in one column it goes back.
    pub to_right: bool,
}

/// Where everything is.
#[derive(Debug)]
pub struct Columns {
    /// Left edges of columns.
    pub x: Vec<u16>,
    /// Their widths.
    pub widths: Vec<u16>,
    /// Column and first line of each item.
    pub places: BTreeMap<Item, (usize, u16)>,
    /// All hops.
    pub hops: Vec<Hop>,
    /// Who has a line down each gap, from left to right.
    pub channels: Vec<Vec<(Item, bool)>>,
    /// Lines of the highest column.
    pub height: u16,
}

impl Columns {
    /// Finds places, if there is room.
    #[must_use]
    pub fn new(cards: &[Card], pairs: &[Pair], room: (u16, u16)) -> Option<Self> {
        let most = usize::from(room.0 / 40 + 1).clamp(2, MOST);
        let column_of = column_of_each(cards.len(), pairs, most);
        let count = column_of.iter().max().map_or(0, |last| last + 1);
        let mut columns: Vec<Vec<Item>> = vec![Vec::new(); count];
        for (card, column) in column_of.iter().enumerate() {
            columns[*column].push(Item::Card(card));
        }
        let hops = hops(pairs, &column_of, &mut columns);
        let heights = |item: Item| match item {
            Item::Card(card) => cards[card].height(),
            Item::Pass { .. } => 1,
        };
        let needed = |items: &Vec<Item>| items.iter().map(|item| heights(*item)).sum::<u16>();
        if columns.iter().any(|items| needed(items) > room.1) {
            return None;
        }
        let (places, height) = lines(&mut columns, &hops, room.1, heights);
        let mut placed = Self {
            x: Vec::new(),
            widths: Vec::new(),
            places,
            channels: vec![Vec::new(); count],
            hops,
            height,
        };
        placed.find_channels(pairs);
        placed.share_width(cards, &column_of, room.0)?;
        Some(placed)
    }

    /// Tells cards where they are.
    pub fn place(&self, cards: &mut [Card]) {
        for (place, card) in cards.iter_mut().enumerate() {
            let (column, y) = self.places[&Item::Card(place)];
            (card.x, card.y, card.width) = (self.x[column], y, self.widths[column]);
        }
    }

    /// The lines that a hop goes from and to.
    #[must_use]
    pub fn ends(&self, hop: &Hop, pairs: &[Pair]) -> (u16, Vec<(u16, Mark)>) {
        let line = |item: Item| self.places[&item].1;
        let pair = &pairs[hop.pair];
        let to = line(hop.to);
        let targets = match hop.to {
            Item::Card(_) => pair
                .ports
                .iter()
                .map(|(port, mark)| (to + 1 + *port as u16, *mark))
                .collect(),
            Item::Pass { .. } => vec![(
                to,
                pair.ports.iter().fold(Mark::default(), |all, (_, mark)| all.and(*mark)),
            )],
        };
        (line(hop.from), targets)
    }

    /// The x of the line that a hop goes down.
    #[must_use]
    pub fn channel_x(&self, hop: &Hop) -> u16 {
        let channels = &self.channels[hop.gap];
        let place = channels.iter().position(|channel| *channel == (hop.from, hop.to_right));
        self.x[hop.gap] + self.widths[hop.gap] + LEAD + 2 * place.unwrap_or_default() as u16
    }

    /// Who goes down a gap where: from the top or from the bottom, whichever has fewer crossings.
    fn find_channels(&mut self, pairs: &[Pair]) {
        for gap in 0..self.channels.len() {
            let mut trunks: BTreeMap<(Item, bool), Trunk> = BTreeMap::new();
            for hop in self.hops.iter().filter(|hop| hop.gap == gap) {
                let (from, to) = self.ends(hop, pairs);
                let trunk = trunks
                    .entry((hop.from, hop.to_right))
                    .or_insert_with(|| Trunk { from, to: Vec::new() });
                trunk.to.extend(to.iter().map(|(line, _)| *line));
            }
            let mut order: Vec<_> = trunks.into_iter().collect();
            order.sort_by_key(|(_, trunk)| trunk.from);
            let from_top = crossings(&order);
            order.reverse();
            if from_top <= crossings(&order) {
                order.reverse();
            }
            self.channels[gap] = order.into_iter().map(|(channel, _)| channel).collect();
        }
    }

    fn gap_width(&self, gap: usize) -> u16 {
        match self.channels[gap].len() as u16 {
            0 if gap + 1 == self.channels.len() => 0,
            0 => EMPTY_GAP,
            count => GAP + 2 * count,
        }
    }

    /// As wide as the widest card of each column; if there is no room for that, the widest columns give way.
    fn share_width(&mut self, cards: &[Card], column_of: &[usize], room: u16) -> Option<()> {
        let gaps: u16 = (0..self.channels.len()).map(|gap| self.gap_width(gap)).sum();
        let mut room = room.checked_sub(gaps)?;
        let count = self.channels.len();
        let natural = |column: usize| {
            let mine = cards.iter().zip(column_of).filter(|(_, of)| **of == column);
            mine.map(|(card, _)| card.natural_width())
                .max()
                .unwrap_or_default()
                .max(LEAST_CARD)
        };
        let mut by_width: Vec<(u16, usize)> = (0..count).map(|column| (natural(column), column)).collect();
        by_width.sort_unstable();
        self.widths = vec![0; count];
        for (place, (natural, column)) in by_width.into_iter().enumerate() {
            let share = room / (count - place) as u16;
            self.widths[column] = natural.min(share);
            room -= self.widths[column];
            if self.widths[column] < LEAST_CARD {
                return None;
            }
        }
        let mut x = 0;
        for column in 0..count {
            self.x.push(x);
            x += self.widths[column] + self.gap_width(column);
        }
        Some(())
    }
}

/// What goes down a gap: from which line, and which lines branch off.
struct Trunk {
    from: u16,
    to: Vec<u16>,
}

impl Trunk {
    fn span(&self) -> std::ops::RangeInclusive<u16> {
        let first = self.to.iter().copied().fold(self.from, u16::min);
        let last = self.to.iter().copied().fold(self.from, u16::max);
        first..=last
    }
}

/// How often lines cross if they go down a gap in this order.
fn crossings(order: &[((Item, bool), Trunk)]) -> usize {
    let mut count = 0;
    for (place, (_, left)) in order.iter().enumerate() {
        for (_, right) in &order[place + 1..] {
            count += left.to.iter().filter(|line| right.span().contains(line)).count();
            count += usize::from(left.span().contains(&right.from));
        }
    }
    count
}

/// Columns so that servers are right of their clients, where neither asks the other round in a circle.
fn column_of_each(cards: usize, pairs: &[Pair], most: usize) -> Vec<usize> {
    let mut servers: Vec<Vec<usize>> = vec![Vec::new(); cards];
    let mut forward = Vec::new();
    for pair in pairs {
        if !reaches(&servers, pair.server, pair.client) {
            servers[pair.client].push(pair.server);
            forward.push(pair);
        }
    }
    let mut column = vec![0; cards];
    // The longest way has fewer steps than there are cards.
    for _ in 0..cards {
        for pair in &forward {
            column[pair.server] = column[pair.server].max(column[pair.client] + 1);
        }
    }
    for column in &mut column {
        *column = (*column).min(most - 1);
    }
    // Those whom nobody asks are right before the first whom they ask.
    for card in 0..cards {
        if forward.iter().all(|pair| pair.server != card)
            && let Some(first) = servers[card].iter().map(|server| column[*server]).min()
        {
            column[card] = first.saturating_sub(1);
        }
    }
    column
}

fn reaches(servers: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = vec![false; servers.len()];
    let mut open = vec![from];
    while let Some(card) = open.pop() {
        if card == to {
            return true;
        }
        if !std::mem::replace(&mut seen[card], true) {
            open.extend(&servers[card]);
        }
    }
    false
}

/// Cuts the way of each pair into hops from column to column, and adds what passes a column to it.
fn hops(pairs: &[Pair], column_of: &[usize], columns: &mut [Vec<Item>]) -> Vec<Hop> {
    let mut hops = Vec::new();
    for (place, pair) in pairs.iter().enumerate() {
        let (first, last) = (column_of[pair.client], column_of[pair.server]);
        let to_right = first < last;
        let mut from = Item::Card(pair.client);
        let mut column = first;
        loop {
            let next = match first.cmp(&last) {
                std::cmp::Ordering::Less => column + 1,
                std::cmp::Ordering::Equal => column,
                std::cmp::Ordering::Greater => column - 1,
            };
            let to = if next == last {
                Item::Card(pair.server)
            } else {
                let client = pair.client;
                Item::Pass {
                    client,
                    column: next,
                    to_right,
                }
            };
            hops.push(Hop {
                from,
                to,
                pair: place,
                gap: column.min(next),
                to_right,
            });
            if next == last {
                break;
            }
            if !columns[next].contains(&to) {
                columns[next].push(to);
            }
            (from, column) = (to, next);
        }
    }
    hops
}

/// Orders each column by where its neighbours are, so that few lines cross, and gives each item its lines.
fn lines(
    columns: &mut [Vec<Item>],
    hops: &[Hop],
    room: u16,
    heights: impl Fn(Item) -> u16,
) -> (BTreeMap<Item, (usize, u16)>, u16) {
    let mut places = BTreeMap::new();
    let mut height = 0;
    let mut all_places = |columns: &[Vec<Item>], places: &mut BTreeMap<Item, (usize, u16)>| {
        let needs = |items: &[Item]| {
            let needed: u16 = items.iter().map(|item| heights(*item)).sum();
            // An empty line between two, where there is room.
            let between = items.len().saturating_sub(1) as u16;
            let between = if needed + between <= room { 1 } else { 0 };
            (needed + between * items.len().saturating_sub(1) as u16, between)
        };
        height = columns.iter().map(|items| needs(items).0).max().unwrap_or_default();
        for (column, items) in columns.iter().enumerate() {
            let (needed, between) = needs(items);
            let mut y = (height - needed) / 2;
            for item in items {
                places.insert(*item, (column, y));
                y += heights(*item) + between;
            }
        }
    };
    all_places(columns, &mut places);
    let count = columns.len();
    let there_and_back = (1..count).chain((0..count.saturating_sub(1)).rev());
    for column in there_and_back.clone().chain(there_and_back).chain(1..count) {
        let mean = |item: &Item| {
            let neighbours = hops
                .iter()
                .filter_map(|hop| match (hop.from == *item, hop.to == *item) {
                    (true, false) => Some(hop.to),
                    (false, true) => Some(hop.from),
                    _ => None,
                });
            let (mut sum, mut number) = (0_u32, 0_u32);
            for neighbour in neighbours {
                // The middle of a card, in half lines.
                sum += u32::from(2 * places[&neighbour].1 + heights(neighbour));
                number += 1;
            }
            // Who has no neighbour stays last.
            (number == 0, (sum * 16).checked_div(number).unwrap_or_default())
        };
        columns[column].sort_by_cached_key(mean);
        all_places(columns, &mut places);
    }
    (places, height)
}
