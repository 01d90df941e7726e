//! Where in a node a packet was seen, from the role of the interface and the packet's direction there.

use bpf_probes::event::{DIRECTION_EGRESS, DIRECTION_INGRESS};

/// `flow.TraceObservationPoint` of the API.
pub(crate) mod point {
    pub(crate) const TO_HOST: u8 = 2;
    pub(crate) const TO_STACK: u8 = 3;
    pub(crate) const TO_OVERLAY: u8 = 4;
    pub(crate) const FROM_ENDPOINT: u8 = 5;
    pub(crate) const FROM_HOST: u8 = 7;
    pub(crate) const FROM_STACK: u8 = 8;
    pub(crate) const FROM_OVERLAY: u8 = 9;
    pub(crate) const FROM_NETWORK: u8 = 10;
    pub(crate) const TO_NETWORK: u8 = 11;
    pub(crate) const FROM_CRYPTO: u8 = 12;
    pub(crate) const TO_CRYPTO: u8 = 13;
    pub(crate) const TO_ENDPOINT: u8 = 101;
}

/// `flow.TrafficDirection` of the API.
pub(crate) const INGRESS: u8 = 1;
/// `flow.TrafficDirection` of the API.
pub(crate) const EGRESS: u8 = 2;

/// What an interface is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Our end of a link to a pod, container or network namespace.
    Endpoint,
    /// A bridge: packets that reach it go up into this node's network stack.
    Bridge,
    /// The loopback interface.
    Loopback,
    /// A tunnel to other nodes: VXLAN, Geneve, GRE, IP in IP.
    Overlay,
    /// An encrypted tunnel: WireGuard, XFRM.
    Crypto,
    /// Everything else: the way to the network.
    #[default]
    Network,
}

impl Role {
    /// The role of an interface of that kind, as `ip -d link` names it (IFLA_INFO_KIND); empty for hardware.
    /// `peer_elsewhere`: its other end is in another network namespace.
    #[must_use]
    pub fn of(kind: &str, is_loopback: bool, peer_elsewhere: bool) -> Self {
        match kind {
            _ if is_loopback => Self::Loopback,
            "veth" | "netkit" => match peer_elsewhere {
                true => Self::Endpoint,
                false => Self::Network,
            },
            "bridge" => Self::Bridge,
            "vxlan" | "geneve" | "gre" | "gretap" | "ip6gre" | "ip6gretap" | "erspan" | "ip6erspan" | "ipip"
            | "ip6tnl" | "sit" | "vti" | "vti6" => Self::Overlay,
            "wireguard" | "xfrm" => Self::Crypto,
            _ => Self::Network,
        }
    }

    /// The observation point of a packet in that direction (`DIRECTION_*`), as the API numbers them; 0 if not known.
    #[must_use]
    pub fn point(self, direction: u8) -> u8 {
        let (in_point, out_point) = match self {
            Self::Endpoint => (point::FROM_ENDPOINT, point::TO_ENDPOINT),
            Self::Bridge => (point::TO_STACK, point::FROM_STACK),
            Self::Loopback => (point::TO_HOST, point::FROM_HOST),
            Self::Overlay => (point::FROM_OVERLAY, point::TO_OVERLAY),
            Self::Crypto => (point::FROM_CRYPTO, point::TO_CRYPTO),
            Self::Network => (point::FROM_NETWORK, point::TO_NETWORK),
        };
        match direction {
            DIRECTION_INGRESS => in_point,
            DIRECTION_EGRESS => out_point,
            _ => 0,
        }
    }

    /// The direction of the connection as the API means it: seen from the endpoint behind the interface, or from the
    /// node where there is none; replies count for the direction of what they reply to.
    #[must_use]
    pub fn traffic_direction(self, direction: u8, is_reply: Option<bool>) -> u8 {
        let leaves = match direction {
            DIRECTION_INGRESS => self == Self::Endpoint,
            DIRECTION_EGRESS => self != Self::Endpoint,
            _ => return 0,
        };
        if leaves != (is_reply == Some(true)) {
            EGRESS
        } else {
            INGRESS
        }
    }
}

/// Event sub type of a trace event at that point: the number is the same except for `TO_ENDPOINT`, which is 0.
#[must_use]
pub(crate) fn sub_type(point: u8) -> i32 {
    if point == point::TO_ENDPOINT {
        0
    } else {
        i32::from(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_a_pod_comes_in_at_our_end_of_its_link() {
        let role = Role::of("veth", false, true);
        assert_eq!(role.point(DIRECTION_INGRESS), point::FROM_ENDPOINT);
        assert_eq!(role.point(DIRECTION_EGRESS), point::TO_ENDPOINT);
        assert_eq!(role.traffic_direction(DIRECTION_INGRESS, Some(false)), EGRESS);
        assert_eq!(
            role.traffic_direction(DIRECTION_EGRESS, Some(true)),
            EGRESS,
            "the answer to what the pod asked"
        );
        assert_eq!(role.traffic_direction(DIRECTION_EGRESS, Some(false)), INGRESS);
    }

    #[test]
    fn hardware_leads_to_the_network() {
        let role = Role::of("", false, false);
        assert_eq!(role.point(DIRECTION_INGRESS), point::FROM_NETWORK);
        assert_eq!(role.traffic_direction(DIRECTION_INGRESS, None), INGRESS);
        assert_eq!(Role::of("", true, false), Role::Loopback);
        assert_eq!((sub_type(point::TO_ENDPOINT), sub_type(point::TO_STACK)), (0, 3));
    }
}
