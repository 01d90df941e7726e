//! Labels that every metric can have: who talks to whom, as the user wants to see it.
//!
//! The options are Hubble's: `sourceContext` and `destinationContext` make the labels `source` and `destination` of the
//! first of several ways to name an end that gives a name; `labelsContext` has a label for each property.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arrow_array::Array as _;
use flow::batch::FlowBatch;
use flow::identity;
use flow::schema::Column;
use rustc_hash::FxHashMap;

use crate::rows::Rows;
use crate::series::Labels;

/// A way to name an end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    /// Its labels.
    Identity,
    /// Its namespace.
    Namespace,
    /// `namespace/pod`.
    Pod,
    /// The pod without its namespace.
    PodName,
    /// Its DNS names.
    Dns,
    /// Its address.
    Ip,
    /// What it is if it is no endpoint: `reserved:world`.
    ReservedIdentity,
    /// `namespace/workload`.
    Workload,
    /// The workload without its namespace.
    WorkloadName,
    /// The application, by the usual labels.
    App,
}

impl Naming {
    /// All of them with their names in settings.
    pub const ALL: [(&'static str, Self); 10] = [
        ("identity", Self::Identity),
        ("namespace", Self::Namespace),
        ("pod", Self::Pod),
        ("pod-name", Self::PodName),
        ("dns", Self::Dns),
        ("ip", Self::Ip),
        ("reserved-identity", Self::ReservedIdentity),
        ("workload", Self::Workload),
        ("workload-name", Self::WorkloadName),
        ("app", Self::App),
    ];
}

/// A property of a flow that can be a label, in the order in which labels are.
pub const PROPERTIES: [&str; 13] = [
    "source_ip",
    "source_pod",
    "source_namespace",
    "source_workload",
    "source_workload_kind",
    "source_app",
    "destination_ip",
    "destination_pod",
    "destination_namespace",
    "destination_workload",
    "destination_workload_kind",
    "destination_app",
    "traffic_direction",
];

/// How ends are named; for one direction of traffic there may be other ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndContext {
    /// In both directions.
    pub both: Vec<Naming>,
    /// For traffic out of an endpoint.
    pub egress: Vec<Naming>,
    /// For traffic into an endpoint.
    pub ingress: Vec<Naming>,
}

impl EndContext {
    fn is_empty(&self) -> bool {
        self.both.is_empty() && self.egress.is_empty() && self.ingress.is_empty()
    }

    fn of(&self, direction: Option<u8>) -> &[Naming] {
        match direction {
            Some(INGRESS) if !self.ingress.is_empty() => &self.ingress,
            Some(EGRESS) if !self.egress.is_empty() => &self.egress,
            _ => &self.both,
        }
    }

    fn needs_address(&self) -> bool {
        [&self.both, &self.egress, &self.ingress]
            .into_iter()
            .any(|namings| namings.contains(&Naming::Ip))
    }
}

/// `flow.TrafficDirection` of the API.
const INGRESS: u8 = 1;
const EGRESS: u8 = 2;

/// The labels that a metric has besides its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// The label `source`.
    pub source: EndContext,
    /// The label `destination`.
    pub destination: EndContext,
    /// Places of [`PROPERTIES`], ascending.
    pub properties: Vec<usize>,
}

impl Context {
    /// Whether it has no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() && self.destination.is_empty() && self.properties.is_empty()
    }

    /// Names of the labels.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        let mut labels = Vec::new();
        if !self.source.is_empty() {
            labels.push("source");
        }
        if !self.destination.is_empty() {
            labels.push("destination");
        }
        labels.extend(self.properties.iter().map(|place| PROPERTIES[*place]));
        labels
    }

    /// Whether addresses are among its labels.
    pub(crate) fn needs_addresses(&self) -> bool {
        let is_ip = |place: &usize| PROPERTIES[*place].ends_with("_ip");
        self.source.needs_address() || self.destination.needs_address() || self.properties.iter().any(is_ip)
    }

    /// The labels of a row; with `swapped` ends, those of what it answers.
    fn of_row(&self, rows: &Rows<'_>, row: usize, swapped: bool) -> Labels {
        let direction = rows.direction(row);
        let mut ends = [End::new(rows.batch, &SOURCE), End::new(rows.batch, &DESTINATION)];
        if swapped {
            ends.reverse();
        }
        let [source, destination] = &ends;
        let mut labels: Vec<Arc<str>> = Vec::new();
        for (context, end) in [(&self.source, source), (&self.destination, destination)] {
            if !context.is_empty() {
                let namings = context.of(direction).iter();
                let name = namings
                    .map(|naming| end.named(*naming, row))
                    .find(|name| !name.is_empty());
                labels.push(name.unwrap_or_default().into());
            }
        }
        for place in &self.properties {
            let value = match place {
                0..=5 => source.property(*place, row),
                6..=11 => destination.property(place - 6, row),
                _ => match direction {
                    Some(INGRESS) => "ingress".to_owned(),
                    Some(EGRESS) => "egress".to_owned(),
                    _ => "unknown".to_owned(),
                },
            };
            labels.push(value.into());
        }
        labels.into_boxed_slice()
    }
}

/// The rows of a batch by who talks to whom in which direction: rows with the same number have the same labels in every
/// context. Found once for all metrics.
pub(crate) struct Pairs {
    of_rows: Vec<u32>,
    /// A row of each number.
    examples: Vec<usize>,
}

impl Pairs {
    /// With addresses for contexts that need them.
    pub(crate) fn new(rows: &Rows<'_>, with_addresses: bool) -> Self {
        let (source, destination) = (End::new(rows.batch, &SOURCE), End::new(rows.batch, &DESTINATION));
        let mut examples = Vec::new();
        let ends = |row| {
            let direction = rows.direction(row).unwrap_or_default();
            u64::from(direction) << 32 | u64::from(source.key(row) << 16 | destination.key(row))
        };
        let of_rows = if with_addresses {
            let key = |row| (ends(row), source.address_bits(row), destination.address_bits(row));
            numbers(rows.count(), key, &mut examples)
        } else {
            numbers(rows.count(), ends, &mut examples)
        };
        Self { of_rows, examples }
    }

    pub(crate) fn of_row(&self, row: usize) -> u32 {
        self.of_rows[row]
    }
}

/// A number for each key, in the order in which they come, and the first row of each.
fn numbers<K: std::hash::Hash + Eq>(rows: usize, key: impl Fn(usize) -> K, examples: &mut Vec<usize>) -> Vec<u32> {
    let mut numbers: FxHashMap<K, u32> = FxHashMap::default();
    let number = |row| {
        *numbers.entry(key(row)).or_insert_with(|| {
            examples.push(row);
            examples.len() as u32 - 1
        })
    };
    (0..rows).map(number).collect()
}

/// The labels of a context, made for those pairs that something was counted of.
pub(crate) struct Contexts {
    context: Context,
    swapped: bool,
    labels: FxHashMap<u32, Labels>,
}

impl Contexts {
    pub(crate) fn new(context: &Context, swapped: bool) -> Self {
        Self {
            context: context.clone(),
            swapped,
            labels: FxHashMap::default(),
        }
    }

    /// Whether they are the labels of this context.
    pub(crate) fn are_of(&self, context: &Context, swapped: bool) -> bool {
        self.swapped == swapped && self.context == *context
    }

    /// The labels of a pair.
    pub(crate) fn labels(&mut self, rows: &Rows<'_>, pairs: Option<&Pairs>, pair: u32) -> &[Arc<str>] {
        self.labels.entry(pair).or_insert_with(|| match pairs {
            Some(pairs) => self.context.of_row(rows, pairs.examples[pair as usize], self.swapped),
            None => Labels::default(),
        })
    }
}

/// The columns of one end.
struct EndColumns {
    identity: Column,
    namespace: Column,
    pod: Column,
    labels: Column,
    workloads: Column,
    names: Column,
    address: Column,
}

const SOURCE: EndColumns = EndColumns {
    identity: Column::SourceIdentity,
    namespace: Column::SourceNamespace,
    pod: Column::SourcePod,
    labels: Column::SourceLabels,
    workloads: Column::SourceWorkloads,
    names: Column::SourceNames,
    address: Column::SourceIp,
};
const DESTINATION: EndColumns = EndColumns {
    identity: Column::DestinationIdentity,
    namespace: Column::DestinationNamespace,
    pod: Column::DestinationPod,
    labels: Column::DestinationLabels,
    workloads: Column::DestinationWorkloads,
    names: Column::DestinationNames,
    address: Column::DestinationIp,
};

/// One end of a batch's flows.
struct End<'a> {
    batch: &'a FlowBatch,
    columns: &'static EndColumns,
    /// The columns of an end have the same keys; any of those that are there has them.
    keys: Option<&'a arrow_array::UInt16Array>,
}

impl<'a> End<'a> {
    fn new(batch: &'a FlowBatch, columns: &'static EndColumns) -> Self {
        let texts = [
            columns.labels,
            columns.names,
            columns.pod,
            columns.namespace,
            columns.workloads,
        ];
        let keys = batch
            .shared::<arrow_array::types::UInt32Type>(columns.identity)
            .map(|shared| shared.keys())
            .or_else(|| texts.into_iter().find_map(|column| Some(batch.text(column)?.keys())));
        Self { batch, columns, keys }
    }

    fn key(&self, row: usize) -> u32 {
        self.keys
            .and_then(|keys| keys.is_valid(row).then(|| u32::from(keys.value(row))))
            .unwrap_or(u32::from(u16::MAX))
    }

    fn address_bits(&self, row: usize) -> u128 {
        self.batch
            .address(self.columns.address, row)
            .map_or(0, u128::from_be_bytes)
    }

    fn text(&self, column: Column, row: usize) -> &'a str {
        self.batch.text_at(column, row).unwrap_or_default()
    }

    /// Kind and name of the first workload.
    fn workload(&self, row: usize) -> (&'a str, &'a str) {
        let first = self
            .text(self.columns.workloads, row)
            .split(',')
            .next()
            .unwrap_or_default();
        first.split_once('/').unwrap_or(("", first))
    }

    fn address(&self, row: usize) -> String {
        let address = self.batch.address(self.columns.address, row);
        address.map_or_else(String::new, |bytes| {
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical().to_string()
        })
    }

    /// The value of a label, whatever its source: `k8s:app=web`, `app=web`.
    fn label(&self, key: &str, row: usize) -> Option<&'a str> {
        let labels = self.text(self.columns.labels, row).split(',');
        labels
            .filter_map(|label| label.split_once('='))
            .find_map(|(name, value)| {
                let name = name.split_once(':').map_or(name, |(_, name)| name);
                (name == key).then_some(value)
            })
    }

    fn app(&self, row: usize) -> &'a str {
        let keys = ["app.kubernetes.io/name", "k8s-app", "app"].into_iter();
        keys.filter_map(|key| self.label(key, row)).next().unwrap_or_default()
    }

    fn reserved(&self, row: usize) -> String {
        let labels = self.text(self.columns.labels, row).split(',');
        let reserved: Vec<&str> = labels.filter(|label| label.starts_with("reserved:")).collect();
        const SERVER: &str = "reserved:kube-apiserver";
        if let Some(label) = reserved.iter().find(|label| **label == SERVER).or(reserved.first()) {
            return (*label).to_owned();
        }
        let number = self
            .batch
            .shared_at::<arrow_array::types::UInt32Type>(self.columns.identity, row)
            .unwrap_or_default();
        identity::name(number).map_or_else(String::new, |name| match name.starts_with("reserved:") {
            true => name.to_owned(),
            false => format!("reserved:{name}"),
        })
    }

    fn named(&self, naming: Naming, row: usize) -> String {
        let within = |name: &str| match (self.text(self.columns.namespace, row), name) {
            (_, "") => String::new(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        match naming {
            Naming::Identity => self.text(self.columns.labels, row).to_owned(),
            Naming::Namespace => self.text(self.columns.namespace, row).to_owned(),
            Naming::Pod => within(self.text(self.columns.pod, row)),
            Naming::PodName => self.text(self.columns.pod, row).to_owned(),
            Naming::Dns => self.text(self.columns.names, row).to_owned(),
            Naming::Ip => self.address(row),
            Naming::ReservedIdentity => self.reserved(row),
            Naming::Workload => within(self.workload(row).1),
            Naming::WorkloadName => self.workload(row).1.to_owned(),
            Naming::App => self.app(row).to_owned(),
        }
    }

    /// The property at that place of the first half of [`PROPERTIES`].
    fn property(&self, place: usize, row: usize) -> String {
        match place {
            0 => self.address(row),
            1 => self.text(self.columns.pod, row).to_owned(),
            2 => self.text(self.columns.namespace, row).to_owned(),
            3 => self.workload(row).1.to_owned(),
            4 => self.workload(row).0.to_owned(),
            _ => self.app(row).to_owned(),
        }
    }
}
