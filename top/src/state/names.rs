//! Names that were seen: what the filter bar offers.

use std::collections::BTreeSet;

use arrow_array::Array as _;
use flow::batch::FlowBatch;
use flow::schema::Column;
use rustc_hash::FxHashSet;

/// Names of a kind that are kept.
const MOST: usize = 2_000;

/// Names by kind.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Namespaces.
    pub namespaces: BTreeSet<String>,
    /// `namespace/pod`.
    pub pods: BTreeSet<String>,
    /// Workloads without their kind.
    pub workloads: BTreeSet<String>,
    /// `namespace/service`.
    pub services: BTreeSet<String>,
    /// Nodes.
    pub nodes: BTreeSet<String>,
    /// DNS names.
    pub dns: BTreeSet<String>,
    /// Reasons of drops.
    pub reasons: BTreeSet<String>,
    /// Ports of servers.
    pub ports: BTreeSet<u16>,
    /// Interfaces.
    pub interfaces: BTreeSet<String>,
    /// Where dictionaries of batches were looked at already.
    looked_at: FxHashSet<(Column, usize, usize)>,
}

impl Names {
    /// Takes the names of a batch. Each value of a dictionary is looked at once.
    pub fn push(&mut self, batch: &FlowBatch) {
        if self.looked_at.len() > 4096 {
            self.looked_at.clear();
        }
        for (column, of) in [
            (Column::SourceNamespace, 0),
            (Column::DestinationNamespace, 0),
            (Column::SourceWorkloads, 2),
            (Column::DestinationWorkloads, 2),
            (Column::NodeName, 4),
            (Column::SourceNames, 5),
            (Column::DestinationNames, 5),
            (Column::DnsQuery, 5),
            (Column::DropReason, 6),
            (Column::InterfaceName, 7),
        ] {
            if !self.is_new(batch, column) {
                continue;
            }
            let Some(text) = batch.text(column) else { continue };
            let set = match of {
                0 => &mut self.namespaces,
                2 => &mut self.workloads,
                4 => &mut self.nodes,
                5 => &mut self.dns,
                6 => &mut self.reasons,
                _ => &mut self.interfaces,
            };
            for value in text.values().iter().flatten() {
                for name in value.split(',') {
                    let name = if of == 2 {
                        name.rsplit('/').next().unwrap_or_default()
                    } else {
                        name
                    };
                    insert(set, name.trim_end_matches('.'));
                }
            }
        }
        for (column, namespace, is_pod) in [
            (Column::SourcePod, Column::SourceNamespace, true),
            (Column::DestinationPod, Column::DestinationNamespace, true),
            (Column::SourceService, Column::SourceServiceNamespace, false),
            (Column::DestinationService, Column::DestinationServiceNamespace, false),
        ] {
            if !self.is_new(batch, column) {
                continue;
            }
            let Some(names) = batch.text(column) else { continue };
            // Columns of one end have the same keys, so that their values go together.
            let namespaces = batch.text(namespace);
            let namespaces = namespaces.as_ref().map(flow::batch::Text::values);
            let set = if is_pod { &mut self.pods } else { &mut self.services };
            for (place, name) in names.values().iter().enumerate() {
                let Some(name) = name else { continue };
                let namespace = namespaces
                    .filter(|namespaces| place < namespaces.len())
                    .map_or("", |namespaces| namespaces.value(place));
                match namespace {
                    "" => insert(set, name),
                    namespace => insert(set, &format!("{namespace}/{name}")),
                }
            }
        }
    }

    /// Takes the port of a server.
    pub fn push_port(&mut self, port: u16) {
        if port != 0 && self.ports.len() < MOST {
            self.ports.insert(port);
        }
    }

    /// Whether the dictionary of a column has not been looked at. Dictionaries of a stream go on from batch to batch.
    fn is_new(&mut self, batch: &FlowBatch, column: Column) -> bool {
        let Some(text) = batch.text(column) else { return false };
        let values = text.values();
        self.looked_at
            .insert((column, values.value_data().as_ptr().addr(), values.len()))
    }
}

fn insert(set: &mut BTreeSet<String>, name: &str) {
    if !name.is_empty() && set.len() < MOST && !set.contains(name) {
        set.insert(name.to_owned());
    }
}
