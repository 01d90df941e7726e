//! Forms of time. Fractions of a second are cut off, not rounded.

use std::io::Write as _;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, FixedOffset, Local, Offset as _, Timelike as _, Utc};

use crate::api::Timestamp;

/// A form of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// `Jan  2 15:04:05.000`
    #[default]
    StampMilli,
    /// `2006-01-02T15:04:05Z`
    Rfc3339,
    /// `2006-01-02T15:04:05.999Z`
    Rfc3339Milli,
    /// `2006-01-02T15:04:05.999999Z`
    Rfc3339Micro,
    /// `2006-01-02T15:04:05.999999999Z`
    Rfc3339Nano,
    /// `Mon, 02 Jan 2006 15:04:05 +0000`
    Rfc1123Z,
}

impl TimeFormat {
    /// Every form with the name users type.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("StampMilli", Self::StampMilli),
        ("RFC3339", Self::Rfc3339),
        ("RFC3339Milli", Self::Rfc3339Milli),
        ("RFC3339Micro", Self::Rfc3339Micro),
        ("RFC3339Nano", Self::Rfc3339Nano),
        ("RFC1123Z", Self::Rfc1123Z),
    ];

    /// A time in this form; `N/A` when there is none.
    #[must_use]
    pub fn text(self, time: Option<&Timestamp>, zone: Zone) -> String {
        let mut line = Vec::new();
        push(&mut line, time, self, zone);
        String::from_utf8(line).expect("invariant: times are ASCII")
    }
}

/// The name of a time format that doesn't exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time format {0:?}: use StampMilli, RFC3339, RFC3339Milli, RFC3339Micro, RFC3339Nano or RFC1123Z")]
pub struct UnknownTimeFormat(String);

impl FromStr for TimeFormat {
    type Err = UnknownTimeFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, format)| *format)
            .ok_or_else(|| UnknownTimeFormat(name.to_owned()))
    }
}

/// A time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated universal time.
    #[default]
    Utc,
    /// That of this machine.
    Local,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Appends a time, `N/A` when there is none.
pub(super) fn push(line: &mut Vec<u8>, time: Option<&Timestamp>, format: TimeFormat, zone: Zone) {
    let Some(utc) = time.and_then(Timestamp::to_date) else {
        line.extend_from_slice(b"N/A");
        return;
    };
    let offset = match zone {
        Zone::Utc => Utc.fix(),
        Zone::Local => *utc.with_timezone(&Local).offset(),
    };
    let date = utc.with_timezone(&offset);
    let nanos = date.nanosecond() % 1_000_000_000;
    match format {
        TimeFormat::StampMilli => {
            line.extend_from_slice(MONTHS[date.month0() as usize].as_bytes());
            line.push(b' ');
            let day = date.day();
            line.push(if day < 10 { b' ' } else { b'0' + (day / 10) as u8 });
            line.push(b'0' + (day % 10) as u8);
            line.push(b' ');
            push_clock(line, &date);
            line.push(b'.');
            push_digits(line, nanos / 1_000_000, 3);
        }
        TimeFormat::Rfc3339 => push_rfc3339(line, &date, 0, 0),
        TimeFormat::Rfc3339Milli => push_rfc3339(line, &date, nanos / 1_000_000, 3),
        TimeFormat::Rfc3339Micro => push_rfc3339(line, &date, nanos / 1_000, 6),
        TimeFormat::Rfc3339Nano => push_rfc3339(line, &date, nanos, 9),
        TimeFormat::Rfc1123Z => push_formatted(line, format_args!("{}", date.format("%a, %d %b %Y %H:%M:%S %z"))),
    }
}

/// A fraction of that many digits; zeros at its end are left out.
fn push_rfc3339(line: &mut Vec<u8>, date: &DateTime<FixedOffset>, fraction: u32, digits: usize) {
    push_formatted(
        line,
        format_args!("{:04}-{:02}-{:02}T", date.year(), date.month(), date.day()),
    );
    push_clock(line, date);
    if fraction != 0 {
        line.push(b'.');
        push_digits(line, fraction, digits);
        while line.last() == Some(&b'0') {
            line.pop();
        }
    }
    if date.offset().local_minus_utc() == 0 {
        line.push(b'Z');
    } else {
        push_formatted(line, format_args!("{}", date.offset()));
    }
}

fn push_clock(line: &mut Vec<u8>, date: &DateTime<FixedOffset>) {
    push_digits(line, date.hour(), 2);
    line.push(b':');
    push_digits(line, date.minute(), 2);
    line.push(b':');
    push_digits(line, date.second(), 2);
}

fn push_digits(line: &mut Vec<u8>, mut number: u32, digits: usize) {
    let start = line.len();
    line.resize(start + digits, b'0');
    for digit in line[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn push_formatted(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("invariant: a Vec takes all bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanos: i64, name: &str) -> String {
        let mut line = Vec::new();
        push(
            &mut line,
            Some(&Timestamp::from_nanos(nanos)),
            name.parse().unwrap(),
            Zone::Utc,
        );
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn each_form_has_its_layout() {
        let nanos = 1_767_323_045_123_456_000;
        for (name, expected) in [
            ("StampMilli", "Jan  2 03:04:05.123"),
            ("RFC3339", "2026-01-02T03:04:05Z"),
            ("RFC3339Milli", "2026-01-02T03:04:05.123Z"),
            ("RFC3339Micro", "2026-01-02T03:04:05.123456Z"),
            ("rfc3339nano", "2026-01-02T03:04:05.123456Z"),
            ("RFC1123Z", "Fri, 02 Jan 2026 03:04:05 +0000"),
        ] {
            assert_eq!(text(nanos, name), expected, "{name}");
        }
        assert_eq!(text(1_767_323_045_999_999_999, "StampMilli"), "Jan  2 03:04:05.999");
    }

    #[test]
    fn a_time_that_is_no_time_is_not_available() {
        let mut line = Vec::new();
        let wrong = Timestamp {
            seconds: i64::MAX,
            nanos: -1,
        };
        push(&mut line, Some(&wrong), TimeFormat::default(), Zone::Local);
        assert_eq!(line, b"N/A");
        assert!(
            "Stamp"
                .parse::<TimeFormat>()
                .unwrap_err()
                .to_string()
                .contains("StampMilli")
        );
    }
}
