//! SQL over flows, live and from history: tables, functions, limits and how complete an answer is.
//!
//! An [`engine::Engine`] has flows from a running observer ([`live::LiveFlows`]), from a history, or from both; then they
//! are one table, each flow in it once. A query is planned against what is there at that moment: files of another time
//! are not opened, and the [`coverage::Coverage`] of the answer says what was looked at and what is missing. Or it has
//! the nodes of a [`cluster`], which answer parts of a question themselves.
//!
//! [`server`] puts an engine on the network as Arrow Flight SQL, and [`client`] asks such a server.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(async {
//! use futures::TryStreamExt as _;
//! use sql::engine::{Engine, Sources};
//! use sql::limits::Limits;
//!
//! let engine = Engine::new(Sources::default(), Limits::default()).expect("an engine");
//! let answer = engine
//!     .query("SELECT in_network('10.1.2.3', '10.0.0.0/8') AS inside, count(*) AS flows FROM flows", Vec::new())
//!     .await
//!     .expect("an answer");
//! let batches: Vec<_> = answer.stream.try_collect().await.expect("rows");
//! assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
//! # });
//! ```
#![forbid(unsafe_code)]

pub mod client;
pub mod cluster;
pub mod coverage;
mod describe;
pub mod engine;
pub mod error;
pub mod examples;
pub mod functions;
pub mod headers;
pub mod interrupt;
pub mod limits;
pub use datafusion::scalar;
pub mod live;
mod live_partition;
mod logged_table;
mod nodes;
mod places;
pub mod question;
mod selectivity;
pub mod server;
mod time_bounds;
pub mod views;
