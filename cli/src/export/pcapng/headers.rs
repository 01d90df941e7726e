//! The headers of a packet, built again from what a flow has kept of them.
//!
//! Lengths are those of the packet that was seen; checksums are right for a payload of zeros, which is all of the packet
//! where it had none. What a flow doesn't keep is zero, or not there where nothing that is known follows: payload, IP
//! identification, TCP options, what follows type and code of ICMP, and ports of SCTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, SingleVlanHeader,
    TcpHeader, UdpHeader, VlanId,
};

/// IANA protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// Least lengths of headers of which a flow keeps only the first bytes: RFC 792 and 4443, RFC 9260.
const ICMP_LENGTH: usize = 8;
const SCTP_LENGTH: usize = 12;
const UDP_LENGTH: usize = 8;
/// VXLAN (RFC 7348) and Geneve without options (RFC 8926).
const TUNNEL_LENGTH: usize = 8;
/// TCP options are at most so long (RFC 9293).
const MAX_TCP_OPTIONS: usize = 40;

/// Hop limit of headers that a flow has not kept.
const USUAL_TTL: u8 = 64;

/// RFC 7348 and RFC 8926.
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;
/// Geneve's name for Ethernet inside of it: "Transparent Ethernet Bridging".
const TEB: u16 = 0x6558;

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// What a flow has kept of a packet.
#[derive(Clone, Debug)]
pub(in crate::export) struct Headers {
    /// Source and destination.
    pub(super) mac: Option<([u8; 6], [u8; 6])>,
    pub(super) vlan: Option<u16>,
    pub(super) inner_vlan: Option<u16>,
    pub(super) addresses: Addresses,
    pub(super) ttl: Option<u8>,
    /// Units of 8 bytes; `None` for whole packets.
    pub(super) fragment_offset: Option<u16>,
    /// IANA number.
    pub(super) protocol: Option<u8>,
    pub(super) ports: Option<(u16, u16)>,
    /// Bit 0 FIN to bit 8 NS.
    pub(super) tcp_flags: u16,
    /// Sequence number, acknowledgment number, window.
    pub(super) tcp: Option<(u32, u32, u16)>,
    /// Type and code.
    pub(super) icmp: Option<(u8, u8)>,
    pub(super) tunnel: Option<TunnelHeaders>,
    /// Bytes of the packet, link layer included where there is one; 0: not known.
    pub(super) length: usize,
}

/// Source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// What is around the packet. Its Ethernet header is not kept.
#[derive(Clone, Debug)]
pub(super) struct TunnelHeaders {
    pub(super) kind: TunnelKind,
    pub(super) vni: u32,
    pub(super) addresses: Addresses,
    pub(super) ports: Option<(u16, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelKind {
    Vxlan,
    Geneve,
}

/// The first header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Link {
    Ethernet,
    Ip,
}

/// A packet as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::export) struct Frame {
    pub(super) link: Link,
    pub(in crate::export) bytes: Vec<u8>,
    /// How long it was; at least as long as the bytes.
    pub(super) length: usize,
}

impl Addresses {
    /// `None` if they are of two versions.
    pub(super) fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4(source, destination)),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6(source, destination)),
            _ => None,
        }
    }

    fn ether_type(self) -> EtherType {
        match self {
            Self::V4(..) => EtherType::IPV4,
            Self::V6(..) => EtherType::IPV6,
        }
    }
}

impl Headers {
    /// The packet.
    pub(in crate::export) fn frame(&self) -> Frame {
        let link = match self.tunnel.is_some() || self.has_ethernet() {
            true => Link::Ethernet,
            false => Link::Ip,
        };
        let outside = self.tunnel.as_ref().map_or(0, |tunnel| {
            Ethernet2Header::LEN + ip_length(tunnel.addresses, false) + UDP_LENGTH + TUNNEL_LENGTH
        });
        let before = outside + self.ethernet_length() + ip_length(self.addresses, self.fragment_offset.is_some());
        let after = self.length.saturating_sub(before + self.least_transport_length());
        // A SYN has no data (but for TCP Fast Open), so what follows the header of 20 bytes are options. As data they
        // would make whoever counts sequence numbers think that something is missing.
        let is_syn = self.protocol == Some(TCP) && self.tcp_flags & 0b111 == 0b010;
        let options = match is_syn && after <= MAX_TCP_OPTIONS && after.is_multiple_of(4) {
            true => after,
            false => 0,
        };
        let payload = after - options;
        let inside = self.least_transport_length() + options + payload;
        let mut bytes = Vec::with_capacity(before + 60);
        if let Some(tunnel) = &self.tunnel {
            let carried = self.ethernet_length() + ip_length(self.addresses, self.fragment_offset.is_some()) + inside;
            self.write_tunnel(tunnel, carried, &mut bytes);
        }
        self.write_ethernet(&mut bytes);
        let fragment = self.fragment_offset;
        write_ip(self.addresses, self.ttl, self.protocol, fragment, inside, &mut bytes);
        self.write_transport(options, payload, &mut bytes);
        Frame {
            link,
            bytes,
            length: before + inside,
        }
    }

    fn has_ethernet(&self) -> bool {
        let carried = self
            .tunnel
            .as_ref()
            .is_some_and(|tunnel| tunnel.kind == TunnelKind::Vxlan);
        self.mac.is_some() || self.vlan.is_some() || carried
    }

    fn tags(&self) -> impl Iterator<Item = u16> {
        self.vlan.into_iter().chain(self.vlan.and(self.inner_vlan))
    }

    fn ethernet_length(&self) -> usize {
        match self.has_ethernet() {
            true => Ethernet2Header::LEN + SingleVlanHeader::LEN * self.tags().count(),
            false => 0,
        }
    }

    /// Whether the packet begins with a transport header; later fragments don't.
    fn has_transport(&self) -> bool {
        self.fragment_offset.unwrap_or_default() == 0
    }

    /// What is at least behind the IP header.
    fn least_transport_length(&self) -> usize {
        match self.protocol {
            _ if !self.has_transport() => 0,
            Some(TCP) if self.ports.is_some() => TcpHeader::MIN_LEN,
            Some(UDP) if self.ports.is_some() => UDP_LENGTH,
            Some(SCTP) if self.ports.is_some() => SCTP_LENGTH,
            Some(ICMP | ICMPV6) if self.icmp.is_some() => ICMP_LENGTH,
            _ => 0,
        }
    }

    fn write_ethernet(&self, out: &mut Vec<u8>) {
        if !self.has_ethernet() {
            return;
        }
        let tags: Vec<u16> = self.tags().collect();
        let network = self.addresses.ether_type();
        let first = match tags.len() {
            0 => network,
            1 => EtherType::VLAN_TAGGED_FRAME,
            _ => EtherType::PROVIDER_BRIDGING,
        };
        write_mac(self.mac, first, out);
        for (place, tag) in tags.iter().enumerate() {
            let last = place + 1 == tags.len();
            let header = SingleVlanHeader {
                vlan_id: VlanId::try_new(tag & VlanId::MAX_U16).unwrap_or_default(),
                ether_type: if last { network } else { EtherType::VLAN_TAGGED_FRAME },
                ..SingleVlanHeader::default()
            };
            out.extend_from_slice(&header.to_bytes());
        }
    }

    /// Everything around a packet of `carried` bytes.
    fn write_tunnel(&self, tunnel: &TunnelHeaders, carried: usize, out: &mut Vec<u8>) {
        let length = UDP_LENGTH + TUNNEL_LENGTH + carried;
        write_mac(None, tunnel.addresses.ether_type(), out);
        write_ip(tunnel.addresses, None, Some(UDP), None, length, out);
        let usual = match tunnel.kind {
            TunnelKind::Vxlan => VXLAN_PORT,
            TunnelKind::Geneve => GENEVE_PORT,
        };
        let (source_port, destination_port) = tunnel.ports.unwrap_or((usual, usual));
        let udp = UdpHeader {
            source_port,
            destination_port,
            length: u16::try_from(length).unwrap_or_default(),
            // Tunnels may leave it out (RFC 7348, RFC 6935).
            checksum: 0,
        };
        out.extend_from_slice(&udp.to_bytes());
        let first: u32 = match tunnel.kind {
            // The flag says that there is a network identifier.
            TunnelKind::Vxlan => 0x0800_0000,
            TunnelKind::Geneve if self.has_ethernet() => TEB.into(),
            TunnelKind::Geneve => u32::from(self.addresses.ether_type().0),
        };
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&(tunnel.vni << 8).to_be_bytes());
    }

    /// `payload` bytes of data are not written, only counted.
    fn write_transport(&self, options: usize, payload: usize, out: &mut Vec<u8>) {
        if !self.has_transport() {
            return;
        }
        match (self.protocol, self.ports, self.icmp) {
            (Some(TCP), Some(ports), _) => {
                let mut header = self.tcp_header(ports);
                if header.set_options_raw(&ZEROS[..options]).is_ok() {
                    header.checksum = self.checksum(
                        payload,
                        |from, to, data| header.calc_checksum_ipv4_raw(from, to, data),
                        |from, to, data| header.calc_checksum_ipv6_raw(from, to, data),
                    );
                }
                out.extend_from_slice(&header.to_bytes());
            }
            (Some(UDP), Some((source_port, destination_port)), _) => {
                let mut header = UdpHeader {
                    source_port,
                    destination_port,
                    // 0 where it doesn't fit (RFC 2675).
                    length: u16::try_from(UDP_LENGTH + payload).unwrap_or_default(),
                    checksum: 0,
                };
                header.checksum = self.checksum(
                    payload,
                    |from, to, data| header.calc_checksum_ipv4_raw(from, to, data),
                    |from, to, data| header.calc_checksum_ipv6_raw(from, to, data),
                );
                out.extend_from_slice(&header.to_bytes());
            }
            (Some(SCTP), Some((source, destination)), _) => {
                out.extend_from_slice(&source.to_be_bytes());
                out.extend_from_slice(&destination.to_be_bytes());
                // Verification tag and checksum.
                out.extend_from_slice(&[0; 8]);
            }
            // The checksum covers what isn't known.
            (Some(ICMP | ICMPV6), _, Some((icmp_type, code))) => out.extend_from_slice(&[icmp_type, code, 0, 0]),
            _ => {}
        }
    }

    fn tcp_header(&self, (source, destination): (u16, u16)) -> TcpHeader {
        let (sequence, acknowledgment, window) = self.tcp.unwrap_or_default();
        let has = |bit: u16| self.tcp_flags & (1 << bit) != 0;
        let mut header = TcpHeader::new(source, destination, sequence, window);
        header.acknowledgment_number = acknowledgment;
        header.fin = has(0);
        header.syn = has(1);
        header.rst = has(2);
        header.psh = has(3);
        header.ack = has(4);
        header.urg = has(5);
        header.ece = has(6);
        header.cwr = has(7);
        header.ns = has(8);
        header
    }

    /// What `v4` or `v6` computes of the addresses and a payload of zeros; 0 for segments that are too long for IP, before
    /// the card cuts them.
    fn checksum<E>(
        &self,
        payload: usize,
        v4: impl FnOnce([u8; 4], [u8; 4], &[u8]) -> Result<u16, E>,
        v6: impl FnOnce([u8; 16], [u8; 16], &[u8]) -> Result<u16, E>,
    ) -> u16 {
        let Some(payload) = ZEROS.get(..payload) else { return 0 };
        let checksum = match self.addresses {
            Addresses::V4(source, destination) => v4(source.octets(), destination.octets(), payload),
            Addresses::V6(source, destination) => v6(source.octets(), destination.octets(), payload),
        };
        checksum.unwrap_or_default()
    }
}

fn write_mac(mac: Option<([u8; 6], [u8; 6])>, ether_type: EtherType, out: &mut Vec<u8>) {
    let (source, destination) = mac.unwrap_or_default();
    let header = Ethernet2Header {
        source,
        destination,
        ether_type,
    };
    out.extend_from_slice(&header.to_bytes());
}

fn ip_length(addresses: Addresses, is_fragment: bool) -> usize {
    match addresses {
        Addresses::V4(..) => Ipv4Header::MIN_LEN,
        Addresses::V6(..) if is_fragment => Ipv6Header::LEN + Ipv6FragmentHeader::LEN,
        Addresses::V6(..) => Ipv6Header::LEN,
    }
}

/// The header of a packet with `inside` bytes behind it. A length that doesn't fit is 0, as it is in captures of packets
/// that a card has still to cut.
fn write_ip(
    addresses: Addresses,
    ttl: Option<u8>,
    protocol: Option<u8>,
    fragment: Option<u16>,
    inside: usize,
    out: &mut Vec<u8>,
) {
    let offset = IpFragOffset::try_new(fragment.unwrap_or_default() & IpFragOffset::MAX_U16).unwrap_or_default();
    // Of later fragments nobody knows whether they are the last.
    let more_fragments = fragment == Some(0);
    let ttl = ttl.unwrap_or(USUAL_TTL);
    match addresses {
        Addresses::V4(source, destination) => {
            let protocol = protocol.map_or(IpNumber(u8::MAX), IpNumber);
            let mut header = Ipv4Header {
                total_len: u16::try_from(Ipv4Header::MIN_LEN + inside).unwrap_or_default(),
                time_to_live: ttl,
                protocol,
                source: source.octets(),
                destination: destination.octets(),
                fragment_offset: offset,
                more_fragments,
                dont_fragment: false,
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            out.extend_from_slice(&header.to_bytes());
        }
        Addresses::V6(source, destination) => {
            let protocol = protocol.map_or(IpNumber::IPV6_NO_NEXT_HEADER, IpNumber);
            let extension = fragment.map(|_| Ipv6FragmentHeader {
                next_header: protocol,
                fragment_offset: offset,
                more_fragments,
                identification: 0,
            });
            let length = inside + extension.as_ref().map_or(0, Ipv6FragmentHeader::header_len);
            let header = Ipv6Header {
                payload_length: u16::try_from(length).unwrap_or_default(),
                next_header: match extension {
                    Some(_) => IpNumber::IPV6_FRAGMENTATION_HEADER,
                    None => protocol,
                },
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            out.extend_from_slice(&header.to_bytes());
            if let Some(extension) = extension {
                out.extend_from_slice(&extension.to_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests;
