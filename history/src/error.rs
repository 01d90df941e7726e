//! What can go wrong with a history.

/// Why a history can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The text is not a place.
    #[error(
        "`{location}` is not a place for a history: {why}; give a folder, or a URL such as s3://bucket/path, gs://bucket/path or az://container/path"
    )]
    Location {
        /// As given.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store doesn't answer, or refuses.
    #[error("cannot {what} in the history {location}: {}", bottom(error))]
    Store {
        /// What was tried.
        what: String,
        /// The history.
        location: String,
        /// What the store says.
        error: object_store::Error,
    },
    /// There is no history.
    #[error("there is no history in {location}: no file parallax-history.json; is this the folder given to --history?")]
    Missing {
        /// The place.
        location: String,
    },
    /// Another version wrote it.
    #[error(
        "the history {location} has format {found}, and this program reads and writes format {known}; use a newer program or another folder"
    )]
    Format {
        /// The history.
        location: String,
        /// Its format.
        found: String,
        /// Ours.
        known: u32,
    },
    /// A file can't be made.
    #[error("cannot write flows as Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Columns don't fit, which would be a fault of this program.
    #[error("cannot arrange flows as columns: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// Work in the background failed, which would be a fault of this program.
    #[error("the thread that makes a file failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// What is behind all errors of a chain. Those above it say where and how often it was tried, each with all below it.
#[must_use]
pub fn bottom(error: &dyn std::error::Error) -> String {
    let mut bottom = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    bottom.to_string()
}

/// Runs what computes for long on a thread of its own, so that those who wait for something else are not held up.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, HistoryError> {
    tokio::task::spawn_blocking(work).await?
}
