//! Flows from a file: JSON lines, as `-o json` and the flow logs of other observers have them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use anyhow::{Context, Result};
use flow::api::Timestamp;
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use serde_json::Value;

use super::matching::Matching;
use super::output::Output;
use super::request::Window;

/// Lines that are filtered together, as columns of one batch.
const CHUNK: usize = 4096;

/// A file with more broken lines than this is probably none of flows, and nobody reads more about it.
pub(crate) const MOST_TOLD: u64 = 20;
/// What the last of them says.
pub(crate) const AND_MORE: &str = " (later ones are not reported)";

/// Kinds of lines in flow logs that are not about flows; they are passed over without a word.
const OTHER_EVENTS: [&str; 2] = ["agent_event", "debug_event"];

/// Prints what `window` and `matching` select from the file at `path` (`-`: standard input).
pub(crate) fn run(path: &Path, window: &Window, mut matching: Matching, mut output: Output) -> Result<()> {
    let (name, input) = open(path)?;
    let mut lines = Lines::new(name, input);
    let mut left = if window.first { window.number } else { u64::MAX };
    let keep_last = (!window.first && window.number > 0).then_some(window.number);
    let mut newest: VecDeque<GetFlowsResponse> = VecDeque::new();
    while left > 0 {
        let Some(chunk) = lines.chunk()? else { break };
        let shown = matching.shown(&chunk);
        for (response, shown) in chunk.into_iter().zip(shown) {
            if !shown || !in_window(window, &response) || left == 0 {
                continue;
            }
            match keep_last {
                None => {
                    left -= 1;
                    output.response(&response)?;
                }
                Some(limit) => {
                    newest.push_back(response);
                    if newest.len() as u64 > limit {
                        newest.pop_front();
                    }
                }
            }
        }
        output.flush()?;
    }
    for response in &newest {
        output.response(response)?;
    }
    output.finish()
}

/// Opens a file, or standard input (`-`), and says what to call it.
pub(crate) fn open(path: &Path) -> Result<(String, Box<dyn Read + Send>)> {
    if path == Path::new("-") {
        return Ok(("standard input".to_owned(), Box::new(stdin())));
    }
    let file = File::open(path).map_err(|error| anyhow::anyhow!("open {}: {}", path.display(), reason(&error)))?;
    Ok((path.display().to_string(), Box::new(file)))
}

/// What the operating system says, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error ").unwrap_or(text.len());
    text[..end].to_ascii_lowercase()
}

fn in_window(window: &Window, response: &GetFlowsResponse) -> bool {
    let Some(time) = time_of(response).and_then(|time| time.to_date()) else {
        return window.since.is_none() && window.until.is_none();
    };
    window.since.is_none_or(|since| time >= since) && window.until.is_none_or(|until| time <= until)
}

/// The time of a response, or of the flow in it.
pub(crate) fn time_of(response: &GetFlowsResponse) -> Option<Timestamp> {
    match (&response.time, &response.response_types) {
        (Some(time), _) => Some(*time),
        (None, Some(ResponseTypes::Flow(flow))) => flow.time,
        (None, _) => None,
    }
}

/// The lines of the input, parsed.
pub(crate) struct Lines<R> {
    name: String,
    input: BufReader<R>,
    number: u64,
    broken: u64,
    warned: bool,
    warn: fn(&str),
}

impl<R: Read> Lines<R> {
    /// The lines of `input`, which messages call `name`.
    pub(crate) fn new(name: String, input: R) -> Self {
        Self {
            name,
            input: BufReader::with_capacity(1 << 16, input),
            number: 0,
            broken: 0,
            warned: false,
            warn: |warning| eprintln!("{warning}"),
        }
    }

    /// Tells nothing on stderr, where the terminal belongs to a screen: [`Lines::broken`] counts what is left out.
    pub(crate) fn quiet(self) -> Self {
        Self { warn: |_| (), ..self }
    }

    /// How many lines were left out so far, because they are no flows.
    pub(crate) fn broken(&self) -> u64 {
        self.broken
    }

    /// The next lines: as many as are there without waiting, at least one unless the input ends. A line that isn't a
    /// flow is told on stderr and left out.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<GetFlowsResponse>>> {
        let mut chunk = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = self
                .input
                .read_until(b'\n', &mut line)
                .with_context(|| format!("can't read {}", self.name))?;
            if length == 0 {
                return Ok((!chunk.is_empty()).then_some(chunk));
            }
            self.number += 1;
            chunk.extend(self.parse(line.trim_ascii()));
            if !chunk.is_empty() && (chunk.len() == CHUNK || self.input.buffer().is_empty()) {
                return Ok(Some(chunk));
            }
        }
    }

    fn parse(&mut self, line: &[u8]) -> Option<GetFlowsResponse> {
        if line.is_empty() {
            return None;
        }
        let value: Value = self.report(serde_json::from_slice(line))?;
        if OTHER_EVENTS.iter().any(|event| value.get(event).is_some()) {
            return None;
        }
        if !self.warned
            && let Some(field) = flow::api::unknown_field(".observer.GetFlowsResponse", &value)
        {
            self.warned = true;
            (self.warn)(&format!(
                "warning: line {} of {} has a field that this version doesn't know: {field} (later ones are not reported)",
                self.number, self.name
            ));
        }
        self.report(serde_json::from_value(value))
    }

    fn report<T>(&mut self, result: serde_json::Result<T>) -> Option<T> {
        result
            .inspect_err(|error| {
                self.broken += 1;
                if self.broken > MOST_TOLD {
                    return;
                }
                let text = error.to_string();
                // Only columns mean something here, and a list of eighty names nothing.
                let text = text
                    .split(", expected one of")
                    .next()
                    .unwrap_or_default()
                    .replace("line 1 ", "");
                (self.warn)(&format!(
                    "warning: line {} of {} is not a flow and is left out: {text}{}",
                    self.number,
                    self.name,
                    if self.broken == MOST_TOLD { AND_MORE } else { "" }
                ));
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bad_lines_are_left_out_and_the_rest_is_read() {
        let input = "{\"node_name\":\"a\"}\n\ngarbage\n[1]\n{\"agent_event\":{}}\n\u{0}\n{\"node_name\":\"b\"}";
        let mut lines = Lines::new("test".into(), input.as_bytes());
        let chunk = lines.chunk().unwrap().unwrap();
        let names: Vec<_> = chunk.iter().map(|response| response.node_name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((lines.number, lines.broken()), (7, 3));
        assert!(lines.chunk().unwrap().is_none());
    }
}
