//! `FlowFilter`, compiled once and evaluated over whole columns.
//!
//! A new field of the filter is a line in `FlowMatch::compile` and a condition in one of the modules below. A condition
//! looks at each distinct text or endpoint of a batch once, and at plain numbers in one pass.

mod address;
mod cel;
mod column;
mod endpoint;
mod event;
mod http;
mod label;
mod name;
mod transport;

use arrow_buffer::BooleanBuffer;

use crate::api::flow::FlowFilter;
use crate::batch::FlowBatch;
use crate::schema::Column;

/// A filter that can't be used: which field, which value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field} filter `{value}`: {reason}")]
pub struct FilterError {
    /// The field of `FlowFilter`.
    pub field: &'static str,
    /// The value.
    pub value: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl FilterError {
    fn new(field: &'static str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field,
            value: value.into(),
            reason: reason.into(),
        }
    }
}

/// Marks the rows of a batch that fit. Rows outside of `candidates` may be marked or not: they don't count any more.
type Condition = Box<dyn Fn(&FlowBatch, &BooleanBuffer) -> BooleanBuffer + Send + Sync>;

/// Which flows a client wants.
///
/// ```
/// use flow::api::flow::{FlowFilter, Verdict};
/// use flow::builder::FlowBatchBuilder;
/// use flow::filter::Filters;
/// use flow::record::FlowRecord;
///
/// let dropped = FlowFilter { verdict: vec![Verdict::Dropped.into()], ..FlowFilter::default() };
/// let filters = Filters::compile(&[dropped], &[]).expect("a verdict is always valid");
/// let mut builder = FlowBatchBuilder::new(1, 0);
/// for verdict in [1, 2, 1] {
///     builder.append(&FlowRecord { verdict, ..Default::default() });
/// }
/// let batch = builder.seal().expect("three rows");
/// assert_eq!(filters.matches(&batch).set_indices().collect::<Vec<_>>(), [1]);
/// ```
#[derive(Default)]
pub struct Filters {
    allow: Vec<FlowMatch>,
    deny: Vec<FlowMatch>,
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Filters({} to allow, {} to deny)",
            self.allow.len(),
            self.deny.len()
        )
    }
}

impl Filters {
    /// A flow is wanted if any filter of `whitelist` matches, or there is none, and none of `blacklist` does.
    ///
    /// # Errors
    /// The first value that isn't valid.
    pub fn compile(whitelist: &[FlowFilter], blacklist: &[FlowFilter]) -> Result<Self, FilterError> {
        let all = |filters: &[FlowFilter]| filters.iter().map(FlowMatch::compile).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            allow: all(whitelist)?,
            deny: all(blacklist)?,
        })
    }

    /// Whether every flow is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Marks the rows that are wanted.
    #[must_use]
    pub fn matches(&self, batch: &FlowBatch) -> BooleanBuffer {
        let all = BooleanBuffer::new_set(batch.rows());
        let mut wanted = if self.allow.is_empty() {
            all.clone()
        } else {
            BooleanBuffer::new_unset(batch.rows())
        };
        for filter in &self.allow {
            wanted = &wanted | &filter.matches(batch, all.clone());
        }
        for filter in &self.deny {
            if wanted.count_set_bits() == 0 {
                break;
            }
            wanted = &wanted & &!&filter.matches(batch, wanted.clone());
        }
        wanted
    }
}

/// One `FlowFilter`: conditions that must all hold.
struct FlowMatch {
    conditions: Vec<Condition>,
}

impl FlowMatch {
    fn compile(filter: &FlowFilter) -> Result<Self, FilterError> {
        let mut conditions = Vec::new();
        let mut add = |condition: Option<Condition>| conditions.extend(condition);
        // From cheap and selective to dear.
        add(event::uuid(&filter.uuid)?);
        add(event::event_type(&filter.event_type));
        add(event::verdict(&filter.verdict));
        add(event::drop_reason(&filter.drop_reason_desc));
        add(event::reply(&filter.reply));
        add(event::encrypted(&filter.encrypted));
        add(event::traffic_direction(&filter.traffic_direction));
        add(event::ip_version(&filter.ip_version));
        add(event::ip_trace_id(&filter.ip_trace_id));
        add(event::trace_id(&filter.trace_id));
        add(event::interface(&filter.interface));
        add(transport::protocol(&filter.protocol)?);
        add(transport::port(Column::SourcePort, "source_port", &filter.source_port)?);
        add(transport::port(
            Column::DestinationPort,
            "destination_port",
            &filter.destination_port,
        )?);
        add(transport::tcp_flags(&filter.tcp_flags));
        add(address::address(Column::SourceIp, "source_ip", &filter.source_ip)?);
        add(address::address(
            Column::DestinationIp,
            "destination_ip",
            &filter.destination_ip,
        )?);
        add(address::address(
            Column::SourceIpXlated,
            "source_ip_xlated",
            &filter.source_ip_xlated,
        )?);
        add(endpoint::identity(Column::SourceIdentity, &filter.source_identity));
        add(endpoint::identity(
            Column::DestinationIdentity,
            &filter.destination_identity,
        ));
        add(endpoint::named(
            (Column::SourceNamespace, Column::SourcePod),
            "source_pod",
            &filter.source_pod,
        )?);
        add(endpoint::named(
            (Column::DestinationNamespace, Column::DestinationPod),
            "destination_pod",
            &filter.destination_pod,
        )?);
        add(endpoint::named(
            (Column::SourceServiceNamespace, Column::SourceService),
            "source_service",
            &filter.source_service,
        )?);
        add(endpoint::named(
            (Column::DestinationServiceNamespace, Column::DestinationService),
            "destination_service",
            &filter.destination_service,
        )?);
        add(endpoint::workload(Column::SourceWorkloads, &filter.source_workload));
        add(endpoint::workload(
            Column::DestinationWorkloads,
            &filter.destination_workload,
        ));
        add(endpoint::cluster(
            Column::SourceCluster,
            "source_cluster_name",
            &filter.source_cluster_name,
        )?);
        add(endpoint::cluster(
            Column::DestinationCluster,
            "destination_cluster_name",
            &filter.destination_cluster_name,
        )?);
        add(name::fqdn(Column::SourceNames, "source_fqdn", &filter.source_fqdn)?);
        add(name::fqdn(
            Column::DestinationNames,
            "destination_fqdn",
            &filter.destination_fqdn,
        )?);
        add(name::node(&filter.node_name)?);
        add(label::labels(
            Column::SourceLabels,
            "source_label",
            &filter.source_label,
        )?);
        add(label::labels(
            Column::DestinationLabels,
            "destination_label",
            &filter.destination_label,
        )?);
        add(label::labels(Column::NodeLabels, "node_labels", &filter.node_labels)?);
        http::check_event_types(filter)?;
        add(http::status(&filter.http_status_code)?);
        add(http::method(&filter.http_method));
        add(http::path(&filter.http_path)?);
        add(http::url(&filter.http_url)?);
        add(http::header(&filter.http_header));
        add(http::dns_query(&filter.dns_query)?);
        add(cel::expression(filter)?);
        Ok(Self { conditions })
    }

    fn matches(&self, batch: &FlowBatch, mut candidates: BooleanBuffer) -> BooleanBuffer {
        for condition in &self.conditions {
            if candidates.count_set_bits() == 0 {
                break;
            }
            candidates = &candidates & &condition(batch, &candidates);
        }
        candidates
    }
}

#[cfg(test)]
mod tests;
