//! Flows on the wire between observers and relays: Arrow record batches over Arrow Flight.
//!
//! A client sends a [`request`] as a Flight ticket. The server answers with a stream of messages: each batch of flows goes
//! through an [`encode::FeedEncoder`], and a [`FeedMessage`] travels with it as metadata: whose flows they are, how far in
//! that node's log the client is now, what it missed, and the watermark, before which nothing more will come. Where there
//! are no flows, the metadata comes alone. A [`decode::FeedDecoder`] turns messages back into batches; what isn't one, or
//! doesn't fit, is an error, never a panic. With the positions of the last messages a client that was cut off asks for what
//! it hasn't had.
//!
//! What several columns share (an endpoint's names, say) is a dictionary of structs on the wire ([`columns`]): a row has
//! one key for it, and values are sent again only when they change. Buffers are compressed with LZ4.
//!
//! ```
//! use feed::{FeedMessage, decode::FeedDecoder, encode::FeedEncoder};
//! use flow::{builder::FlowBatchBuilder, record::FlowRecord};
//!
//! let mut builder = FlowBatchBuilder::new(7, 0);
//! builder.append(&FlowRecord { time_ns: 1, verdict: 1, ..Default::default() });
//! let batch = builder.seal().expect("one row");
//! let message = FeedMessage { node: "a".into(), log_id: 7, next_sequence: 1, ..Default::default() };
//!
//! let mut decoder = FeedDecoder::default();
//! let mut received = Vec::new();
//! for data in FeedEncoder::default().batch(&message, &batch)? {
//!     received.extend(decoder.push(data)?);
//! }
//! let (told, flows) = received.pop().expect("one message");
//! assert_eq!((told.next_sequence, flows.expect("a batch").uuid(0)), (1, batch.uuid(0)));
//! # Ok::<(), feed::FeedError>(())
//! ```
#![forbid(unsafe_code)]

pub mod columns;
pub mod decode;
pub mod encode;
pub mod request;
pub mod sample;
pub mod serve;

pub use flow::api::feed::{FeedMessage, FeedRequest, Position};

use arrow_schema::ArrowError;
use flow::batch::BatchError;

/// The version of the feed that this crate speaks.
pub const VERSION: u32 = 1;

/// What is wrong with a message of a feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It is no Arrow message, or one that doesn't belong there.
    #[error("what came is no message of a feed: {0}")]
    Message(String),
    /// A batch can't be encoded or decoded.
    #[error("a batch of the feed can't be read or written: {0}")]
    Arrow(#[from] ArrowError),
    /// A batch is not one of flows.
    #[error("a batch of the feed is not one of flows: {0}")]
    Batch(#[from] BatchError),
    /// A ticket or what comes with a batch can't be read.
    #[error("what comes with a batch can't be read: {0}")]
    Metadata(#[from] prost::DecodeError),
    /// The other side speaks another version.
    #[error(
        "the feed is asked for in version {asked}, and this is version {VERSION}; update the older of the two programs"
    )]
    Version {
        /// What was asked for.
        asked: u32,
    },
}
