//! Benches, load and side-by-side reports.
//!
//! The criterion benches of the event path are in `benches/`; the programs in `src/bin` make load in network namespaces
//! of their own and print what it costs. [`namespace`] is what they share.
//!
//! ```
//! if benches::namespace::may_create() {
//!     println!("running as root: the load programs can run");
//! }
//! ```
#![forbid(unsafe_code)]

pub mod namespace;
