//! The namespaces that flows of the last hour are about.

use std::collections::BTreeSet;

use arrow_array::Array;
use flow::api::observer::Namespace;
use flow::schema::Column;

use crate::log::FlowLog;

const HOUR_NS: i64 = 3_600_000_000_000;
/// The cluster of an endpoint that doesn't say its own, as filters have it too.
const DEFAULT_CLUSTER: &str = "default";

/// Sorted by cluster, then name. "Now" is the newest flow's time if that is earlier: a replayed file is as of its end.
pub(super) fn seen(log: &FlowLog, now_ns: i64) -> Vec<Namespace> {
    let batches = log.read_from(0);
    let newest = batches.iter().map(|batch| batch.time_range().1).max().unwrap_or(now_ns);
    let since = now_ns.min(newest) - HOUR_NS;
    let mut found = BTreeSet::new();
    for batch in batches.iter().filter(|batch| batch.time_range().1 >= since) {
        for (namespace, cluster) in [
            (Column::SourceNamespace, Column::SourceCluster),
            (Column::DestinationNamespace, Column::DestinationCluster),
        ] {
            let Some(namespaces) = batch.text(namespace) else {
                continue;
            };
            let clusters = batch.text(cluster).map(|text| text.values());
            let values = namespaces.values();
            // Both columns describe the same endpoints in the same order.
            for place in (0..values.len()).filter(|place| values.is_valid(*place)) {
                let cluster = clusters
                    .filter(|clusters| place < clusters.len() && clusters.is_valid(place))
                    .map_or(DEFAULT_CLUSTER, |clusters| clusters.value(place));
                found.insert((cluster.to_owned(), values.value(place).to_owned()));
            }
        }
    }
    found
        .into_iter()
        .map(|(cluster, namespace)| Namespace { cluster, namespace })
        .collect()
}
