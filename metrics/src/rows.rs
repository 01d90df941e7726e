//! The columns of a batch that metrics look at.

use arrow_array::types::{ArrowPrimitiveType, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array as _, BooleanArray, PrimitiveArray};
use flow::api::flow::Verdict;
use flow::batch::{FlowBatch, Shared, Text};
use flow::schema::Column;

/// A drop, as the API numbers events.
pub(crate) const DROP: i32 = 1;
/// A packet.
pub(crate) const TRACE: i32 = 4;
/// A verdict of a policy.
pub(crate) const POLICY_VERDICT: i32 = 5;
/// An application message.
pub(crate) const MESSAGE: i32 = 129;
/// An event of a TCP socket.
pub(crate) const TCP_EVENT: i32 = 160;
/// A request without an answer.
pub(crate) const SILENCE: i32 = 161;

/// Protocol numbers of IANA.
pub(crate) const TCP: u8 = 6;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMP_V6: u8 = 58;

/// A batch with its columns at hand.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) batch: &'a FlowBatch,
    event_type: Option<&'a PrimitiveArray<Int32Type>>,
    event_sub_type: Option<&'a PrimitiveArray<Int32Type>>,
    verdict: Option<&'a PrimitiveArray<UInt8Type>>,
    protocol: Option<&'a PrimitiveArray<UInt8Type>>,
    ip_version: Option<&'a PrimitiveArray<UInt8Type>>,
    direction: Option<&'a PrimitiveArray<UInt8Type>>,
    point: Option<&'a PrimitiveArray<UInt8Type>>,
    l7_type: Option<&'a PrimitiveArray<UInt8Type>>,
    destination_port: Option<&'a PrimitiveArray<UInt16Type>>,
    tcp_flags: Option<&'a PrimitiveArray<UInt16Type>>,
    packets: Option<&'a PrimitiveArray<UInt32Type>>,
    length: Option<&'a PrimitiveArray<UInt32Type>>,
    srtt_us: Option<&'a PrimitiveArray<UInt32Type>>,
    l7_latency_ns: Option<&'a PrimitiveArray<UInt64Type>>,
    is_reply: Option<&'a BooleanArray>,
    dns_query: Option<Text<'a>>,
    http_method: Option<Text<'a>>,
    drop_reason_api: Option<Shared<'a, UInt32Type>>,
}

fn at<T: ArrowPrimitiveType>(column: Option<&PrimitiveArray<T>>, row: usize) -> Option<T::Native> {
    column.and_then(|column| column.is_valid(row).then(|| column.value(row)))
}

macro_rules! numbers {
    ($($name:ident: $type:ty;)*) => {
        $(pub(crate) fn $name(&self, row: usize) -> Option<$type> {
            at(self.$name, row)
        })*
    };
}

impl<'a> Rows<'a> {
    pub(crate) fn new(batch: &'a FlowBatch) -> Self {
        Self {
            event_type: batch.numbers(Column::EventType),
            event_sub_type: batch.numbers(Column::EventSubType),
            verdict: batch.numbers(Column::Verdict),
            protocol: batch.numbers(Column::Protocol),
            ip_version: batch.numbers(Column::IpVersion),
            direction: batch.numbers(Column::TrafficDirection),
            point: batch.numbers(Column::ObservationPoint),
            l7_type: batch.numbers(Column::L7Type),
            destination_port: batch.numbers(Column::DestinationPort),
            tcp_flags: batch.numbers(Column::TcpFlags),
            packets: batch.numbers(Column::Packets),
            length: batch.numbers(Column::Length),
            srtt_us: batch.numbers(Column::SrttUs),
            l7_latency_ns: batch.numbers(Column::L7LatencyNs),
            is_reply: batch.booleans(Column::IsReply),
            dns_query: batch.text(Column::DnsQuery),
            http_method: batch.text(Column::HttpMethod),
            drop_reason_api: batch.shared(Column::DropReasonApi),
            batch,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.batch.rows()
    }

    numbers! {
        event_type: i32;
        event_sub_type: i32;
        protocol: u8;
        ip_version: u8;
        direction: u8;
        point: u8;
        l7_type: u8;
        destination_port: u16;
        tcp_flags: u16;
        length: u32;
        srtt_us: u32;
        l7_latency_ns: u64;
    }

    pub(crate) fn verdict(&self, row: usize) -> u8 {
        at(self.verdict, row).unwrap_or_default()
    }

    /// Packets that the row stands for, at least one.
    pub(crate) fn packets(&self, row: usize) -> u32 {
        at(self.packets, row).unwrap_or_default().max(1)
    }

    pub(crate) fn is_dropped(&self, row: usize) -> bool {
        i32::from(self.verdict(row)) == Verdict::Dropped as i32
    }

    /// Forwarded, or to a proxy.
    pub(crate) fn is_forwarded(&self, row: usize) -> bool {
        let verdict = i32::from(self.verdict(row));
        verdict == Verdict::Forwarded as i32 || verdict == Verdict::Redirected as i32
    }

    pub(crate) fn is_reply(&self, row: usize) -> Option<bool> {
        self.is_reply
            .and_then(|column| column.is_valid(row).then(|| column.value(row)))
    }

    pub(crate) fn is_dns(&self, row: usize) -> bool {
        self.dns_query.is_some_and(|column| column.get(row).is_some())
    }

    pub(crate) fn is_http(&self, row: usize) -> bool {
        self.http_method.is_some_and(|column| column.get(row).is_some())
    }

    pub(crate) fn drop_reason(&self, row: usize) -> u32 {
        self.drop_reason_api
            .as_ref()
            .and_then(|column| column.get(row))
            .unwrap_or_default()
    }

    /// A key for the text of a row, that [`Rows::text`] turns into it; 0 for none.
    pub(crate) fn text_key(&self, column: Column, row: usize) -> u64 {
        let key = self.batch.text(column).and_then(|text| {
            let keys = text.keys();
            (keys.is_valid(row) && text.get(row).is_some()).then(|| u64::from(keys.value(row)))
        });
        key.map_or(0, |key| key + 1)
    }

    /// The text of a key.
    pub(crate) fn text(&self, column: Column, key: u64) -> &'a str {
        let place = usize::try_from(key).ok().and_then(|key| key.checked_sub(1));
        match (place, self.batch.text(column)) {
            (Some(place), Some(text)) if place < text.values().len() => text.values().value(place),
            _ => "",
        }
    }

    /// The protocol as Hubble's metrics write it.
    pub(crate) fn protocol_key(&self, row: usize) -> u64 {
        let key = if self.is_dns(row) {
            ProtocolName::Dns
        } else if self.is_http(row) {
            ProtocolName::Http
        } else if self.event_type(row) == Some(MESSAGE) {
            ProtocolName::UnknownL7
        } else {
            match self.protocol(row) {
                Some(TCP) => ProtocolName::Tcp,
                Some(17) => ProtocolName::Udp,
                Some(ICMP) => ProtocolName::IcmpV4,
                Some(ICMP_V6) => ProtocolName::IcmpV6,
                Some(132) => ProtocolName::Sctp,
                _ => ProtocolName::UnknownL4,
            }
        };
        key as u64
    }
}

#[derive(Clone, Copy)]
enum ProtocolName {
    Tcp,
    Udp,
    IcmpV4,
    IcmpV6,
    Sctp,
    UnknownL4,
    Dns,
    Http,
    UnknownL7,
}

/// The text of [`Rows::protocol_key`].
pub(crate) fn protocol_name(key: u64) -> &'static str {
    const NAMES: [&str; 9] = [
        "TCP",
        "UDP",
        "ICMPv4",
        "ICMPv6",
        "SCTP",
        "Unknown L4",
        "DNS",
        "HTTP",
        "Unknown L7",
    ];
    usize::try_from(key)
        .ok()
        .and_then(|key| NAMES.get(key).copied())
        .unwrap_or_default()
}

/// `FORWARDED` and so on.
pub(crate) fn verdict_name(key: u64) -> &'static str {
    let verdict = i32::try_from(key)
        .ok()
        .and_then(|number| Verdict::try_from(number).ok());
    verdict.unwrap_or_default().as_str_name()
}

/// `IPv4` or `IPv6`.
pub(crate) fn family_name(key: u64) -> &'static str {
    match key {
        4 => "IPv4",
        6 => "IPv6",
        _ => "unknown",
    }
}
