//! The node agent.

pub mod connection;
pub mod decode;
mod dns;
pub mod drop_site;
pub mod names;
pub mod observation_point;
pub mod pipeline;
pub mod replay;
