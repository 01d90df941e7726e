//! Columns that describe one thing together: in a batch they have the same keys, so that whoever moves rows moves the keys
//! of a thing once, and its values not at all.

use crate::schema::Column;

/// Things that rows refer to, and the columns that describe each. The names are those of the feed on the wire.
pub const SHARED_COLUMNS: [(&str, &[Column]); 6] = [
    ("node", &[Column::NodeName, Column::NodeLabels]),
    ("interface", &[Column::InterfaceIndex, Column::InterfaceName]),
    (
        "drop",
        &[
            Column::DropReason,
            Column::DropReasonCode,
            Column::DropReasonApi,
            Column::DropSymbol,
        ],
    ),
    ("process", &[Column::ProcessId, Column::ProcessName]),
    ("source", &SOURCE_COLUMNS),
    ("destination", &DESTINATION_COLUMNS),
];

/// What describes the source of a flow.
pub(crate) const SOURCE_COLUMNS: [Column; 10] = [
    Column::SourceId,
    Column::SourceIdentity,
    Column::SourceCluster,
    Column::SourceNamespace,
    Column::SourcePod,
    Column::SourceLabels,
    Column::SourceWorkloads,
    Column::SourceNames,
    Column::SourceService,
    Column::SourceServiceNamespace,
];

/// What describes its destination.
pub(crate) const DESTINATION_COLUMNS: [Column; 10] = [
    Column::DestinationId,
    Column::DestinationIdentity,
    Column::DestinationCluster,
    Column::DestinationNamespace,
    Column::DestinationPod,
    Column::DestinationLabels,
    Column::DestinationWorkloads,
    Column::DestinationNames,
    Column::DestinationService,
    Column::DestinationServiceNamespace,
];

/// Whether a column describes a thing of [`SHARED_COLUMNS`].
#[must_use]
pub fn is_shared(column: Column) -> bool {
    SHARED_COLUMNS.iter().any(|(_, columns)| columns.contains(&column))
}
