//! What the observer tells as metrics: of its own work (events by source and outcome, what was lost where, the log, the
//! table of connections, the history), and of the flows.
//!
//! Those of its work are instruments of OpenTelemetry that are read when somebody asks, from the same numbers as
//! `ServerStatus`. Those of flows are counted as flows come ([`flows`]), if anybody is to see them.

pub mod flows;
pub mod list;
mod own;
mod page;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{Instrument, InstrumentKind, SdkMeterProvider, Stream};

pub use page::Page;

use crate::serve::NodeState;
use flows::FlowMeter;

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
    /// They don't fit together, which would be a fault of this program.
    #[error("cannot prepare metrics: {0}")]
    Sdk(#[from] OTelSdkError),
}

/// The metrics of an observer.
#[derive(Debug)]
pub struct Metrics {
    /// Reads instruments for as long as it lives.
    provider: SdkMeterProvider,
    registry: prometheus::Registry,
    /// Counts for as long as it lives.
    _flows: Option<FlowMeter>,
}

impl Metrics {
    /// Metrics of a node, and of its flows if they are counted.
    ///
    /// # Errors
    /// If they don't fit together.
    pub fn new(node: &Arc<NodeState>, flows: Option<FlowMeter>) -> Result<Self, MetricsError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let version = node.version.trim_start_matches("parallax ").to_owned();
        // Names of OpenTelemetry's semantic conventions for resources.
        let resource = Resource::builder()
            .with_service_name("parallax-observer")
            .with_attribute(opentelemetry::KeyValue::new("service.version", version))
            .with_attribute(opentelemetry::KeyValue::new("host.name", node.name.clone()))
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(resource)
            .with_view(|instrument: &Instrument| {
                let most = match instrument.kind() {
                    // What is read from elsewhere is bounded there.
                    InstrumentKind::Histogram => HISTOGRAMS,
                    _ => SERIES,
                };
                Stream::builder().with_cardinality_limit(most).build().ok()
            })
            .build();
        own::register(&provider, node);
        if let Some(flows) = &flows {
            flows.register(&provider);
        }
        Ok(Self {
            provider,
            registry,
            _flows: flows,
        })
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
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!("metrics did not end in order: {error}");
        }
    }
}
