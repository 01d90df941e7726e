//! The node agent.

pub mod attach;
pub mod btf;
pub mod capture;
pub mod clock;
pub mod connection;
pub mod decode;
mod dns;
pub mod drop_site;
pub mod interface;
pub mod kernel_names;
pub mod log;
pub mod names;
pub mod netns;
pub mod observation_point;
pub mod pipeline;
pub mod probes;
pub mod replay;
pub mod requirements;
pub mod ring;
pub mod symbols;
