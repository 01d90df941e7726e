//! The interfaces of the network namespace that is observed, and which of them to watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use globset::{Glob, GlobMatcher};
use parking_lot::RwLock;
use rtnetlink::packet_route::link::{LinkAttribute, LinkInfo, LinkMessage};

use crate::observation_point::Role;

/// `ARPHRD_*` of include/uapi/linux/if_arp.h.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_PPP: u16 = 512;
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_TUNNEL: u16 = 768;
const ARPHRD_TUNNEL6: u16 = 769;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_SIT: u16 = 776;
const ARPHRD_IPGRE: u16 = 778;
const ARPHRD_IP6GRE: u16 = 823;
const ARPHRD_NONE: u16 = 65534;

const LOOPBACK: &str = "lo";

/// What the packets of an interface start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// An Ethernet header.
    Ethernet,
    /// An IP header.
    Ip,
    /// Something else, which the programs don't read: the `ARPHRD_*` number.
    Other(u16),
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What its packets start with.
    pub link_layer: LinkLayer,
    /// What it is for.
    pub role: Role,
}

impl Interface {
    /// The interface that a netlink message is about; `None` if the message doesn't name it.
    pub(crate) fn of(message: &LinkMessage) -> Option<Self> {
        let mut name = None;
        let mut kind = String::new();
        let mut peer_elsewhere = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text.clone()),
                LinkAttribute::LinkNetNsId(_) => peer_elsewhere = true,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(text) = info {
                            kind = text.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
        let layer: u16 = message.header.link_layer_type.into();
        Some(Self {
            index: message.header.index,
            name: name?,
            link_layer: match layer {
                ARPHRD_ETHER | ARPHRD_LOOPBACK => LinkLayer::Ethernet,
                ARPHRD_NONE | ARPHRD_PPP | ARPHRD_RAWIP | ARPHRD_TUNNEL | ARPHRD_TUNNEL6 | ARPHRD_SIT
                | ARPHRD_IPGRE | ARPHRD_IP6GRE => LinkLayer::Ip,
                other => LinkLayer::Other(other),
            },
            role: Role::of(&kind, layer == ARPHRD_LOOPBACK, peer_elsewhere),
        })
    }
}

/// Why a choice of interfaces can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// A pattern isn't one.
    #[error("`{pattern}` is not a pattern for interfaces: {source}; examples: eth0, 'veth*', '!docker*'")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// An interface that is named doesn't exist.
    #[error("there is no interface `{name}`; there are: {existing}")]
    Missing {
        /// The name.
        name: String,
        /// The interfaces there are.
        existing: String,
    },
}

/// Which interfaces to watch: those that match a pattern and none of the excluding ones (`!pattern`). Without an
/// including pattern all but `lo`; `lo` only by its name.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

impl Selection {
    /// The choice that the patterns make.
    ///
    /// # Errors
    /// If one of them isn't a pattern.
    pub fn new(patterns: &[String]) -> Result<Self, InterfaceError> {
        let mut selection = Self::default();
        for pattern in patterns {
            let (list, glob) = match pattern.strip_prefix('!') {
                Some(rest) => (&mut selection.exclude, rest),
                None => (&mut selection.include, pattern.as_str()),
            };
            let glob = Glob::new(glob).map_err(|source| InterfaceError::Pattern {
                pattern: pattern.clone(),
                source,
            })?;
            list.push(glob.compile_matcher());
        }
        Ok(selection)
    }

    /// No interface.
    #[must_use]
    pub fn nothing() -> Self {
        let everything = Glob::new("*").expect("a pattern").compile_matcher();
        Self {
            include: Vec::new(),
            exclude: vec![everything],
        }
    }

    /// Whether to watch the interface of that name.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        if self.exclude.iter().any(|glob| glob.is_match(name)) {
            return false;
        }
        if name == LOOPBACK {
            return self.include.iter().any(|glob| glob.glob().glob() == LOOPBACK);
        }
        self.include.is_empty() || self.include.iter().any(|glob| glob.is_match(name))
    }

    /// Checks that every interface that is named without a wildcard exists.
    ///
    /// # Errors
    /// The first one that doesn't.
    pub fn check(&self, existing: &BTreeMap<u32, Interface>) -> Result<(), InterfaceError> {
        for glob in self.include.iter().map(|matcher| matcher.glob().glob()) {
            let is_plain = !glob.contains(['*', '?', '[', '{']);
            if is_plain && !existing.values().any(|interface| interface.name == glob) {
                let existing: Vec<&str> = existing.values().map(|interface| interface.name.as_str()).collect();
                return Err(InterfaceError::Missing {
                    name: glob.to_owned(),
                    existing: existing.join(", "),
                });
            }
        }
        Ok(())
    }
}

/// The interfaces there are now, for whoever turns an index into a name.
#[derive(Debug, Default)]
pub struct Interfaces {
    current: RwLock<Arc<BTreeMap<u32, Interface>>>,
    generation: AtomicU64,
    watched: RwLock<Vec<String>>,
}

impl Interfaces {
    /// Replaces the table.
    pub fn publish(&self, table: BTreeMap<u32, Interface>) {
        *self.current.write() = Arc::new(table);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The table that is current.
    #[must_use]
    pub fn current(&self) -> Arc<BTreeMap<u32, Interface>> {
        Arc::clone(&self.current.read())
    }

    /// Grows with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Names of the interfaces that programs are attached to.
    #[must_use]
    pub fn watched(&self) -> Vec<String> {
        self.watched.read().clone()
    }

    pub(crate) fn set_watched(&self, names: Vec<String>) {
        *self.watched.write() = names;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(patterns: &[&str]) -> Selection {
        Selection::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn everything_but_loopback_by_default() {
        let all = selection(&[]);
        assert!(all.includes("eth0") && all.includes("veth12") && !all.includes("lo"));
        assert!(!selection(&["*"]).includes("lo"));
        assert!(selection(&["lo"]).includes("lo"));
    }

    #[test]
    fn patterns_include_and_exclude() {
        let veths = selection(&["veth*", "!veth-mgmt*"]);
        assert!(veths.includes("veth1") && !veths.includes("veth-mgmt0") && !veths.includes("eth0"));
        assert!(selection(&["!docker0"]).includes("eth0"));
        assert!(Selection::new(&["[".to_owned()]).is_err());
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_with_those_that_do() {
        let interface = Interface {
            index: 1,
            name: "eth0".into(),
            link_layer: LinkLayer::Ethernet,
            role: Role::Network,
        };
        let existing = BTreeMap::from([(1, interface)]);
        assert!(selection(&["eth0", "veth*"]).check(&existing).is_ok());
        let error = selection(&["eth1"]).check(&existing).unwrap_err().to_string();
        assert_eq!(error, "there is no interface `eth1`; there are: eth0");
    }
}
