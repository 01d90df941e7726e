//! `--capture` says what tcpdump says about the same filter and the same packets. Packets on which the two differ by
//! intention aren't among them: docs/capture-filter.md names these.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use bpf_probes::capture_filter::accepts;
use bpf_probes::event::{Outer, PacketHeaders};
use bpf_probes::parse::{Frame, Link, parse};
use etherparse::{IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, PacketBuilderStep};
use observer::capture_filter::CaptureFilter;

const FILTERS: [&str; 54] = [
    "",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "ip",
    "ip6",
    "proto 6",
    "proto 58 or 1",
    "ip proto 17",
    "ip6 proto 17 or 6",
    "port 80",
    "port 0",
    "tcp port 80",
    "udp port 80",
    "sctp port 80",
    "src port 80",
    "dst port 443",
    "tcp src port 80",
    "udp dst portrange 1-100",
    "portrange 100-1",
    "portrange 0-65535",
    "src or dst port 443",
    "src and dst port 80",
    "dst and src port 53",
    "host 10.0.0.1",
    "src host 10.0.0.1",
    "dst 10.1.0.2",
    "ip host 10.0.0.1",
    "ip6 host fd00::1",
    "src fd00::1",
    "src and dst host 10.0.0.1",
    "net 10.0.0.0/16",
    "src net 10.0.0.0/8 and dst net 10.1.0.0/16",
    "net 0.0.0.0/0",
    "net fd00::/64",
    "not net fd00::/64",
    "src net fd00::/16 or 10.0.0.0/16",
    "tcp port 443 and net 10.0.0.0/8",
    "port 80 or 443",
    "not port 80 or 443",
    "not port 80 and 443",
    "port (80 or 443)",
    "port not 80",
    "port 80 or not 443 and 53",
    "port 80 or not (443 or 53) and udp",
    "tcp or udp and port 53",
    "tcp and port 53 or udp",
    "tcp&&port 80||!udp",
    "! ! tcp",
    "not (tcp port 80 or icmp or host fd00::1)",
    "(tcp or udp) and not (src host 10.0.0.1 or dst host fd00::1) and port 80",
    "host 10.0.0.1 and 10.1.0.2 or fd00::1 and not icmp6",
];

fn ip(from: IpAddr, to: IpAddr) -> IpHeaders {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header::new(0, 64, IpNumber::TCP, from.octets(), to.octets()).unwrap();
            IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => IpHeaders::Ipv6(
            Ipv6Header {
                source: from.octets(),
                destination: to.octets(),
                hop_limit: 64,
                ..Ipv6Header::default()
            },
            etherparse::Ipv6Extensions::default(),
        ),
        _ => panic!("addresses of two families"),
    }
}

/// Every protocol between a few ends and ports, and fragments of IPv4.
fn packets() -> Vec<Vec<u8>> {
    let v4 = ["10.0.0.1", "10.0.7.1", "10.1.0.2", "192.168.0.1"];
    let v6 = ["fd00::1", "fd00::2", "fd00:1::1", "2001:db8::1"];
    let mut packets = Vec::new();
    for (from, to) in [v4, v6].iter().flat_map(|ends| {
        let pairs = ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to)));
        pairs.collect::<Vec<_>>()
    }) {
        let header = ip(from.parse().unwrap(), to.parse().unwrap());
        let start = |header: &IpHeaders| -> PacketBuilderStep<IpHeaders> {
            PacketBuilder::ethernet2([1; 6], [2; 6]).ip(header.clone())
        };
        let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = Vec::new();
            write(&mut packet);
            packets.push(packet);
        };
        for (source, destination) in [(80, 40000), (40000, 443), (53, 53), (80, 80), (0, 53), (443, 65535)] {
            add(&|to| start(&header).tcp(source, destination, 1, 1000).write(to, &[]).unwrap());
            add(&|to| start(&header).udp(source, destination).write(to, &[1; 12]).unwrap());
            let mut sctp = [0; 16];
            sctp[..2].copy_from_slice(&u16::to_be_bytes(source));
            sctp[2..4].copy_from_slice(&u16::to_be_bytes(destination));
            add(&|to| start(&header).write(to, IpNumber::SCTP, &sctp).unwrap());
        }
        // The identifier of an echo request is where ports are in other protocols.
        match &header {
            IpHeaders::Ipv4(..) => add(&|to| start(&header).icmpv4_echo_request(80, 443).write(to, &[0; 8]).unwrap()),
            IpHeaders::Ipv6(..) => add(&|to| start(&header).icmpv6_echo_request(80, 443).write(to, &[0; 8]).unwrap()),
        }
        add(&|to| start(&header).write(to, IpNumber::GRE, &[0; 40]).unwrap());
        if let IpHeaders::Ipv4(plain, extensions) = &header {
            for (offset, more) in [(0, true), (10, true), (20, false)] {
                let fragment = Ipv4Header {
                    fragment_offset: IpFragOffset::try_new(offset).unwrap(),
                    more_fragments: more,
                    dont_fragment: false,
                    ..plain.clone()
                };
                let header = IpHeaders::Ipv4(fragment, extensions.clone());
                add(&|to| start(&header).udp(80, 443).write(to, &[0; 12]).unwrap());
            }
        }
    }
    packets
}

/// A capture file with the packets, whose times are their numbers
/// (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>).
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (number, packet) in (0_u32..).zip(packets) {
        let length = packet.len() as u32;
        for word in [number, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// Numbers of the packets in a file that was made from one of [`pcap`].
fn numbers(file: &[u8]) -> Vec<usize> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let mut numbers = Vec::new();
    let mut at = 24;
    while at < file.len() {
        numbers.push(word(at));
        at += 16 + word(at + 8);
    }
    numbers
}

/// The numbers of the packets that tcpdump captures; `None` if there is no tcpdump.
fn tcpdump(filter: &str, file: &[u8]) -> Option<Vec<usize>> {
    let mut child = Command::new("tcpdump")
        .args(["-r", "-", "-w", "-", filter])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = file.to_owned();
    // It writes while it reads.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{filter}: {stderr}");
    writer.join().unwrap().unwrap();
    Some(numbers(&output.stdout))
}

fn here(filter: &str, packets: &[Vec<u8>]) -> Vec<usize> {
    let filter: CaptureFilter = filter.parse().unwrap();
    let captured = |packet: &[u8]| {
        let mut frame: Frame = [0; size_of::<Frame>()];
        frame[..packet.len()].copy_from_slice(packet);
        let (mut headers, mut inner, mut outer) =
            (PacketHeaders::default(), PacketHeaders::default(), Outer::default());
        let length = packet.len() as u32;
        parse(&frame, length, Link::Ethernet, &mut headers, &mut inner, &mut outer).unwrap();
        accepts(filter.compiled(), &headers)
    };
    (0..packets.len())
        .filter(|number| captured(&packets[*number]))
        .collect()
}

#[test]
fn tcpdump_captures_the_same_packets() {
    let packets = packets();
    let file = pcap(&packets);
    let mut sizes = Vec::new();
    for filter in FILTERS {
        let Some(theirs) = tcpdump(filter, &file) else {
            return println!("skipped: there is no tcpdump");
        };
        let ours = here(filter, &packets);
        let differ = (0..packets.len()).find(|number| ours.contains(number) != theirs.contains(number));
        if let Some(number) = differ {
            let packet = &packets[number];
            panic!(
                "`{filter}`: packet {number}, ours {}: {packet:02x?}",
                ours.contains(&number)
            );
        }
        sizes.push(ours.len());
    }
    println!("{} packets, captured by filter: {sizes:?}", packets.len());
    let telling = sizes.iter().filter(|size| **size > 0 && **size < packets.len()).count();
    assert!(telling > FILTERS.len() * 3 / 4, "{sizes:?}");
}

#[test]
fn what_tcpdump_refuses_we_refuse_too() {
    for filter in [
        "tcp or 80",
        "(port 80) or 443",
        "10.0.0.1",
        "tcp 80",
        "ip port 80",
        "tcp host 10.0.0.1",
        "tcp src 10.0.0.1",
        "net 10.1.2.3/8",
        "net fd00::/200",
        "port 80-90",
        "ip6 host 10.0.0.1",
        "host 10.0.0.0/8",
        "proto tcp",
        "icmp port 3",
        "tcp and udp",
        "tcp port 80 or 443 and udp",
        "PORT 80",
        "port 080",
        "dst port 70000",
        "host 300.1.1.1",
        "src tcp port 80",
        "port 80 443",
        "port (80 or tcp)",
        "not (80 or 90)",
        "port 80 or (443 or tcp)",
    ] {
        assert!(filter.parse::<CaptureFilter>().is_err(), "{filter}");
        let Ok(output) = Command::new("tcpdump").args(["-y", "EN10MB", "-d", filter]).output() else {
            return println!("skipped: there is no tcpdump");
        };
        assert!(!output.status.success(), "{filter}");
    }
}
