//! Benches and load.
//!
//! The criterion benches of the event path are in `benches/`; the program [`load`] makes load in network namespaces of its
//! own ([`namespace`]) and prints what it costs.
//!
//! ```
//! if benches::namespace::may_create() {
//!     println!("running as root: the load programs can run");
//! }
//! ```
#![forbid(unsafe_code)]

pub mod flows;
pub mod load;
pub mod namespace;
pub mod serving;
