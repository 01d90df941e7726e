//! A filter as its author means it.

use ipnet::IpNet;

/// Primitives and what joins them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Is(Primitive),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// What one primitive asks of a packet: all of it must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Primitive {
    pub(super) version: Option<Version>,
    /// IANA number.
    pub(super) protocol: Option<u8>,
    pub(super) subject: Subject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Nothing but version and protocol.
    Protocol,
    Port {
        side: Side,
        low: u16,
        high: u16,
    },
    Address {
        side: Side,
        network: IpNet,
    },
}

/// Which end of a packet a port or an address is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
    #[default]
    Either,
    Both,
}
