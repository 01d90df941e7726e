//! Percentiles of times.

use std::time::Duration;

use serde::Serialize;

/// How times spread, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// Half of them are within this.
    pub p50_us: f64,
    /// 90 % of them are within this.
    pub p90_us: f64,
    /// 99 % of them are within this.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Spread {
    /// How these times spread; `None` if there are none.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let us = |time: Duration| time.as_nanos() as f64 / 1e3;
        Some(Self {
            count: times.len() as u64,
            p50_us: us(at(&times, 50)?),
            p90_us: us(at(&times, 90)?),
            p99_us: us(at(&times, 99)?),
            max_us: us(*times.last()?),
        })
    }
}

/// The nearest rank: the smallest of the sorted times that at least `percent` % of them don't exceed.
fn at(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = (1..=200).rev().map(Duration::from_micros).collect();
        let spread = Spread::of(times).unwrap();
        assert_eq!(
            spread,
            Spread {
                count: 200,
                p50_us: 100.0,
                p90_us: 180.0,
                p99_us: 198.0,
                max_us: 200.0
            }
        );
    }

    #[test]
    fn one_time_is_every_percentile_and_none_has_none() {
        let spread = Spread::of(vec![Duration::from_nanos(1500)]).unwrap();
        assert_eq!((spread.p50_us, spread.p99_us, spread.max_us), (1.5, 1.5, 1.5));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
