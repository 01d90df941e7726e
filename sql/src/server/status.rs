//! What is wrong with a query, as a gRPC status.

use arrow_flight::error::FlightError;
use tonic::{Code, Status};

use crate::error::SqlError;
use crate::headers;

/// The code for an error of the engine.
pub(crate) fn code(error: &SqlError) -> Code {
    match error {
        SqlError::Syntax { .. } | SqlError::Unknown { .. } | SqlError::Plan { .. } | SqlError::Statements { .. } => {
            Code::InvalidArgument
        }
        SqlError::ReadOnly { .. } => Code::PermissionDenied,
        SqlError::Queries { .. } | SqlError::Memory { .. } | SqlError::Rows { .. } => Code::ResourceExhausted,
        SqlError::Time { .. } => Code::DeadlineExceeded,
        SqlError::Cancelled => Code::Cancelled,
        SqlError::History(_) | SqlError::Nodes { .. } => Code::Unavailable,
        SqlError::Run { .. } => Code::Unknown,
    }
}

/// The status for an error of the engine.
pub(super) fn of_error(error: &SqlError) -> Status {
    let mut status = Status::new(code(error), error.to_string());
    if let Some((line, column)) = error.location()
        && let Ok(place) = format!("{line}:{column}").parse()
    {
        status.metadata_mut().insert(headers::PLACE, place);
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
