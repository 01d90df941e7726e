//! `parallax export` and `import` as people and programs run it, over a history with every kind of flow.
#![allow(clippy::unwrap_used)]

mod import;
mod lab;
mod pcapng;
mod tables;
