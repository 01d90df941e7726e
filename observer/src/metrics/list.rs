//! The setting `--metrics`.

use std::fmt;
use std::str::FromStr;

use ::metrics::config::{ConfigError, MetricConfig, parse};

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
