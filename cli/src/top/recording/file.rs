//! JSON lines → batches.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use flow::api::flow::Flow;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::from_api::FlowReader;

use super::{MOST_ROWS, Sender};
use crate::observe::offline::{Lines, time_of};

/// Bytes at either end of a file in which its first and last time are looked for.
const END: u64 = 1 << 16;

/// Reads everything and sends it. Of a stream, flows are sent as they come; of a file, as many are held back as a batch
/// has, so that flows that are out of order by up to so many get their place.
pub(super) fn read(name: String, input: Box<dyn Read + Send>, streamed: bool, sender: &Sender, broken: &AtomicU64) {
    if let Err(error) = send_all(Lines::new(name, input).quiet(), streamed, sender, broken) {
        // Nobody is left to be told if it can't be sent.
        let _ = sender.blocking_send(Err(error));
    }
}

fn send_all<R: Read>(mut lines: Lines<R>, streamed: bool, sender: &Sender, broken: &AtomicU64) -> Result<()> {
    let mut reader = FlowReader::default();
    let mut held: Vec<Flow> = Vec::new();
    let hold = if streamed { 0 } else { MOST_ROWS };
    loop {
        let chunk = lines.chunk()?;
        broken.store(lines.broken(), Ordering::Relaxed);
        let ended = chunk.is_none();
        held.extend(chunk.into_iter().flatten().filter_map(flow));
        // Sorting for each few lines anew would take the square of the time.
        if !ended && held.len() < hold + if streamed { 1 } else { MOST_ROWS } {
            continue;
        }
        held.sort_by_key(|flow| flow.time.map_or(0, |time| time.to_nanos()));
        while !held.is_empty() && (ended || held.len() > hold) {
            let count = match ended {
                true => held.len().min(MOST_ROWS),
                false => (held.len() - hold).min(MOST_ROWS),
            };
            let batch = reader.batch(held.drain(..count).as_slice());
            if let Some(batch) = batch
                && sender.blocking_send(Ok(batch)).is_err()
            {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
    }
}

/// The flow, with the time of its line if it has none of its own.
fn flow(response: GetFlowsResponse) -> Option<Flow> {
    let time = time_of(&response);
    match response.response_types {
        Some(ResponseTypes::Flow(mut flow)) => {
            flow.time = flow.time.or(time);
            Some(flow)
        }
        _ => None,
    }
}

/// Time of the first and of the last flow in nanoseconds, if its line is near the end of the file.
pub(super) fn time_range(path: &Path) -> (Option<i64>, Option<i64>) {
    // Whether it can be read is told by who reads all of it. What is no regular file can't be read twice.
    let Some(mut file) = File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|about| about.is_file()))
    else {
        return (None, None);
    };
    let mut times = |from: u64| -> Option<Vec<i64>> {
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(from)).ok()?;
        Read::by_ref(&mut file).take(END).read_to_end(&mut text).ok()?;
        Some(text.split(|byte| *byte == b'\n').filter_map(time).collect())
    };
    let first = times(0).and_then(|times| times.into_iter().min());
    let length = path.metadata().map_or(0, |about| about.len());
    let last = times(length.saturating_sub(END)).and_then(|times| times.into_iter().max());
    (first, last)
}

fn time(line: &[u8]) -> Option<i64> {
    let response: GetFlowsResponse = serde_json::from_slice(line).ok()?;
    Some(flow(response)?.time?.to_nanos())
}
