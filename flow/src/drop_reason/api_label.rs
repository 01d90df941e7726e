//! The API's own drop reasons as Hubble's client prints them.

use crate::api::flow::DropReason as R;

/// The words for a number of the API's `flow.DropReason` (`Policy denied` for 133); none for 0 and for numbers that the
/// API doesn't have. Hubble's client prints these labels, so people and scripts know them.
#[must_use]
#[allow(deprecated, reason = "older servers still send such reasons")]
pub fn api_text(number: i32) -> Option<&'static str> {
    Some(match R::try_from(number).ok()? {
        R::Unknown => return None,
        R::InvalidSourceMac => "Invalid source mac",
        R::InvalidDestinationMac => "Invalid destination mac",
        R::InvalidSourceIp => "Invalid source ip",
        R::PolicyDenied => "Policy denied",
        R::InvalidPacketDropped => "Invalid packet",
        R::CtTruncatedOrInvalidHeader => "CT: Truncated or invalid header",
        R::CtMissingTcpAckFlag => "CT: Missing TCP ACK flag",
        R::CtUnknownL4Protocol => "CT: Unknown L4 protocol",
        R::CtCannotCreateEntryFromPacket => "CT: Can't create entry from packet",
        R::UnsupportedL3Protocol => "Unsupported L3 protocol",
        R::MissedTailCall => "Missed tail call",
        R::ErrorWritingToPacket => "Error writing to packet",
        R::UnknownL4Protocol => "Unknown L4 protocol",
        R::UnknownIcmpv4Code => "Unknown ICMPv4 code",
        R::UnknownIcmpv4Type => "Unknown ICMPv4 type",
        R::UnknownIcmpv6Code => "Unknown ICMPv6 code",
        R::UnknownIcmpv6Type => "Unknown ICMPv6 type",
        R::ErrorRetrievingTunnelKey => "Error retrieving tunnel key",
        R::ErrorRetrievingTunnelOptions => "Error retrieving tunnel options",
        R::InvalidGeneveOption => "Invalid Geneve option",
        R::UnknownL3TargetAddress => "Unknown L3 target address",
        R::StaleOrUnroutableIp => "Stale or unroutable IP",
        R::NoMatchingLocalContainerFound => "No matching local container found",
        R::ErrorWhileCorrectingL3Checksum => "Error while correcting L3 checksum",
        R::ErrorWhileCorrectingL4Checksum => "Error while correcting L4 checksum",
        R::CtMapInsertionFailed => "CT: Map insertion failed",
        R::InvalidIpv6ExtensionHeader => "Invalid IPv6 extension header",
        R::IpFragmentationNotSupported => "IP fragmentation not supported",
        R::ServiceBackendNotFound => "Service backend not found",
        R::NoTunnelOrEncapsulationEndpoint => "No tunnel/encapsulation endpoint (datapath BUG!)",
        R::FailedToInsertIntoProxymap => "Failed to insert into proxymap",
        R::ReachedEdtRateLimitingDropHorizon => "Reached EDT rate-limiting drop horizon",
        R::UnknownConnectionTrackingState => "Unknown connection tracking state",
        R::LocalHostIsUnreachable => "Local host is unreachable",
        R::NoConfigurationAvailableToPerformPolicyDecision => "No configuration available to perform policy decision",
        R::UnsupportedL2Protocol => "Unsupported L2 protocol",
        R::NoMappingForNatMasquerade => "No mapping for NAT masquerade",
        R::UnsupportedProtocolForNatMasquerade => "Unsupported protocol for NAT masquerade",
        R::FibLookupFailed => "FIB lookup failed",
        R::EncapsulationTrafficIsProhibited => "Encapsulation traffic is prohibited",
        R::InvalidIdentity => "Invalid identity",
        R::UnknownSender => "Unknown sender",
        R::NatNotNeeded => "NAT not needed",
        R::IsAClusterip => "Is a ClusterIP",
        R::FirstLogicalDatagramFragmentNotFound => "First logical datagram fragment not found",
        R::ForbiddenIcmpv6Message => "Forbidden ICMPv6 message",
        R::DeniedByLbSrcRangeCheck => "Denied by LB src range check",
        R::SocketLookupFailed => "Socket lookup failed",
        R::SocketAssignFailed => "Socket assign failed",
        R::ProxyRedirectionNotSupportedForProtocol => "Proxy redirection not supported for protocol",
        R::PolicyDeny => "Policy denied by denylist",
        R::VlanFiltered => "VLAN traffic disallowed by VLAN filter",
        R::InvalidVni => "Incorrect VNI from VTEP",
        R::InvalidTcBuffer => "Failed to update or lookup TC buffer",
        R::NoSid => "No SID was found for the IP address",
        R::MissingSrv6State => "SRv6 state was removed during tail call",
        R::Nat46 => "L3 translation from IPv4 to IPv6 failed (NAT46)",
        R::Nat64 => "L3 translation from IPv6 to IPv4 failed (NAT64)",
        R::AuthRequired => "Authentication required",
        R::CtNoMapFound => "No conntrack map found",
        R::SnatNoMapFound => "No nat map found",
        R::InvalidClusterId => "Invalid ClusterID",
        R::UnsupportedProtocolForDsrEncap => "Unsupported packet protocol for DSR encapsulation",
        R::NoEgressGateway => "No egress gateway found",
        R::UnencryptedTraffic => "Traffic is unencrypted",
        R::TtlExceeded => "TTL exceeded",
        R::NoNodeId => "No node ID found",
        R::DropRateLimited => "Rate limited",
        R::IgmpHandled => "IGMP handled",
        R::IgmpSubscribed => "IGMP subscribed",
        R::MulticastHandled => "Multicast handled",
        R::DropHostNotReady => "Host datapath not ready",
        R::DropEpNotReady => "Endpoint policy program not available",
        R::DropNoEgressIp => "No Egress IP configured",
        R::DropPuntProxy => "Punt to proxy",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_of_the_api_has_words_of_its_own() {
        let known: Vec<i32> = (1..256).filter(|number| R::try_from(*number).is_ok()).collect();
        let words: HashSet<_> = known.iter().map(|number| api_text(*number)).collect();
        assert_eq!(words.len(), known.len());
        assert!(!words.contains(&None));
    }

    #[test]
    fn words_are_those_of_hubbles_client() {
        for (number, words) in [
            (133, Some("Policy denied")),
            (155, Some("CT: Map insertion failed")),
            (181, Some("Policy denied by denylist")),
            (0, None),
            (159, None),
            (-133, None),
        ] {
            assert_eq!(api_text(number), words);
        }
    }
}
