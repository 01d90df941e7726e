//! Names of addresses: which pod, workload or machine an address belongs to.
//!
//! A source of names makes a [`NameTable`] and publishes it to [`Names`]; the capture thread reads the table that is
//! current. The endpoints file ([`mod@file`]) is the first source.

pub mod file;
mod resolver;

use std::net::IpAddr;
use std::sync::Arc;

use flow::endpoint::Endpoint;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use parking_lot::RwLock;
use prefix_trie::PrefixMap;

pub use resolver::{Found, Resolver};

/// Names of addresses and networks; the longest prefix that contains an address wins.
#[derive(Clone, Debug, Default)]
pub struct NameTable {
    v4: PrefixMap<Ipv4Net, Arc<Endpoint>>,
    v6: PrefixMap<Ipv6Net, Arc<Endpoint>>,
}

impl NameTable {
    /// Names a network; a network named before gets the new name.
    pub fn insert(&mut self, network: IpNet, endpoint: Arc<Endpoint>) {
        match network.trunc() {
            IpNet::V4(network) => self.v4.insert(network, endpoint),
            IpNet::V6(network) => self.v6.insert(network, endpoint),
        };
    }

    /// The name of an address.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&Arc<Endpoint>> {
        match address {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, endpoint)| endpoint),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, endpoint)| endpoint),
        }
    }

    /// How many networks have a name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The current table, shared between its sources and the capture thread.
#[derive(Debug, Default)]
pub struct Names {
    current: RwLock<Arc<NameTable>>,
}

impl Names {
    /// Replaces the table.
    pub fn publish(&self, table: NameTable) {
        *self.current.write() = Arc::new(table);
    }

    /// The table that is current.
    #[must_use]
    pub fn current(&self) -> Arc<NameTable> {
        Arc::clone(&self.current.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let mut table = NameTable::default();
        for (network, pod) in [("10.0.0.0/8", "net"), ("10.1.0.10/32", "web"), ("fd00::/16", "six")] {
            table.insert(
                network.parse().unwrap(),
                Arc::new(Endpoint {
                    pod: pod.into(),
                    ..Endpoint::default()
                }),
            );
        }
        let pod = |address: &str| table.get(address.parse().unwrap()).map(|endpoint| endpoint.pod.clone());
        assert_eq!(pod("10.1.0.10").as_deref(), Some("web"));
        assert_eq!(pod("10.1.0.11").as_deref(), Some("net"));
        assert_eq!(pod("fd00::1").as_deref(), Some("six"));
        assert_eq!(pod("192.0.2.1"), None);
    }
}
