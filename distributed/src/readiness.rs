//! Whether a scheduler is there and has executors: one without any takes a query and keeps it waiting.

use std::time::Duration;

use history::error::bottom;
use reqwest::StatusCode;

use crate::error::ClusterError;

/// A scheduler that doesn't answer for so long is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the scheduler at `address` (`HOST:PORT`). It answers `/readyz` over HTTP on the port that it has for queries.
///
/// # Errors
/// If nobody listens there, somebody else does, or there are no executors.
pub(crate) async fn check(address: &str) -> Result<(), ClusterError> {
    let not_a_scheduler = |message: String| ClusterError::NotAScheduler {
        address: address.to_owned(),
        message,
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| not_a_scheduler(bottom(&error)))?;
    let answer = client.get(format!("http://{address}/readyz")).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            return Err(ClusterError::NoScheduler {
                address: address.to_owned(),
                message: bottom(&error),
            });
        }
        Err(error) => return Err(not_a_scheduler(bottom(&error))),
    };
    match answer.status() {
        StatusCode::OK => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE => Err(ClusterError::NoExecutors {
            address: address.to_owned(),
        }),
        other => Err(not_a_scheduler(format!("it answers {other} to /readyz"))),
    }
}
