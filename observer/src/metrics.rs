//! What the observer tells as metrics: of its own work (events by source and outcome, what was lost where, the log, the
//! table of connections, the history), and of the flows.
//!
//! Those of its work are instruments of OpenTelemetry that are read when somebody asks, from the same numbers as
//! `ServerStatus`. Those of flows are counted as flows come ([`flows`]), if anybody is to see them.

mod accept;
pub mod flows;
pub mod list;
mod open_metrics;
mod otlp;
mod own;
mod page;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream, StreamBuilder};

pub use page::Page;

use crate::flow_logs::AllCounts;
use crate::otlp::collector::{Collector, OtlpError};
use crate::otlp::logs::LogCounts;
use crate::otlp::resource::resource;
use crate::serve::NodeState;
use flows::FlowMeter;
use otlp::Counted;

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

/// The metrics of an observer.
#[derive(Debug)]
pub struct Metrics {
    /// They read instruments for as long as they live.
    providers: Vec<SdkMeterProvider>,
    registry: prometheus::Registry,
    /// Counts for as long as it lives.
    flows: Option<FlowMeter>,
}

impl Metrics {
    /// Metrics of a node, and of its flows if they are counted, for Prometheus and for a collector if there is one.
    ///
    /// # Errors
    /// If they don't fit together.
    pub fn new(
        node: &Arc<NodeState>,
        flows: Option<FlowMeter>,
        collector: Option<&Collector>,
    ) -> Result<Self, MetricsError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let resource = resource(&node.name, &node.version, node.log.id());
        let mut providers = vec![
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
            providers.push(provider.build());
        }
        for provider in &providers {
            own::register(provider, node);
            if let Some(flows) = &flows {
                flows.register(provider);
            }
            if let Some(exports) = &exports {
                own::register_exports(provider, exports);
            }
        }
        Ok(Self {
            providers,
            registry,
            flows,
        })
    }

    /// What was written to flow logs becomes part of them.
    pub fn add_flow_logs(&self, counts: &AllCounts) {
        for provider in &self.providers {
            own::register_flow_logs(provider, counts);
        }
    }

    /// What became of flows that were to be log records becomes part of them.
    pub fn add_logs(&self, counts: &Arc<LogCounts>) {
        for provider in &self.providers {
            otlp::register_logs(provider, counts);
        }
    }

    /// Sends them to the collector now, if there is one. It waits until that is done, and must not be called where nobody
    /// may wait.
    ///
    /// # Errors
    /// If the collector doesn't get them.
    pub fn send(&self) -> Result<(), MetricsError> {
        for provider in &self.providers {
            provider.force_flush()?;
        }
        Ok(())
    }

    /// All of them as Prometheus reads them (its text format 0.0.4).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::warn!("cannot write metrics as text: {error}");
        }
        text
    }

    /// All of them as OpenMetrics 1.0, with a flow of a trace as example where a series has counted one.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        let exemplars = self.flows.as_ref().map(FlowMeter::exemplars).unwrap_or_default();
        open_metrics::text(&self.registry.gather(), &exemplars)
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        for provider in &self.providers {
            if let Err(error) = provider.shutdown() {
                tracing::debug!("metrics did not end in order: {error}");
            }
        }
    }
}
