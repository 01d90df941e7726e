//! Names of ICMP types and codes.
//!
//! Numbers from the IANA registries "ICMP Parameters" and "ICMPv6 Parameters" (RFC 792, 950, 1256, 1812, 2710, 3810,
//! 4443, 4861).

/// Type and code of an ICMP message in one word, as in `DestinationUnreachable(Port)`.
#[must_use]
pub fn v4(of_type: u32, code: u32) -> String {
    let (name, codes): (&str, &[&str]) = match of_type {
        0 => ("EchoReply", &[]),
        3 => (
            "DestinationUnreachable",
            &[
                "Net",
                "Host",
                "Protocol",
                "Port",
                "FragmentationNeeded",
                "SourceRoutingFailed",
                "NetUnknown",
                "HostUnknown",
                "SourceIsolated",
                "NetAdminProhibited",
                "HostAdminProhibited",
                "NetTOS",
                "HostTOS",
                "CommAdminProhibited",
                "HostPrecedence",
                "PrecedenceCutoff",
            ],
        ),
        4 => ("SourceQuench", &[]),
        5 => ("Redirect", &["Net", "Host", "TOS+Net", "TOS+Host"]),
        8 => ("EchoRequest", &[]),
        9 => ("RouterAdvertisement", &[]),
        10 => ("RouterSolicitation", &[]),
        11 => ("TimeExceeded", &["TTLExceeded", "FragmentReassemblyTimeExceeded"]),
        12 => (
            "ParameterProblem",
            &["PointerIndicatesError", "MissingOption", "BadLength"],
        ),
        13 => ("TimestampRequest", &[]),
        14 => ("TimestampReply", &[]),
        15 => ("InfoRequest", &[]),
        16 => ("InfoReply", &[]),
        17 => ("AddressMaskRequest", &[]),
        18 => ("AddressMaskReply", &[]),
        _ => return unknown(of_type, code),
    };
    with_code(name, codes, code)
}

/// Type and code of an ICMPv6 message in one word, as in `TimeExceeded(HopLimitExceeded)`.
#[must_use]
pub fn v6(of_type: u32, code: u32) -> String {
    let (name, codes): (&str, &[&str]) = match of_type {
        1 => (
            "DestinationUnreachable",
            &[
                "NoRouteToDst",
                "AdminProhibited",
                "BeyondScopeOfSrc",
                "Address",
                "Port",
                "SrcAddressFailsPolicy",
                "RejectRouteToDst",
                "SrcRoutingHeaderError",
            ],
        ),
        2 => ("PacketTooBig", &[]),
        3 => ("TimeExceeded", &["HopLimitExceeded", "FragmentReassemblyTimeExceeded"]),
        4 => (
            "ParameterProblem",
            &["ErroneousHeader", "UnrecognizedNextHeader", "UnrecognizedIPv6Option"],
        ),
        128 => ("EchoRequest", &[]),
        129 => ("EchoReply", &[]),
        130 => ("MulticastListenerQuery", &[]),
        131 => ("MulticastListenerReport", &[]),
        132 => ("MulticastListenerDone", &[]),
        133 => ("RouterSolicitation", &[]),
        134 => ("RouterAdvertisement", &[]),
        135 => ("NeighborSolicitation", &[]),
        136 => ("NeighborAdvertisement", &[]),
        137 => ("Redirect", &[]),
        143 => ("MulticastListenerReportV2", &[]),
        _ => return unknown(of_type, code),
    };
    with_code(name, codes, code)
}

fn with_code(name: &str, codes: &[&str], code: u32) -> String {
    match codes.get(code as usize) {
        Some(known) => format!("{name}({known})"),
        None if codes.is_empty() && code == 0 => name.to_owned(),
        None => format!("{name}({code})"),
    }
}

fn unknown(of_type: u32, code: u32) -> String {
    format!("{of_type}({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_where_the_type_has_codes() {
        assert_eq!(v4(8, 0), "EchoRequest");
        assert_eq!(v4(3, 3), "DestinationUnreachable(Port)");
        assert_eq!(v4(3, 99), "DestinationUnreachable(99)");
        assert_eq!(v4(200, 1), "200(1)");
        assert_eq!(v6(3, 0), "TimeExceeded(HopLimitExceeded)");
        assert_eq!(v6(135, 0), "NeighborSolicitation");
    }
}
