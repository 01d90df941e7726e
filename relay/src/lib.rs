//! The cluster view: one place that answers for all observers.
//!
//! The relay will find observers, merge their flows in time order and serve the API that each of them serves. So far
//! it has its place and its command line; whoever starts it is told what to use until then.
#![forbid(unsafe_code)]

use clap::Parser;

/// The program's version and the commit it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("PARALLAX_COMMIT"));

/// What the relay says instead of running.
pub const NOT_BUILT_YET: &str = "the relay is not built yet; ask each observer directly: \
    parallax observe --server unix:///run/parallax/observer.sock (on its node) or --server HOST:4244";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "parallax-relay",
    version = VERSION,
    about = "Merges the flows of all observers of a cluster and serves them through one address.",
    after_help = "Not built yet: it only says so and exits with 2. Until it is, ask each observer directly:\n  \
        parallax observe --server unix:///run/parallax/observer.sock\n  parallax observe --server HOST:4244"
)]
pub struct Arguments {}
