//! Metrics: those of flows (how many, dropped why, to where, how quick), and who gets any.
//!
//! A [`flow_metrics::FlowMetrics`] takes batches as they come into a log. Each metric ([`config`] says which there are, and
//! with which labels) looks at the columns it needs, and counts rows by a small key: numbers, and the number of the row's
//! context ([`context`]), which is the same for all metrics that want the same labels. Only what differs within the batch is
//! turned into text, and added to its [`series`]. These are bounded: beyond a limit all others are one, and those that
//! nothing is added to for a while go. A series keeps one flow of a trace as an example ([`exemplar`]).
//!
//! [`providers`] give these, and whatever else a program has instruments for, to Prometheus ([`page`]) and to a collector of
//! OpenTelemetry ([`otlp`]).
//!
//! ```
//! use flow::api::flow::{Flow, Verdict};
//! use flow::from_api::FlowReader;
//! use metrics::config::parse;
//! use metrics::flow_metrics::{FlowMetrics, Limits};
//!
//! let mut metrics = FlowMetrics::new(&parse("drop:sourceContext=namespace|ip")?, Limits::default());
//! let dropped = Flow { verdict: Verdict::Dropped.into(), ..Flow::default() };
//! let batch = FlowReader::default().batch([&dropped]).expect("a flow");
//! metrics.observe(&batch, 0);
//! assert_eq!(metrics.family("hubble_drop").expect("it is on").total(), 1);
//! # Ok::<(), metrics::config::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

mod accept;
pub mod config;
pub mod context;
pub mod exemplar;
pub mod flow_metrics;
pub mod instruments;
mod metric;
pub mod open_metrics;
pub mod otlp;
pub mod page;
mod process;
pub mod providers;
pub mod resource;
mod rows;
pub mod series;
mod tally;
