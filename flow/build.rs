//! Generates the API from the .proto files: messages, services, their JSON form and their descriptors.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

const FILES: [&str; 6] = [
    "feed/feed.proto",
    "flow/flow.proto",
    "observer/observer.proto",
    "parallax/parallax.proto",
    "peer/peer.proto",
    "relay/relay.proto",
];

/// Nobody writes requests to a file; the other two are in `src/api/response_json.rs`.
const WITHOUT_GENERATED_JSON: [&str; 3] = [
    ".observer.GetFlowsRequest",
    ".observer.GetFlowsResponse",
    ".observer.ExportEvent",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    let encoded = descriptors.encode_to_vec();
    fs::write(out.join("api.bin"), &encoded)?;

    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf.Timestamp", "crate::api::Timestamp")
        .extern_path(".google.protobuf.BoolValue", "::pbjson_types::BoolValue")
        .extern_path(".google.protobuf.Int32Value", "::pbjson_types::Int32Value")
        .extern_path(".google.protobuf.UInt32Value", "::pbjson_types::UInt32Value")
        .extern_path(".google.protobuf.Any", "::pbjson_types::Any")
        .extern_path(".google.protobuf.FieldMask", "::prost_types::FieldMask")
        .compile_fds(descriptors)?;

    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .ignore_unknown_enum_variants()
        .exclude(WITHOUT_GENERATED_JSON)
        .extern_path(".google.protobuf.Timestamp", "crate::api::Timestamp")
        .build(&[".flow", ".observer", ".parallax", ".peer", ".relay"])?;
    Ok(())
}
