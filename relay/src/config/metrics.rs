//! Settings of metrics: who gets them.

use std::net::SocketAddr;

use clap::Args;
use metrics::otlp::Protocol;

/// Settings of metrics.
#[derive(Debug, Args)]
pub struct MetricsSettings {
    /// Serve metrics for Prometheus at this address, under /metrics: 127.0.0.1:9966 [default: nowhere]
    #[arg(long, value_name = "ADDRESS", env = "PARALLAX_RELAY_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// Send metrics to this collector of OpenTelemetry: http://HOST:4317, or https. The variables OTEL_EXPORTER_OTLP_… are
    /// respected, and OTEL_EXPORTER_OTLP_ENDPOINT in place of this
    #[arg(long, value_name = "URL", env = "PARALLAX_RELAY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// How the collector is spoken to: grpc, or http/protobuf (usually on port 4318) [default: grpc]
    #[arg(long, value_name = "PROTOCOL", env = "PARALLAX_RELAY_OTLP_PROTOCOL")]
    pub otlp_protocol: Option<Protocol>,
}
