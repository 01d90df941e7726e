//! The vocabulary of Parallax: what a flow is, for everybody who makes, keeps, filters, serves or prints flows.
//!
//! A flow is one packet at one interface, or one packet that the kernel gave up. Whoever observes it fills a
//! [`record::FlowRecord`] and appends it to a [`builder::FlowBatchBuilder`], which seals rows into a
//! [`batch::FlowBatch`]: Arrow columns after the [`schema`]. From there on only batches travel; filters look at whole
//! columns, and an object of the gRPC API is built only for a row that a client will really receive.
//!
//! ```
//! use flow::{builder::FlowBatchBuilder, record::FlowRecord};
//!
//! let mut builder = FlowBatchBuilder::new(1, 0);
//! builder.append(&FlowRecord { time_ns: 1_700_000_000_000_000_000, verdict: 2, ..Default::default() });
//! assert_eq!(builder.seal().expect("one row").rows(), 1);
//! ```
#![forbid(unsafe_code)]

pub mod api;
pub mod batch;
pub mod builder;
pub mod clock;
pub mod drop_reason;
pub mod endpoint;
pub mod filter;
pub mod from_api;
pub mod from_table;
pub mod identity;
pub mod interleave;
pub mod mask;
pub mod record;
mod remembered;
pub mod row_ids;
pub mod schema;
pub mod select;
pub mod shared_columns;
pub mod table;
pub mod text;
pub mod to_api;
pub mod trace;
pub mod wire;
