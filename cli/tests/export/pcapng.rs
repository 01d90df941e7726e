//! pcapng, read back by others: a reader in Rust, Wireshark's and tcpdump's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::{Block, OptionCode, PcapBlockOwned, PcapError, create_reader};
use tempfile::TempDir;

use super::lab::{START_NS, history, parallax, text};

fn exported() -> (TempDir, PathBuf) {
    let folder = history();
    let file = folder.path().join("flows.pcapng");
    let output = parallax(["export", "--from", text(folder.path()), "-o", text(&file)]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let (first, second) = said.trim_end().split_once('\n').unwrap();
    assert!(first.starts_with("12 flows in "), "{said}");
    assert_eq!(
        second,
        "left out 3 flows that are no packets: 1 TCP event, 1 application message, 1 request without an answer"
    );
    (folder, file)
}

#[derive(Debug, Default)]
struct Read {
    program: String,
    /// Names, descriptions, link types, units of time in a second.
    interfaces: Vec<(String, String, i32, u64)>,
    packets: Vec<Packet>,
}

#[derive(Debug)]
struct Packet {
    interface: u32,
    time_ns: u64,
    length: u32,
    bytes: Vec<u8>,
    comments: Vec<String>,
}

fn read(path: &Path) -> Read {
    let mut reader = create_reader(1 << 16, File::open(path).unwrap()).unwrap();
    let mut read = Read::default();
    let words = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    loop {
        match reader.next() {
            Ok((consumed, block)) => {
                match block {
                    PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                        let option = section
                            .options
                            .iter()
                            .find(|option| option.code == OptionCode::ShbUserAppl);
                        read.program = words(option.unwrap().as_bytes().unwrap());
                    }
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        let option = |code| {
                            let found = interface.options.iter().find(|option| option.code == code);
                            found
                                .map(|option| words(option.as_bytes().unwrap()))
                                .unwrap_or_default()
                        };
                        read.interfaces.push((
                            option(OptionCode::IfName),
                            option(OptionCode::IfDescription),
                            interface.linktype.0,
                            interface.ts_resolution().unwrap(),
                        ));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let comments = packet
                            .options
                            .iter()
                            .filter(|option| option.code == OptionCode::Comment);
                        read.packets.push(Packet {
                            interface: packet.if_id,
                            time_ns: u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
                            length: packet.origlen,
                            bytes: packet.data[..packet.caplen as usize].to_vec(),
                            comments: comments.map(|option| words(option.as_bytes().unwrap())).collect(),
                        });
                    }
                    _ => panic!("a block of another kind"),
                }
                reader.consume(consumed);
            }
            Err(PcapError::Eof) => return read,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn another_reader_finds_the_packets() {
    let (_folder, file) = exported();
    let read = read(&file);
    assert!(read.program.starts_with("parallax "), "{}", read.program);
    let interface = |link| ("eth0".to_owned(), "on lab/node-1".to_owned(), link, 1_000_000_000);
    assert_eq!(
        read.interfaces,
        [interface(1), interface(101)],
        "with and without Ethernet"
    );
    let start = u64::try_from(START_NS).unwrap();
    let seconds: Vec<u64> = read
        .packets
        .iter()
        .map(|packet| (packet.time_ns - start) / 1_000_000_000)
        .collect();
    assert_eq!(seconds, [0, 1, 2, 3, 4, 5, 6, 10, 3_600]);
    assert!(
        read.packets
            .iter()
            .all(|packet| (packet.time_ns - start) % 1_000_000_000 == 123_456_789)
    );
    let lengths: Vec<u32> = read.packets.iter().map(|packet| packet.length).collect();
    // The kernel counts a dropped packet from the header it was at: this one is as long as its headers.
    assert_eq!(lengths, [74, 54, 812, 104, 118, 62, 148, 1_514, 74]);
    let interfaces: Vec<u32> = read.packets.iter().map(|packet| packet.interface).collect();
    assert_eq!(interfaces, [0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let comments: Vec<&[String]> = read.packets.iter().map(|packet| packet.comments.as_slice()).collect();
    assert!(
        comments[1][0].starts_with("dropped: NO_SOCKET at tcp_v4_rcv+0x91 (no socket takes packets"),
        "{comments:?}"
    );
    assert_eq!(comments[2], ["stands for 4 packets, 812 bytes"]);
    assert_eq!(comments.iter().filter(|comments| !comments.is_empty()).count(), 2);
}

#[test]
fn headers_are_those_of_the_flows() {
    let (_folder, file) = exported();
    let packets = read(&file).packets;
    let syn = SlicedPacket::from_ethernet(&packets[0].bytes).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = syn.transport else {
        panic!("{syn:?}")
    };
    assert_eq!(
        (tcp.source_port(), tcp.destination_port(), tcp.syn(), tcp.ack()),
        (40_000, 443, true, false)
    );
    assert_eq!((tcp.sequence_number(), tcp.window_size()), (1_000, 502));
    let Some(NetSlice::Ipv4(ip)) = syn.net else { panic!() };
    let header = ip.header();
    assert_eq!(
        (header.ttl(), header.total_len(), header.source()),
        (61, 60, [10, 1, 2, 3])
    );
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    // 802.1ad outside, 802.1Q inside, then IPv4.
    assert_eq!(packets[3].bytes[12..18], [0x88, 0xa8, 0, 100, 0x81, 0x00]);
    assert_eq!(packets[3].bytes[18..22], [0, 7, 0x08, 0x00]);
    assert_eq!(packets[4].bytes[54..56], [1, 4], "type and code of ICMPv6");
    assert_eq!(
        packets[5].bytes[20..24],
        [0x0b, 0x59, 0x0b, 0x5a],
        "ports of SCTP, without Ethernet"
    );
    // Outer Ethernet, IP and UDP, then VXLAN with its number, then the packet.
    assert_eq!(packets[6].bytes[36..38], 8_472_u16.to_be_bytes());
    assert_eq!(packets[6].bytes[42..50], [8, 0, 0, 0, 0, 0x12, 0x67, 0]);
    assert_eq!(packets[6].bytes[50 + 14 + 12..][..4], [10, 9, 0, 1]);
}

fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn wireshark_shows_packets_and_comments() {
    if !is_there("tshark") {
        return;
    }
    let (_folder, file) = exported();
    let shown = run(
        "tshark",
        &[
            "-r",
            text(&file),
            "-o",
            "tcp.check_checksum:TRUE",
            "-o",
            "ip.check_checksum:TRUE",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.len",
            "-e",
            "_ws.col.Protocol",
            "-e",
            "ip.checksum.status",
            "-e",
            "frame.comment",
        ],
    );
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 9, "{shown}");
    assert_eq!(lines[0], "eth0|74|TCP|1|", "1: the checksum is good");
    assert!(
        lines[1].starts_with("eth0|54|TCP|1|dropped: NO_SOCKET at tcp_v4_rcv+0x91"),
        "{shown}"
    );
    assert!(lines[2].contains("stands for 4 packets, 812 bytes"), "{shown}");
    assert!(lines[4].starts_with("eth0|118|ICMPv6|"), "{shown}");
    let tunnelled = run(
        "tshark",
        &["-r", text(&file), "-Y", "vxlan.vni == 4711 && ip.src == 10.9.0.1"],
    );
    // Linux' own port of VXLAN is not among those that every version of tshark knows.
    let by_port = [
        "-r",
        text(&file),
        "-d",
        "udp.port==8472,vxlan",
        "-Y",
        "vxlan.vni == 4711 && ip.src == 10.9.0.1",
    ];
    assert_eq!(run("tshark", &by_port).lines().count(), 1, "{tunnelled}");
}

#[test]
fn tcpdump_finds_no_wrong_checksum() {
    if !is_there("tcpdump") {
        return;
    }
    let (folder, _) = exported();
    // tcpdump reads one link type a file.
    let file = folder.path().join("tcp.pcapng");
    let arguments = [
        "export",
        "--from",
        text(folder.path()),
        "--protocol",
        "tcp",
        "-o",
        text(&file),
    ];
    assert!(parallax(arguments).status.success());
    let shown = run("tcpdump", &["-nvvr", text(&file)]);
    assert!(
        shown.contains("10.1.2.3.40000 > 10.1.2.4.443: Flags [S], cksum 0x") && shown.contains("(correct)"),
        "{shown}"
    );
    assert!(!shown.contains("incorrect") && !shown.contains("bad cksum"), "{shown}");
}
