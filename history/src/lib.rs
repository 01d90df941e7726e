//! The history of flows: Parquet files in a folder or an object store, written as flows come and merged later.
//!
//! A [`store::Store`] is a place that holds files; their names ([`layout`]) say which flows of which node and time they
//! hold, so that a listing is enough to know what to read. What was lost ([`lost`]) is kept beside the flows, and a
//! [`session::Session`] tells of each run of an observer. A file is complete when it is there.
//! A [`writer::Writer`] writes what an observer sees; [`upkeep::Upkeep`] merges its small files and deletes the oldest.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
//! use history::{layout::Kind, store::Store};
//!
//! let folder = tempfile::tempdir().expect("a folder");
//! let store = Store::open(folder.path().to_str().expect("a path in UTF-8")).expect("a store");
//! store.prepare().await.expect("a folder that can be written to");
//! assert!(store.list(Kind::Flows, None).await.expect("a listing").files.is_empty());
//! # });
//! ```
#![forbid(unsafe_code)]

mod earlier_runs;
pub mod error;
pub mod file;
pub mod layout;
pub mod lost;
pub mod merge;
pub mod session;
pub mod state;
pub mod store;
pub mod upkeep;
pub mod writer;
