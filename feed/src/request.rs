//! The ticket of a feed.

use arrow_flight::Ticket;
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use crate::{FeedError, FeedRequest, VERSION};

/// The type under which a request is wrapped, so that it is told from the tickets of SQL.
pub const TYPE_URL: &str = "type.googleapis.com/feed.FeedRequest";

/// `google.protobuf.Any`, which Flight SQL also wraps its tickets in.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The ticket for Flight's `DoGet`.
#[must_use]
pub fn ticket(request: FeedRequest) -> Ticket {
    let request = FeedRequest {
        version: VERSION,
        ..request
    };
    let any = Any {
        type_url: TYPE_URL.to_owned(),
        value: request.encode_to_vec().into(),
    };
    Ticket::new(any.encode_to_vec())
}

/// The request in a ticket; `None` if the ticket is one of SQL.
///
/// # Errors
/// If the request can't be read, or is of another version.
fn from_ticket(ticket: &Ticket) -> Result<Option<FeedRequest>, FeedError> {
    let Ok(any) = Any::decode(ticket.ticket.clone()) else {
        return Ok(None);
    };
    if any.type_url != TYPE_URL {
        return Ok(None);
    }
    let request = FeedRequest::decode(any.value)?;
    if request.version != VERSION {
        return Err(FeedError::Version { asked: request.version });
    }
    Ok(Some(request))
}

/// The request in a ticket that is none of SQL.
///
/// # Errors
/// `InvalidArgument` with what is wrong with it.
pub fn wanted(ticket: &Ticket) -> Result<FeedRequest, Status> {
    match from_ticket(ticket) {
        Ok(Some(wanted)) => Ok(wanted),
        Ok(None) => Err(Status::invalid_argument(
            "the ticket is neither one of a query nor one of a feed of this server",
        )),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_back_and_told_from_others() {
        let request = FeedRequest {
            columns: vec!["time".to_owned()],
            ..FeedRequest::default()
        };
        let read = from_ticket(&ticket(request)).unwrap().unwrap();
        assert_eq!((read.version, read.columns.len()), (VERSION, 1));
        assert!(from_ticket(&Ticket::new("rubbish")).unwrap().is_none());
        let other = Any {
            type_url: TYPE_URL.to_owned(),
            value: FeedRequest {
                version: 9,
                ..FeedRequest::default()
            }
            .encode_to_vec()
            .into(),
        };
        let error = from_ticket(&Ticket::new(other.encode_to_vec())).unwrap_err();
        assert!(error.to_string().contains("version 9"), "{error}");
    }
}
