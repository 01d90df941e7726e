//! The transport header of a row, and the words for it.

use std::sync::LazyLock;

use arrow_array::types::{UInt8Type, UInt16Type};
use rustc_hash::FxHashMap;

use super::cells::Cells;
use super::field::SUMMARY;
use super::protobuf::{bytes, message, nested, number, text};
use crate::api::flow::layer4::Protocol;
use crate::api::flow::{Flow, Layer4, Tcp};
use crate::batch::FlowBatch;
use crate::schema::Column;
use crate::text::summary;
use crate::to_api::{ICMP, ICMPV6, SCTP, TCP, UDP, tcp_flags};

/// `flow.Flow.l4`.
const L4: u32 = 6;
/// The protocols' fields in `flow.Layer4`.
const L4_TCP: u32 = 1;
pub(super) const L4_UDP: u32 = 2;
const L4_SCTP: u32 = 5;
/// How many sets of TCP flags there are.
const FLAG_SETS: u16 = 1 << 9;

/// What the flags of a TCP segment look like.
struct Flags {
    /// Field `flags` of `flow.TCP`.
    field: Vec<u8>,
    summary: String,
}

/// Each set of flags, by its bits.
static FLAGS: LazyLock<Vec<Flags>> = LazyLock::new(|| {
    (0..FLAG_SETS)
        .map(|bits| {
            let flags = tcp_flags(bits);
            let mut field = Vec::new();
            message(&mut field, 3, &flags);
            let tcp = Tcp {
                flags: Some(flags),
                ..Tcp::default()
            };
            let l4 = Layer4 {
                protocol: Some(Protocol::Tcp(tcp)),
            };
            let flow = Flow {
                l4: Some(l4),
                ..Flow::default()
            };
            Flags {
                field,
                summary: summary(&flow),
            }
        })
        .collect()
});

#[derive(Debug)]
pub(super) struct Transport {
    protocol: Cells<u8>,
    source_port: Cells<u16>,
    destination_port: Cells<u16>,
    tcp_flags: Cells<u16>,
    icmp_type: Cells<u8>,
    icmp_code: Cells<u8>,
    /// `flow.Layer4` and the words for each ICMP message so far: protocol, type, code.
    icmp: FxHashMap<(u8, u8, u8), (Vec<u8>, String)>,
}

impl Transport {
    pub(super) fn new(batch: &FlowBatch) -> Self {
        let byte = |column| Cells::new::<UInt8Type>(batch, column);
        let half = |column| Cells::new::<UInt16Type>(batch, column);
        Self {
            protocol: byte(Column::Protocol),
            source_port: half(Column::SourcePort),
            destination_port: half(Column::DestinationPort),
            tcp_flags: half(Column::TcpFlags),
            icmp_type: byte(Column::IcmpType),
            icmp_code: byte(Column::IcmpCode),
            icmp: FxHashMap::default(),
        }
    }

    /// Appends the header, and the summary if it is about the header; whether there is one.
    pub(super) fn write(&mut self, batch: &FlowBatch, row: usize, summarize: bool, out: &mut Vec<u8>) -> bool {
        let Some(protocol) = self.protocol.get(row) else {
            return false;
        };
        let words = match protocol {
            TCP | UDP | SCTP => self.write_ports(protocol, row, out),
            ICMP | ICMPV6 => self.write_icmp(protocol, batch, row, out),
            _ => None,
        };
        if let Some(words) = words
            && summarize
        {
            text(out, SUMMARY, words);
        }
        words.is_some()
    }

    #[inline]
    fn write_ports(&self, protocol: u8, row: usize, out: &mut Vec<u8>) -> Option<&str> {
        let ports = (self.source_port.get(row)?, self.destination_port.get(row)?);
        let (field, flags, words) = match protocol {
            TCP => match self.tcp_flags.get(row) {
                Some(bits) => {
                    let flags = &FLAGS[usize::from(bits % FLAG_SETS)];
                    (L4_TCP, &flags.field[..], &flags.summary[..])
                }
                None => (L4_TCP, &[][..], "TCP"),
            },
            UDP => (L4_UDP, &[][..], "UDP"),
            _ => (L4_SCTP, &[][..], "SCTP"),
        };
        nested(out, L4, |out| write_ports(out, field, ports, flags));
        Some(words)
    }

    fn write_icmp(&mut self, protocol: u8, batch: &FlowBatch, row: usize, out: &mut Vec<u8>) -> Option<&str> {
        let key = (protocol, self.icmp_type.get(row)?, self.icmp_code.get(row)?);
        let (l4, words) = self.icmp.entry(key).or_insert_with(|| {
            let flow = Flow {
                l4: batch.layer4(row),
                ..Flow::default()
            };
            let encoded = flow.l4.as_ref().map(prost::Message::encode_to_vec);
            (encoded.unwrap_or_default(), summary(&flow))
        });
        bytes(out, L4, l4);
        Some(words)
    }
}

/// Appends the ports as the protocol that has number `field` in `flow.Layer4`, and what else the protocol has.
pub(super) fn write_ports(out: &mut Vec<u8>, field: u32, (source, destination): (u16, u16), more: &[u8]) {
    nested(out, field, |out| {
        number(out, 1, source.into());
        number(out, 2, destination.into());
        out.extend_from_slice(more);
    });
}
