//! The gRPC API, generated from `proto/`: wire compatible with Hubble, with the additions of package [`parallax`].
//!
//! Every message of a response also has a JSON form (field names as in the .proto files, 64-bit numbers as text).
//!
//! ```
//! use flow::api::flow::{Flow, Verdict};
//!
//! let flow = Flow { verdict: Verdict::Dropped.into(), ..Flow::default() };
//! assert_eq!(serde_json::to_string(&flow).expect("a flow has a JSON form"), r#"{"verdict":"DROPPED"}"#);
//! ```

mod newer;
mod response_json;
mod timestamp;
mod unknown;

pub(crate) use newer::forget_unknown_values;
pub use timestamp::Timestamp;
pub use unknown::unknown_field;

/// Everything that the generated code needs no documentation for: the .proto files have it.
macro_rules! generated {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, deprecated, rustdoc::all)]
            pub mod $name {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".serde.rs"));
            }
        )*
    };
}

generated! {
    /// Flows, and what selects them.
    flow;
    /// The service that serves flows.
    observer;
    /// Additions of Parallax.
    parallax;
    /// Nodes that a server knows of.
    peer;
    /// State of nodes, as a relay reports it.
    relay;
}

/// What observers and relays tell each other. It has no JSON form: no person reads it.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod feed {
    include!(concat!(env!("OUT_DIR"), "/feed.rs"));
}

/// All .proto files as a serialized `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.bin"));
