//! Transport protocols, ports and TCP flags.

use std::ops::RangeInclusive;

use arrow_array::types::{UInt8Type, UInt16Type};
use arrow_buffer::BooleanBuffer;

use super::column::{numbers, present};
use super::{Condition, FilterError};
use crate::api::flow::TcpFlags;
use crate::api::flow::layer7::Record;
use crate::batch::FlowBatch;
use crate::from_api::tcp_flag_bits;
use crate::schema::Column;

/// Ports, or ranges of them, which are an extension of ours.
pub(super) fn port(column: Column, field: &'static str, values: &[String]) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let ranges = values
        .iter()
        .map(|text| {
            parse_ports(text)
                .ok_or_else(|| FilterError::new(field, text, "give a port from 0 to 65535, or a range (8000-8100)"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move |batch, _| {
        numbers::<UInt16Type>(batch, column, |port| ranges.iter().any(|range| range.contains(&port)))
    })))
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let range = match text.split_once('-') {
        Some((first, last)) => first.parse().ok()?..=last.parse().ok()?,
        None => {
            let port = text.parse().ok()?;
            port..=port
        }
    };
    (!range.is_empty()).then_some(range)
}

/// What the `protocol` filter knows.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Number(u8),
    Column(Column),
    Kafka,
}

/// Names of the filter, with IANA protocol numbers.
const PROTOCOLS: [(&str, &[Wanted]); 11] = [
    ("icmp", &[Wanted::Number(1), Wanted::Number(58)]),
    ("icmpv4", &[Wanted::Number(1)]),
    ("icmpv6", &[Wanted::Number(58)]),
    ("tcp", &[Wanted::Number(6)]),
    ("udp", &[Wanted::Number(17)]),
    ("sctp", &[Wanted::Number(132)]),
    ("vrrp", &[Wanted::Number(112)]),
    ("igmp", &[Wanted::Number(2)]),
    ("dns", &[Wanted::Column(Column::DnsQuery)]),
    ("http", &[Wanted::Column(Column::HttpMethod)]),
    ("kafka", &[Wanted::Kafka]),
];

pub(super) fn protocol(values: &[String]) -> Result<Option<Condition>, FilterError> {
    if values.is_empty() {
        return Ok(None);
    }
    let mut wanted = Vec::new();
    for text in values {
        let lower = text.to_ascii_lowercase();
        let Some((_, kinds)) = PROTOCOLS.iter().find(|(name, _)| *name == lower) else {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            return Err(FilterError::new(
                "protocol",
                text,
                format!("give one of {}", names.join(", ")),
            ));
        };
        wanted.extend_from_slice(kinds);
    }
    Ok(Some(Box::new(move |batch, candidates| {
        let mut marked = numbers::<UInt8Type>(batch, Column::Protocol, |number| {
            wanted
                .iter()
                .any(|wanted| matches!(wanted, Wanted::Number(protocol) if *protocol == number))
        });
        for kind in &wanted {
            match kind {
                Wanted::Number(_) => {}
                Wanted::Column(column) => marked = &marked | &present(batch, *column),
                Wanted::Kafka => marked = &marked | &kafka(batch, candidates),
            }
        }
        marked
    })))
}

/// Kafka has no columns: only other observers, and only old ones, report it.
#[allow(deprecated, reason = "flows of old observers can be filtered as well")]
fn kafka(batch: &FlowBatch, candidates: &BooleanBuffer) -> BooleanBuffer {
    let whole = &present(batch, Column::Rest) & candidates;
    BooleanBuffer::collect_bool(batch.rows(), |row| {
        whole.value(row) && matches!(batch.to_flow(row).l7.and_then(|l7| l7.record), Some(Record::Kafka(_)))
    })
}

pub(super) fn tcp_flags(values: &[TcpFlags]) -> Option<Condition> {
    if values.is_empty() {
        return None;
    }
    let wanted: Vec<u16> = values.iter().map(tcp_flag_bits).collect();
    Some(Box::new(move |batch, _| {
        numbers::<UInt16Type>(batch, Column::TcpFlags, |flags| {
            wanted.iter().any(|bits| flags & bits == *bits)
        })
    }))
}
