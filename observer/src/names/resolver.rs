//! From an address to its endpoint, for the capture thread: one look-up of a hash table for an address seen before.

use std::sync::Arc;

use flow::endpoint::Endpoint;
use flow::record::{Address, from_stored};
use hashlink::LruCache;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::{NameTable, Names};

/// Identities that the API reserves.
const IDENTITY_HOST: u32 = 1;
const IDENTITY_WORLD: u32 = 2;

/// How many addresses are remembered with their endpoint; then all are forgotten, which costs each one look-up in the
/// tables.
const CACHED_ADDRESSES: usize = 1 << 16;
/// How many addresses are remembered with the DNS name they were asked for.
const DNS_NAMES: usize = 1 << 14;

/// Finds the endpoint of an address: by name table, then the node's own addresses, then the world; with the DNS names
/// that clients of this node were seen to look up.
#[derive(Debug)]
pub struct Resolver {
    names: Arc<Names>,
    table: Arc<NameTable>,
    local: FxHashSet<Address>,
    dns: LruCache<Address, String, FxBuildHasher>,
    /// Addresses seen before, with the place of their endpoint in `endpoints`.
    cache: FxHashMap<Address, Found>,
    endpoints: Vec<Arc<Endpoint>>,
    host: Arc<Endpoint>,
    world: Arc<Endpoint>,
}

impl Resolver {
    /// A resolver that follows what is published to `names`.
    #[must_use]
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            table: names.current(),
            names,
            local: FxHashSet::default(),
            dns: LruCache::with_hasher(DNS_NAMES, FxBuildHasher),
            cache: FxHashMap::default(),
            endpoints: Vec::new(),
            host: reserved(IDENTITY_HOST, "reserved:host"),
            world: reserved(IDENTITY_WORLD, "reserved:world"),
        }
    }

    /// Takes over a new name table and new addresses of this node, if there are any.
    pub(crate) fn refresh(&mut self, local: FxHashSet<Address>) {
        let table = self.names.current();
        if !Arc::ptr_eq(&table, &self.table) || local != self.local {
            self.table = table;
            self.local = local;
            self.forget();
        }
    }

    /// Remembers that a client asked for `name` and got `address`.
    pub(crate) fn learn(&mut self, address: Address, name: &str) {
        let name = name.trim_end_matches('.');
        if self.dns.get(&address).is_none_or(|known| known != name) {
            self.dns.insert(address, name.to_owned());
            self.cache.remove(&address);
        }
    }

    fn forget(&mut self) {
        self.cache.clear();
        self.endpoints.clear();
    }

    /// Forgets all if there may soon be no room. To be called before endpoints are found that are to be used together.
    pub fn make_room(&mut self) {
        if self.endpoints.len() >= CACHED_ADDRESSES {
            self.forget();
        }
    }

    /// What [`Resolver::find`] has found.
    #[must_use]
    pub fn get(&self, found: Found) -> &Arc<Endpoint> {
        &self.endpoints[found.0]
    }

    /// The endpoint of an address, as a place for [`Resolver::get`].
    pub fn find(&mut self, address: Address) -> Found {
        if let Some(found) = self.cache.get(&address) {
            return *found;
        }
        let known = match self.table.get(from_stored(address)) {
            Some(endpoint) => endpoint,
            None if self.local.contains(&address) => &self.host,
            None => &self.world,
        };
        let endpoint = match self.dns.get(&address) {
            Some(name) if known.names.is_empty() => Arc::new(Endpoint {
                names: name.clone(),
                ..known.as_ref().clone()
            }),
            _ => Arc::clone(known),
        };
        let found = Found(self.endpoints.len());
        self.endpoints.push(endpoint);
        self.cache.insert(address, found);
        found
    }
}

/// The place of an endpoint. Valid until the resolver is told to make room or to take over new names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found(usize);

fn reserved(identity: u32, label: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        identity,
        labels: label.to_owned(),
        ..Endpoint::default()
    })
}

#[cfg(test)]
mod tests {
    use flow::record::to_stored;

    use super::*;

    impl Resolver {
        fn endpoint(&mut self, address: Address) -> Arc<Endpoint> {
            let found = self.find(address);
            Arc::clone(self.get(found))
        }
    }

    fn stored(address: &str) -> Address {
        to_stored(address.parse().unwrap())
    }

    #[test]
    fn an_address_without_a_name_is_host_or_world() {
        let mut resolver = Resolver::new(Arc::default());
        assert_eq!(resolver.endpoint(stored("192.0.2.1")).identity, IDENTITY_WORLD);
        resolver.refresh([stored("192.0.2.1")].into_iter().collect());
        assert_eq!(resolver.endpoint(stored("192.0.2.1")).identity, IDENTITY_HOST);
        assert!(Arc::ptr_eq(
            &resolver.endpoint(stored("192.0.2.2")),
            &resolver.endpoint(stored("192.0.2.3"))
        ));
    }

    #[test]
    fn a_new_table_and_a_new_dns_name_take_effect() {
        let names = Arc::new(Names::default());
        let mut resolver = Resolver::new(Arc::clone(&names));
        let address = stored("198.51.100.7");
        assert_eq!(resolver.endpoint(address).names, "");
        resolver.learn(address, "api.example.test.");
        assert_eq!(resolver.endpoint(address).names, "api.example.test");
        let mut table = NameTable::default();
        table.insert(
            "198.51.100.7/32".parse().unwrap(),
            Arc::new(Endpoint {
                pod: "api".into(),
                ..Endpoint::default()
            }),
        );
        names.publish(table);
        resolver.refresh(FxHashSet::default());
        let endpoint = resolver.endpoint(address);
        assert_eq!(
            (endpoint.pod.as_str(), endpoint.names.as_str()),
            ("api", "api.example.test")
        );
    }
}
