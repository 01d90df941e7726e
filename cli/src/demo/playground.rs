//! The playground: a node with a bridge, pods behind veth pairs, a gateway to an outside; all of it in network
//! namespaces, so that the machine's own network is neither touched nor needed.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::folder::Folder;
use super::pods::{self, INSIDE, MISROUTED, Role};
use super::{command, leftovers};

/// Name of the namespace with the bridge and the host's ends of the veth pairs.
const NODE: &str = "node";

/// Namespaces and a folder that are removed when this is dropped.
pub(super) struct Playground {
    pid: u32,
    /// For the endpoints file and the observer's socket.
    pub(super) folder: Folder,
}

impl Playground {
    /// Builds it.
    ///
    /// # Errors
    /// If a step fails; what was built until then is removed.
    pub(super) fn build() -> Result<Self> {
        let pid = std::process::id();
        let folder = Folder::create(pid)?;
        let playground = Self { pid, folder };
        playground.wire()?;
        playground.break_things()?;
        Ok(playground)
    }

    /// The name of the network namespace of a pod.
    pub(super) fn pod(&self, role: Role) -> String {
        leftovers::namespace(self.pid, role.name())
    }

    /// The name of the node's network namespace.
    pub(super) fn node(&self) -> String {
        leftovers::namespace(self.pid, NODE)
    }

    fn namespaces(&self) -> Vec<String> {
        let outside = [self.pod(Role::Outside), self.node()];
        INSIDE.iter().map(|pod| self.pod(pod.role)).chain(outside).collect()
    }

    /// Makes namespaces, interfaces, addresses and routes.
    fn wire(&self) -> Result<()> {
        let namespaces: String = self
            .namespaces()
            .iter()
            .fold(String::new(), |batch, name| batch + "netns add " + name + "\n");
        command::with_input("ip", &["-batch", "-"], &namespaces)?;

        // Whether an address is taken is a question that keeps IPv6 waiting for a second or more.
        for namespace in self.namespaces() {
            set_in(
                &namespace,
                &[
                    "net.ipv6.conf.all.dad_transmits=0",
                    "net.ipv6.conf.default.dad_transmits=0",
                ],
            )?;
        }

        // The bridge sees every packet between pods; without snooping it also passes IPv6 neighbour discovery at once.
        let mut node = "link set lo up\nlink add br0 type bridge mcast_snooping 0\nlink set br0 up\n\
                        address add 10.1.0.1/24 dev br0\naddress add fd00:1::1/64 dev br0 nodad\n"
            .to_owned();
        for pod in &INSIDE {
            let (name, namespace) = (pod.role.name(), self.pod(pod.role));
            let _ = writeln!(node, "link add veth-{name} type veth peer name eth0 netns {namespace}");
            let _ = writeln!(node, "link set veth-{name} master br0 up");
        }
        self.ip(&self.node(), &node)?;

        for pod in &INSIDE {
            let mut batch = format!(
                "link set lo up\nlink set eth0 up\naddress add {}/24 dev eth0\naddress add {}/64 dev eth0 nodad\n",
                pod.v4, pod.v6
            );
            if pod.role == Role::Gateway {
                let _ = writeln!(
                    batch,
                    "link add up0 mtu 1400 type veth peer name eth0 netns {}",
                    self.pod(Role::Outside)
                );
                batch +=
                    "link set up0 up\naddress add 198.51.100.1/24 dev up0\naddress add 2001:db8::1/64 dev up0 nodad\n";
            } else {
                let _ = writeln!(batch, "route add default via {}", pods::GATEWAY.v4);
                let _ = writeln!(batch, "route add default via {}", pods::GATEWAY.v6);
            }
            self.ip(&self.pod(pod.role), &batch)?;
        }
        self.ip(
            &self.pod(Role::Outside),
            &format!(
                "link set lo up\nlink set eth0 up\naddress add {}/24 dev eth0\naddress add {}/64 dev eth0 nodad\n\
                 route add default via 198.51.100.1\nroute add default via 2001:db8::1\n",
                pods::OUTSIDE_V4,
                pods::OUTSIDE_V6
            ),
        )?;
        self.sysctl(
            Role::Gateway,
            &["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
        )
    }

    /// Puts into place what makes connections fail.
    fn break_things(&self) -> Result<()> {
        command::with_input(
            "ip",
            &["netns", "exec", &self.pod(Role::Web), "nft", "-f", "-"],
            "table inet demo {\n chain input {\n  type filter hook input priority 0;\n  tcp dport 5432 drop\n }\n}\n",
        )?;
        // The client sends from this address as well, but to `Api` it belongs elsewhere, so the return path is wrong.
        self.ip(&self.pod(Role::Client), &format!("address add {MISROUTED}/32 dev lo\n"))?;
        self.ip(&self.pod(Role::Api), &format!("route add {MISROUTED}/32 dev lo\n"))?;
        self.sysctl(
            Role::Client,
            &[
                // Asks for hardware addresses in its own name; from the other address it would get no answer.
                "net.ipv4.conf.eth0.arp_announce=2",
                // Forgets what the gateway said about the size of packets, or only the first one would get there.
                "net.ipv4.route.mtu_expires=1",
                // Lets ping use the socket made for it; the kernel counts answers to raw ones as dropped (NO_SOCKET).
                "net.ipv4.ping_group_range=0 2147483647",
            ],
        )?;
        self.sysctl(
            Role::Api,
            &["net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1"],
        )
    }

    fn ip(&self, namespace: &str, batch: &str) -> Result<()> {
        command::with_input("ip", &["-n", namespace, "-batch", "-"], batch).map(drop)
    }

    fn sysctl(&self, role: Role, settings: &[&str]) -> Result<()> {
        set_in(&self.pod(role), settings)
    }
}

/// Changes settings of the kernel in one namespace.
fn set_in(namespace: &str, settings: &[&str]) -> Result<()> {
    let mut args = vec!["netns", "exec", namespace, "sysctl", "-q", "-w"];
    args.extend(settings);
    command::output("ip", &args).map(drop)
}

impl Drop for Playground {
    fn drop(&mut self) {
        for name in self.namespaces() {
            // Building may have failed half way; the start of the next demo looks again.
            if Path::new("/run/netns").join(&name).exists()
                && let Err(error) = leftovers::remove_namespace(&name)
            {
                eprintln!("could not remove the network namespace {name}: {error:#}; try `ip netns delete {name}`");
            }
        }
    }
}
