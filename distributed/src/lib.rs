//! The same SQL on several machines: scheduler and executors of the distributed engine with our tables and functions.
//!
//! Ballista moves plans, not programs: a scheduler cuts a query into stages, executors run them, and each of these
//! processes has to know our functions by name. So all three sides are started from here. The tables are the Parquet
//! files of a history, listed by the client; an executor reads them from the store itself, so it needs the same folder
//! (a network file system) or the same bucket.
//!
//! `parallax sql --engine` doesn't link any of this: it starts `parallax-ballista` and talks to it by [`sql::question`].
#![forbid(unsafe_code)]

pub mod cluster;
pub mod error;
pub mod executor;
mod object_stores;
mod readiness;
pub mod scheduler;
mod session;
mod tables;

/// The version of these programs and the commit they were built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("PARALLAX_COMMIT"));

/// Stack of a thread that reads plans: they are trees, and the views make deep ones.
const STACK_BYTES: usize = 32 << 20;

/// Threads for a scheduler or an executor.
///
/// # Errors
/// If the system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}
