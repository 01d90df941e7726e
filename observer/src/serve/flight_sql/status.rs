//! What is wrong with a query, as a gRPC status.

use arrow_flight::error::FlightError;
use sql::error::SqlError;
use tonic::{Code, Status};

/// The header that says where in the query it is: `line:column`, both from 1.
const PLACE: &str = "parallax-query-place";

/// The status for an error of the engine.
pub(super) fn of_error(error: &SqlError) -> Status {
    let code = match error {
        SqlError::Syntax { .. } | SqlError::Unknown { .. } | SqlError::Plan { .. } | SqlError::Statements { .. } => {
            Code::InvalidArgument
        }
        SqlError::ReadOnly { .. } => Code::PermissionDenied,
        SqlError::Queries { .. } | SqlError::Memory { .. } | SqlError::Rows { .. } => Code::ResourceExhausted,
        SqlError::Time { .. } => Code::DeadlineExceeded,
        SqlError::Cancelled => Code::Cancelled,
        SqlError::History(_) => Code::Unavailable,
        SqlError::Run { .. } => Code::Unknown,
    };
    let mut status = Status::new(code, error.to_string());
    if let Some((line, column)) = error.location()
        && let Ok(place) = format!("{line}:{column}").parse()
    {
        status.metadata_mut().insert(PLACE, place);
    }
    status
}

/// The status for an error while an answer is encoded.
pub(super) fn of_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(format!("cannot encode the answer: {other}")),
    }
}
