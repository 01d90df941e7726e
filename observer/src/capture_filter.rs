//! `--capture`: which packets the programs in the kernel capture, in a part of the language of tcpdump's filters.
//!
//! Text becomes an `Expression`, and that becomes the [`CompiledFilter`] that the programs evaluate on the headers of
//! each packet, before anything is copied out of the kernel. docs/capture-filter.md is the language's reference;
//! pcap-filter(7) is what it is a part of.
//!
//! ```
//! use observer::capture_filter::CaptureFilter;
//!
//! let filter: CaptureFilter = "tcp port 443 and net 10.0.0.0/8".parse()?;
//! assert_eq!(filter.compiled().length, 2);
//! assert!("tcp port https".parse::<CaptureFilter>().is_err());
//! # Ok::<(), observer::capture_filter::CaptureFilterError>(())
//! ```

mod compile;
mod expression;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bpf_probes::capture_filter::{CompiledFilter, MAX_TESTS};

/// A filter, as text and in the form that the programs evaluate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFilter {
    text: String,
    compiled: CompiledFilter,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureFilterError {
    /// It isn't one.
    #[error("capture filter: {problem} at column {column}{}\n  {line}\n  {:>column$}", .found.as_ref().map(|found| format!(", not `{found}`")).unwrap_or_default(), "^")]
    Syntax {
        /// What was expected, or why that doesn't fit.
        problem: String,
        /// Where, counted from 1.
        column: usize,
        /// What is there instead of what was expected.
        found: Option<String>,
        /// The filter, on one line.
        line: String,
    },
    /// It has more text than any filter that fits the programs.
    #[error(
        "capture filter: it has {length} characters, and {limit} are the limit; one `net` can stand for many `host`"
    )]
    TooLong {
        /// Characters.
        length: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The programs have no room for all its tests.
    #[error(
        "capture filter: it takes {tests} tests, and {MAX_TESTS} are the limit; one `net` can stand for many `host`, and one `portrange` for many `port`"
    )]
    TooLarge {
        /// Tests it would take.
        tests: usize,
    },
    /// It contradicts itself.
    #[error("capture filter: no packet can be all of this at once: `{line}`; did you mean `or`?")]
    MatchesNothing {
        /// The filter, on one line.
        line: String,
    },
}

impl CaptureFilter {
    /// Whether it asks for nothing, and everything is captured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.compiled.length == 0
    }

    /// Whether it tells sources from destinations, so that a request can pass without its answer.
    #[must_use]
    pub(crate) fn is_directed(&self) -> bool {
        self.text
            .split(|character: char| !character.is_ascii_alphanumeric())
            .any(|word| word.eq_ignore_ascii_case("src") || word.eq_ignore_ascii_case("dst"))
    }

    /// What the programs evaluate.
    #[must_use]
    pub fn compiled(&self) -> &CompiledFilter {
        &self.compiled
    }
}

impl FromStr for CaptureFilter {
    type Err = CaptureFilterError;

    fn from_str(text: &str) -> Result<Self, CaptureFilterError> {
        let text = text.trim();
        let Some(expression) = parse::parse(text)? else {
            return Ok(Self::default());
        };
        let graph = compile::graph(&expression);
        let mut compiled = CompiledFilter::NONE;
        let Some(slots) = compiled.tests.get_mut(..graph.len()) else {
            return Err(CaptureFilterError::TooLarge { tests: graph.len() });
        };
        compiled.length = graph.len() as u32;
        for (slot, step) in slots.iter_mut().zip(&graph) {
            *slot = step.in_place();
        }
        if !compile::can_accept(slots) {
            return Err(CaptureFilterError::MatchesNothing {
                line: parse::on_one_line(text),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            compiled,
        })
    }
}

impl fmt::Display for CaptureFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
