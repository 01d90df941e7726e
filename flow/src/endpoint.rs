//! What is known about the two ends of a flow and the places it was seen at. A batch stores each of these once.

/// The names of an address. Empty text and zero mean "not known".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Number of the endpoint on its node.
    pub id: u32,
    /// Security identity; below 256 reserved ([`crate::identity`]).
    pub identity: u32,
    /// Cluster.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Pod, or the name of the machine or container.
    pub pod: String,
    /// Labels with their source, joined by commas: `k8s:app=web,k8s:team=a`.
    pub labels: String,
    /// Workloads, `Kind/name`, joined by commas.
    pub workloads: String,
    /// DNS names, joined by commas.
    pub names: String,
    /// Service in front of it.
    pub service: String,
    /// Namespace of that service.
    pub service_namespace: String,
}

/// The node that observed a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// `cluster/node` or `node`.
    pub name: String,
    /// Labels, joined by commas.
    pub labels: String,
}

/// The interface a packet was seen at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interface {
    /// Index in its network namespace.
    pub index: u32,
    /// Name; empty if it is in a namespace whose names we don't know.
    pub name: String,
}

/// Why and where the kernel gave a packet up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DropSite {
    /// The kernel's own name: `NO_SOCKET`. Empty for drops that another observer reported.
    pub reason: String,
    /// Raw number of the reason.
    pub code: u32,
    /// Nearest `flow.DropReason` of the API.
    pub api: u32,
    /// Function of the kernel and offset in it; empty if not known.
    pub symbol: String,
}

/// A process of the node that observes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number (thread group) in the first PID namespace.
    pub id: u32,
    /// Its command, at most 15 bytes, as `ps` shows it (`comm`).
    pub name: String,
}
