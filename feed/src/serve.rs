//! A feed on its way to a client of Arrow Flight.

use std::pin::Pin;

use arrow_flight::FlightData;
use futures::{Stream, StreamExt as _, stream};
use tonic::Status;

use crate::FeedError;

/// The messages of a feed, as Flight's `DoGet` answers.
pub type Messages = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// The messages of batches one by one; those of a batch come together.
pub fn one_by_one(batches: impl Stream<Item = Result<Vec<FlightData>, Status>> + Send + 'static) -> Messages {
    Box::pin(batches.flat_map(|messages| {
        stream::iter(match messages {
            Ok(messages) => messages.into_iter().map(Ok).collect(),
            Err(status) => vec![Err(status)],
        })
    }))
}

/// What a client is told when a batch can't be sent.
#[must_use]
pub fn failed(error: &FeedError) -> Status {
    Status::internal(format!("cannot send flows: {error}"))
}
