//! The headers of an ordinary packet, read where they are: Ethernet or nothing, IPv4 without options or IPv6 without
//! extension headers, then TCP or UDP. That is nearly all of them, and copying them first would be half of what a packet
//! costs. Everything else is left to the parser that both sides share; what is read here must equal what that would say,
//! which a test holds (`observer/tests/kernel_parse.rs`).

use aya_ebpf::bindings::__sk_buff;
use bpf_probes::event::{FLAG_DONT_FRAGMENT, FLAG_MAC, FLAG_TCP_NS, PacketHeaders};
use bpf_probes::parse::Link;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const ETHERNET_HEADER: usize = 14;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
/// Ports whose packets may be tunnels: VXLAN, Linux's older port for it, Geneve.
const TUNNEL_PORTS: [u16; 3] = [4789, 8472, 6081];

/// Reads a value of a packet that the caller has checked to be inside.
#[inline(always)]
unsafe fn at<T: Copy>(packet: usize, offset: usize) -> T {
    // SAFETY: by contract. On the BPF target, with misaligned access allowed, this is one load.
    unsafe { ((packet + offset) as *const T).read_unaligned() }
}

/// Fills `headers`; `false` if the packet isn't an ordinary one, with `headers` in an unknown state.
#[inline(always)]
pub(crate) fn read(skb: *mut __sk_buff, link: Link, headers: &mut PacketHeaders) -> bool {
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`; the verifier checks each access to the packet
    // against `end`.
    unsafe {
        let packet = (*skb).data as usize;
        let end = (*skb).data_end as usize;
        let length = (*skb).len as usize;
        let start = match link {
            Link::Ethernet => ETHERNET_HEADER,
            Link::Ip => 0,
        };
        if packet + start + IPV4_HEADER + UDP_HEADER > end {
            return false;
        }
        let ethertype = match link {
            Link::Ethernet => u16::from_be(at(packet, 12)),
            Link::Ip if at::<u8>(packet, 0) >> 4 == 4 => ETHERTYPE_IPV4,
            Link::Ip => ETHERTYPE_IPV6,
        };
        match ethertype {
            ETHERTYPE_IPV4 => {
                let total = usize::from(u16::from_be(at(packet, start + 2)));
                let fragment = u16::from_be(at(packet, start + 6));
                if at::<u8>(packet, start) != 0x45 || fragment & 0x3fff != 0 || start + total > length {
                    return false;
                }
                headers.flags = if fragment & 0x4000 != 0 { FLAG_DONT_FRAGMENT } else { 0 };
                mapped(&mut headers.source, at(packet, start + 12));
                mapped(&mut headers.destination, at(packet, start + 16));
                headers.ip_version = 4;
                headers.ttl = at(packet, start + 8);
                headers.protocol = at(packet, start + 9);
                if !transport(packet, end, start + IPV4_HEADER, start + total, headers) {
                    return false;
                }
            }
            ETHERTYPE_IPV6 => {
                if packet + start + IPV6_HEADER + UDP_HEADER > end {
                    return false;
                }
                let payload = usize::from(u16::from_be(at(packet, start + 4)));
                let total = IPV6_HEADER + payload;
                if at::<u8>(packet, start) >> 4 != 6 || payload == 0 || start + total > length {
                    return false;
                }
                headers.flags = 0;
                words(&mut headers.source, at(packet, start + 8), at(packet, start + 16));
                words(&mut headers.destination, at(packet, start + 24), at(packet, start + 32));
                headers.ip_version = 6;
                headers.ttl = at(packet, start + 7);
                headers.protocol = at(packet, start + 6);
                if !transport(packet, end, start + IPV6_HEADER, start + total, headers) {
                    return false;
                }
            }
            _ => return false,
        }
        headers.ethertype = ethertype;
        if start != 0 {
            headers.flags |= FLAG_MAC;
            mac(&mut headers.destination_mac, at(packet, 0), at(packet, 4));
            mac(&mut headers.source_mac, at(packet, 6), at(packet, 10));
        } else {
            headers.destination_mac = [0; 6];
            headers.source_mac = [0; 6];
        }
    }
    headers.vni = 0;
    headers.vlan = 0;
    headers.inner_vlan = 0;
    headers.fragment_offset = 0;
    headers.icmp_type = 0;
    headers.icmp_code = 0;
    headers.tunnel = 0;
    headers.reserved = [0; 3];
    true
}

/// Two halves of an address, in the order in which they are in memory.
#[inline(always)]
fn words(to: &mut [u8; 16], first: u64, second: u64) {
    let to = core::ptr::from_mut(to).cast::<u64>();
    // SAFETY: 16 bytes; the target allows misaligned access.
    unsafe {
        to.write_unaligned(first);
        to.add(1).write_unaligned(second);
    }
}

/// An IPv4 address as it is in memory, IPv4-mapped.
#[inline(always)]
fn mapped(to: &mut [u8; 16], address: u32) {
    words(
        to,
        0,
        u64::from(address) << 32 | u64::from(u32::from_ne_bytes([0, 0, 0xff, 0xff])),
    );
}

/// A MAC address in two parts: byte by byte it would cost more than all other headers together.
#[inline(always)]
fn mac(to: &mut [u8; 6], first: u32, second: u16) {
    let to = core::ptr::from_mut(to).cast::<u8>();
    // SAFETY: 6 bytes; the target allows misaligned access.
    unsafe {
        to.cast::<u32>().write_unaligned(first);
        to.add(4).cast::<u16>().write_unaligned(second);
    }
}

/// The transport header at `offset` of a packet that ends at `behind`.
#[inline(always)]
unsafe fn transport(packet: usize, end: usize, offset: usize, behind: usize, headers: &mut PacketHeaders) -> bool {
    // SAFETY: as in `read`, for which this is a part; there is room for a UDP header.
    unsafe {
        headers.source_port = u16::from_be(at(packet, offset));
        headers.destination_port = u16::from_be(at(packet, offset + 2));
        match headers.protocol {
            PROTOCOL_TCP => {
                if packet + offset + TCP_HEADER > end || offset + TCP_HEADER > behind {
                    return false;
                }
                headers.sequence = u32::from_be(at(packet, offset + 4));
                headers.acknowledgment = u32::from_be(at(packet, offset + 8));
                let data_offset: u8 = at(packet, offset + 12);
                if data_offset & 1 != 0 {
                    headers.flags |= FLAG_TCP_NS;
                }
                headers.tcp_flags = at(packet, offset + 13);
                headers.window = u16::from_be(at(packet, offset + 14));
                headers.payload_offset = (offset + usize::from(data_offset >> 4) * 4) as u16;
            }
            PROTOCOL_UDP => {
                if offset + UDP_HEADER > behind || TUNNEL_PORTS.contains(&headers.destination_port) {
                    return false;
                }
                headers.sequence = 0;
                headers.acknowledgment = 0;
                headers.tcp_flags = 0;
                headers.window = 0;
                headers.payload_offset = (offset + UDP_HEADER) as u16;
            }
            _ => return false,
        }
    }
    true
}
