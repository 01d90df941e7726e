//! The setting: how long a request may wait for an answer.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long a request waits for an answer before its silence is reported, or that it never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilenceWait(Option<Duration>);

impl SilenceWait {
    /// The time; `None` if silence is not reported.
    #[must_use]
    pub fn wait(self) -> Option<Duration> {
        self.0
    }
}

impl FromStr for SilenceWait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // YAML reads a bare `off` as false.
        if matches!(text, "off" | "0" | "false") {
            return Ok(Self(None));
        }
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Ok(Self(None)),
            Ok(wait) => Ok(Self(Some(wait))),
            Err(_) => Err("give a duration such as 3s or 500ms, or off".to_owned()),
        }
    }
}

impl fmt::Display for SilenceWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, "{}", humantime::format_duration(wait)),
            None => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_and_written() {
        let read = |text: &str| text.parse::<SilenceWait>();
        assert_eq!(read("500ms").unwrap().wait(), Some(Duration::from_millis(500)));
        for off in ["off", "0", "0s", "false"] {
            assert_eq!(read(off).unwrap().to_string(), "off");
        }
        for wrong in ["", "3", "soon", "-1s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let two = read("1m 30s").unwrap();
        assert_eq!(read(&two.to_string()), Ok(two));
    }
}
