//! A point in time on the wire.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `google.protobuf.Timestamp`, with the JSON form that the protobuf specification asks for: RFC 3339 in UTC with a `Z`
/// and 0, 3, 6 or 9 digits of a second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds after that second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

const NANOS_A_SECOND: i64 = 1_000_000_000;

impl Timestamp {
    /// The time that many nanoseconds after the Unix epoch.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        let rest = nanos.rem_euclid(NANOS_A_SECOND);
        Self {
            seconds: nanos.div_euclid(NANOS_A_SECOND),
            nanos: i32::try_from(rest).expect("invariant: less than a second of nanoseconds"),
        }
    }

    /// Nanoseconds since the Unix epoch; the nearest representable time if it is too far away.
    #[must_use]
    pub fn to_nanos(&self) -> i64 {
        self.seconds
            .saturating_mul(NANOS_A_SECOND)
            .saturating_add(i64::from(self.nanos))
    }

    /// The time as a date; `None` if its nanoseconds or its year are out of range.
    #[must_use]
    pub fn to_date(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.seconds, u32::try_from(self.nanos).ok()?)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(date: DateTime<Utc>) -> Self {
        // A leap second has up to 1,999,999,999 nanoseconds in chrono.
        let nanos = i32::try_from(date.timestamp_subsec_nanos()).unwrap_or(i32::MAX);
        Self {
            seconds: date.timestamp(),
            nanos: nanos.min(999_999_999),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let date = self
            .to_date()
            .ok_or_else(|| serde::ser::Error::custom("time out of range"))?;
        serializer.serialize_str(&date.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let date = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
        Ok(date.to_utc().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_go_there_and_back() {
        for nanos in [0, 1, -1, 1_700_000_000_123_456_789, -1_700_000_000_123_456_789] {
            let time = Timestamp::from_nanos(nanos);
            assert!((0..1_000_000_000).contains(&time.nanos));
            assert_eq!(time.to_nanos(), nanos);
        }
    }

    #[test]
    fn json_has_as_many_digits_as_needed() {
        for text in [
            "2026-01-02T03:04:06Z",
            "2026-01-02T03:04:05.123Z",
            "2026-01-02T03:04:05.123456789Z",
        ] {
            let json = format!("\"{text}\"");
            let time: Timestamp = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&time).unwrap(), json);
        }
    }
}
