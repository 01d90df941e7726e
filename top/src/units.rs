//! Numbers, bytes and times as people read them, in few cells.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};

const SUFFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// `7`, `1.2k`, `34k`, `5.6M`: at most five cells.
#[must_use]
pub fn count(value: u64) -> String {
    scaled(value as f64, 1000.0, true)
}

/// `512`, `1.5k`, `2.0M`: bytes by powers of 1024, at most five cells.
#[must_use]
pub fn bytes(value: u64) -> String {
    scaled(value as f64, 1024.0, true)
}

/// A number a second: `0.3`, `12`, `1.2k`.
#[must_use]
pub fn rate(value: f64) -> String {
    scaled(value, 1000.0, false)
}

fn scaled(value: f64, step: f64, whole: bool) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let mut value = value.max(0.0);
    let mut place = 0;
    while value >= step * 0.9995 && place + 1 < SUFFIXES.len() {
        value /= step;
        place += 1;
    }
    let decimals = match place {
        0 if whole => 0,
        _ if value < 9.95 && value > 0.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", SUFFIXES[place])
}

/// `1,234,567`.
#[must_use]
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time that something took: `850µs`, `1.2ms`, `3.4s`, `5m10s`, `2h05m`, `3d4h`.
#[must_use]
pub fn span(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let seconds = duration.as_secs();
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", nanos / 1_000),
        1_000_000..1_000_000_000 => tenths(duration.as_secs_f64() * 1e3, "ms"),
        1_000_000_000..60_000_000_000 => tenths(duration.as_secs_f64(), "s"),
        _ if seconds < 3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn tenths(value: f64, unit: &str) -> String {
    if value < 9.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// How long ago: `now`, `5s`, `3m`, `2h`, `4d`.
#[must_use]
pub fn ago(now_ns: i64, then_ns: i64) -> String {
    let seconds = now_ns.saturating_sub(then_ns) / 1_000_000_000;
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Time of day to the millisecond in that zone: `14:45:13.305`.
#[must_use]
pub fn time_of_day(time_ns: i64, zone: FixedOffset) -> String {
    DateTime::from_timestamp_nanos(time_ns)
        .with_timezone(&zone)
        .format("%H:%M:%S%.3f")
        .to_string()
}

/// Date and time to the microsecond in that zone.
#[must_use]
pub fn date_and_time(time_ns: i64, zone: FixedOffset) -> String {
    DateTime::from_timestamp_nanos(time_ns)
        .with_timezone(&zone)
        .format("%Y-%m-%d %H:%M:%S%.6f %:z")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [
            0,
            7,
            999,
            1000,
            1234,
            9_960,
            34_567,
            999_499,
            999_999,
            5_600_000,
            u64::MAX,
        ];
        assert_eq!(
            counts.map(count).join(" "),
            "0 7 999 1.0k 1.2k 10k 35k 999k 1.0M 5.6M 18447P"
        );
        assert_eq!(
            [0, 512, 1024, 1536, 1 << 30].map(bytes).join(" "),
            "0 512 1.0k 1.5k 1.0G"
        );
        assert_eq!(
            [0.0, 0.34, 12.3, 1234.0, f64::NAN].map(rate).join(" "),
            "0 0.3 12 1.2k -"
        );
        assert_eq!([1, 1234, 1_234_567].map(grouped).join(" "), "1 1,234 1,234,567");
    }

    #[test]
    fn times_are_short() {
        let nanos = [
            5,
            850_000,
            1_200_000,
            34_000_000,
            3_400_000_000,
            310_000_000_000,
            7_500_000_000_000,
            300_000_000_000_000,
        ];
        assert_eq!(
            nanos.map(|nanos| span(Duration::from_nanos(nanos))).join(" "),
            "5ns 850µs 1.2ms 34ms 3.4s 5m10s 2h05m 3d11h"
        );
        assert_eq!(ago(10_000_000_000, 4_000_000_000), "6s");
        assert_eq!(ago(0, i64::MAX), "now");
        let zone = FixedOffset::east_opt(3600).expect("an hour");
        assert_eq!(time_of_day(1_700_000_000_123_000_000, zone), "23:13:20.123");
    }
}
