//! The other headers of a row: link layer, network, tunnel, and the detail that only Parallax tells.

use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use prost::encoding::encode_varint;

use super::address::{push_address, push_mac};
use super::cells::{Bits, Cells, Fixed, SharedCells};
use super::fragments::Fragments;
use super::protobuf::{nested, number, present, signed, text};
use super::transport::{L4_UDP, write_ports};
use crate::api::flow::{IpVersion, tunnel};
use crate::api::parallax::Detail;
use crate::batch::FlowBatch;
use crate::record::{Address, from_stored};
use crate::schema::Column;

/// Fields of `flow.Flow`.
const ETHERNET: u32 = 4;
const IP: u32 = 5;
const TUNNEL: u32 = 39;
const DETAIL: u32 = 160_001;

/// The columns of the place of a drop.
pub(super) const DROP_COLUMNS: [Column; 4] = [
    Column::DropReason,
    Column::DropReasonCode,
    Column::DropReasonApi,
    Column::DropSymbol,
];

#[derive(Debug)]
pub(super) struct Headers {
    source_mac: Fixed<6>,
    destination_mac: Fixed<6>,
    vlan: Cells<u16>,
    inner_vlan: Cells<u16>,
    ip_version: Cells<u8>,
    source: Fixed<16>,
    destination: Fixed<16>,
    source_xlated: Fixed<16>,
    encrypted: Bits,
    ttl: Cells<u8>,
    fragment_offset: Cells<u16>,
    protocol: Cells<u8>,
    tcp_sequence: Cells<u32>,
    tcp_acknowledgment: Cells<u32>,
    tcp_window: Cells<u16>,
    length: Cells<u32>,
    packets: Cells<u32>,
    tries: Cells<u32>,
    waited_ns: Cells<u64>,
    netns_cookie: SharedCells<u64>,
    srtt_us: Cells<u32>,
    drop: Fragments,
    process: Fragments,
    old_state: Fragments,
    new_state: Fragments,
    reset_reason: Fragments,
    tunnel: Tunnel,
}

/// The tunnel around a packet.
#[derive(Debug)]
struct Tunnel {
    protocol: Cells<u8>,
    vni: Cells<u32>,
    source: Fixed<16>,
    destination: Fixed<16>,
    source_port: Cells<u16>,
    destination_port: Cells<u16>,
}

impl Headers {
    pub(super) fn new(batch: &FlowBatch) -> Self {
        let byte = |column| Cells::new::<UInt8Type>(batch, column);
        let half = |column| Cells::new::<UInt16Type>(batch, column);
        let word = |column| Cells::new::<UInt32Type>(batch, column);
        Self {
            source_mac: Fixed::new(batch, Column::SourceMac),
            destination_mac: Fixed::new(batch, Column::DestinationMac),
            vlan: half(Column::Vlan),
            inner_vlan: half(Column::InnerVlan),
            ip_version: byte(Column::IpVersion),
            source: Fixed::new(batch, Column::SourceIp),
            destination: Fixed::new(batch, Column::DestinationIp),
            source_xlated: Fixed::new(batch, Column::SourceIpXlated),
            encrypted: Bits::new(batch, Column::Encrypted),
            ttl: byte(Column::Ttl),
            fragment_offset: half(Column::FragmentOffset),
            protocol: byte(Column::Protocol),
            tcp_sequence: word(Column::TcpSequence),
            tcp_acknowledgment: word(Column::TcpAcknowledgment),
            tcp_window: half(Column::TcpWindow),
            length: word(Column::Length),
            packets: word(Column::Packets),
            tries: word(Column::Tries),
            waited_ns: Cells::new::<UInt64Type>(batch, Column::WaitedNs),
            netns_cookie: SharedCells::new::<UInt64Type>(batch, Column::NetnsCookie),
            srtt_us: word(Column::SrttUs),
            drop: Fragments::new(batch, &DROP_COLUMNS),
            process: Fragments::new(batch, &[Column::ProcessId, Column::ProcessName]),
            old_state: Fragments::new(batch, &[Column::TcpStateOld]),
            new_state: Fragments::new(batch, &[Column::TcpStateNew]),
            reset_reason: Fragments::new(batch, &[Column::ResetReason]),
            tunnel: Tunnel {
                protocol: byte(Column::TunnelProtocol),
                vni: word(Column::TunnelVni),
                source: Fixed::new(batch, Column::TunnelSourceIp),
                destination: Fixed::new(batch, Column::TunnelDestinationIp),
                source_port: half(Column::TunnelSourcePort),
                destination_port: half(Column::TunnelDestinationPort),
            },
        }
    }

    pub(super) fn write(&mut self, batch: &FlowBatch, row: usize, has_transport: bool, out: &mut Vec<u8>) {
        if let Some((source, destination)) = self.source_mac.get(row).zip(self.destination_mac.get(row)) {
            nested(out, ETHERNET, |out| {
                nested(out, 1, |out| push_mac(out, source));
                nested(out, 2, |out| push_mac(out, destination));
            });
        }
        self.ip(row, out);
        self.tunnel.write(row, out);
        let start = out.len();
        nested(out, DETAIL, |out| self.detail(batch, row, has_transport, out));
        // Nothing but the number of the field and a length of zero.
        if out.len() == start + prost::encoding::key_len(DETAIL) + 1 {
            out.truncate(start);
        }
    }

    /// What the summary of a request without an answer tells.
    pub(super) fn silence(&self, row: usize) -> Option<Detail> {
        let tries = self.tries.get(row).filter(|tries| *tries > 0)?;
        Some(Detail {
            tries,
            waited_ns: self.waited_ns.get(row).unwrap_or_default(),
            ..Detail::default()
        })
    }

    fn ip(&self, row: usize, out: &mut Vec<u8>) {
        let version = self.ip_version.get(row);
        let (source, destination) = (self.source.get(row), self.destination.get(row));
        if version.is_none() && source.is_none() && destination.is_none() {
            return;
        }
        nested(out, IP, |out| {
            ends(out, source, destination);
            let version = match version {
                Some(4) => IpVersion::IPv4,
                Some(6) => IpVersion::IPv6,
                _ => IpVersion::IpNotUsed,
            };
            signed(out, 3, i32::from(version));
            number(out, 4, self.encrypted.get(row).unwrap_or_default().into());
            if let Some(xlated) = self.source_xlated.get(row) {
                nested(out, 5, |out| push_address(out, xlated));
            }
        });
    }

    fn detail(&mut self, batch: &FlowBatch, row: usize, has_transport: bool, out: &mut Vec<u8>) {
        self.drop.write(batch, row, out, drop_detail);
        self.process.write(batch, row, out, process);
        self.old_state.write(batch, row, out, |batch, row, out| {
            text(out, 22, batch.text_at(Column::TcpStateOld, row).unwrap_or_default());
        });
        self.new_state.write(batch, row, out, |batch, row, out| {
            text(out, 23, batch.text_at(Column::TcpStateNew, row).unwrap_or_default());
        });
        number(out, 24, self.srtt_us.get(row).unwrap_or_default().into());
        self.reset_reason.write(batch, row, out, |batch, row, out| {
            text(out, 25, batch.text_at(Column::ResetReason, row).unwrap_or_default());
        });
        text(out, 26, batch.text_at(Column::SpanId, row).unwrap_or_default());
        let mut optional = |field, value: Option<u32>| {
            if let Some(value) = value {
                present(out, field, value.into());
            }
        };
        optional(4, self.tcp_sequence.get(row));
        optional(5, self.tcp_acknowledgment.get(row));
        optional(6, self.tcp_window.get(row).map(u32::from));
        optional(9, self.ttl.get(row).map(u32::from));
        optional(11, self.fragment_offset.get(row).map(u32::from));
        if !has_transport {
            optional(13, self.protocol.get(row).map(u32::from));
        }
        number(out, 7, self.length.get(row).unwrap_or_default().into());
        number(out, 8, self.packets.get(row).unwrap_or_default().into());
        number(out, 12, self.netns_cookie.get(row).unwrap_or_default());
        number(out, 14, self.tries.get(row).unwrap_or_default().into());
        number(out, 15, self.waited_ns.get(row).unwrap_or_default());
        let (outer, inner) = (self.vlan.get(row), self.inner_vlan.get(row));
        if outer.is_some() || inner.is_some() {
            nested(out, 10, |out| {
                for vlan in outer.into_iter().chain(inner) {
                    encode_varint(vlan.into(), out);
                }
            });
        }
    }
}

fn process(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    number(
        out,
        20,
        batch
            .shared_at::<UInt32Type>(Column::ProcessId, row)
            .unwrap_or_default()
            .into(),
    );
    text(out, 21, batch.text_at(Column::ProcessName, row).unwrap_or_default());
}

fn drop_detail(batch: &FlowBatch, row: usize, out: &mut Vec<u8>) {
    let reason = batch.text_at(Column::DropReason, row);
    text(out, 1, reason.unwrap_or_default());
    text(out, 2, batch.text_at(Column::DropSymbol, row).unwrap_or_default());
    let code = batch
        .shared_at::<UInt32Type>(Column::DropReasonCode, row)
        .filter(|_| reason.is_some());
    number(out, 3, code.unwrap_or_default().into());
}

/// The two addresses of a `flow.IP`.
#[inline]
fn ends(out: &mut Vec<u8>, source: Option<Address>, destination: Option<Address>) {
    for (field, address) in [(1, source), (2, destination)] {
        if let Some(address) = address {
            nested(out, field, |out| push_address(out, address));
        }
    }
}

impl Tunnel {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        let Some(protocol) = self.protocol.get(row) else { return };
        nested(out, TUNNEL, |out| {
            let protocol = tunnel::Protocol::try_from(i32::from(protocol)).unwrap_or_default();
            signed(out, 1, i32::from(protocol));
            if let Some((source, destination)) = self.source.get(row).zip(self.destination.get(row)) {
                nested(out, 2, |out| {
                    ends(out, Some(source), Some(destination));
                    let version = if from_stored(source).is_ipv4() {
                        IpVersion::IPv4
                    } else {
                        IpVersion::IPv6
                    };
                    signed(out, 3, i32::from(version));
                });
            }
            if let Some(ports) = self.source_port.get(row).zip(self.destination_port.get(row)) {
                nested(out, 3, |out| write_ports(out, L4_UDP, ports, &[]));
            }
            number(out, 4, self.vni.get(row).unwrap_or_default().into());
        });
    }
}
