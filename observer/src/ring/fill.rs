//! How full rings get.

use std::time::{Duration, Instant};

/// For at least so long, and at most twice as long, the most is remembered: longer than it is between two scrapes.
const REMEMBERED: Duration = Duration::from_secs(20);

/// The fullest that a ring was when it was read lately, in thousandths.
#[derive(Debug)]
pub(super) struct Fill {
    most: u32,
    before: u32,
    since: Instant,
}

impl Fill {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            most: 0,
            before: 0,
            since: now,
        }
    }

    /// A ring of `size` bytes had so many to read.
    pub(super) fn note(&mut self, filled: u64, size: usize) {
        let permille = filled.saturating_mul(1000) / (size as u64).max(1);
        self.most = self.most.max(u32::try_from(permille).unwrap_or(1000).min(1000));
    }

    /// The most of late.
    pub(super) fn most(&mut self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.since) >= REMEMBERED {
            self.before = std::mem::take(&mut self.most);
            self.since = now;
        }
        self.most.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_remembered_for_a_while() {
        let start = Instant::now();
        let mut fill = Fill::new(start);
        for (filled, seen) in [(10, 10), (512, 500), (100, 500)] {
            fill.note(filled, 1024);
            assert_eq!(fill.most(start).div_ceil(10) * 10, seen);
        }
        assert_eq!(fill.most(start + REMEMBERED), 500);
        fill.note(5000, 1024);
        assert_eq!(fill.most(start + REMEMBERED), 1000, "a ring is never more than full");
        assert_eq!(fill.most(start + 2 * REMEMBERED), 1000);
        assert_eq!(fill.most(start + 3 * REMEMBERED), 0);
    }
}
