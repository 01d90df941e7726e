//! Which metrics there are, with which labels: as text in Hubble's form, or as a file in the form of its dynamic metrics.
//!
//! ```
//! use metrics::config::{MetricName, parse};
//!
//! let metrics = parse("dns:query;ignoreAAAA drop:sourceContext=namespace|ip;labelsContext=source_pod,traffic_direction")?;
//! assert_eq!(metrics[0].name, MetricName::Dns);
//! assert_eq!(metrics[1].context.labels(), ["source", "source_pod", "traffic_direction"]);
//! assert!(parse("drops").unwrap_err().to_string().contains("did you mean `drop`?"));
//! # Ok::<(), metrics::config::ConfigError>(())
//! ```

use std::sync::Arc;

use flow::api::flow::FlowFilter;
use flow::filter::{FilterError, Filters};
use serde::Deserialize;

use crate::context::{Context, Naming, PROPERTIES};

/// What is counted if nobody says it: enough for the dashboards, with labels that there are few of.
pub const DEFAULT: &str = "dns:labelsContext=source_namespace,destination_namespace \
     drop:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload \
     drop-reason:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload,traffic_direction \
     flow:labelsContext=source_namespace,destination_namespace \
     flows-to-world:labelsContext=source_namespace \
     httpV2:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload \
     icmp:labelsContext=source_namespace,destination_namespace \
     policy:labelsContext=source_namespace,destination_namespace \
     port-distribution:labelsContext=source_namespace,destination_namespace \
     tcp:labelsContext=source_namespace,destination_namespace \
     connection:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload \
     traffic:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload";

/// Why metrics can't be as they are wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such metric.
    #[error("there is no metric `{name}`{}; there are: {}", suggestion(.name, MetricName::ALL.iter().map(|(name, _)| *name)), names(MetricName::ALL.iter().map(|(name, _)| *name)))]
    Metric {
        /// What was asked for.
        name: String,
    },
    /// The metric hasn't this option.
    #[error("metric {metric} has no option `{option}`{}; it has: {}", suggestion(.option, metric.options()), names(metric.options()))]
    Option {
        /// The metric.
        metric: MetricName,
        /// What was asked for.
        option: String,
    },
    /// The option can't have this value.
    #[error("metric {metric}: {option} can't be `{value}`{}; it can be: {}", suggestion(.value, .valid.iter().copied()), names(.valid.iter().copied()))]
    Value {
        /// The metric.
        metric: MetricName,
        /// The option.
        option: String,
        /// What was asked for.
        value: String,
        /// What would be right.
        valid: Vec<&'static str>,
    },
    /// The same metric twice, or both of two that are the same.
    #[error("metric {metric} is asked for twice; put its options together")]
    Twice {
        /// The metric.
        metric: MetricName,
    },
    /// A filter of a file can't be used.
    #[error("metric {metric}: {why}")]
    Filter {
        /// The metric.
        metric: MetricName,
        /// What is wrong.
        why: FilterError,
    },
    /// The file is not what it should be.
    #[error("{0}")]
    File(String),
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// What is more alike than this is suggested; 1 is the same.
const ALIKE: f64 = 0.8;

fn suggestion<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> String {
    let alike = names.map(|name| (strsim::jaro_winkler(wrong, name), name));
    match alike.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((alike, name)) if alike > ALIKE => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

macro_rules! metrics {
    ($($name:ident $text:literal $doc:literal [$($option:literal),*];)*) => {
        /// A metric that can be asked for; some are several families of series.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MetricName { $(#[doc = $doc] $name,)* }

        impl MetricName {
            /// All of them with their names in settings.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($text, Self::$name),)*];

            /// Its name in settings.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Options of its own.
            fn own_options(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($option),*],)* }
            }
        }
    };
}

metrics! {
    Dns "dns" "DNS queries and answers." ["query", "ignoreAAAA"];
    Drop "drop" "Dropped packets, by the API's reason." [];
    Flow "flow" "All flows." [];
    FlowsToWorld "flows-to-world" "Flows to where there is no endpoint." ["any-drop", "port", "syn-only"];
    Http "http" "HTTP requests and responses." [];
    HttpV2 "httpV2" "HTTP requests, counted when they are answered." ["exemplars"];
    Icmp "icmp" "ICMP messages." [];
    Policy "policy" "Verdicts of policies." [];
    PortDistribution "port-distribution" "Flows by the port that is asked." [];
    Tcp "tcp" "TCP flags." [];
    DropReason "drop-reason" "Dropped packets, by the kernel's reason and function." [];
    Connection "connection" "What becomes of connections: established, refused, timed out, reset, dropped." [];
    Traffic "traffic" "Packets and bytes at each kind of place." [];
}

impl std::fmt::Display for MetricName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.text())
    }
}

/// Options that all metrics have.
const CONTEXT_OPTIONS: [&str; 7] = [
    "sourceContext",
    "sourceEgressContext",
    "sourceIngressContext",
    "destinationContext",
    "destinationEgressContext",
    "destinationIngressContext",
    "labelsContext",
];

impl MetricName {
    fn by_text(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, metric)| *metric)
    }

    fn options(self) -> impl Iterator<Item = &'static str> {
        CONTEXT_OPTIONS.into_iter().chain(self.own_options().iter().copied())
    }
}

/// A metric as it is wanted.
#[derive(Clone, Debug)]
pub struct MetricConfig {
    /// Which one.
    pub name: MetricName,
    /// Its labels besides its own.
    pub context: Context,
    /// Its own options that are on.
    pub options: Vec<&'static str>,
    /// The flows that it is about; all if there are none.
    pub filters: Option<Arc<Filters>>,
    /// The filters as they were given, to tell whether they have changed.
    pub filter_texts: (Vec<FlowFilter>, Vec<FlowFilter>),
}

impl PartialEq for MetricConfig {
    fn eq(&self, other: &Self) -> bool {
        self.has_series_of(other) && self.filter_texts == other.filter_texts
    }
}

impl MetricConfig {
    fn new(name: MetricName) -> Self {
        Self {
            name,
            context: Context::default(),
            options: Vec::new(),
            filters: None,
            filter_texts: Default::default(),
        }
    }

    /// Whether series of the other are series of this one, so that they can go on.
    #[must_use]
    pub fn has_series_of(&self, other: &Self) -> bool {
        self.name == other.name && self.context == other.context && self.options == other.options
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.contains(&option)
    }

    fn set(&mut self, option: &str, values: &[&str]) -> Result<(), ConfigError> {
        let wrong = |value: &str, valid: Vec<&'static str>| ConfigError::Value {
            metric: self.name,
            option: option.to_owned(),
            value: value.to_owned(),
            valid,
        };
        let namings = || {
            let naming = |value: &&str| {
                let found = Naming::ALL.iter().find(|(name, _)| name == value);
                found
                    .map(|(_, naming)| *naming)
                    .ok_or_else(|| wrong(value, Naming::ALL.iter().map(|(name, _)| *name).collect()))
            };
            values.iter().map(naming).collect::<Result<Vec<_>, _>>()
        };
        match option {
            "sourceContext" => self.context.source.both = namings()?,
            "sourceEgressContext" => self.context.source.egress = namings()?,
            "sourceIngressContext" => self.context.source.ingress = namings()?,
            "destinationContext" => self.context.destination.both = namings()?,
            "destinationEgressContext" => self.context.destination.egress = namings()?,
            "destinationIngressContext" => self.context.destination.ingress = namings()?,
            "labelsContext" => {
                let place = |value: &&str| {
                    let found = PROPERTIES.iter().position(|name| name == value);
                    found.ok_or_else(|| wrong(value, PROPERTIES.to_vec()))
                };
                let mut places = values.iter().map(place).collect::<Result<Vec<_>, _>>()?;
                places.sort_unstable();
                places.dedup();
                self.context.properties = places;
            }
            own => {
                let known = self.name.own_options().iter().find(|known| **known == own);
                let known = known.ok_or_else(|| ConfigError::Option {
                    metric: self.name,
                    option: option.to_owned(),
                })?;
                match values {
                    [] | ["true"] => self.options.push(known),
                    ["false"] => {}
                    [value, ..] => return Err(wrong(value, vec!["true", "false"])),
                }
            }
        }
        Ok(())
    }
}

/// Reads metrics as Hubble's setting has them: names, separated by spaces or commas, each with options after a colon.
///
/// # Errors
/// The first thing that is wrong, and what would be right.
pub fn parse(text: &str) -> Result<Vec<MetricConfig>, ConfigError> {
    let mut metrics = Vec::new();
    for item in items(text) {
        let (name, options) = item.split_once(':').unwrap_or((item, ""));
        let name = MetricName::by_text(name).ok_or_else(|| ConfigError::Metric { name: name.to_owned() })?;
        let mut metric = MetricConfig::new(name);
        for option in options.split(';').filter(|option| !option.is_empty()) {
            let (option, value) = option.split_once('=').unwrap_or((option, ""));
            let values: Vec<&str> = value.split(['|', ',']).filter(|value| !value.is_empty()).collect();
            metric.set(option, &values)?;
        }
        metrics.push(metric);
    }
    checked(metrics)
}

/// The metrics in a text. A comma also separates values of `labelsContext`: what follows it is a metric if it is called
/// like one, or if it has options.
fn items(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    for word in text.split_whitespace() {
        let mut start = 0;
        for (comma, _) in word.match_indices(',') {
            let next = word[comma + 1..].split([':', ',', ';']).next().unwrap_or_default();
            let in_list = word[start..comma].contains("labelsContext=") && PROPERTIES.contains(&next);
            let is_typo_in_list = word[start..comma].contains("labelsContext=") && next.contains('_');
            if !in_list && !is_typo_in_list {
                items.push(&word[start..comma]);
                start = comma + 1;
            }
        }
        items.push(&word[start..]);
    }
    items.retain(|item| !item.is_empty());
    items
}

fn checked(metrics: Vec<MetricConfig>) -> Result<Vec<MetricConfig>, ConfigError> {
    for (place, metric) in metrics.iter().enumerate() {
        // Both have the family http_requests.
        let same = |other: &MetricConfig| {
            other.name == metric.name || (metric.name == MetricName::HttpV2 && other.name == MetricName::Http)
        };
        if metrics[..place]
            .iter()
            .any(|other| same(other) || (metric.name == MetricName::Http && other.name == MetricName::HttpV2))
        {
            return Err(ConfigError::Twice { metric: metric.name });
        }
    }
    Ok(metrics)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    metrics: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    context_options: Vec<ContextOption>,
    #[serde(default)]
    include_filters: Vec<FlowFilter>,
    #[serde(default)]
    exclude_filters: Vec<FlowFilter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextOption {
    name: String,
    #[serde(default)]
    values: Vec<String>,
}

/// Reads metrics from a file: YAML, `metrics: [{name, contextOptions: [{name, values}], includeFilters, excludeFilters}]`.
///
/// # Errors
/// As [`parse`], and if it is no such file.
pub fn read(yaml: &str) -> Result<Vec<MetricConfig>, ConfigError> {
    let file: File = serde_saphyr::from_str(yaml).map_err(|error| ConfigError::File(error.to_string()))?;
    let mut metrics = Vec::new();
    for entry in file.metrics {
        let name = MetricName::by_text(&entry.name).ok_or(ConfigError::Metric { name: entry.name })?;
        let mut metric = MetricConfig::new(name);
        for option in &entry.context_options {
            let values: Vec<&str> = option.values.iter().map(String::as_str).collect();
            metric.set(&option.name, &values)?;
        }
        if !entry.include_filters.is_empty() || !entry.exclude_filters.is_empty() {
            let filters = Filters::compile(&entry.include_filters, &entry.exclude_filters);
            metric.filters = Some(Arc::new(
                filters.map_err(|why| ConfigError::Filter { metric: name, why })?,
            ));
            metric.filter_texts = (entry.include_filters, entry.exclude_filters);
        }
        metrics.push(metric);
    }
    checked(metrics)
}

#[cfg(test)]
mod tests;
