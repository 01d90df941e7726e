//! How observers and relays are reached.
//!
//! A server listens on the addresses of [`listen`], encrypted by [`tls`], by [`servers`], and answers `GetFlows` through
//! [`get_flows`], which puts messages on the wire that are bytes already ([`frames`]); what can wait runs at a lower
//! [`priority`]. A client, be it a person's or a relay, gets a channel to one from
//! [`connect`].
//!
//! ```
//! use serving::connect::Target;
//!
//! let target = Target::parse("tls://relay.example.com:443", false)?;
//! assert!(target.tls());
//! # Ok::<(), serving::connect::TargetError>(())
//! ```
#![forbid(unsafe_code)]

pub mod connect;
mod connection;
pub mod frames;
pub mod get_flows;
pub mod listen;
pub mod priority;
pub mod servers;
pub mod signal;
pub mod tls;
