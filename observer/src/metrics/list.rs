//! The setting `--metrics`.

use std::fmt;
use std::str::FromStr;

use ::metrics::config::{ConfigError, MetricConfig, parse};

/// What is counted if nobody says it: enough for the dashboards, with labels that there are few of.
pub const DEFAULT: &str = "dns:labelsContext=source_namespace,destination_namespace \
     drop:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload \
     drop-reason:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload,traffic_direction \
     flow:labelsContext=source_namespace,destination_namespace \
     flows-to-world:labelsContext=source_namespace \
     icmp:labelsContext=source_namespace,destination_namespace \
     policy:labelsContext=source_namespace,destination_namespace \
     port-distribution:labelsContext=source_namespace,destination_namespace \
     tcp:labelsContext=source_namespace,destination_namespace \
     connection:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload \
     traffic:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload";

/// Metrics as text, and what the text says.
#[derive(Clone, Debug)]
pub struct MetricList {
    text: String,
    metrics: Vec<MetricConfig>,
}

impl MetricList {
    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &[MetricConfig] {
        &self.metrics
    }
}

impl FromStr for MetricList {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let metrics = match text {
            "none" => Vec::new(),
            text => parse(text)?,
        };
        Ok(Self {
            text: text.to_owned(),
            metrics,
        })
    }
}

impl fmt::Display for MetricList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
