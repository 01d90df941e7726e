//! How fast a recording is played.

use std::fmt;
use std::str::FromStr;

const SLOWEST: f64 = 0.1;
const FASTEST: f64 = 100.0;

/// How many seconds of the recording are played in a second: 0.1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Speed(f64);

/// Why a text is no speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a speed from {SLOWEST} to {FASTEST}, such as 2x or 0.5")]
pub(crate) struct NoSpeed;

impl Speed {
    /// Seconds of the recording in a second.
    pub(crate) fn factor(self) -> f64 {
        self.0
    }

    /// So many times as fast, as far as that goes.
    #[must_use]
    pub(crate) fn times(self, factor: f64) -> Self {
        let speed = self.0 * factor;
        Self(if speed.is_nan() {
            self.0
        } else {
            speed.clamp(SLOWEST, FASTEST)
        })
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self(1.0)
    }
}

/// `2x` or `2`.
impl FromStr for Speed {
    type Err = NoSpeed;

    fn from_str(text: &str) -> Result<Self, NoSpeed> {
        let text = text.trim();
        let number = text.strip_suffix(['x', 'X', '×']).unwrap_or(text);
        let speed: f64 = number.parse().map_err(|_| NoSpeed)?;
        (SLOWEST..=FASTEST)
            .contains(&speed)
            .then_some(Self(speed))
            .ok_or(NoSpeed)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read_and_others_told_the_range() {
        for (text, speed) in [("0.1", 0.1), ("100", 100.0), ("2x", 2.0), (" 0.5X ", 0.5), ("1", 1.0)] {
            assert_eq!(text.parse(), Ok(Speed(speed)));
        }
        for text in ["", "x", "0", "0.09", "100.1", "-1", "NaN", "inf", "1e9", "2 x 3"] {
            let error = text.parse::<Speed>().expect_err(text);
            assert_eq!(error.to_string(), "give a speed from 0.1 to 100, such as 2x or 0.5");
        }
        assert_eq!(Speed(2.0).to_string().parse(), Ok(Speed(2.0)));
        assert_eq!(Speed(60.0).times(2.0), Speed(100.0));
        assert_eq!(Speed(0.1).times(0.5), Speed(0.1));
    }
}
