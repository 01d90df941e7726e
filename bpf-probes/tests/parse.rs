//! The header parser on the host: what etherparse builds is read as it was built, and nothing is read that isn't there.
#![allow(clippy::unwrap_used)]

use bpf_probes::event::{
    FLAG_FRAGMENT, FLAG_LENGTH_LIES, FLAG_MAC, FLAG_NO_TRANSPORT, FLAG_QINQ, FLAG_VLAN, Outer, PacketHeaders,
    TUNNEL_VXLAN,
};
use bpf_probes::parse::{Frame, Link, Rejected, SNAPLEN, parse};
use etherparse::{PacketBuilder, VlanId};
use proptest::prelude::*;

fn read(bytes: &[u8], link: Link) -> Result<(PacketHeaders, Outer), Rejected> {
    let mut frame: Frame = [0xa5; size_of::<Frame>()];
    let captured = bytes.len().min(SNAPLEN as usize);
    frame[..captured].copy_from_slice(&bytes[..captured]);
    let (mut headers, mut inner, mut outer) = Default::default();
    parse(&frame, captured as u32, link, &mut headers, &mut inner, &mut outer).map(|()| (headers, outer))
}

fn headers(bytes: &[u8]) -> PacketHeaders {
    read(bytes, Link::Ethernet).unwrap().0
}

fn tcp_over_v4() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .tcp(40000, 443, 7, 1000)
        .syn()
        .write(&mut packet, b"hello")
        .unwrap();
    packet
}

/// An Ethernet frame with this IPv6 payload behind a first extension header of type `next`.
fn over_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = [[1; 6], [2; 6]].concat();
    packet.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 9]);
    packet.extend([[7_u8; 16], [8; 16]].concat());
    packet.extend(payload);
    packet
}

const UDP: [u8; 8] = [0, 100, 0, 53, 0, 8, 0, 0];

#[test]
fn plain_tcp_is_read() {
    let read = headers(&tcp_over_v4());
    assert_eq!((read.source_mac, read.destination_mac), ([1; 6], [2; 6]));
    assert_eq!((read.ip_version, read.protocol, read.ttl), (4, 6, 64));
    assert_eq!(read.source, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
    assert_eq!(
        (read.source_port, read.destination_port, read.sequence, read.window),
        (40000, 443, 7, 1000)
    );
    assert_eq!((read.tcp_flags, read.flags & FLAG_MAC), (2, FLAG_MAC));
    assert_eq!(&tcp_over_v4()[usize::from(read.payload_offset)..], b"hello");
}

#[test]
fn tags_are_read() {
    let vlan = |number| VlanId::try_new(number).unwrap();
    let mut packet = Vec::new();
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).double_vlan(vlan(7), vlan(8));
    builder
        .ipv6([1; 16], [2; 16], 9)
        .udp(1, 2)
        .write(&mut packet, &[])
        .unwrap();
    let read = headers(&packet);
    assert_eq!((read.vlan & 0xfff, read.inner_vlan & 0xfff), (7, 8));
    assert_eq!(read.flags & (FLAG_VLAN | FLAG_QINQ), FLAG_VLAN | FLAG_QINQ);
    assert_eq!((read.ip_version, read.destination_port), (6, 2));
}

#[test]
fn options_and_extension_headers_are_passed() {
    let mut packet = tcp_over_v4();
    // Eight bytes of options: header length 7 words, total length 8 bytes more.
    packet[14] = 0x47;
    packet.splice(34..34, [1; 8]);
    let total = u16::from_be_bytes([packet[16], packet[17]]) + 8;
    packet[16..18].copy_from_slice(&total.to_be_bytes());
    assert_eq!(headers(&packet).destination_port, 443);

    let hop_by_hop = [60, 0, 0, 0, 0, 0, 0, 0];
    let destination = [43, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let routing = [51, 0, 0, 0, 0, 0, 0, 0];
    let authentication = [17, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let all = [&hop_by_hop[..], &destination, &routing, &authentication, &UDP].concat();
    let read = headers(&over_v6(0, &all));
    assert_eq!((read.protocol, read.source_port, read.destination_port), (17, 100, 53));

    let endless = [0, 0, 0, 0, 0, 0, 0, 0].repeat(12);
    let read = headers(&over_v6(0, &endless));
    assert_eq!(
        (read.flags & FLAG_NO_TRANSPORT, read.source_port),
        (FLAG_NO_TRANSPORT, 0),
        "no chain without an end"
    );
}

#[test]
fn only_the_first_fragment_has_ports() {
    let first = headers(&over_v6(44, &[&[17, 0, 0, 1, 0, 0, 0, 5][..], &UDP].concat()));
    assert_eq!(
        (first.flags & FLAG_FRAGMENT, first.destination_port),
        (FLAG_FRAGMENT, 53)
    );
    let later = headers(&over_v6(44, &[&[17, 0, 0, 9, 0, 0, 0, 5][..], &UDP].concat()));
    assert_eq!(
        (later.fragment_offset, later.destination_port, later.protocol),
        (1, 0, 17)
    );

    let mut packet = tcp_over_v4();
    packet[20..22].copy_from_slice(&[0x20, 0x10]);
    let later = headers(&packet);
    assert_eq!((later.fragment_offset, later.destination_port), (16, 0));
    assert_eq!(
        later.flags & (FLAG_FRAGMENT | FLAG_NO_TRANSPORT),
        FLAG_FRAGMENT | FLAG_NO_TRANSPORT
    );
}

#[test]
fn lies_about_length_are_noticed_and_padding_is_not_read() {
    let mut packet = tcp_over_v4();
    packet[16..18].copy_from_slice(&1500_u16.to_be_bytes());
    assert_eq!(headers(&packet).flags & FLAG_LENGTH_LIES, FLAG_LENGTH_LIES);
    // The header ends where the transport header would start: what follows is padding.
    packet[16..18].copy_from_slice(&20_u16.to_be_bytes());
    let read = headers(&packet);
    assert_eq!(
        (read.flags & FLAG_NO_TRANSPORT, read.destination_port),
        (FLAG_NO_TRANSPORT, 0)
    );
    packet[16..18].copy_from_slice(&19_u16.to_be_bytes());
    assert_eq!(read_error(&packet), Rejected::Malformed);
    packet[14] = 0x44;
    assert_eq!(read_error(&packet), Rejected::Malformed);
    packet[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(read_error(&packet), Rejected::NotIp);
}

fn read_error(packet: &[u8]) -> Rejected {
    read(packet, Link::Ethernet).unwrap_err()
}

#[test]
fn the_packet_in_a_tunnel_is_reported_with_the_tunnel() {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(40000, 8472)
        .write(&mut packet, &[vec![8, 0, 0, 0, 0, 0, 42, 0], tcp_over_v4()].concat())
        .unwrap();
    let (read, outer) = read(&packet, Link::Ethernet).unwrap();
    assert_eq!((read.tunnel, read.vni, read.destination_port), (TUNNEL_VXLAN, 42, 443));
    assert_eq!(
        (outer.destination_port, &outer.source[12..]),
        (8472, &[10, 0, 0, 1][..])
    );
}

#[test]
fn raw_ip_needs_no_link_layer() {
    let (read, _) = read(&tcp_over_v4()[14..], Link::Ip).unwrap();
    assert_eq!((read.destination_port, read.flags & FLAG_MAC), (443, 0));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), raw in any::<bool>()) {
        let link = if raw { Link::Ip } else { Link::Ethernet };
        if let Ok((headers, _)) = read(&bytes, link) {
            prop_assert!(headers.ip_version == 4 || headers.ip_version == 6);
        }
    }

    /// However much is cut off, what is reported is what the whole packet says, or nothing.
    #[test]
    fn what_is_cut_off_is_not_invented(length in 0..60_usize, udp in any::<bool>()) {
        let mut whole = Vec::new();
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        match udp {
            true => builder.udp(1000, 2000).write(&mut whole, &[0; 40]).unwrap(),
            false => builder.tcp(1000, 2000, 1, 1).write(&mut whole, &[0; 40]).unwrap(),
        }
        match read(&whole[..length], Link::Ethernet) {
            Err(_) => prop_assert!(length < 34),
            Ok((headers, _)) if headers.flags & FLAG_NO_TRANSPORT != 0 => {
                prop_assert_eq!((headers.source_port, headers.destination_port), (0, 0));
                prop_assert!(length < 54);
            }
            Ok((headers, _)) => prop_assert_eq!((headers.source_port, headers.destination_port), (1000, 2000)),
        }
    }
}
