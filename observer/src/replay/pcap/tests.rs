use std::io::Write;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

/// A pcap file in host byte order, microseconds.
fn pcap(link_type: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_ne_bytes());
    file.extend(2_u16.to_ne_bytes());
    file.extend(4_u16.to_ne_bytes());
    file.extend([0; 8]);
    file.extend(65_535_u32.to_ne_bytes());
    file.extend(link_type.to_ne_bytes());
    for (number, packet) in packets.iter().enumerate() {
        let length = u32::try_from(packet.len()).unwrap();
        for value in [1_700_000_000, u32::try_from(number).unwrap(), length, length] {
            file.extend(value.to_ne_bytes());
        }
        file.extend(packet);
    }
    file
}

fn tcp() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .tcp(40000, 443, 7, 1000)
        .syn()
        .write(&mut packet, &[])
        .unwrap();
    packet
}

fn replayed(file: &[u8]) -> (Vec<Event>, Result<PacketCounts, ReplayError>) {
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file).unwrap();
    let mut events = Vec::new();
    let result = read_packets(on_disk.path(), |decoded| events.push(decoded.event));
    (events, result)
}

#[test]
fn packets_come_out_with_time_and_headers() {
    let arp = [vec![0xff; 12], vec![0x08, 0x06], vec![0; 28]].concat();
    let (events, result) = replayed(&pcap(1, &[tcp(), arp, tcp()]));
    assert_eq!(result.unwrap(), PacketCounts { packets: 3, not_ip: 1 });
    assert_eq!(events[1].time_ns, 1_700_000_000_000_002_000);
    assert_eq!((events[0].headers.source_port, events[0].headers.tcp_flags), (40000, 2));
}

#[test]
fn cooked_and_raw_captures_are_unwrapped() {
    let ip = tcp()[14..].to_vec();
    let mut cooked = vec![0, 4, 0, 1, 0, 6, 1, 1, 1, 1, 1, 1, 0, 0, 8, 0];
    cooked.extend(&ip);
    let (events, _) = replayed(&pcap(113, &[cooked]));
    assert_eq!(
        (events[0].headers.destination_port, events[0].direction),
        (443, DIRECTION_EGRESS)
    );
    let (events, _) = replayed(&pcap(101, &[ip]));
    assert_eq!(events[0].headers.destination_port, 443);
}

#[test]
fn packets_that_begin_an_http_message_keep_their_bytes() {
    let with = |payload: &[u8]| {
        let mut packet = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .tcp(40000, 80, 7, 1000)
            .ack(9)
            .write(&mut packet, payload)
            .unwrap();
        packet
    };
    let file = pcap(
        1,
        &[
            tcp(),
            with(b"GET / HTTP/1.1\r\n\r\n"),
            with(b"HTTP/1.1 200 OK\r\n\r\n"),
            with(b"\x16\x03\x01 and what follows"),
        ],
    );
    let (events, result) = replayed(&file);
    assert_eq!(result.unwrap().packets, 4);
    let kinds: Vec<u8> = events.iter().map(|event| event.kind).collect();
    let (plain, with_bytes) = (KIND_PACKET, KIND_PACKET_WITH_BYTES);
    assert_eq!(kinds, [plain, with_bytes, with_bytes, plain]);
}

#[test]
fn a_truncated_file_keeps_what_came_before() {
    let mut file = pcap(1, &[tcp(), tcp()]);
    file.truncate(file.len() - 3);
    let (events, result) = replayed(&file);
    assert_eq!(events.len(), 1);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("damaged after 1 packets"), "{error}");
}

#[test]
fn what_is_no_capture_is_refused() {
    let (_, result) = replayed(b"this is not a capture, it is a sentence of some length");
    assert!(matches!(result, Err(ReplayError::UnknownFormat { .. })), "{result:?}");
    let (_, result) = replayed(&pcap(147, &[tcp()]));
    assert!(
        matches!(result, Err(ReplayError::UnknownLinkType { link_type: 147, .. })),
        "{result:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_damage_is_survived(flips in proptest::collection::vec((0..400_usize, any::<u8>()), 1..20)) {
        let mut file = pcap(1, &[tcp(), tcp(), tcp(), tcp()]);
        for (at, value) in flips {
            let at = at % file.len();
            file[at] = value;
        }
        let (events, result) = replayed(&file);
        if let Ok(counts) = result {
            prop_assert_eq!(events.len() as u64, counts.packets - counts.not_ip);
        }
    }
}
