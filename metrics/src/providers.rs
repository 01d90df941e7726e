//! Who gets the metrics of a program: Prometheus, and a collector of OpenTelemetry if there is one. Each has a provider of
//! its own, with which an instrument is registered.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream, StreamBuilder};

use crate::open_metrics::{self, Shown};
use crate::otlp::{Collector, Counted, Exports, OtlpError};
use crate::process;

/// Series of one metric at most; `--metrics-series` allows fewer.
const SERIES: usize = 1 << 20;
/// Histograms of one metric at most, as they are never forgotten.
const HISTOGRAMS: usize = 5000;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address can't be listened on.
    #[error("--metrics-listen: cannot listen on {address}: {why}; choose another address or port")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// They can't be sent.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// They don't fit together, which would be a fault of this program.
    #[error("cannot prepare metrics: {0}")]
    Sdk(#[from] OTelSdkError),
}

/// Histograms whose buckets grow: 160 at most, from the smallest to the largest value that there is.
const EXPONENTIAL: Aggregation = Aggregation::Base2ExponentialHistogram {
    max_size: 160,
    max_scale: 20,
    record_min_max: true,
};

/// How an instrument is kept: with so many series at most.
fn bounded(instrument: &Instrument) -> StreamBuilder {
    Stream::builder().with_cardinality_limit(match instrument.kind() {
        // What is read from elsewhere is bounded there.
        InstrumentKind::Histogram => HISTOGRAMS,
        _ => SERIES,
    })
}

/// The providers of a program. They read instruments for as long as they live.
#[derive(Debug)]
pub struct Providers {
    all: Vec<SdkMeterProvider>,
    registry: prometheus::Registry,
    exemplars: Exemplars,
}

/// Reads exemplars when somebody asks.
struct Exemplars(Box<dyn Fn() -> Shown + Send + Sync>);

impl fmt::Debug for Exemplars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Exemplars")
    }
}

impl Providers {
    /// For Prometheus, and for a collector if there is one, of who [`resource`](crate::resource) says. What the process costs
    /// is registered with them.
    ///
    /// # Errors
    /// If they don't fit together.
    pub fn new(resource: Resource, collector: Option<&Collector>) -> Result<Self, MetricsError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let mut all = vec![
            SdkMeterProvider::builder()
                .with_reader(exporter)
                .with_resource(resource.clone())
                .with_view(|instrument: &Instrument| bounded(instrument).build().ok())
                .build(),
        ];
        let mut exports = None;
        if let Some(collector) = collector {
            let (exporter, counted) = Counted::to(collector)?;
            exports = Some(counted);
            let provider = SdkMeterProvider::builder()
                .with_periodic_exporter(exporter)
                .with_resource(resource)
                .with_view(|instrument: &Instrument| {
                    let stream = bounded(instrument);
                    // Prometheus' text has no such histograms; OTLP has.
                    match instrument.kind() {
                        InstrumentKind::Histogram => stream.with_aggregation(EXPONENTIAL).build().ok(),
                        _ => stream.build().ok(),
                    }
                });
            all.push(provider.build());
        }
        for provider in &all {
            process::register(provider);
            if let Some(exports) = &exports {
                register_exports(provider, exports);
            }
        }
        Ok(Self {
            all,
            registry,
            exemplars: Exemplars(Box::new(Shown::default)),
        })
    }

    /// Where exemplars come from.
    pub fn set_exemplars(&mut self, read: impl Fn() -> Shown + Send + Sync + 'static) {
        self.exemplars = Exemplars(Box::new(read));
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &SdkMeterProvider> {
        self.all.iter()
    }

    /// Sends metrics to the collector now, if there is one. It waits until that is done, and must not be called where
    /// nobody may wait.
    ///
    /// # Errors
    /// If the collector doesn't get them.
    pub fn send(&self) -> Result<(), MetricsError> {
        for provider in &self.all {
            provider.force_flush()?;
        }
        Ok(())
    }

    /// All metrics as Prometheus reads them (its text format 0.0.4).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::warn!("cannot write metrics as text: {error}");
        }
        text
    }

    /// All metrics as OpenMetrics 1.0, with a flow of a trace as example where a series has counted one.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        open_metrics::text(&self.registry.gather(), &(self.exemplars.0)())
    }
}

impl AsRef<Self> for Providers {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Providers {
    fn drop(&mut self) {
        for provider in &self.all {
            if let Err(error) = provider.shutdown() {
                tracing::debug!("metrics did not end in order: {error}");
            }
        }
    }
}

/// How sending to a collector goes.
fn register_exports(provider: &SdkMeterProvider, exports: &Arc<Exports>) {
    let exports = Arc::clone(exports);
    provider
        .meter("parallax")
        .u64_observable_counter("parallax.otlp.exports")
        .with_unit("{export}")
        .with_description("How often metrics were sent to the collector.")
        .with_callback(move |observer| {
            let outcome = |name| [KeyValue::new("outcome", name)];
            observer.observe(exports.sent.load(Ordering::Relaxed), &outcome("sent"));
            observer.observe(exports.failed.load(Ordering::Relaxed), &outcome("failed"));
        })
        .build();
}
