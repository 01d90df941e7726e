//! From the kernel's monotonic clock, which events carry, to wall clock.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Slower than this the wall clock is followed step by step, so that times of events don't go backwards.
const MAX_SLEW: f64 = 500e-6;
/// A difference like this means that somebody has set the clock.
const STEP_NS: i64 = 100_000_000;
/// Samples of which the one that took least time counts.
const SAMPLES: usize = 8;

/// What to add to monotonic time to get nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    offset_ns: i64,
}

impl ClockOffset {
    /// Starts with a measured offset.
    #[must_use]
    pub fn new(measured_ns: i64) -> Self {
        Self { offset_ns: measured_ns }
    }

    /// The offset, in nanoseconds.
    #[must_use]
    pub fn offset_ns(self) -> i64 {
        self.offset_ns
    }

    /// Follows what is measured now, `elapsed` after the last time: drift is corrected by at most 500 µs a second; a step
    /// of the wall clock is taken over at once.
    pub fn follow(&mut self, measured_ns: i64, elapsed: Duration) {
        let difference = measured_ns - self.offset_ns;
        if difference.abs() > STEP_NS {
            self.offset_ns = measured_ns;
            return;
        }
        let limit = (elapsed.as_nanos() as f64 * MAX_SLEW) as i64;
        self.offset_ns += difference.clamp(-limit, limit);
    }
}

/// The clock that events carry, in nanoseconds.
///
/// # Errors
/// If the system has no such clock.
pub fn monotonic_ns() -> nix::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(now.tv_sec() * 1_000_000_000 + now.tv_nsec()).unwrap_or_default())
}

/// Wall clock less monotonic clock, in nanoseconds, now.
///
/// # Errors
/// If the system has no such clocks.
pub fn measure_offset() -> nix::Result<i64> {
    let nanos = |clock| clock_gettime(clock).map(|time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    let mut best = (i64::MAX, 0);
    for _ in 0..SAMPLES {
        let before = nanos(ClockId::CLOCK_MONOTONIC)?;
        let wall = nanos(ClockId::CLOCK_REALTIME)?;
        let after = nanos(ClockId::CLOCK_MONOTONIC)?;
        best = best.min((after - before, wall - (before + (after - before) / 2)));
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_followed_slowly_and_a_step_at_once() {
        let mut clock = ClockOffset::new(1_000_000_000);
        clock.follow(1_001_000_000, Duration::from_secs(1));
        assert_eq!(clock.offset_ns(), 1_000_500_000);
        clock.follow(1_000_400_000, Duration::from_secs(1));
        assert_eq!(clock.offset_ns(), 1_000_400_000);
        clock.follow(5_000_000_000, Duration::from_secs(1));
        assert_eq!(clock.offset_ns(), 5_000_000_000);
    }

    #[test]
    fn the_offset_of_this_machine_is_steady() {
        let (first, second) = (measure_offset().unwrap(), measure_offset().unwrap());
        assert!((first - second).abs() < STEP_NS, "{first} {second}");
        assert!(first > 0);
    }
}
