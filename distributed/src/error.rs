//! Why a cluster gives no answer.

use datafusion::error::DataFusionError;
use history::error::HistoryError;
use sql::error::{Location, SqlError};

/// Why a cluster gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Nobody listens there.
    #[error(
        "no scheduler at {address}: {message}; start one with `parallax-scheduler --listen {address}`, or ask without --engine"
    )]
    NoScheduler {
        /// Where it should be.
        address: String,
        /// What the system says.
        message: String,
    },
    /// Somebody listens there, and it is no scheduler.
    #[error(
        "what listens at {address} is no scheduler that can be talked to: {message}; write HOST:PORT of a `parallax-scheduler` of this version"
    )]
    NotAScheduler {
        /// Where it is.
        address: String,
        /// What went wrong.
        message: String,
    },
    /// None is there.
    #[error(
        "the scheduler at {address} has no executors; start one with `parallax-executor --scheduler {address}` and ask again"
    )]
    NoExecutors {
        /// The scheduler.
        address: String,
    },
    /// It is another version.
    #[error("the scheduler at {address} is of another version: {message}")]
    Version {
        /// The scheduler.
        address: String,
        /// Which versions there are.
        message: String,
    },
    /// The question is wrong.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The history can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Something failed while it ran.
    #[error("the executors of {address} could not answer: {message}")]
    Run {
        /// The scheduler.
        address: String,
        /// What failed.
        message: String,
    },
}

impl ClusterError {
    /// Where in the query it is.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        match self {
            Self::Sql(error) => error.location(),
            _ => None,
        }
    }

    /// What is behind an error of the engine. Schedulers and executors send theirs as text.
    pub(crate) fn of_engine(error: &DataFusionError, address: &str) -> Self {
        let address = address.to_owned();
        let message = error.strip_backtrace();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        if message.contains("all executors were lost") {
            return Self::NoExecutors { address };
        }
        if message.contains("must have the same major version") {
            return Self::Version { address, message };
        }
        if [
            "transport error",
            "ConnectError",
            "Unimplemented",
            "h2 protocol error",
            "tcp connect error",
        ]
        .iter()
        .any(|sign| message.contains(sign))
        {
            return Self::NotAScheduler { address, message };
        }
        let message = match message.split_once(" failed: ") {
            Some((job, why)) if job.contains("Job ") => why.to_owned(),
            _ => message,
        };
        Self::Run { address, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_machines_say_becomes_one_line_for_people() {
        let said =
            |text: &str| ClusterError::of_engine(&DataFusionError::Execution(text.to_owned()), "h:1").to_string();
        assert_eq!(
            said("Job a7 failed: Task failed:\n 'x' is not a network"),
            "the executors of h:1 could not answer: Task failed: 'x' is not a network"
        );
        assert!(said("Job a7 failed: all executors were lost and …").contains("parallax-executor --scheduler h:1"));
        assert!(said("transport error: broken").starts_with("what listens at h:1 is no scheduler"));
    }
}
