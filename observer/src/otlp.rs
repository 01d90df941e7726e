//! OTLP: what goes to a collector of OpenTelemetry, and the way there. Metrics are in [`crate::metrics`], flows as log
//! records in [`logs`].
//!
//! The way is that of all connections of this program, so that certificates are told what is wrong with them; what is
//! sent, and the variables `OTEL_EXPORTER_OTLP_…` for headers, time-outs and compression, are OpenTelemetry's own crate.

pub mod collector;
mod http_client;
pub mod logs;
pub mod resource;
