//! Packets of a pcap or pcapng file as the events that the programs would have sent.

use std::fs::File;
use std::path::Path;

use bpf_probes::event::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, Event, FLAG_LENGTH_LIES, FLAG_NO_TRANSPORT, KIND_PACKET,
    KIND_PACKET_WITH_BYTES, Outer, PacketHeaders,
};
use bpf_probes::http::{bytes_to_send, may_begin};
use bpf_probes::parse::{Frame, Link, SNAPLEN, parse};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use super::ReplayError;
use crate::decode::Decoded;

/// Enough for the largest packet a capture holds (tcpdump's limit is 256 KiB).
const BUFFER_BYTES: usize = 1 << 20;

const UDP: u8 = 17;
const PORT_DNS: u16 = 53;

/// What a replay has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Packets in the file.
    pub packets: u64,
    /// Packets that are no IP packets, or not readable ones.
    pub not_ip: u64,
}

/// How the packets of one interface of the file are to be read.
#[derive(Clone, Copy, Debug)]
struct Capture {
    link_type: Linktype,
    /// Units of a time stamp in a second, and seconds to add.
    units_a_second: u64,
    offset_seconds: i64,
}

/// Calls `packet` with each packet of the file. Times are nanoseconds since the Unix epoch.
///
/// # Errors
/// If the file can't be read or isn't a capture. If it is damaged, every packet before the damage has been delivered.
pub fn read_packets(path: &Path, mut packet: impl FnMut(&Decoded<'_>)) -> Result<PacketCounts, ReplayError> {
    let file = File::open(path).map_err(|source| ReplayError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let mut reader =
        create_reader(BUFFER_BYTES, file).map_err(|_| ReplayError::UnknownFormat { path: path.to_owned() })?;
    let mut counts = PacketCounts::default();
    let mut interfaces: Vec<Capture> = Vec::new();
    let damaged = |packets, reason: &str| ReplayError::Damaged {
        path: path.to_owned(),
        packets,
        reason: reason.to_owned(),
    };
    loop {
        let consumed = match reader.next() {
            Ok((consumed, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => interfaces.push(Capture {
                        link_type: header.network,
                        units_a_second: if header.is_nanosecond_precision() {
                            1_000_000_000
                        } else {
                            1_000_000
                        },
                        offset_seconds: 0,
                    }),
                    PcapBlockOwned::Legacy(block) => {
                        let capture = interfaces[0];
                        let nanos_a_unit = 1_000_000_000 / capture.units_a_second;
                        let time_ns = u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec) * nanos_a_unit;
                        let length = block.data.len().min(block.caplen as usize);
                        deliver(
                            path,
                            &mut counts,
                            capture.link_type,
                            time_ns,
                            block.origlen,
                            &block.data[..length],
                            &mut packet,
                        )?;
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(description)) => interfaces.push(Capture {
                        link_type: description.linktype,
                        units_a_second: description.ts_resolution().unwrap_or(1_000_000).max(1),
                        offset_seconds: description.ts_offset(),
                    }),
                    PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                        let Some(capture) = interfaces.get(block.if_id as usize) else {
                            return Err(damaged(
                                counts.packets,
                                "a packet names an interface that the file doesn't describe",
                            ));
                        };
                        let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                        let time_ns = u128::from(units) * 1_000_000_000 / u128::from(capture.units_a_second);
                        let time_ns = u64::try_from(time_ns).unwrap_or(u64::MAX);
                        let time_ns =
                            time_ns.saturating_add_signed(capture.offset_seconds.saturating_mul(1_000_000_000));
                        let length = block.data.len().min(block.caplen as usize);
                        deliver(
                            path,
                            &mut counts,
                            capture.link_type,
                            time_ns,
                            block.origlen,
                            &block.data[..length],
                            &mut packet,
                        )?;
                    }
                    // The other blocks (statistics, names, simple packets without a time) carry no packet to replay.
                    PcapBlockOwned::NG(_) => {}
                }
                consumed
            }
            Err(PcapError::Eof) => return Ok(counts),
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() {
                    return Err(damaged(counts.packets, "it ends in the middle of a packet"));
                }
                reader
                    .refill()
                    .map_err(|_| damaged(counts.packets, "it can't be read any further"))?;
                continue;
            }
            Err(PcapError::UnexpectedEof) => return Err(damaged(counts.packets, "it ends in the middle of a packet")),
            Err(PcapError::BufferTooSmall) => {
                return Err(damaged(
                    counts.packets,
                    "a packet claims to be larger than any packet is",
                ));
            }
            Err(_) => return Err(damaged(counts.packets, "what follows is no packet")),
        };
        reader.consume(consumed);
    }
}

fn deliver(
    path: &Path,
    counts: &mut PacketCounts,
    link_type: Linktype,
    time_ns: u64,
    length: u32,
    data: &[u8],
    packet: &mut impl FnMut(&Decoded<'_>),
) -> Result<(), ReplayError> {
    counts.packets += 1;
    let Some((data, link, direction)) =
        unwrap_link(link_type, data).map_err(|link_type| ReplayError::UnknownLinkType {
            path: path.to_owned(),
            link_type,
        })?
    else {
        counts.not_ip += 1;
        return Ok(());
    };
    let mut frame: Frame = [0; size_of::<Frame>()];
    let captured = data.len().min(SNAPLEN as usize);
    frame[..captured].copy_from_slice(&data[..captured]);
    let (mut headers, mut inner, mut outer) = (PacketHeaders::default(), PacketHeaders::default(), Outer::default());
    let captured = u32::try_from(captured).unwrap_or(SNAPLEN);
    if parse(&frame, captured, link, &mut headers, &mut inner, &mut outer).is_err() {
        counts.not_ip += 1;
        return Ok(());
    }
    if data.len() < length as usize {
        // The capture is shorter than the packet, so the packet's length field may well be right.
        headers.flags &= !FLAG_LENGTH_LIES;
    }
    let is_dns = headers.protocol == UDP
        && headers.flags & FLAG_NO_TRANSPORT == 0
        && (headers.source_port == PORT_DNS || headers.destination_port == PORT_DNS);
    let tunnelled = headers.tunnel != 0;
    let with_bytes = !tunnelled && (is_dns || begins_http(&headers, length, data));
    let event = Event {
        time_ns,
        cgroup_id: 0,
        ifindex: 0,
        length,
        segments: 1,
        kind: if with_bytes {
            KIND_PACKET_WITH_BYTES
        } else {
            KIND_PACKET
        },
        direction,
        headers,
    };
    packet(&Decoded {
        event,
        outer: tunnelled.then_some(outer),
        drop: None,
        totals: None,
        bytes: if with_bytes { data } else { &[] },
    });
    Ok(())
}

/// Whether the programs would have sent the packet's bytes since an HTTP message begins in it.
fn begins_http(headers: &PacketHeaders, length: u32, data: &[u8]) -> bool {
    let payload = data.get(usize::from(headers.payload_offset)..).unwrap_or_default();
    let first = payload.first_chunk().copied().map(u32::from_ne_bytes);
    may_begin(headers, length) && first.is_some_and(|first| bytes_to_send(first) != 0)
}

/// A packet from its first header that the programs know, what that header is, and the packet's direction.
type Unwrapped<'a> = (&'a [u8], Link, u8);

/// Takes off link-layer headers that the programs never see. `None`: not IP. The error is an unknown link type.
///
/// Link types: <https://www.tcpdump.org/linktypes.html>.
fn unwrap_link(link_type: Linktype, data: &[u8]) -> Result<Option<Unwrapped<'_>>, i32> {
    /// Packet type of a cooked capture: sent by us.
    const OUTGOING: u16 = 4;
    let direction = |packet_type: u16| {
        if packet_type == OUTGOING {
            DIRECTION_EGRESS
        } else {
            DIRECTION_INGRESS
        }
    };
    let be16 = |at: usize| {
        data.get(at..at + 2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let is_ip = |ethertype: Option<u16>| matches!(ethertype, Some(0x0800 | 0x86dd));
    Ok(match link_type {
        Linktype::ETHERNET => Some((data, Link::Ethernet, DIRECTION_INGRESS)),
        // LINKTYPE_RAW and the values of DLT_RAW that old files have; LINKTYPE_IPV4, LINKTYPE_IPV6
        Linktype(101 | 12 | 14 | 228 | 229) => Some((data, Link::Ip, DIRECTION_INGRESS)),
        // LINKTYPE_LINUX_SLL
        Linktype(113) => match (be16(0), data.get(16..)) {
            (Some(packet_type), Some(rest)) if is_ip(be16(14)) => Some((rest, Link::Ip, direction(packet_type))),
            _ => None,
        },
        // LINKTYPE_LINUX_SLL2
        Linktype(276) => match (data.get(10), data.get(20..)) {
            (Some(packet_type), Some(rest)) if is_ip(be16(0)) => {
                Some((rest, Link::Ip, direction(u16::from(*packet_type))))
            }
            _ => None,
        },
        // LINKTYPE_NULL, LINKTYPE_LOOP: four bytes of address family, whose values differ between systems
        Linktype(0 | 108) => data.get(4..).map(|rest| (rest, Link::Ip, DIRECTION_INGRESS)),
        Linktype(other) => return Err(other),
    })
}

#[cfg(test)]
mod tests;
