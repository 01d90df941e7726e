//! One question between `parallax` and the program `parallax-ballista`, which it starts for it.
//!
//! The question is a line of JSON on standard input, and the answer an Arrow stream on standard output. What is wrong is
//! the last line on standard error, as JSON, with exit status 1. Standard input stays open: when it ends, nobody waits for
//! the answer any more, however the other side has ended, and the executors are told.

use serde::{Deserialize, Serialize};

use crate::coverage::Coverage;
use crate::error::Location;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// Version of the program that asks; the other one must be of the same.
    pub version: String,
    /// `HOST:PORT` of the scheduler.
    pub scheduler: String,
    /// Folder or URL of the history.
    pub place: String,
    /// The query.
    pub sql: String,
    /// The coverage of the answer before, which the table `coverage` shows.
    pub previous: Option<Coverage>,
}

/// Why there is no answer, or no whole one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong, in one line.
    pub message: String,
    /// Where in the query.
    pub place: Option<Location>,
}
