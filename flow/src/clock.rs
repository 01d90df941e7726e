//! The clock that flows are stamped by.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock: nanoseconds since the Unix epoch.
#[must_use]
pub fn wall_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
