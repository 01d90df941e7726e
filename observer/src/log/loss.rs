//! What was lost, and where: data like the flows themselves.

use std::collections::{BTreeMap, VecDeque};

use bpf_probes::event::{SOURCE_DROP, SOURCE_EGRESS, SOURCE_INGRESS};
use parking_lot::Mutex;

/// Where events can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The ring of a CPU was full.
    KernelRing,
    /// A program was busy on its CPU with an event that this one interrupted.
    KernelBusy,
    /// A record could not be read.
    Undecodable,
    /// Another observer has lost them, and the replayed file tells.
    Elsewhere,
    /// Rows left the log before the history could be written.
    History,
    /// A client was too slow, and rows left the log before they were sent.
    Client,
}

impl Stage {
    /// Whether it is on the way into the log. What a slow client missed concerns only that client, which is told by its own
    /// stream; and what the history missed was not lost to those who read the log.
    #[must_use]
    pub fn is_of_log(self) -> bool {
        !matches!(self, Self::Client | Self::History)
    }

    /// The name that users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KernelRing => "kernel ring",
            Self::KernelBusy => "busy program",
            Self::Undecodable => "undecodable",
            Self::Elsewhere => "another observer",
            Self::History => "history",
            Self::Client => "slow clients",
        }
    }
}

/// What an event that was lost came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A packet that came in through an interface.
    Ingress,
    /// A packet that left through an interface.
    Egress,
    /// A packet that the kernel freed.
    Drop,
    /// An event of a TCP socket.
    Tcp,
}

impl Source {
    /// The one with this number in the programs (`SOURCE_*`).
    #[must_use]
    pub fn of(number: u32) -> Self {
        match number {
            SOURCE_INGRESS => Self::Ingress,
            SOURCE_EGRESS => Self::Egress,
            SOURCE_DROP => Self::Drop,
            _ => Self::Tcp,
        }
    }

    /// The name that users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Drop => "drop",
            Self::Tcp => "tcp",
        }
    }
}

/// Where and of what something was lost.
pub type Place = (Stage, Option<Source>, Option<u32>);

/// Events lost in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where.
    pub stage: Stage,
    /// What they came from, where that is known.
    pub source: Option<Source>,
    /// On which CPU, where that says something.
    pub cpu: Option<u32>,
    /// How many.
    pub count: u64,
    /// Between when and when, nanoseconds since the Unix epoch.
    pub time_range: (i64, i64),
}

impl Loss {
    /// Where and of what.
    #[must_use]
    pub fn place(&self) -> Place {
        (self.stage, self.source, self.cpu)
    }
}

/// How many losses are remembered one by one; the sums go on for ever.
const REMEMBERED: usize = 4096;

/// Losses on the way into the log since somebody looked last.
#[derive(Clone, Debug, Default)]
pub struct LossNews {
    /// Those that are remembered one by one.
    pub losses: Vec<Loss>,
    /// The number to go on with.
    pub next: u64,
    /// Sums of all that ever were.
    pub sums: BTreeMap<Place, u64>,
}

impl LossNews {
    /// What is neither among the losses nor in these earlier sums.
    #[must_use]
    pub fn forgotten(&self, earlier: &BTreeMap<Place, u64>) -> Vec<(Place, u64)> {
        let mut left = self.sums.clone();
        let told = earlier.iter().map(|(place, count)| (*place, *count));
        let remembered = self.losses.iter().map(|loss| (loss.place(), loss.count));
        for (place, count) in told.chain(remembered) {
            let sum = left.entry(place).or_default();
            *sum = sum.saturating_sub(count);
        }
        left.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// All losses of a node.
#[derive(Debug, Default)]
pub struct Losses(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    recent: VecDeque<Loss>,
    forgotten: u64,
    sums: BTreeMap<Place, u64>,
}

impl Losses {
    /// Notes a loss.
    pub fn record(&self, loss: Loss) {
        if loss.count == 0 {
            return;
        }
        let mut inner = self.0.lock();
        *inner.sums.entry(loss.place()).or_default() += loss.count;
        if !loss.stage.is_of_log() {
            return;
        }
        inner.recent.push_back(loss);
        if inner.recent.len() > REMEMBERED {
            inner.recent.pop_front();
            inner.forgotten += 1;
        }
    }

    /// Number after that of the newest loss.
    #[must_use]
    pub fn end(&self) -> u64 {
        let inner = self.0.lock();
        inner.forgotten + inner.recent.len() as u64
    }

    /// Losses from number `from` on, and the number to go on with.
    #[must_use]
    pub fn since(&self, from: u64) -> (Vec<Loss>, u64) {
        let inner = self.0.lock();
        let skip = usize::try_from(from.saturating_sub(inner.forgotten)).unwrap_or(usize::MAX);
        let losses = inner.recent.iter().skip(skip).copied().collect();
        (losses, inner.forgotten + inner.recent.len() as u64)
    }

    /// Losses from number `from` on together with the sums of the same moment.
    #[must_use]
    pub fn news(&self, from: u64) -> LossNews {
        let inner = self.0.lock();
        let skip = usize::try_from(from.saturating_sub(inner.forgotten)).unwrap_or(usize::MAX);
        LossNews {
            losses: inner.recent.iter().skip(skip).copied().collect(),
            next: inner.forgotten + inner.recent.len() as u64,
            sums: of_log(&inner.sums),
        }
    }

    /// Sums of what was lost on the way into the log.
    #[must_use]
    pub fn of_log(&self) -> BTreeMap<Place, u64> {
        of_log(&self.0.lock().sums)
    }

    /// Sums by stage, source and CPU since the start.
    #[must_use]
    pub fn sums(&self) -> Vec<(Place, u64)> {
        self.0
            .lock()
            .sums
            .iter()
            .map(|(place, count)| (*place, *count))
            .collect()
    }
}

fn of_log(sums: &BTreeMap<Place, u64>) -> BTreeMap<Place, u64> {
    let of_log = sums.iter().filter(|((stage, ..), _)| stage.is_of_log());
    of_log.map(|(place, count)| (*place, *count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_on_when_single_losses_are_forgotten() {
        let losses = Losses::default();
        for number in 0..5000 {
            losses.record(Loss {
                stage: Stage::KernelRing,
                source: Some(Source::Drop),
                cpu: Some(1),
                count: 2,
                time_range: (number, number),
            });
        }
        assert_eq!(
            losses.sums(),
            [((Stage::KernelRing, Some(Source::Drop), Some(1)), 10_000)]
        );
        let (recent, next) = losses.since(0);
        assert_eq!((recent.len(), next, recent[0].time_range.0), (REMEMBERED, 5000, 904));
        assert_eq!(losses.since(4999).0.len(), 1);
        let place = (Stage::KernelRing, Some(Source::Drop), Some(1));
        assert_eq!(losses.news(0).forgotten(&BTreeMap::new()), [(place, 904 * 2)]);
        assert_eq!(losses.news(904).forgotten(&BTreeMap::from([(place, 904 * 2)])), []);
        assert!(losses.since(5000).0.is_empty());
    }
}
