//! What the observer tells as metrics: of its own work (events by source and outcome, what was lost where, the log, the
//! table of connections, the history), and of the flows.
//!
//! Those of its work are instruments of OpenTelemetry that are read when somebody asks, from the same numbers as
//! `ServerStatus`. Those of flows are counted as flows come ([`flows`]), if anybody is to see them.

pub mod flows;
pub mod list;
mod own;

use std::sync::Arc;

pub use ::metrics::otlp;
pub use ::metrics::page::Page;
pub use ::metrics::providers::{MetricsError, Providers};

use crate::flow_logs::AllCounts;
use crate::serve::NodeState;
use flows::FlowMeter;
use otlp::Collector;

/// The metrics of an observer.
#[derive(Debug)]
pub struct Metrics {
    providers: Providers,
    /// Counts for as long as it lives.
    _flows: Option<FlowMeter>,
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
        let version = node.version.trim_start_matches("parallax ");
        let providers = Providers::new("parallax-observer", version, &node.name, collector)?;
        for provider in providers.iter() {
            own::register(provider, node);
            if let Some(flows) = &flows {
                flows.register(provider);
            }
        }
        Ok(Self {
            providers,
            _flows: flows,
        })
    }

    /// What was written to flow logs becomes part of them.
    pub fn add_flow_logs(&self, counts: &AllCounts) {
        for provider in self.providers.iter() {
            own::register_flow_logs(provider, counts);
        }
    }

    /// Sends them to the collector now, as [`Providers::send`].
    ///
    /// # Errors
    /// If the collector doesn't get them.
    pub fn send(&self) -> Result<(), MetricsError> {
        self.providers.send()
    }

    /// All of them as Prometheus reads them (its text format 0.0.4).
    #[must_use]
    pub fn text(&self) -> String {
        self.providers.text()
    }
}

impl AsRef<Providers> for Metrics {
    fn as_ref(&self) -> &Providers {
        &self.providers
    }
}
