//! Headers of a packet in hex, beside what they say.

use etherparse::{LaxPacketHeaders, LinkHeader, NetHeaders, TransportHeader};
use ratatui::text::{Line, Span};

use crate::theme::Theme;
use crate::width::{cut, fit};

/// Bytes in a line.
const BYTES: usize = 8;
/// Cells that these take.
const HEX: usize = BYTES * 3;

/// A header: its name, its bytes, what they say.
struct Part {
    name: &'static str,
    bytes: Vec<u8>,
    says: Vec<String>,
}

/// The lines of the headers of a packet in so many cells.
pub(super) fn lines(theme: &Theme, bytes: Option<&[u8]>, room: usize) -> Vec<Line<'static>> {
    let Some(bytes) = bytes else {
        return vec![Line::styled(
            "This row is no packet, or has no addresses: there are no headers.",
            theme.faint,
        )];
    };
    let mut lines = vec![Line::styled(
        cut(
            "Built again from the flow's fields; what it has not kept is zero.",
            room,
        ),
        theme.faint,
    )];
    let mut offset = 0;
    for part in parts(bytes) {
        lines.push(Line::styled(
            format!("{} ({} bytes)", part.name, part.bytes.len()),
            theme.title,
        ));
        let rows = part.bytes.len().div_ceil(BYTES).max(part.says.len());
        for row in 0..rows {
            let chunk = part.bytes.chunks(BYTES).nth(row).unwrap_or_default();
            let hex: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
            let at = match chunk {
                [] => String::new(),
                _ => format!("{:04x}", offset + row * BYTES),
            };
            let says = part.says.get(row).map_or("", String::as_str);
            lines.push(Line::from(vec![
                Span::styled(fit(&at, 5), theme.faint),
                Span::styled(fit(&hex, HEX), theme.number),
                Span::styled(cut(says, room.saturating_sub(HEX + 5)), theme.text),
            ]));
        }
        offset += part.bytes.len();
    }
    lines
}

fn parts(bytes: &[u8]) -> Vec<Part> {
    let is_ip = bytes.first().is_some_and(|byte| matches!(byte >> 4, 4 | 6))
        && LaxPacketHeaders::from_ip(bytes)
            .is_ok_and(|headers| headers.transport.is_some() || headers.stop_err.is_none());
    let parsed = match LaxPacketHeaders::from_ethernet(bytes) {
        Ok(headers) if headers.net.is_some() || !is_ip => Ok(headers),
        _ => LaxPacketHeaders::from_ip(bytes).map_err(|_| ()),
    };
    let Ok(headers) = parsed else {
        return vec![Part {
            name: "Bytes",
            bytes: bytes.to_vec(),
            says: Vec::new(),
        }];
    };
    let mut parts = Vec::new();
    if let Some(LinkHeader::Ethernet2(header)) = &headers.link {
        parts.push(Part {
            name: "Ethernet",
            bytes: header.to_bytes().to_vec(),
            says: vec![
                format!("to {}", mac(header.destination)),
                format!("from {}, {}", mac(header.source), ether_type(header.ether_type.0)),
            ],
        });
    }
    for extension in &headers.link_exts {
        if let etherparse::LinkExtHeader::Vlan(vlan) = extension {
            parts.push(Part {
                name: "VLAN",
                bytes: vlan.to_bytes().to_vec(),
                says: vec![format!("number {}", vlan.vlan_id.value())],
            });
        }
    }
    match &headers.net {
        Some(NetHeaders::Ipv4(header, _)) => {
            let flags = match (header.dont_fragment, header.more_fragments) {
                (true, _) => ", don't fragment",
                (false, true) => ", more fragments",
                (false, false) => "",
            };
            parts.push(Part {
                name: "IPv4",
                bytes: header.to_bytes().to_vec(),
                says: vec![
                    format!(
                        "length {}{flags}, offset {}",
                        header.total_len,
                        header.fragment_offset.value()
                    ),
                    format!("ttl {}, protocol {}", header.time_to_live, header.protocol.0),
                    format!(
                        "{} → {}",
                        std::net::Ipv4Addr::from(header.source),
                        std::net::Ipv4Addr::from(header.destination)
                    ),
                ],
            });
        }
        Some(NetHeaders::Ipv6(header, _)) => parts.push(Part {
            name: "IPv6",
            bytes: header.to_bytes().to_vec(),
            says: vec![
                format!(
                    "payload {}, next header {}",
                    header.payload_length, header.next_header.0
                ),
                format!("hop limit {}", header.hop_limit),
                format!("from {}", std::net::Ipv6Addr::from(header.source)),
                format!("to {}", std::net::Ipv6Addr::from(header.destination)),
            ],
        }),
        _ => {}
    }
    parts.extend(headers.transport.as_ref().map(transport));
    let known: usize = parts.iter().map(|part| part.bytes.len()).sum();
    if let Some(rest) = bytes.get(known..).filter(|rest| !rest.is_empty()) {
        let shown = rest.len().min(BYTES * 4);
        parts.push(Part {
            name: "What follows",
            bytes: rest[..shown].to_vec(),
            says: Vec::new(),
        });
    }
    parts
}

fn transport(header: &TransportHeader) -> Part {
    match header {
        TransportHeader::Tcp(tcp) => {
            let flags = [
                (tcp.syn, "SYN"),
                (tcp.ack, "ACK"),
                (tcp.fin, "FIN"),
                (tcp.rst, "RST"),
                (tcp.psh, "PSH"),
                (tcp.urg, "URG"),
                (tcp.ece, "ECE"),
                (tcp.cwr, "CWR"),
                (tcp.ns, "NS"),
            ];
            let set: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            Part {
                name: "TCP",
                bytes: tcp.to_bytes().to_vec(),
                says: vec![
                    format!(
                        "{} → {}, sequence {}",
                        tcp.source_port, tcp.destination_port, tcp.sequence_number
                    ),
                    format!(
                        "ack {}, {}, window {}",
                        tcp.acknowledgment_number,
                        set.join(" "),
                        tcp.window_size
                    ),
                    format!("checksum {:04x}", tcp.checksum),
                ],
            }
        }
        TransportHeader::Udp(udp) => Part {
            name: "UDP",
            bytes: udp.to_bytes().to_vec(),
            says: vec![format!(
                "{} → {}, length {}",
                udp.source_port, udp.destination_port, udp.length
            )],
        },
        TransportHeader::Icmpv4(icmp) => {
            let bytes = icmp.to_bytes().to_vec();
            Part {
                name: "ICMP",
                says: vec![icmp_says(&bytes, flow::text::icmp::v4)],
                bytes,
            }
        }
        TransportHeader::Icmpv6(icmp) => {
            let bytes = icmp.to_bytes().to_vec();
            Part {
                name: "ICMPv6",
                says: vec![icmp_says(&bytes, flow::text::icmp::v6)],
                bytes,
            }
        }
        TransportHeader::Igmp(igmp) => Part {
            name: "IGMP",
            bytes: igmp.to_bytes().to_vec(),
            says: Vec::new(),
        },
    }
}

fn icmp_says(bytes: &[u8], name: fn(u32, u32) -> String) -> String {
    match bytes {
        [of_type, code, ..] => format!(
            "type {of_type}, code {code}: {}",
            name((*of_type).into(), (*code).into())
        ),
        _ => String::new(),
    }
}

fn mac(address: [u8; 6]) -> String {
    flow::to_api::mac_text(address)
}

fn ether_type(number: u16) -> String {
    match number {
        0x0800 => "IPv4".to_owned(),
        0x86dd => "IPv6".to_owned(),
        0x0806 => "ARP".to_owned(),
        0x8100 | 0x88a8 => "VLAN".to_owned(),
        other => format!("{other:#06x}"),
    }
}
