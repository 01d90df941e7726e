//! The metrics, each in a file: which rows it counts, by what, and what that is called.

mod connection;
mod dns;
mod drop;
mod drop_reason;
mod flow;
mod flows_to_world;
mod http;
mod icmp;
mod policy;
mod port_distribution;
mod tcp;
mod traffic;

use ::flow::schema::Column;
use arrow_buffer::BooleanBuffer;

use crate::config::{MetricConfig, MetricName};
use crate::context::Pairs;
use crate::rows::Rows;
use crate::series::FamilyInfo;
use crate::tally::Tally;

/// A metric.
pub(crate) trait Metric: Send + Sync {
    /// The families that it consists of.
    fn families(&self) -> &'static [FamilyInfo];

    /// Counts what a row adds. `context` is the number of the row's labels.
    fn count(&self, rows: &Rows<'_>, row: usize, context: u32, tally: &mut Tally);

    /// The values of its own labels for a key that [`Metric::count`] has used.
    fn labels(&self, rows: &Rows<'_>, family: u8, key: u64, out: &mut Vec<String>);

    /// The series that these labels stand for, if they are several.
    fn spread(&self, _family: u8, labels: Vec<String>) -> Vec<Vec<String>> {
        vec![labels]
    }

    /// Whether the rows that it counts travel back: then their source is the destination of what is counted.
    fn swaps_ends(&self) -> bool {
        false
    }
}

/// Counts the rows of a batch, apart by who talks to whom if there are pairs.
pub(crate) fn count(
    metric: &dyn Metric,
    rows: &Rows<'_>,
    wanted: Option<&BooleanBuffer>,
    pairs: Option<&Pairs>,
) -> Tally {
    let mut tally = Tally::default();
    let traces = rows.batch.text(Column::TraceId);
    let mut count = |row| {
        tally.traced = traces.and_then(|traces| traces.get(row)).map(|_| row);
        metric.count(rows, row, pairs.map_or(0, |pairs| pairs.of_row(row)), &mut tally);
    };
    match wanted {
        None => (0..rows.count()).for_each(&mut count),
        Some(wanted) => wanted.set_indices().for_each(&mut count),
    }
    tally
}

/// The metric of a configuration.
pub(crate) fn of(config: &MetricConfig) -> Box<dyn Metric> {
    match config.name {
        MetricName::Dns => match config.has("query") {
            true => Box::new(dns::DnsByQuery(dns::Dns::new(config.has("ignoreAAAA")))),
            false => Box::new(dns::Dns::new(config.has("ignoreAAAA"))),
        },
        MetricName::Drop => Box::new(drop::Drop),
        MetricName::Flow => Box::new(flow::Flow),
        MetricName::FlowsToWorld => {
            let counted = flows_to_world::FlowsToWorld {
                any_drop: config.has("any-drop"),
                syn_only: config.has("syn-only"),
            };
            match config.has("port") {
                true => Box::new(flows_to_world::ByPort(counted)),
                false => Box::new(counted),
            }
        }
        MetricName::Http => Box::new(http::Http),
        MetricName::HttpV2 => Box::new(http::HttpV2),
        MetricName::Icmp => Box::new(icmp::Icmp),
        MetricName::Policy => Box::new(policy::Policy),
        MetricName::PortDistribution => Box::new(port_distribution::PortDistribution),
        MetricName::Tcp => Box::new(tcp::Tcp),
        MetricName::DropReason => Box::new(drop_reason::DropReason),
        MetricName::Connection => Box::new(connection::Connection),
        MetricName::Traffic => Box::new(traffic::Traffic),
    }
}

/// A family that counts.
const fn counter(
    name: &'static str,
    help: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
) -> FamilyInfo {
    FamilyInfo {
        name,
        help,
        unit,
        labels,
        is_histogram: false,
    }
}

/// A family of times in seconds.
const fn seconds(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> FamilyInfo {
    FamilyInfo {
        name,
        help,
        unit: "s",
        labels,
        is_histogram: true,
    }
}

/// Puts small numbers into one key, the first one lowest; each has so many bits.
fn pack(parts: &[(u64, u32)]) -> u64 {
    let mut key = 0;
    let mut shift = 0;
    for (value, bits) in parts {
        key |= (value & ((1 << bits) - 1)) << shift;
        shift += bits;
    }
    key
}

/// Takes the lowest bits off a key.
fn take(key: &mut u64, bits: u32) -> u64 {
    let value = *key & ((1 << bits) - 1);
    *key >>= bits;
    value
}
