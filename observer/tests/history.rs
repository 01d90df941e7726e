//! The history of a real observer: killed at any moment, on a disk that is full, in a folder that can't be written to.
#![allow(clippy::unwrap_used)]

#[path = "history/full_disk.rs"]
mod full_disk;
#[path = "history/kill.rs"]
mod kill;
#[path = "history/node.rs"]
mod node;
