//! A real observer that packets come to all the while: killed at any moment, on a disk that is full, with queries that
//! don't end.
#![allow(clippy::unwrap_used)]

#[path = "under_load/full_disk.rs"]
mod full_disk;
#[path = "under_load/kill.rs"]
mod kill;
#[path = "under_load/node.rs"]
mod node;
#[path = "under_load/runaway.rs"]
mod runaway;
