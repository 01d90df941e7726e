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
use ::metrics::resource::Place;
use flow::batch::row_uuid;
use opentelemetry_sdk::Resource;

use crate::flow_logs::AllCounts;
use crate::otlp_logs::LogCounts;
use crate::serve::NodeState;
use flows::FlowMeter;
use otlp::Collector;

/// The observer of a node. The log's number is drawn at each start, as the id of an instance should be.
pub(crate) fn resource(version: &str, node: &str, log_id: u64) -> Resource {
    ::metrics::resource::resource("parallax-observer", version, Place::Node(node), row_uuid(log_id, 0))
}

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
        let mut providers = Providers::new(resource(version, &node.name, node.log.id()), collector)?;
        if let Some(flows) = &flows {
            providers.set_exemplars(flows.exemplars());
        }
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

    /// What became of flows that were to be log records becomes part of them.
    pub fn add_logs(&self, counts: &Arc<LogCounts>) {
        for provider in self.providers.iter() {
            counts.register(provider);
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
