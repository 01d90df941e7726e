//! Metrics for a collector of OpenTelemetry, and how sending to it goes.
//!
//! Sums go on while a collector is away: what it gets next has everything. Nothing waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};

use crate::otlp::collector::{Collector, OtlpError};
use crate::otlp::logs::LogCounts;

/// How often something was sent, and how often that failed.
#[derive(Debug, Default)]
pub(super) struct Exports {
    pub(super) sent: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// Sends, and counts how it goes.
#[derive(Debug)]
pub(super) struct Counted {
    exporter: MetricExporter,
    exports: Arc<Exports>,
}

impl Counted {
    /// What sends to a collector, and how it goes. Nothing is connected yet.
    ///
    /// # Errors
    /// If the variables of OpenTelemetry say what can't be.
    pub(super) fn to(collector: &Collector) -> Result<(Self, Arc<Exports>), OtlpError> {
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

/// What became of flows that were to be log records.
pub(super) fn register_logs(provider: &SdkMeterProvider, counts: &Arc<LogCounts>) {
    let meter = provider.meter("parallax");
    let instrument = |name, unit, doc, read: fn(&LogCounts) -> Vec<(&'static str, u64)>| {
        let counts = Arc::clone(counts);
        meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(doc)
            .with_callback(move |observer| {
                for (outcome, count) in read(&counts) {
                    observer.observe(count, &[KeyValue::new("outcome", outcome)]);
                }
            })
            .build();
    };
    instrument(
        "parallax.otlp.log_records",
        "{record}",
        "Flows that were to be log records at the collector, by what became of them.",
        LogCounts::records,
    );
    instrument(
        "parallax.otlp.log_exports",
        "{export}",
        "How often log records were sent to the collector.",
        LogCounts::exports,
    );
}
