//! What the files of a history are called. Everything that choosing files needs is in their names.
//!
//! `flows/date=2026-11-23/hour=19/NODE_LOGID_FIRST_END_MIN_MAX.parquet`: the node, the log that numbered the rows, the
//! range of their numbers (the end is not in it), and the earliest and latest time in nanoseconds. A merged file covers
//! the ranges of those that it replaces: a file whose range is within that of another of the same hour and log is
//! obsolete, whether it has been deleted already or not.

use std::collections::HashMap;
use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, Timelike as _};
use object_store::path::Path;

/// Nanoseconds of an hour.
pub const HOUR_NS: i64 = 3_600_000_000_000;

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Flows.
    Flows,
    /// What was lost.
    Lost,
}

impl Kind {
    /// The folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Lost => "lost",
        }
    }
}

/// What the name of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// `cluster/node` or `node`.
    pub node: String,
    /// Number of the log that numbered the rows.
    pub log_id: u64,
    /// Number of the first row.
    pub first_sequence: u64,
    /// Number after that of the last row.
    pub end_sequence: u64,
    /// Earliest and latest time, nanoseconds since the Unix epoch.
    pub time_range: (i64, i64),
}

/// A file of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFile {
    /// Where it is in the store.
    pub location: Path,
    /// Its size in bytes.
    pub size: u64,
    /// What its name says.
    pub name: FileName,
}

/// The folder of an hour: `date=2026-11-23/hour=19`.
#[must_use]
pub fn hour_folder(time_ns: i64) -> String {
    let time = DateTime::from_timestamp_nanos(time_ns);
    format!(
        "date={:04}-{:02}-{:02}/hour={:02}",
        time.year(),
        time.month(),
        time.day(),
        time.hour()
    )
}

/// The hour that a time is in: hours since the Unix epoch.
#[must_use]
pub fn hour_of(time_ns: i64) -> i64 {
    time_ns.div_euclid(HOUR_NS)
}

impl FileName {
    /// Where such a file is, below the place of the history.
    #[must_use]
    pub fn path(&self, kind: Kind) -> String {
        let (earliest, latest) = self.time_range;
        format!(
            "{}/{}/{}_{:016x}_{}_{}_{earliest}_{latest}.parquet",
            kind.folder(),
            hour_folder(earliest),
            encode(&self.node),
            self.log_id,
            self.first_sequence,
            self.end_sequence,
        )
    }

    /// What the name of a file says; `None` if it isn't one of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.strip_suffix(".parquet")?.split('_').collect();
        let [node, log_id, first, end, earliest, latest] = parts.as_slice() else {
            return None;
        };
        let parsed = Self {
            node: decode(node)?,
            log_id: u64::from_str_radix(log_id, 16).ok()?,
            first_sequence: first.parse().ok()?,
            end_sequence: end.parse().ok()?,
            time_range: (earliest.parse().ok()?, latest.parse().ok()?),
        };
        (parsed.first_sequence < parsed.end_sequence && parsed.time_range.0 <= parsed.time_range.1).then_some(parsed)
    }

    fn covers(&self, other: &Self) -> bool {
        self.first_sequence <= other.first_sequence && other.end_sequence <= self.end_sequence
    }
}

/// Names without those characters that have a meaning in paths or in the name itself.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "={byte:02x}").expect("invariant: a String takes all text");
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'=' => {
                let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                &tail[2..]
            }
            other => {
                bytes.push(*other);
                tail
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// Divides files into those that count and those that a merged file has replaced.
#[must_use]
pub fn without_obsolete(files: Vec<HistoryFile>) -> (Vec<HistoryFile>, Vec<HistoryFile>) {
    let mut groups: HashMap<(String, u64, i64), Vec<HistoryFile>> = HashMap::new();
    for file in files {
        let key = (
            file.name.node.clone(),
            file.name.log_id,
            hour_of(file.name.time_range.0),
        );
        groups.entry(key).or_default().push(file);
    }
    let (mut current, mut obsolete) = (Vec::new(), Vec::new());
    for mut group in groups.into_values() {
        // The one that covers most of what begins at a number comes first, so that whatever it covers comes after it.
        group.sort_by_key(|file| (file.name.first_sequence, std::cmp::Reverse(file.name.end_sequence)));
        let mut widest: Option<FileName> = None;
        for file in group {
            if widest.as_ref().is_some_and(|wide| wide.covers(&file.name)) {
                obsolete.push(file);
            } else {
                widest = Some(file.name.clone());
                current.push(file);
            }
        }
    }
    current.sort_by_key(|file| (file.name.time_range, file.name.log_id, file.name.first_sequence));
    (current, obsolete)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(node: &str, first: u64, end: u64) -> HistoryFile {
        let name = FileName {
            node: node.to_owned(),
            log_id: 7,
            first_sequence: first,
            end_sequence: end,
            time_range: (5, 9),
        };
        HistoryFile {
            location: Path::from(name.path(Kind::Flows)),
            size: 1,
            name,
        }
    }

    #[test]
    fn a_merged_file_replaces_what_it_covers_and_nothing_else() {
        let files = vec![
            file("a", 0, 5),
            file("a", 5, 9),
            file("a", 0, 9),
            file("a", 9, 12),
            file("b", 0, 5),
        ];
        let (current, obsolete) = without_obsolete(files);
        let ranges = |files: &[HistoryFile]| -> Vec<(u64, u64)> {
            let mut ranges: Vec<_> = files
                .iter()
                .map(|file| (file.name.first_sequence, file.name.end_sequence))
                .collect();
            ranges.sort_unstable();
            ranges
        };
        assert_eq!(ranges(&current), [(0, 5), (0, 9), (9, 12)]);
        assert_eq!(ranges(&obsolete), [(0, 5), (5, 9)]);
    }

    #[test]
    fn hours_have_folders() {
        assert_eq!(hour_folder(1_763_926_496_000_000_000), "date=2025-11-23/hour=19");
    }

    proptest! {
        #[test]
        fn a_name_says_what_was_written_into_it(
            node in "\\PC{0,30}", log_id: u64, first in 0..u64::MAX, earliest in 0..i64::MAX, length in 0..HOUR_NS
        ) {
            let name = FileName {
                node,
                log_id,
                first_sequence: first,
                end_sequence: u64::MAX,
                time_range: (earliest, earliest.saturating_add(length)),
            };
            let path = name.path(Kind::Lost);
            let last = path.rsplit('/').next().unwrap();
            prop_assert_eq!(Path::parse(&path).unwrap().to_string(), path.clone());
            prop_assert_eq!(FileName::parse(last), Some(name));
        }

        #[test]
        fn any_text_is_a_name_or_not(text in "\\PC{0,80}") {
            let _ = FileName::parse(&text);
        }
    }
}
