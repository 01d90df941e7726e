//! The node agent.

pub mod connection;
pub mod decode;
pub mod names;
pub mod observation_point;
