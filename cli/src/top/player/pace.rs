//! When flows are due: the times of a recording laid over those of the clock.
//!
//! The two are tied together at one moment, and from there the recording's time goes at the speed that was chosen. They
//! are tied anew wherever that would mean a long wait or a rush: over idle times, when the recording's clock was set, and
//! when nobody asked for flows for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::Speed;

/// The longest wait for a flow.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Flows that are due so soon are played together: nobody sees the difference.
const TOGETHER: Duration = Duration::from_millis(20);
/// Flows may be so much older than the ones before them without the clock having been set.
const OUT_OF_ORDER_NS: i64 = 1_000_000_000;

/// When to play the next flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// So many, at least one, now.
    Now(usize),
    /// Ask again after so long.
    In(Duration),
}

/// A moment of the clock and one of the recording, in nanoseconds, that are the same.
#[derive(Clone, Copy, Debug)]
struct Tie {
    clock: Instant,
    recording_ns: i64,
}

/// Which flows are due.
pub(super) struct Pace {
    speed: Speed,
    tie: Option<Tie>,
    /// Time of the flow that was due last.
    last_ns: Option<i64>,
    /// What is paused, with the recording's time where that happened.
    paused: Option<Option<i64>>,
    skipped: Duration,
}

impl Pace {
    pub(super) fn new(speed: Speed) -> Self {
        Self {
            speed,
            tie: None,
            last_ns: None,
            paused: None,
            skipped: Duration::ZERO,
        }
    }

    /// How many of the flows with these times, at least one, are due.
    pub(super) fn due(&mut self, times: impl IntoIterator<Item = i64>, now: Instant) -> Due {
        let mut count = 0;
        for time in times {
            if self.is_set_back(time) {
                if count > 0 {
                    break;
                }
                // A clock that was set back leaves nothing out.
                self.tie(now, time);
            }
            let tie = *self.tie.get_or_insert(Tie {
                clock: now,
                recording_ns: time,
            });
            let wait = self.wait(tie, time, now);
            match wait {
                Wait::Over(late) if late > LONGEST_WAIT => self.tie(now, time),
                Wait::Over(_) => {}
                Wait::Left(left) if left <= TOGETHER && count > 0 => {}
                Wait::Left(_) if count > 0 => break,
                Wait::Left(left) if left > LONGEST_WAIT => {
                    self.skipped = self.skipped.saturating_add(self.recorded(left - LONGEST_WAIT));
                    self.tie(now + LONGEST_WAIT, time);
                    return Due::In(LONGEST_WAIT);
                }
                Wait::Left(left) => return Due::In(left),
            }
            // One that is late by a little doesn't make those after it look early.
            self.last_ns = Some(time);
            count += 1;
        }
        Due::Now(count.max(1))
    }

    fn is_set_back(&self, time: i64) -> bool {
        self.last_ns
            .is_some_and(|last| time < last.saturating_sub(OUT_OF_ORDER_NS))
    }

    fn tie(&mut self, clock: Instant, recording_ns: i64) {
        self.last_ns = Some(recording_ns);
        self.tie = Some(Tie { clock, recording_ns });
    }

    /// How long until the flow of that time is due, or since when it is.
    fn wait(&self, tie: Tie, time: i64, now: Instant) -> Wait {
        let recorded = time.saturating_sub(tie.recording_ns) as f64 / 1e9 / self.speed.factor();
        let clock = signed_seconds(tie.clock, now);
        let left = recorded - clock;
        let duration = Duration::try_from_secs_f64(left.abs()).unwrap_or(Duration::MAX);
        if left > 0.0 {
            Wait::Left(duration)
        } else {
            Wait::Over(duration)
        }
    }

    /// How much of the recording is played in that time.
    fn recorded(&self, played: Duration) -> Duration {
        Duration::try_from_secs_f64(played.as_secs_f64() * self.speed.factor()).unwrap_or(Duration::MAX)
    }

    /// The recording's time now.
    fn recording_ns(&self, now: Instant) -> Option<i64> {
        let tie = self.tie?;
        let played = signed_seconds(tie.clock, now) * self.speed.factor() * 1e9;
        // A cast of floating point to an integer stays within its bounds.
        Some(tie.recording_ns.saturating_add(played as i64))
    }

    pub(super) fn speed(&self) -> Speed {
        self.speed
    }

    pub(super) fn set_speed(&mut self, speed: Speed, now: Instant) {
        if self.paused.is_none() {
            self.tie = self.recording_ns(now).map(|recording_ns| Tie {
                clock: now,
                recording_ns,
            });
        }
        self.speed = speed;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn pause(&mut self, now: Instant) {
        if self.paused.is_none() {
            self.paused = Some(self.recording_ns(now));
        }
    }

    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(paused) = self.paused.take() {
            self.tie = paused.map(|recording_ns| Tie {
                clock: now,
                recording_ns,
            });
        }
    }

    /// A flow of that time was played although it is paused.
    pub(super) fn stepped(&mut self, time: i64) {
        self.last_ns = Some(time);
        self.paused = Some(Some(time));
    }

    pub(super) fn take_skipped(&mut self) -> Option<Duration> {
        let skipped = std::mem::take(&mut self.skipped);
        (!skipped.is_zero()).then_some(skipped)
    }
}

enum Wait {
    Left(Duration),
    /// Overdue by so long.
    Over(Duration),
}

/// From one moment to another, which may be the earlier one.
fn signed_seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(duration) => duration.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn pace(speed: &str) -> (Pace, Instant) {
        (Pace::new(speed.parse().expect("a speed")), Instant::now())
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn about(due: Due, wait: Duration) {
        let Due::In(found) = due else {
            panic!("{due:?} is no wait of {wait:?}")
        };
        assert!(
            found.abs_diff(wait) < Duration::from_micros(10),
            "{found:?} is not {wait:?}"
        );
    }

    #[test]
    fn flows_come_as_far_apart_as_they_were() {
        let (mut pace, start) = pace("2");
        let times = [7 * SECOND, 7 * SECOND + 10_000_000, 8 * SECOND];
        assert_eq!(pace.due(times, start), Due::Now(2));
        about(pace.due([8 * SECOND], start), ms(500));
        about(pace.due([8 * SECOND], start + ms(400)), ms(100));
        assert_eq!(pace.due([8 * SECOND], start + ms(500)), Due::Now(1));
        assert_eq!(pace.take_skipped(), None);
    }

    #[test]
    fn idle_time_is_skipped_once_and_told() {
        let (mut pace, start) = pace("10");
        assert_eq!(pace.due([0], start), Due::Now(1));
        let later = 3600 * SECOND;
        about(pace.due([later], start), ms(1000));
        // Given up and asked again.
        about(pace.due([later], start + ms(300)), ms(700));
        assert_eq!(pace.due([later], start + ms(1000)), Due::Now(1));
        assert_eq!(pace.take_skipped(), Some(Duration::from_secs(3590)));
        assert_eq!(pace.take_skipped(), None);
    }

    #[test]
    fn a_clock_that_was_set_neither_stops_nor_floods() {
        let (mut pace, start) = pace("1");
        assert_eq!(pace.due([i64::MAX], start), Due::Now(1));
        let back = [i64::MIN, i64::MIN + SECOND];
        assert_eq!(pace.due(back, start), Due::Now(1));
        about(pace.due([i64::MIN + SECOND / 2], start), ms(500));
        about(pace.due([i64::MAX], start), ms(1000));
    }

    #[test]
    fn flows_slightly_out_of_order_come_at_once() {
        let (mut pace, start) = pace("1");
        assert_eq!(
            pace.due([5 * SECOND, 5 * SECOND - 1_000_000, 5 * SECOND + 1], start),
            Due::Now(3)
        );
    }

    #[test]
    fn a_pause_and_a_change_of_speed_keep_the_place() {
        let (mut pace, start) = pace("1");
        let next = [SECOND];
        assert_eq!(pace.due([0], start), Due::Now(1));
        pace.pause(start + ms(200));
        pace.resume(start + ms(9_000));
        about(pace.due(next, start + ms(9_000)), ms(800));
        pace.set_speed("4".parse().expect("a speed"), start + ms(9_400));
        about(pace.due(next, start + ms(9_400)), ms(100));
        pace.pause(start + ms(9_400));
        pace.set_speed("0.5".parse().expect("a speed"), start + ms(10_000));
        pace.resume(start + ms(20_000));
        about(pace.due(next, start + ms(20_000)), ms(800));
    }

    #[test]
    fn who_comes_late_is_not_flooded() {
        let (mut pace, start) = pace("1");
        assert_eq!(pace.due([0], start), Due::Now(1));
        let minute = (1..60).map(|second| second * SECOND);
        assert_eq!(pace.due(minute, start + ms(30_000)), Due::Now(1));
        about(pace.due([2 * SECOND], start + ms(30_000)), ms(1000));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_a_second(times in prop::collection::vec(any::<i64>(), 1..50), speed in 0.1f64..100.0) {
            let mut pace = Pace::new(Speed::default().times(speed));
            let mut now = Instant::now();
            let mut played = 0;
            for _ in 0..2 * times.len() {
                match pace.due(times[played..].iter().copied(), now) {
                    Due::Now(count) => played += count,
                    Due::In(wait) => {
                        prop_assert!(wait <= LONGEST_WAIT);
                        now += wait + Duration::from_nanos(1);
                    }
                }
                if played == times.len() { break }
            }
            prop_assert_eq!(played, times.len());
        }
    }
}
