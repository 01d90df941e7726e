//! Who sends and receives most: sources, destinations, ports, namespaces.

use rustc_hash::FxHashMap;

use crate::row::{Kind, Row};

/// Names of a kind that are kept; beyond, those that count least go.
const MOST: usize = 5_000;

/// What talkers are counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Who sends.
    #[default]
    Source,
    /// Who receives.
    Destination,
    /// The server's protocol and port.
    Port,
    /// Namespaces, of either end.
    Namespace,
}

impl By {
    /// All of them, in the order of the screen.
    pub const ALL: [Self; 4] = [Self::Source, Self::Destination, Self::Port, Self::Namespace];

    /// As a title.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Source => "Sources",
            Self::Destination => "Destinations",
            Self::Port => "Ports",
            Self::Namespace => "Namespaces",
        }
    }
}

/// What talkers are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Bytes.
    #[default]
    Bytes,
    /// Packets.
    Packets,
    /// Drops.
    Drops,
}

impl Measure {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Bytes => Self::Packets,
            Self::Packets => Self::Drops,
            Self::Drops => Self::Bytes,
        }
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Drops => "drops",
        }
    }
}

/// What somebody sent or received.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Packets.
    pub packets: f64,
    /// Bytes.
    pub bytes: f64,
    /// Packets that were dropped, and requests without an answer.
    pub drops: f64,
}

impl Amount {
    /// One of the three.
    #[must_use]
    pub fn of(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Bytes => self.bytes,
            Measure::Packets => self.packets,
            Measure::Drops => self.drops,
        }
    }

    /// Adds what a row stands for. `counts`: it is the place where its connection is counted.
    pub(super) fn add(&mut self, row: &Row<'_>, weight: f64, counts: bool) {
        match row.kind() {
            Kind::Drop if !row.is_noise() => self.drops += row.packets() as f64 * weight,
            Kind::Silence(_) => self.drops += weight,
            Kind::Packet if counts => {
                self.packets += row.packets() as f64 * weight;
                self.bytes += row.bytes() as f64 * weight;
            }
            _ => {}
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// All talkers.
#[derive(Debug, Default)]
pub struct Talkers {
    by: [FxHashMap<String, Amount>; 4],
}

impl Talkers {
    /// Takes a row. `counts`: it is the place where its connection is counted.
    pub fn push(&mut self, row: &Row<'_>, weight: f64, counts: bool) {
        let mut amount = Amount::default();
        amount.add(row, weight, counts);
        if amount.is_nothing() {
            return;
        }
        let (source, destination) = (row.source(), row.destination());
        self.add(By::Source, source.name(), &amount);
        self.add(By::Destination, destination.name(), &amount);
        let server = if row.is_reply() == Some(true) {
            source.port
        } else {
            destination.port
        };
        let port = match server {
            0 => row.protocol_name(),
            port => format!("{} {port}", row.protocol_name()),
        };
        self.add(By::Port, port, &amount);
        let of = |namespace: &str, reserved: Option<&str>| match (namespace, reserved) {
            ("", Some(reserved)) => format!("({reserved})"),
            ("", None) => "(none)".to_owned(),
            (namespace, _) => namespace.to_owned(),
        };
        let first = of(source.namespace, source.reserved());
        let second = of(destination.namespace, destination.reserved());
        if first != second {
            self.add(By::Namespace, second, &amount);
        }
        self.add(By::Namespace, first, &amount);
    }

    fn add(&mut self, by: By, name: String, amount: &Amount) {
        let names = &mut self.by[by as usize];
        if names.len() >= MOST && !names.contains_key(&name) {
            // Half of them at once, so that it is not done for every new name.
            let mut ranks: Vec<f64> = names.values().map(|amount| amount.packets + amount.drops).collect();
            let middle = ranks.len() / 2;
            let (_, median, _) = ranks.select_nth_unstable_by(middle, f64::total_cmp);
            let median = *median;
            names.retain(|_, amount| amount.packets + amount.drops > median);
        }
        let sum = names.entry(name).or_default();
        sum.packets += amount.packets;
        sum.bytes += amount.bytes;
        sum.drops += amount.drops;
    }

    /// The first ones, and the sum of all.
    #[must_use]
    pub fn top(&self, by: By, measure: Measure, most: usize) -> (Vec<(&str, Amount)>, f64) {
        let names = &self.by[by as usize];
        let sum = names.values().map(|amount| amount.of(measure)).sum();
        let mut ranked: Vec<(&str, Amount)> = names.iter().map(|(name, amount)| (name.as_str(), *amount)).collect();
        ranked.sort_by(|(name, amount), (other_name, other)| {
            other
                .of(measure)
                .total_cmp(&amount.of(measure))
                .then(name.cmp(other_name))
        });
        ranked.truncate(most);
        (ranked, sum)
    }
}
