//! `parallax export` as people and programs run it, over a history with every kind of flow.
#![allow(clippy::unwrap_used)]

mod lab;
mod pcapng;
mod tables;
