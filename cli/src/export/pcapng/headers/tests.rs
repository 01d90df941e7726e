//! What is built is read by the parser of the observer, which knows nothing of the crate that builds.

use bpf_probes::event::{FLAG_MAC, FLAG_QINQ, FLAG_TCP_NS, FLAG_VLAN, Outer, PacketHeaders};
use bpf_probes::parse::{self, SNAPLEN, parse};
use proptest::option::of;
use proptest::prelude::*;

use super::*;

fn addresses() -> BoxedStrategy<Addresses> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(source, destination)| Addresses::V4(source, destination)),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(source, destination)| Addresses::V6(source, destination)),
    ]
    .boxed()
}

fn headers() -> BoxedStrategy<Headers> {
    let mac = (of(any::<([u8; 6], [u8; 6])>()), of(0..4096_u16), of(0..4096_u16));
    let ip = (addresses(), any::<u8>());
    let transport = prop_oneof![
        4 => Just(Some(TCP)), 2 => Just(Some(UDP)), 1 => Just(Some(SCTP)), 2 => Just(Some(ICMP)), 1 => Just(Some(47)),
    ];
    // Ports of tunnels would make the packet one.
    let ports = (any::<u16>(), 1..1000_u16);
    let tcp = (0..0x200_u16, any::<(u32, u32, u16)>());
    let tunnel = (any::<bool>(), 0..1_u32 << 24, addresses(), of(1..1000_u16)).prop_map(
        |(geneve, vni, addresses, source_port)| {
            let (kind, port) = if geneve {
                (TunnelKind::Geneve, 6081)
            } else {
                (TunnelKind::Vxlan, 4789)
            };
            TunnelHeaders {
                kind,
                vni,
                addresses,
                ports: source_port.map(|source| (source, port)),
            }
        },
    );
    (
        mac,
        ip,
        transport,
        ports,
        tcp,
        any::<(u8, u8)>(),
        (of(tunnel), 0..100_000_usize),
    )
        .prop_map(
            |(link, (addresses, ttl), protocol, ports, tcp, icmp, (tunnel, length))| {
                let protocol = match (addresses, protocol) {
                    (Addresses::V6(..), Some(ICMP)) => Some(ICMPV6),
                    (_, other) => other,
                };
                Headers {
                    mac: link.0,
                    vlan: link.1,
                    inner_vlan: link.2,
                    addresses,
                    ttl: Some(ttl),
                    fragment_offset: None,
                    protocol,
                    ports: matches!(protocol, Some(TCP | UDP | SCTP)).then_some(ports),
                    tcp_flags: tcp.0,
                    tcp: Some(tcp.1),
                    icmp: matches!(protocol, Some(ICMP | ICMPV6)).then_some(icmp),
                    tunnel,
                    length,
                }
            },
        )
        .boxed()
}

fn stored(address: Addresses) -> ([u8; 16], [u8; 16]) {
    match address {
        Addresses::V4(source, destination) => (source.to_ipv6_mapped().octets(), destination.to_ipv6_mapped().octets()),
        Addresses::V6(source, destination) => (source.octets(), destination.octets()),
    }
}

fn read(frame: &Frame) -> (PacketHeaders, Outer) {
    let mut bytes: parse::Frame = [0; size_of::<parse::Frame>()];
    let captured = frame.bytes.len().min(SNAPLEN as usize);
    bytes[..captured].copy_from_slice(&frame.bytes[..captured]);
    let link = match frame.link {
        Link::Ethernet => parse::Link::Ethernet,
        Link::Ip => parse::Link::Ip,
    };
    let (mut headers, mut inner, mut outer) = (PacketHeaders::default(), PacketHeaders::default(), Outer::default());
    let captured = u32::try_from(captured).unwrap();
    parse(&bytes, captured, link, &mut headers, &mut inner, &mut outer)
        .unwrap_or_else(|error| panic!("{error:?}: {frame:02x?}"));
    (headers, outer)
}

/// The sum that is 0 if a checksum is right (RFC 1071).
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

proptest! {
    #[test]
    fn another_parser_reads_what_the_flow_said(headers in headers()) {
        let frame = headers.frame();
        prop_assert!(frame.length >= frame.bytes.len());
        prop_assert!(frame.length >= headers.length);
        let least = Headers { length: 0, ..headers.clone() }.frame().length;
        prop_assert_eq!(frame.length, headers.length.max(least), "the packet is as long as it was");
        let (told, outer) = read(&frame);
        prop_assert_eq!((told.source, told.destination), stored(headers.addresses));
        prop_assert_eq!(Some(told.ttl), headers.ttl);
        prop_assert_eq!(Some(told.protocol), headers.protocol);
        if let Some(ports) = headers.ports {
            prop_assert_eq!((told.source_port, told.destination_port), ports);
        }
        if headers.protocol == Some(TCP) {
            let ns = if told.flags & FLAG_TCP_NS != 0 { 1 << 8 } else { 0 };
            prop_assert_eq!(u16::from(told.tcp_flags) | ns, headers.tcp_flags);
            prop_assert_eq!(Some((told.sequence, told.acknowledgment, told.window)), headers.tcp);
        }
        let mac = (told.flags & FLAG_MAC != 0).then_some((told.source_mac, told.destination_mac));
        let expected = headers.mac.or(headers.has_ethernet().then_some(Default::default()));
        prop_assert_eq!(mac, expected);
        prop_assert_eq!((told.flags & FLAG_VLAN != 0).then_some(told.vlan), headers.vlan);
        let inner = headers.vlan.and(headers.inner_vlan);
        prop_assert_eq!((told.flags & FLAG_QINQ != 0).then_some(told.inner_vlan), inner);
        match &headers.tunnel {
            None => prop_assert_eq!(told.tunnel, 0),
            Some(tunnel) => {
                prop_assert_eq!(told.tunnel, if tunnel.kind == TunnelKind::Vxlan { 1 } else { 2 });
                prop_assert_eq!(told.vni, tunnel.vni);
                prop_assert_eq!((outer.source, outer.destination), stored(tunnel.addresses));
                let usual = if tunnel.kind == TunnelKind::Vxlan { 4789 } else { 6081 };
                prop_assert_eq!((outer.source_port, outer.destination_port), tunnel.ports.unwrap_or((usual, usual)));
            }
        }
    }

    #[test]
    fn checksums_are_right(headers in headers().prop_map(|headers| Headers { tunnel: None, ..headers })) {
        let frame = headers.frame();
        let ip = &frame.bytes[headers.ethernet_length()..];
        let length = frame.length - headers.ethernet_length();
        let transport = match headers.addresses {
            Addresses::V4(..) => {
                prop_assert_eq!(sum(&[&ip[..20]]), 0);
                prop_assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), if length > 0xffff { 0 } else { length });
                &ip[20..]
            }
            Addresses::V6(..) => {
                let length = length - 40;
                prop_assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), if length > 0xffff { 0 } else { length });
                &ip[40..]
            }
        };
        if !matches!(headers.protocol, Some(TCP | UDP)) || length > 0xffff {
            return Ok(());
        }
        let (source, destination) = stored(headers.addresses);
        let inside = u32::try_from(frame.length - headers.ethernet_length() - (ip.len() - transport.len())).unwrap();
        // The ends of mapped addresses add up to what the addresses themselves do but for two times 0xffff, which is 0.
        let pseudo = [&source[..], &destination, &inside.to_be_bytes(), &[0, headers.protocol.unwrap()]];
        let sum = sum(&[pseudo[0], pseudo[1], pseudo[2], pseudo[3], transport]);
        prop_assert_eq!(sum, 0);
    }

    #[test]
    fn fragments_are_fragments(addresses in addresses(), offset in 0..0x2000_u16, length in 0..3000_usize) {
        let headers = Headers {
            mac: None, vlan: None, inner_vlan: None, addresses, ttl: None, fragment_offset: Some(offset),
            protocol: Some(UDP), ports: Some((1, 2)), tcp_flags: 0, tcp: None, icmp: None, tunnel: None, length,
        };
        let (told, _) = read(&headers.frame());
        prop_assert_eq!((told.fragment_offset, told.protocol), (offset, UDP));
        prop_assert_eq!(told.source_port, if offset == 0 { 1 } else { 0 });
    }
}

#[test]
fn what_follows_the_header_of_a_syn_are_options() {
    let syn = Headers {
        mac: Some(Default::default()),
        vlan: None,
        inner_vlan: None,
        addresses: Addresses::V4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        ttl: Some(64),
        fragment_offset: None,
        protocol: Some(TCP),
        ports: Some((40_000, 443)),
        tcp_flags: 2,
        tcp: Some((1, 0, 64_240)),
        icmp: None,
        tunnel: None,
        length: 74,
    };
    assert_eq!((syn.frame().bytes.len(), syn.frame().length), (74, 74));
    let data = Headers { tcp_flags: 0x10, ..syn };
    assert_eq!((data.frame().bytes.len(), data.frame().length), (54, 74));
}
