//! Flows of a JSON file, one a line, as `parallax observe -o json` and the flow logs of other observers have them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flow::api::Timestamp;
use flow::api::observer::ExportEvent;
use flow::api::observer::export_event::ResponseTypes;

use super::ReplayError;

/// What a replay has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Flows and lost events.
    pub events: u64,
    /// Lines that are neither.
    pub unreadable: u64,
}

/// Calls `event` with each event of the file and the time of its line. A line that is none is logged with its number, and passed over.
///
/// # Errors
/// If the file can't be read.
pub fn read_flows(
    path: &Path,
    mut event: impl FnMut(ResponseTypes, Option<Timestamp>),
) -> Result<FlowCounts, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
    let mut counts = FlowCounts::default();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<ExportEvent>(&line).map(|parsed| (parsed.response_types, parsed.time)) {
            Ok((Some(parsed), time)) => {
                counts.events += 1;
                event(parsed, time);
            }
            Ok((None, _)) => {
                counts.unreadable += 1;
                tracing::warn!("{}, line {number}: this is no flow; it is passed over", path.display());
            }
            Err(error) => {
                counts.unreadable += 1;
                tracing::warn!(
                    "{}, line {number}: this is no flow ({error}); it is passed over",
                    path.display()
                );
            }
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_passed_over_and_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            "{\"flow\":{\"verdict\":\"FORWARDED\"}}\ngarbage\n{}\n\n{\"lost_events\":{\"num_events_lost\":\"3\"}}\n";
        std::fs::write(file.path(), text).unwrap();
        let mut seen = Vec::new();
        let counts = read_flows(file.path(), |event, _| seen.push(event)).unwrap();
        assert_eq!(
            counts,
            FlowCounts {
                events: 2,
                unreadable: 2
            }
        );
        assert!(
            matches!(&seen[..], [ResponseTypes::Flow(_), ResponseTypes::LostEvents(lost)] if lost.num_events_lost == 3)
        );
    }
}
