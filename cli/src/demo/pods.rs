//! Who lives in the playground: the pods, their addresses and their names. Everything else is made from this table.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use clap::ValueEnum;

/// A pod, or the machine that stands for one.
pub(super) struct Pod {
    /// Its role, which also names its network namespace.
    pub(super) role: Role,
    /// The namespace it belongs to.
    pub(super) namespace: &'static str,
    /// Its workload; the pod is `<workload>-0`.
    pub(super) workload: &'static str,
    /// Its address.
    pub(super) v4: Ipv4Addr,
    /// Its IPv6 address.
    pub(super) v6: Ipv6Addr,
    /// Its identity.
    pub(super) identity: u32,
}

/// What a process in the playground does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Answers HTTP; some of its ports are closed, and one is behind a rule that drops.
    Web,
    /// Calls everybody, also where that can't work.
    Client,
    /// Answers HTTP, calls `Web`, and checks the return path of what it receives.
    Api,
    /// Answers DNS queries.
    Dns,
    /// Routes between the pods and the outside.
    Gateway,
    /// A server beyond the gateway.
    Outside,
}

impl Role {
    /// The role as it appears in names and on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Client => "client",
            Self::Api => "api",
            Self::Dns => "dns",
            Self::Gateway => "gateway",
            Self::Outside => "outside",
        }
    }
}

const fn inside(role: Role, namespace: &'static str, workload: &'static str, host: u8, identity: u32) -> Pod {
    Pod {
        role,
        namespace,
        workload,
        v4: Ipv4Addr::new(10, 1, 0, host),
        v6: Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, host as u16),
        identity,
    }
}

pub(super) const WEB: Pod = inside(Role::Web, "team-a", "web", 10, 1001);
pub(super) const CLIENT: Pod = inside(Role::Client, "team-a", "client", 20, 1002);
pub(super) const API: Pod = inside(Role::Api, "team-b", "api", 30, 1003);
pub(super) const DNS: Pod = inside(Role::Dns, "infra", "dns", 53, 1004);
pub(super) const GATEWAY: Pod = inside(Role::Gateway, "infra", "gateway", 254, 1005);
/// All that are on the node's bridge.
pub(super) const INSIDE: [Pod; 5] = [WEB, CLIENT, API, DNS, GATEWAY];

/// The server beyond the gateway; it has no names, so it shows as the world.
pub(super) const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Its IPv6 address.
pub(super) const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// An address that the gateway has no route to (TEST-NET-3, RFC 5737).
pub(super) const NOWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// A second address of the client, to which `Api` has a route that doesn't lead back (TEST-NET-1, RFC 5737).
pub(super) const MISROUTED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// Networks of the playground. Drops are seen in all of the machine, and the demo shows only its own.
pub(super) const NETWORKS: [&str; 6] = [
    "10.1.0.0/24",
    "fd00:1::/64",
    "198.51.100.0/24",
    "2001:db8::/64",
    "203.0.113.0/24",
    "192.0.2.0/24",
];

/// The pods as the observer's endpoints file.
pub(super) fn endpoints_file() -> String {
    let mut yaml = "endpoints:\n".to_owned();
    for pod in &INSIDE {
        let Pod {
            namespace,
            workload,
            identity,
            ..
        } = pod;
        let second = match pod.role {
            Role::Client => format!(", {MISROUTED}"),
            _ => String::new(),
        };
        // Writing to a String can't fail.
        let _ = write!(
            yaml,
            "  - addresses: [{}, \"{}\"{second}]
    namespace: {namespace}
    pod: {workload}-0
    workload: {{kind: Deployment, name: {workload}}}
    labels: [\"app={workload}\", \"team={namespace}\"]
    identity: {identity}
    names: [{workload}.demo.test]\n",
            pod.v4, pod.v6
        );
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoints_file_is_yaml_with_every_pod() {
        let file: serde_json::Value = serde_saphyr::from_str(&endpoints_file()).expect("valid YAML");
        let endpoints = file["endpoints"].as_array().expect("a list");
        assert_eq!(endpoints.len(), INSIDE.len());
        assert_eq!(endpoints[0]["pod"], "web-0");
        assert_eq!(endpoints[0]["addresses"][1], "fd00:1::a");
        assert_eq!(endpoints[1]["addresses"][2], "192.0.2.77");
    }
}
