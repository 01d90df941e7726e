//! What is wrong with a query, in one line, and where.

use std::time::Duration;

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use history::error::HistoryError;

use crate::limits::Limits;

/// How alike a name must be to be suggested; 1 is the same.
const ALIKE: f64 = 0.75;

/// A place in a query: line and column, both from 1.
pub type Location = (u64, u64);

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// It isn't SQL.
    #[error("this is not SQL that can be read: {message}")]
    Syntax {
        /// What is wrong.
        message: String,
        /// Where.
        location: Option<Location>,
    },
    /// A name that isn't there.
    #[error("there is no {what} `{name}`{}", suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        /// `column`, `table` or `function`.
        what: &'static str,
        /// The name.
        name: String,
        /// The nearest one that is there.
        suggestion: Option<String>,
        /// Where.
        location: Option<Location>,
    },
    /// It can be read, and makes no sense.
    #[error("{message}")]
    Plan {
        /// What is wrong.
        message: String,
        /// Where.
        location: Option<Location>,
    },
    /// It wants to change something.
    #[error(
        "only questions are answered here, nothing is changed: {message}; use SELECT, EXPLAIN, DESCRIBE or SHOW TABLES"
    )]
    ReadOnly {
        /// What it wanted.
        message: String,
    },
    /// Several statements, or none.
    #[error("give one statement; there are {count}")]
    Statements {
        /// How many there are.
        count: usize,
    },
    /// Too many queries.
    #[error("{limit} queries are running already, which is the limit (--sql-queries); try again in a moment")]
    Queries {
        /// The limit.
        limit: usize,
    },
    /// Too much memory.
    #[error("the query needs more memory than the {} MiB that all queries together may take (--sql-memory); narrow its time, or group and limit it", limit >> 20)]
    Memory {
        /// The limit, bytes.
        limit: usize,
    },
    /// Too much time.
    #[error("the query took more than {} s, which is the limit (--sql-time); narrow its time, or ask for less", limit.as_secs_f64())]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// Nobody waits for the answer any more.
    #[error("the query was cancelled")]
    Cancelled,
    /// Too many rows.
    #[error("the answer has more than {limit} rows, which is the limit (--sql-rows); add a LIMIT or a WHERE")]
    Rows {
        /// The limit.
        limit: u64,
    },
    /// Nodes of a cluster have failed.
    #[error("the answer would lack {}; leave what failed out with --partial, or ask for less", failed.join("; "))]
    Nodes {
        /// `node: why` of each.
        failed: Vec<String>,
    },
    /// The history can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Something failed while it ran.
    #[error("the query failed: {message}")]
    Run {
        /// What failed.
        message: String,
    },
}

impl SqlError {
    /// Where in the query it is.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        match self {
            Self::Syntax { location, .. } | Self::Unknown { location, .. } | Self::Plan { location, .. } => *location,
            _ => None,
        }
    }

    /// What is behind an error in the stream of an answer.
    #[must_use]
    pub fn of_stream(error: DataFusionError, limits: &Limits) -> Self {
        Self::of_query(error, "", limits)
    }

    /// What is behind an error of the engine. `query` is its text, so that a name can be found in it.
    pub(crate) fn of_query(error: DataFusionError, query: &str, limits: &Limits) -> Self {
        let location = error
            .diagnostic()
            .and_then(|diagnostic| diagnostic.span)
            .map(|span| (span.start.line, span.start.column));
        let root = match error.find_root() {
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(Self::Time { limit }) => return Self::Time { limit: *limit },
                Some(Self::Cancelled) => return Self::Cancelled,
                Some(Self::Rows { limit }) => return Self::Rows { limit: *limit },
                Some(Self::Memory { limit }) => return Self::Memory { limit: *limit },
                Some(Self::Nodes { failed }) => return Self::Nodes { failed: failed.clone() },
                Some(Self::Run { message }) => {
                    return Self::Run {
                        message: message.clone(),
                    };
                }
                _ => {
                    return Self::Run {
                        message: one_line(&inner.to_string()),
                    };
                }
            },
            root => root,
        };
        match root {
            DataFusionError::SQL(error, _) => {
                let text = one_line(&error.to_string());
                let message = text.trim_start_matches("sql parser error: ").to_owned();
                let location = location.or_else(|| location_in(&message));
                let message = message.split(" at Line: ").next().unwrap_or(&message).to_owned();
                Self::Syntax { message, location }
            }
            DataFusionError::SchemaError(error, _) => match error.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => Self::Unknown {
                    what: "column",
                    name: field.name.clone(),
                    suggestion: nearest(&field.name, valid_fields.iter().map(Column::name)),
                    location: location.or_else(|| find(query, &field.name)),
                },
                other => Self::Plan {
                    message: one_line(&other.to_string()),
                    location,
                },
            },
            DataFusionError::ResourcesExhausted(_) => Self::Memory {
                limit: limits.memory_bytes,
            },
            DataFusionError::Plan(message) => Self::of_plan(message, query, location),
            DataFusionError::NotImplemented(message) => Self::Plan {
                message: format!("this can't be done here: {}", one_line(message)),
                location,
            },
            DataFusionError::Execution(message) => Self::Run {
                message: one_line(message),
            },
            other => Self::Run {
                message: one_line(&other.strip_backtrace()),
            },
        }
    }

    fn of_plan(message: &str, query: &str, location: Option<Location>) -> Self {
        let quoted = message.split('\'').nth(1).unwrap_or_default();
        if message.starts_with("table '") && message.contains("not found") {
            let name = quoted.rsplit('.').next().unwrap_or(quoted);
            return Self::Unknown {
                what: "table",
                name: name.to_owned(),
                suggestion: nearest(name, crate::engine::TABLES.iter().copied()),
                location: location.or_else(|| find(query, name)),
            };
        }
        if message.starts_with("Invalid function '") {
            let suggestion = message.split("Did you mean '").nth(1);
            return Self::Unknown {
                what: "function",
                name: quoted.to_owned(),
                suggestion: suggestion.and_then(|rest| rest.split('\'').next()).map(str::to_owned),
                location: location.or_else(|| find(query, quoted)),
            };
        }
        if ["DDL not supported", "DML not supported", "Statement not supported"]
            .iter()
            .any(|start| message.starts_with(start))
        {
            let wanted = message.split(": ").nth(1).unwrap_or(message);
            return Self::ReadOnly {
                message: one_line(wanted),
            };
        }
        Self::Plan {
            message: one_line(message),
            location,
        }
    }
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_owned())
}

/// Where a word is in a query.
fn find(query: &str, word: &str) -> Option<Location> {
    let lower = query.to_lowercase();
    let word = word.to_lowercase();
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let (place, _) = lower.match_indices(&word).find(|(place, found)| {
        !lower[..*place].ends_with(is_name) && !lower[place + found.len()..].starts_with(is_name)
    })?;
    let before = &lower[..place];
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    Some((line, column))
}

/// The parser writes `… at Line: 1, Column: 8`.
fn location_in(message: &str) -> Option<Location> {
    let (_, rest) = message.split_once("Line: ")?;
    let (line, rest) = rest.split_once(", Column: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((line.parse().ok()?, digits.parse().ok()?))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
