//! One header parser for the kernel and for replayed files.
//!
//! The programs copy the first [`SNAPLEN`] bytes of a packet into a [`Frame`] and call [`parse`]; replay does the same
//! with the bytes of a capture. It reads nothing outside the captured bytes, whatever the packet's own length fields
//! claim, has no loop without a bound, and needs no allocation, so the kernel's verifier accepts it.

use crate::event::{
    FLAG_DONT_FRAGMENT, FLAG_FRAGMENT, FLAG_LENGTH_LIES, FLAG_MAC, FLAG_NO_TRANSPORT, FLAG_QINQ, FLAG_TCP_NS,
    FLAG_VLAN, Outer, PacketHeaders, TUNNEL_GENEVE, TUNNEL_VXLAN,
};

/// How many bytes of a packet are looked at: enough for Ethernet, two VLAN tags, IPv6, VXLAN, Ethernet, IPv6 and TCP,
/// with 34 bytes of options or extension headers.
pub const SNAPLEN: u32 = 192;

/// The captured bytes. Longer than [`SNAPLEN`] so that a masked offset, plus the place of a field in its header and the
/// widest read, stays inside.
pub type Frame = [u8; 320];

/// Offsets are masked with this before every read; together with the size of [`Frame`] it proves to the compiler and to
/// the kernel's verifier that the read is inside.
const OFFSET_MASK: u32 = 0xff;

/// Where the captured bytes start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// At an Ethernet header.
    Ethernet,
    /// At an IP header (tun, wireguard, ipip); the first four bits tell which.
    Ip,
}

/// Why a packet has no [`PacketHeaders`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// The IP header is cut off or contradicts itself.
    Malformed,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q.
const ETHERTYPE_VLAN: u16 = 0x8100;
/// IEEE 802.1ad.
const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Pre-standard QinQ, still sent by some switches.
const ETHERTYPE_QINQ_OLD: u16 = 0x9100;
/// Transparent Ethernet bridging: the payload of VXLAN and, usually, Geneve.
const ETHERTYPE_TEB: u16 = 0x6558;

/// IANA protocol numbers.
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const PROTOCOL_SCTP: u8 = 132;

/// IPv6 extension headers (RFC 8200, section 4; AH: RFC 4302; mobility: RFC 6275; HIP: RFC 7401; shim6: RFC 5533).
const EXTENSION_HOP_BY_HOP: u8 = 0;
const EXTENSION_ROUTING: u8 = 43;
const EXTENSION_FRAGMENT: u8 = 44;
const EXTENSION_AUTHENTICATION: u8 = 51;
const EXTENSION_NONE: u8 = 59;
const EXTENSION_DESTINATION: u8 = 60;
const EXTENSION_MOBILITY: u8 = 135;
const EXTENSION_HIP: u8 = 139;
const EXTENSION_SHIM6: u8 = 140;
/// More extension headers than this are taken for an attempt to evade a parser.
const MAX_EXTENSIONS: u32 = 8;

/// IANA's port for VXLAN, and the one that Linux used before it was assigned.
const PORT_VXLAN: u16 = 4789;
const PORT_VXLAN_LINUX: u16 = 8472;
const PORT_GENEVE: u16 = 6081;

#[inline(always)]
fn u8_at(frame: &Frame, offset: u32) -> u8 {
    frame[(offset & OFFSET_MASK) as usize]
}

#[inline(always)]
fn u16_at(frame: &Frame, offset: u32) -> u16 {
    let at = (offset & OFFSET_MASK) as usize;
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[inline(always)]
fn u32_at(frame: &Frame, offset: u32) -> u32 {
    let at = (offset & OFFSET_MASK) as usize;
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

#[inline(always)]
fn address_at(frame: &Frame, offset: u32, to: &mut [u8; 16]) {
    let at = (offset & OFFSET_MASK) as usize;
    let mut index = 0;
    while index < 16 {
        to[index] = frame[at + index];
        index += 1;
    }
}

#[inline(always)]
fn mapped_address_at(frame: &Frame, offset: u32, to: &mut [u8; 16]) {
    let at = (offset & OFFSET_MASK) as usize;
    *to = [
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0xff,
        0xff,
        frame[at],
        frame[at + 1],
        frame[at + 2],
        frame[at + 3],
    ];
}

#[inline(always)]
fn mac_at(frame: &Frame, offset: u32, to: &mut [u8; 6]) {
    let at = (offset & OFFSET_MASK) as usize;
    *to = [
        frame[at],
        frame[at + 1],
        frame[at + 2],
        frame[at + 3],
        frame[at + 4],
        frame[at + 5],
    ];
}

/// Reads the headers of the packet in the first `captured` bytes of `frame`.
///
/// For VXLAN and Geneve `headers` becomes the inner packet's and `outer` the tunnel's, provided that the inner packet is
/// one we can read; otherwise the tunnel packet itself is reported. `outer` is written only if `headers.tunnel` says that
/// there is a tunnel. `inner` is scratch space, since the programs' stack is too small for it.
///
/// # Errors
/// [`Rejected`] says whether the packet is no IP packet at all, or one whose IP header can't be right.
#[inline(always)]
pub fn parse(
    frame: &Frame,
    captured: u32,
    link: Link,
    headers: &mut PacketHeaders,
    inner: &mut PacketHeaders,
    outer: &mut Outer,
) -> Result<(), Rejected> {
    let captured = if captured > SNAPLEN { SNAPLEN } else { captured };
    *headers = PacketHeaders::default();
    match parse_packet(frame, captured, 0, link as u32, headers) {
        OK => {}
        NOT_IP => return Err(Rejected::NotIp),
        _ => return Err(Rejected::Malformed),
    }
    if headers.protocol != PROTOCOL_UDP || headers.flags & (FLAG_NO_TRANSPORT | FLAG_FRAGMENT) != 0 {
        return Ok(());
    }
    match headers.destination_port {
        PORT_VXLAN | PORT_VXLAN_LINUX | PORT_GENEVE => parse_tunnel(frame, captured, headers, inner, outer),
        _ => {}
    }
    Ok(())
}

#[inline(always)]
fn parse_tunnel(
    frame: &Frame,
    captured: u32,
    headers: &mut PacketHeaders,
    inner: &mut PacketHeaders,
    outer: &mut Outer,
) {
    let at = u32::from(headers.payload_offset);
    // Both headers are 8 bytes without options.
    if at + 8 > captured {
        return;
    }
    let first = u32_at(frame, at);
    let vni = u32_at(frame, at + 4);
    let (tunnel, start, link) = if headers.destination_port == PORT_GENEVE {
        // RFC 8926: version 0, no reserved bits.
        if first & 0xc03f_0000 != 0 || vni & 0xff != 0 {
            return;
        }
        let options = ((first >> 24) & 0x3f) * 4;
        let link = match first as u16 {
            ETHERTYPE_TEB => Link::Ethernet,
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Link::Ip,
            _ => return,
        };
        (TUNNEL_GENEVE, at + 8 + options, link)
    } else {
        // RFC 7348: the I flag, everything else zero. Extensions of it (GBP, GPE) use the other bits and are left alone.
        if first != 0x0800_0000 || vni & 0xff != 0 {
            return;
        }
        (TUNNEL_VXLAN, at + 8, Link::Ethernet)
    };
    *inner = PacketHeaders::default();
    if start >= captured || parse_packet(frame, captured, start, link as u32, inner) != OK {
        return;
    }
    outer.source = headers.source;
    outer.destination = headers.destination;
    outer.source_port = headers.source_port;
    outer.destination_port = headers.destination_port;
    outer.ip_version = headers.ip_version;
    outer.reserved = [0; 3];
    inner.vni = vni >> 8;
    inner.tunnel = tunnel;
    *headers = *inner;
}

const OK: u32 = 0;
const NOT_IP: u32 = 1;
const MALFORMED: u32 = 2;

/// One packet from `start` on. Its own function, and with a plain number for a result, so that the kernel verifies it as
/// a subprogram.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn parse_packet(frame: &Frame, captured: u32, start: u32, link: u32, headers: &mut PacketHeaders) -> u32 {
    // Were the compiler to know that this is at most `SNAPLEN`, it would leave out the masks that the verifier needs to see.
    let captured = core::hint::black_box(captured);
    let mut at = start;
    let ethertype;
    if link == Link::Ethernet as u32 {
        if at + 14 > captured {
            return MALFORMED;
        }
        mac_at(frame, at, &mut headers.destination_mac);
        mac_at(frame, at + 6, &mut headers.source_mac);
        headers.flags |= FLAG_MAC;
        let mut next = u16_at(frame, at + 12);
        at += 14;
        if is_vlan(next) {
            if at + 4 > captured {
                return MALFORMED;
            }
            headers.vlan = u16_at(frame, at);
            headers.flags |= FLAG_VLAN;
            next = u16_at(frame, at + 2);
            at += 4;
            if is_vlan(next) {
                if at + 4 > captured {
                    return MALFORMED;
                }
                headers.inner_vlan = u16_at(frame, at);
                headers.flags |= FLAG_QINQ;
                next = u16_at(frame, at + 2);
                at += 4;
            }
        }
        ethertype = next;
    } else {
        if at + 1 > captured {
            return MALFORMED;
        }
        ethertype = match u8_at(frame, at) >> 4 {
            4 => ETHERTYPE_IPV4,
            6 => ETHERTYPE_IPV6,
            _ => return NOT_IP,
        };
    }
    headers.ethertype = ethertype;
    match ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(frame, captured, at, headers),
        ETHERTYPE_IPV6 => parse_ipv6(frame, captured, at, headers),
        _ => NOT_IP,
    }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD)
}

/// RFC 791, section 3.1.
#[inline(always)]
fn parse_ipv4(frame: &Frame, captured: u32, at: u32, headers: &mut PacketHeaders) -> u32 {
    if at + 20 > captured {
        return MALFORMED;
    }
    let first = u8_at(frame, at);
    let header_length = u32::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_length < 20 {
        return MALFORMED;
    }
    let total_length = u32::from(u16_at(frame, at + 2));
    let end = end_of_packet(captured, at, total_length, headers);
    // Zero is what the stack leaves in a packet that is still to be segmented.
    if total_length != 0 && total_length < header_length {
        return MALFORMED;
    }
    let fragment = u16_at(frame, at + 6);
    if fragment & 0x4000 != 0 {
        headers.flags |= FLAG_DONT_FRAGMENT;
    }
    if fragment & 0x3fff != 0 {
        headers.flags |= FLAG_FRAGMENT;
        headers.fragment_offset = fragment & 0x1fff;
    }
    headers.ip_version = 4;
    headers.ttl = u8_at(frame, at + 8);
    headers.protocol = u8_at(frame, at + 9);
    mapped_address_at(frame, at + 12, &mut headers.source);
    mapped_address_at(frame, at + 16, &mut headers.destination);
    if headers.fragment_offset != 0 {
        headers.flags |= FLAG_NO_TRANSPORT;
        return OK;
    }
    parse_transport(frame, end, at + header_length, headers)
}

/// RFC 8200, sections 3 and 4.
#[inline(always)]
fn parse_ipv6(frame: &Frame, captured: u32, at: u32, headers: &mut PacketHeaders) -> u32 {
    if at + 40 > captured || u8_at(frame, at) >> 4 != 6 {
        return MALFORMED;
    }
    let payload_length = u32::from(u16_at(frame, at + 4));
    // Zero stands for a jumbogram (RFC 2675) or a packet that is still to be segmented.
    let claimed = if payload_length == 0 { 0 } else { payload_length + 40 };
    let end = end_of_packet(captured, at, claimed, headers);
    headers.ip_version = 6;
    headers.ttl = u8_at(frame, at + 7);
    address_at(frame, at + 8, &mut headers.source);
    address_at(frame, at + 24, &mut headers.destination);
    let mut next = u8_at(frame, at + 6);
    let mut at = at + 40;
    let mut count = 0;
    while count < MAX_EXTENSIONS {
        count += 1;
        match next {
            EXTENSION_HOP_BY_HOP
            | EXTENSION_ROUTING
            | EXTENSION_FRAGMENT
            | EXTENSION_DESTINATION
            | EXTENSION_AUTHENTICATION
            | EXTENSION_MOBILITY
            | EXTENSION_HIP
            | EXTENSION_SHIM6 => {}
            EXTENSION_NONE => break,
            protocol => {
                headers.protocol = protocol;
                return parse_transport(frame, end, at, headers);
            }
        }
        if at + 8 > end {
            break;
        }
        let length = u32::from(u8_at(frame, at + 1));
        if next == EXTENSION_FRAGMENT {
            let fragment = u16_at(frame, at + 2);
            headers.flags |= FLAG_FRAGMENT;
            headers.fragment_offset = fragment >> 3;
            next = u8_at(frame, at);
            at += 8;
            if headers.fragment_offset != 0 {
                break;
            }
        } else {
            // AH counts in units of 4 bytes, less 2; all others in units of 8, less 1.
            let bytes = if next == EXTENSION_AUTHENTICATION {
                (length + 2) * 4
            } else {
                (length + 1) * 8
            };
            next = u8_at(frame, at);
            at += bytes;
        }
    }
    headers.protocol = next;
    headers.flags |= FLAG_NO_TRANSPORT;
    OK
}

/// Where the packet ends in the captured bytes: link-layer padding isn't part of it. `claimed` is 0 where the header
/// doesn't say.
#[inline(always)]
fn end_of_packet(captured: u32, at: u32, claimed: u32, headers: &mut PacketHeaders) -> u32 {
    if claimed == 0 {
        return captured;
    }
    let end = at + claimed;
    if end > captured {
        // Below the limit everything was captured, so the packet itself is shorter than it says.
        if captured < SNAPLEN {
            headers.flags |= FLAG_LENGTH_LIES;
        }
        return captured;
    }
    end
}

#[inline(always)]
fn parse_transport(frame: &Frame, end: u32, at: u32, headers: &mut PacketHeaders) -> u32 {
    match headers.protocol {
        // RFC 9293, section 3.1
        PROTOCOL_TCP => {
            if at + 20 > end {
                headers.flags |= FLAG_NO_TRANSPORT;
                return OK;
            }
            headers.source_port = u16_at(frame, at);
            headers.destination_port = u16_at(frame, at + 2);
            headers.sequence = u32_at(frame, at + 4);
            headers.acknowledgment = u32_at(frame, at + 8);
            let offset = u8_at(frame, at + 12);
            if offset & 1 != 0 {
                headers.flags |= FLAG_TCP_NS;
            }
            headers.tcp_flags = u8_at(frame, at + 13);
            headers.window = u16_at(frame, at + 14);
            headers.payload_offset = (at + u32::from(offset >> 4) * 4) as u16;
        }
        // RFC 768; SCTP's first four bytes are ports too (RFC 9260, section 3.1)
        PROTOCOL_UDP | PROTOCOL_SCTP => {
            let length = if headers.protocol == PROTOCOL_UDP { 8 } else { 12 };
            if at + length > end {
                headers.flags |= FLAG_NO_TRANSPORT;
                return OK;
            }
            headers.source_port = u16_at(frame, at);
            headers.destination_port = u16_at(frame, at + 2);
            headers.payload_offset = (at + length) as u16;
        }
        // RFC 792, RFC 4443: type and code; echo messages have an identifier and a sequence number
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => {
            if at + 8 > end {
                headers.flags |= FLAG_NO_TRANSPORT;
                return OK;
            }
            headers.icmp_type = u8_at(frame, at);
            headers.icmp_code = u8_at(frame, at + 1);
            let echo = if headers.protocol == PROTOCOL_ICMP {
                headers.icmp_type == 8 || headers.icmp_type == 0
            } else {
                headers.icmp_type == 128 || headers.icmp_type == 129
            };
            if echo {
                headers.source_port = u16_at(frame, at + 4);
                headers.destination_port = u16_at(frame, at + 6);
            }
            headers.payload_offset = (at + 8) as u16;
        }
        _ => headers.payload_offset = at as u16,
    }
    OK
}
