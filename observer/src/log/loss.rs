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

/// How many losses are remembered one by one; the sums go on for ever.
const REMEMBERED: usize = 4096;

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
        *inner.sums.entry((loss.stage, loss.source, loss.cpu)).or_default() += loss.count;
        // What a slow client missed concerns only that client, which is told by its own stream; and what the history missed
        // was not lost to those who read the log.
        if matches!(loss.stage, Stage::Client | Stage::History) {
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
        assert!(losses.since(5000).0.is_empty());
    }
}
