//! Lists of all screens but that of flows: what is in them, in which order, and where the keys are.

mod items;

use crate::screen::Screen;
use crate::state::connections::ConnectionKey;
use crate::state::drops::GroupKey;
use crate::state::map::EdgeKey;

use super::App;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As usual.
    #[default]
    Usual,
    /// It matters less.
    Faint,
    /// Something is wrong with it.
    Bad,
    /// It deserves a look.
    Notable,
    /// It has just appeared.
    New,
    /// A heading among the lines.
    Title,
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A group of drops.
    Drops(GroupKey),
    /// A connection.
    Connection(ConnectionKey),
    /// Somebody who talks: flows of this filter.
    Filter(String),
    /// Somebody who talks to somebody.
    Edge(EdgeKey),
    /// A node.
    Node(String),
    /// Flow of this number.
    Flow(u64),
    /// Row of an answer.
    Row(usize),
    /// A heading.
    Title(String),
}

/// A line.
#[derive(Clone, Debug)]
pub struct Item {
    /// What is in its cells.
    pub cells: Vec<String>,
    /// How it looks.
    pub tone: Tone,
    /// What it is about.
    pub target: Target,
}

/// By which column a list is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Place of the column.
    pub column: usize,
    /// The largest first.
    pub descending: bool,
}

/// A column of a list: its title, its least width, its share of what is left, whether it has numbers.
#[derive(Clone, Copy, Debug)]
pub struct ListColumn {
    /// Title.
    pub title: &'static str,
    /// Least width and share.
    pub width: (u16, u16),
    /// Whether it has numbers, which are at the right of a cell.
    pub is_number: bool,
}

const fn text(title: &'static str, least: u16, share: u16) -> ListColumn {
    ListColumn {
        title,
        width: (least, share),
        is_number: false,
    }
}

const fn number(title: &'static str, least: u16) -> ListColumn {
    ListColumn {
        title,
        width: (least, 0),
        is_number: true,
    }
}

const DROPS: &[ListColumn] = &[
    text("REASON", 18, 3),
    text("FROM", 12, 4),
    text("TO", 12, 4),
    text("SERVICE", 9, 1),
    number("COUNT", 6),
    text("LAST MINUTE", 12, 0),
    number("LAST", 4),
    text("FUNCTION", 10, 3),
    text("PLACE", 8, 2),
];

const CONNECTIONS: &[ListColumn] = &[
    text("STATE", 11, 0),
    text("CLIENT", 14, 5),
    text("SERVER", 14, 5),
    text("PROTO", 6, 0),
    number("SETUP", 6),
    number("RTT", 6),
    number("RETR", 5),
    number("BYTES", 6),
    number("AGE", 5),
    text("WHY", 8, 4),
    text("PROCESS", 8, 2),
];

const TALKERS: &[ListColumn] = &[
    text("WHO", 16, 5),
    number("BYTES", 6),
    number("PACKETS", 7),
    number("DROPS", 6),
    text("SHARE", 10, 2),
];

const MAP: &[ListColumn] = &[
    text("WHO TALKS TO WHOM", 30, 6),
    text("SERVICE", 10, 1),
    number("PACKETS", 7),
    number("BYTES", 6),
    number("DROPS", 6),
    text("WHY", 10, 3),
];

const NODES: &[ListColumn] = &[
    text("NODE", 14, 3),
    text("STATE", 20, 3),
    number("FLOWS/S", 8),
    text("LAST MINUTE", 12, 0),
    number("DROPS/S", 8),
    number("LOST", 7),
    number("KEPT", 7),
    number("UPTIME", 7),
    number("SKEW", 7),
    text("VERSION", 8, 2),
];

/// The columns of a screen's list.
#[must_use]
pub fn columns(screen: Screen) -> &'static [ListColumn] {
    match screen {
        Screen::Flows => &[],
        Screen::Drops => DROPS,
        Screen::Connections => CONNECTIONS,
        Screen::Talkers => TALKERS,
        Screen::Map => MAP,
        Screen::Nodes => NODES,
    }
}

/// Lines, and where the keys are.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Place of the line that the keys are on.
    pub selected: usize,
    /// Place of the line at the top.
    pub top: usize,
    /// How it is ordered; `None`: as is usual for the screen.
    pub sort: Option<Sort>,
    /// Lines.
    pub items: Vec<Item>,
    /// Lines that there is room for.
    pub height: usize,
    pub(crate) made_ns: Option<i64>,
}

impl List {
    /// The line that the keys are on.
    #[must_use]
    pub fn current(&self) -> Option<&Item> {
        self.items.get(self.selected)
    }

    /// Other lines; the keys stay on what they were on.
    pub fn replace(&mut self, items: Vec<Item>, now_ns: i64) {
        let target = self.current().map(|item| item.target.clone());
        self.items = items;
        self.made_ns = Some(now_ns);
        // Whoever is at the top sees what comes there.
        if self.selected > 0
            && let Some(place) = target.and_then(|target| self.items.iter().position(|item| item.target == target))
        {
            let line = self.selected.saturating_sub(self.top);
            self.selected = place;
            self.top = place.saturating_sub(line);
        }
        self.scroll();
    }

    /// Has to be made again at once.
    pub fn refresh(&mut self) {
        self.made_ns = None;
    }

    /// Moves what the keys are on by so many lines.
    pub fn step(&mut self, by: i64) {
        let last = self.items.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by as isize).min(last);
        self.scroll();
    }

    /// Moves to the first or the last line.
    pub fn jump(&mut self, to_last: bool) {
        self.selected = if to_last { self.items.len().saturating_sub(1) } else { 0 };
        self.scroll();
    }

    /// Keeps the line that the keys are on in view.
    pub fn scroll(&mut self) {
        self.selected = self.selected.min(self.items.len().saturating_sub(1));
        let height = self.height.max(1);
        self.top = self
            .top
            .min(self.selected)
            .max((self.selected + 1).saturating_sub(height))
            .min(self.items.len().saturating_sub(1));
    }

    /// Another order: the column so many places further on, or the other way round with 0.
    pub fn sort_by(&mut self, screen: Screen, by: isize) {
        let count = columns(screen).len() as isize;
        if count == 0 {
            return;
        }
        self.sort = Some(match (self.sort, by) {
            (None, _) => Sort {
                column: 0,
                descending: false,
            },
            (Some(sort), 0) => Sort {
                descending: !sort.descending,
                ..sort
            },
            (Some(sort), by) => {
                let column = (sort.column as isize + by).rem_euclid(count) as usize;
                let descending = columns(screen)[column].is_number;
                Sort { column, descending }
            }
        });
        self.refresh();
    }
}

impl App {
    /// Makes the lines of the screen's list, where they are not fresh.
    pub fn make_list(&mut self) {
        let (now_ns, refresh_ns) = (self.now_ns(), self.refresh_ns());
        let place = self.screen.place();
        let is_fresh = |made: i64| now_ns >= made && now_ns - made < refresh_ns;
        if self.screen == Screen::Flows || self.lists[place].made_ns.is_some_and(is_fresh) {
            return;
        }
        let items = self.items(self.lists[place].sort);
        self.lists[place].replace(items, now_ns);
    }
}
