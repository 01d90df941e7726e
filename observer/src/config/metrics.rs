//! Settings of metrics and log records: who gets them, and which there are.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::duration_text;
use crate::log::FlowLog;
use crate::metrics::flows::{FlowMeter, FlowMeterError, Wanted};
use crate::metrics::list::MetricList;
use crate::metrics::otlp::{Collector, OtlpError, Protocol, Signal};
use crate::otlp_logs::Choice;

/// Settings of metrics.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MetricsSettings {
    /// Serve metrics for Prometheus at this address, under /metrics: 127.0.0.1:9965 [default: nowhere]
    #[arg(long, value_name = "ADDRESS", env = "PARALLAX_OBSERVER_METRICS_LISTEN", value_parser = metrics_address)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,

    /// Send metrics, and log records, to this collector of OpenTelemetry: http://HOST:4317, or https. The variables OTEL_EXPORTER_OTLP_… are
    /// respected, and OTEL_EXPORTER_OTLP_ENDPOINT in place of this
    #[arg(long, value_name = "URL", env = "PARALLAX_OBSERVER_OTLP_ENDPOINT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,

    /// How the collector is spoken to: grpc, or http/protobuf (usually on port 4318) [default: grpc]
    #[arg(long, value_name = "PROTOCOL", env = "PARALLAX_OBSERVER_OTLP_PROTOCOL")]
    #[serde(serialize_with = "protocol_text", skip_serializing_if = "Option::is_none")]
    pub otlp_protocol: Option<Protocol>,

    /// Send flows to the collector as log records: drops, or what a filter chooses ('{"verdict": ["DROPPED"]}', or a file
    /// of filters). docs/metrics.md explains it
    #[arg(
        long,
        value_name = "off|drops|FILTER|FILE",
        env = "PARALLAX_OBSERVER_OTLP_LOGS",
        default_value = "off"
    )]
    #[serde(serialize_with = "choice_text")]
    pub otlp_logs: Choice,

    /// Log records a second at most; further flows are counted
    #[arg(long, value_name = "NUMBER", env = "PARALLAX_OBSERVER_OTLP_LOGS_RATE", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub otlp_logs_rate: u32,

    /// Metrics of flows, if anybody gets metrics: 'drop:sourceContext=namespace|ip flow tcp', or none.
    /// docs/metrics.md has all of them [default: those of the dashboards]
    #[arg(
        long,
        value_name = "METRICS",
        env = "PARALLAX_OBSERVER_METRICS",
        default_value = ::metrics::config::DEFAULT,
        hide_default_value = true
    )]
    #[serde(serialize_with = "metrics_text")]
    pub metrics: MetricList,

    /// Metrics of flows from this file (YAML) in place of --metrics; read again when it changes
    #[arg(long, value_name = "FILE", env = "PARALLAX_OBSERVER_METRICS_CONFIG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_config: Option<PathBuf>,

    /// Series that a metric of flows may have; all others are one
    #[arg(long, value_name = "NUMBER", env = "PARALLAX_OBSERVER_METRICS_SERIES", default_value_t = 10_000,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub metrics_series: usize,

    /// Forget series that nothing was added to for so long
    #[arg(
        long,
        value_name = "DURATION",
        env = "PARALLAX_OBSERVER_METRICS_IDLE",
        default_value = "10m",
        value_parser = humantime::parse_duration
    )]
    #[serde(serialize_with = "duration_text")]
    pub metrics_idle: std::time::Duration,
}

fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let wrong =
        || format!("`{text}` is no address to listen on: give an address and a port (127.0.0.1:9965, [::1]:9965)");
    text.parse().map_err(|_| wrong())
}

fn protocol_text<S: serde::Serializer>(value: &Option<Protocol>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&value.unwrap_or_default())
}

fn choice_text<S: serde::Serializer>(value: &Choice, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn metrics_text<S: serde::Serializer>(value: &MetricList, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl MetricsSettings {
    /// Who gets that signal, if anybody.
    ///
    /// # Errors
    /// What is wrong with the collector's address or certificates.
    pub fn collector(&self, signal: Signal) -> Result<Option<Collector>, OtlpError> {
        Collector::new(signal, self.otlp_endpoint.as_deref(), self.otlp_protocol)
    }

    /// Begins to count flows.
    ///
    /// # Errors
    /// What is wrong with the file of metrics.
    pub fn flow_meter(&self, log: &Arc<FlowLog>) -> Result<FlowMeter, FlowMeterError> {
        let wanted = match &self.metrics_config {
            Some(path) => Wanted::File(path.clone()),
            None => Wanted::Fixed(self.metrics.metrics().to_vec()),
        };
        let limits = ::metrics::flow_metrics::Limits {
            series: self.metrics_series,
            idle: self.metrics_idle,
        };
        FlowMeter::start(wanted, limits, Arc::clone(log))
    }
}
