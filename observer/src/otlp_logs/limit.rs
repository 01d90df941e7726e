//! How many records a second there may be.

use std::time::Instant;

/// Noise, which says nothing of faults, may take this part of the records.
const NOISE_SHARE: f64 = 0.1;

/// Lets so many a second through, and as many at once after a quiet second.
#[derive(Debug)]
pub(super) struct Limit {
    all: Bucket,
    noise: Bucket,
}

impl Limit {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let rate = f64::from(per_second);
        Self {
            all: Bucket::new(rate, now),
            noise: Bucket::new((rate * NOISE_SHARE).max(1.0), now),
        }
    }

    /// Whether there may be one more.
    pub(super) fn allows(&mut self, is_noise: bool, now: Instant) -> bool {
        (!is_noise || self.noise.has_one(now)) && self.all.has_one(now) && {
            self.all.level -= 1.0;
            if is_noise {
                self.noise.level -= 1.0;
            }
            true
        }
    }
}

/// A bucket that fills at a rate, up to what comes in a second.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(rate: f64, now: Instant) -> Self {
        Self {
            rate,
            level: rate,
            filled: now,
        }
    }

    fn has_one(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.rate);
        self.filled = now;
        self.level >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_than_wanted_and_noise_leaves_room_for_the_rest() {
        let start = Instant::now();
        let mut limit = Limit::new(100, start);
        let mut let_through = |is_noise, at_ms| {
            let now = start + Duration::from_millis(at_ms);
            (0..1000).filter(|_| limit.allows(is_noise, now)).count()
        };
        assert_eq!(let_through(true, 0), 10);
        assert_eq!(let_through(false, 0), 90);
        assert_eq!((let_through(true, 0), let_through(false, 0)), (0, 0));
        assert_eq!(let_through(false, 500), 50);
        assert_eq!(let_through(false, 60_000), 100, "silence is not saved up");
        let mut slow = Limit::new(1, start);
        assert!(slow.allows(true, start) && !slow.allows(false, start));
        assert!(slow.allows(false, start + Duration::from_secs(1)));
    }
}
