//! What `--since` and `--until` accept: a Go-style duration meaning "ago", or a moment in one of the layouts below.

use chrono::{DateTime, Datelike, Duration, FixedOffset, NaiveDate, NaiveDateTime, TimeZone, Utc};

/// What to tell somebody whose time was not understood.
pub(crate) const EXPECTED: &str = "give a duration that means \"ago\" (30s, 5m, 1h43m) or a time such as 2026-01-02, \
    2026-01-02T15:04Z, 2026-01-02T15:04:05Z (RFC 3339, with or without a fraction), \"Fri, 02 Jan 2026 15:04:05 +0000\" \
    or \"Jan  2 15:04:05.000\"";

/// Parses `text` relative to `now`.
///
/// `zone` is the zone of times without a year and zone (StampMilli, what compact output prints), so that a time copied
/// from the output of this command means the same when it is given back. Everything else without a zone is UTC.
pub(crate) fn parse(text: &str, now: DateTime<Utc>, zone: FixedOffset) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Some(ago) = parse_duration(text) {
        return now.checked_sub_signed(ago);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S %z") {
        return Some(time.to_utc());
    }
    parse_day(text).or_else(|| parse_stamp(text, now, zone))
}

/// `2006-01-02`, and the same with an hour, or hour and minute, and a zone (`Z` or `+01:00`).
fn parse_day(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.and_hms_opt(0, 0, 0)?.and_utc());
    }
    let (day, rest) = text.split_once('T')?;
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let seconds = match clock.len() {
        2 => ":00:00",
        5 => ":00",
        _ => return None,
    };
    DateTime::parse_from_rfc3339(&format!("{day}T{clock}{seconds}{zone}"))
        .ok()
        .map(|time| time.to_utc())
}

/// `Jan  2 15:04:05.000`: no year, so it is the latest such moment that is not more than a day ahead.
fn parse_stamp(text: &str, now: DateTime<Utc>, zone: FixedOffset) -> Option<DateTime<Utc>> {
    let this_year = now.with_timezone(&zone).year();
    (this_year - 4..=this_year + 1).rev().find_map(|year| {
        let naive = NaiveDateTime::parse_from_str(&format!("{year} {text}"), "%Y %b %d %H:%M:%S%.f").ok()?;
        let time = zone.from_local_datetime(&naive).single()?.to_utc();
        (time <= now + Duration::days(1)).then_some(time)
    })
}

/// A Go duration: a sign, then decimal numbers each with a unit (`ns us µs ms s m h`), or a bare `0`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::zero());
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        rest = &rest[unit_at..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        nanos += number
            * match &rest[..unit_end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    if nanos > i64::MAX as f64 {
        return None;
    }
    Some(Duration::nanoseconds(if negative {
        -(nanos as i64)
    } else {
        nanos as i64
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Option<String> {
        let now = utc("2026-01-02T03:04:05Z");
        parse(text, now, FixedOffset::east_opt(0).unwrap()).map(|time| time.to_rfc3339())
    }

    #[test]
    fn durations_mean_ago() {
        assert_eq!(at("3s").unwrap(), "2026-01-02T03:04:02+00:00");
        assert_eq!(at("1h43m").unwrap(), "2026-01-02T01:21:05+00:00");
        assert_eq!(at("1.5h").unwrap(), "2026-01-02T01:34:05+00:00");
        assert_eq!(at("500ms").unwrap(), "2026-01-02T03:04:04.500+00:00");
        assert_eq!(
            at("-1m").unwrap(),
            "2026-01-02T03:05:05+00:00",
            "a negative duration is in the future"
        );
    }

    #[test]
    fn every_documented_layout_is_understood() {
        for (text, expected) in [
            ("2026-01-01", "2026-01-01T00:00:00+00:00"),
            ("2026-01-01T15Z", "2026-01-01T15:00:00+00:00"),
            ("2026-01-01T15+01:00", "2026-01-01T14:00:00+00:00"),
            ("2026-01-01T15:04Z", "2026-01-01T15:04:00+00:00"),
            ("2026-01-01T15:04-02:00", "2026-01-01T17:04:00+00:00"),
            ("2026-01-01T15:04:05Z", "2026-01-01T15:04:05+00:00"),
            ("2026-01-01T15:04:05.123Z", "2026-01-01T15:04:05.123+00:00"),
            (
                "2026-01-01T15:04:05.123456789+01:00",
                "2026-01-01T14:04:05.123456789+00:00",
            ),
            ("Thu, 01 Jan 2026 15:04:05 +0100", "2026-01-01T14:04:05+00:00"),
            ("Jan  1 15:04:05.123", "2026-01-01T15:04:05.123+00:00"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_stamp_is_in_the_zone_of_the_output_and_in_the_past() {
        let now = utc("2026-01-02T03:04:05Z");
        let zone = FixedOffset::east_opt(3600).unwrap();
        assert_eq!(
            parse("Jan  2 04:00:00.000", now, zone).unwrap(),
            utc("2026-01-02T03:00:00Z")
        );
        assert_eq!(
            parse("Dec 24 04:00:00.000", now, zone).unwrap(),
            utc("2025-12-24T03:00:00Z")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "yesterday",
            "5",
            "5x",
            "s",
            "1h-",
            "2026-13-01",
            "2026-01-01T15",
            "..s",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
