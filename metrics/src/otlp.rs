//! What goes to a collector of OpenTelemetry, by OTLP over gRPC or HTTP.
//!
//! The way there is that of all connections of this program, so that certificates are told what is wrong with them; what
//! is sent, and the variables `OTEL_EXPORTER_OTLP_…` for headers, time-outs and compression, are OpenTelemetry's own crate.
//! Sums of metrics go on while a collector is away: what it gets next has everything. Nothing waits for it.

mod collector;
mod http_client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

pub use collector::{Collector, OtlpError, Protocol, Signal};

/// How often something was sent, and how often that failed.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    pub(crate) sent: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// Sends, and counts how it goes.
#[derive(Debug)]
pub(crate) struct Counted {
    exporter: MetricExporter,
    exports: Arc<Exports>,
}

impl Counted {
    /// What sends to a collector, and how it goes. Nothing is connected yet.
    ///
    /// # Errors
    /// If the variables of OpenTelemetry say what can't be.
    pub(crate) fn to(collector: &Collector) -> Result<(Self, Arc<Exports>), OtlpError> {
        let exporter = collector.metric_exporter()?;
        let exports = Arc::<Exports>::default();
        let counted = Arc::clone(&exports);
        Ok((Self { exporter, exports }, counted))
    }
}

impl PushMetricExporter for Counted {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let done = self.exporter.export(metrics).await;
        match &done {
            Ok(()) => {
                self.exports.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                // Every one would be too many lines: the metric has the number.
                if self.exports.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!("metrics don't reach the collector, and are sent again later: {error}");
                }
            }
        }
        done
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
