//! From a row to a packet: which rows are packets, and what is said beside them.

use std::net::IpAddr;

use arrow_array::Array as _;
use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt32Type};
use flow::api::flow::Verdict;
use flow::batch::FlowBatch;
use flow::drop_reason;
use flow::record::from_stored;
use flow::schema::Column;

use super::headers::{Addresses, Headers, TunnelHeaders, TunnelKind};

/// Why a row is no packet, in words for one and for several.
pub(in crate::export) type NoPacket = (&'static str, &'static str);

const NO_ADDRESSES: NoPacket = ("packet without addresses", "packets without addresses");

/// Types of events as the API numbers them, that are packets: drop, capture, trace.
const PACKETS: [i32; 3] = [1, 3, 4];

/// The headers that a row has kept.
pub(in crate::export) fn headers(batch: &FlowBatch, row: usize) -> Result<Headers, NoPacket> {
    if let Some(event_type) = batch.number::<Int32Type>(Column::EventType, row)
        && !PACKETS.contains(&event_type)
    {
        return Err(match event_type {
            5 => ("policy verdict", "policy verdicts"),
            7 => ("event of a socket", "events of sockets"),
            129 => ("application message", "application messages"),
            160 => ("TCP event", "TCP events"),
            161 => ("request without an answer", "requests without an answer"),
            _ => ("other event", "other events"),
        });
    }
    let addresses = addresses(batch, row, Column::SourceIp, Column::DestinationIp).ok_or(NO_ADDRESSES)?;
    let byte = |column| batch.number::<UInt8Type>(column, row);
    let half = |column| batch.number::<UInt16Type>(column, row);
    let word = |column| batch.number::<UInt32Type>(column, row);
    let tcp = word(Column::TcpSequence)
        .zip(word(Column::TcpAcknowledgment))
        .zip(half(Column::TcpWindow));
    Ok(Headers {
        mac: mac(batch, row, Column::SourceMac).zip(mac(batch, row, Column::DestinationMac)),
        vlan: half(Column::Vlan),
        inner_vlan: half(Column::InnerVlan),
        addresses,
        ttl: byte(Column::Ttl),
        fragment_offset: half(Column::FragmentOffset),
        protocol: byte(Column::Protocol),
        ports: half(Column::SourcePort).zip(half(Column::DestinationPort)),
        tcp_flags: half(Column::TcpFlags).unwrap_or_default(),
        tcp: tcp.map(|((sequence, acknowledgment), window)| (sequence, acknowledgment, window)),
        icmp: byte(Column::IcmpType).zip(byte(Column::IcmpCode)),
        tunnel: tunnel(batch, row),
        length: word(Column::Length)
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or_default(),
    })
}

/// What a packet's comments say: the reason for a drop, another verdict, how many packets it stands for.
pub(super) fn comments(batch: &FlowBatch, row: usize) -> Vec<String> {
    let mut comments = Vec::new();
    let verdict = batch.number::<UInt8Type>(Column::Verdict, row).unwrap_or_default();
    match Verdict::try_from(i32::from(verdict)) {
        Ok(Verdict::Dropped) => comments.push(dropped(batch, row)),
        Ok(Verdict::Unknown | Verdict::Forwarded | Verdict::Traced) | Err(_) => {}
        Ok(other) => comments.push(format!("verdict: {}", other.as_str_name())),
    }
    let packets = batch.number::<UInt32Type>(Column::Packets, row).unwrap_or_default();
    if packets > 1 {
        let bytes = batch.number::<UInt32Type>(Column::Length, row).unwrap_or_default();
        comments.push(format!("stands for {packets} packets, {bytes} bytes"));
    }
    comments
}

fn dropped(batch: &FlowBatch, row: usize) -> String {
    let mut text = "dropped: ".to_owned();
    match batch.text_at(Column::DropReason, row) {
        Some(reason) => {
            text.push_str(reason);
            if let Some(symbol) = batch.text_at(Column::DropSymbol, row) {
                text.push_str(&format!(" at {symbol}"));
            }
            if let Some(known) = drop_reason::lookup(reason) {
                text.push_str(&format!(" ({})", known.meaning.trim_end_matches('.')));
            }
        }
        None => {
            let number = batch
                .shared_at::<UInt32Type>(Column::DropReasonApi, row)
                .unwrap_or_default();
            let words = i32::try_from(number).ok().and_then(drop_reason::api_text);
            text.push_str(words.unwrap_or("unknown reason"));
        }
    }
    text
}

fn addresses(batch: &FlowBatch, row: usize, source: Column, destination: Column) -> Option<Addresses> {
    let address = |column| -> Option<IpAddr> { batch.address(column, row).map(from_stored) };
    Addresses::new(address(source)?, address(destination)?)
}

fn mac(batch: &FlowBatch, row: usize, column: Column) -> Option<[u8; 6]> {
    let array = batch.addresses(column).filter(|array| array.is_valid(row))?;
    array.value(row).try_into().ok()
}

fn tunnel(batch: &FlowBatch, row: usize) -> Option<TunnelHeaders> {
    let half = |column| batch.number::<UInt16Type>(column, row);
    Some(TunnelHeaders {
        kind: match batch.number::<UInt8Type>(Column::TunnelProtocol, row)? {
            1 => TunnelKind::Vxlan,
            2 => TunnelKind::Geneve,
            _ => return None,
        },
        vni: batch.number::<UInt32Type>(Column::TunnelVni, row).unwrap_or_default(),
        addresses: addresses(batch, row, Column::TunnelSourceIp, Column::TunnelDestinationIp)?,
        ports: half(Column::TunnelSourcePort).zip(half(Column::TunnelDestinationPort)),
    })
}
