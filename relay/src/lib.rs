//! The cluster view: one place that answers for all observers.
//!
//! [`peers`] knows who there is, [`cluster`] keeps a [`connection`] to each of them. A request becomes a stream of flows of
//! every peer ([`cluster_flows`]): batches that the nodes have filtered come over the feed, and the [`merge`] brings them into
//! one order of time. A query of SQL becomes one for each peer, too ([`sql::cluster`]). [`serve`] gives both to clients
//! through the API that every observer has.
//!
//! What comes through is counted (`counts`), and told as [`metrics`].
//!
//! The relay keeps no flows: they are in the nodes' logs until somebody asks.
//!
//! ```
//! use relay::peers::PeerSource;
//!
//! let source: PeerSource = "dns:observers.monitoring.svc:4244".parse()?;
//! assert!(matches!(source, PeerSource::Dns(_)));
//! # Ok::<(), String>(())
//! ```
#![forbid(unsafe_code)]

pub mod cluster;
pub mod cluster_flows;
mod cluster_sql;
pub mod config;
pub mod connection;
mod counts;
pub mod merge;
pub mod metrics;
mod peer_flows;
mod peer_tasks;
pub mod peers;
pub mod run;
pub mod serve;

/// The program's version and the commit it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("PARALLAX_COMMIT"));
