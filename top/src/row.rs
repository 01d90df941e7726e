//! A row of a batch, as screens look at it.

use std::hash::BuildHasher as _;

use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use flow::api::flow::Verdict;
use flow::batch::FlowBatch;
use flow::drop_reason::{self, DropReason};
use flow::record::{Address, from_stored};
use flow::schema::Column;
use rustc_hash::FxBuildHasher;

use crate::end::End;

/// Kinds of events as the API numbers them.
const DROP: i32 = 1;
const MESSAGE: i32 = 129;
const TCP_EVENT: i32 = 160;
const SILENCE: i32 = 161;

/// IANA protocol numbers.
pub const TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const UDP: u8 = 17;

/// TCP flags (RFC 9293).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u16 = 1;
    /// Synchronize sequence numbers.
    pub const SYN: u16 = 2;
    /// Reset the connection.
    pub const RST: u16 = 4;
    /// The acknowledgment number counts.
    pub const ACK: u16 = 16;
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet that was seen.
    Packet,
    /// A packet that was dropped.
    Drop,
    /// A message of an application, beside its packet.
    Message,
    /// Something that happened to a TCP socket.
    Tcp(TcpEvent),
    /// A request that nobody answered.
    Silence(Request),
    /// Something else, of other observers.
    Other,
}

/// What happened to a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// A segment was sent again.
    Retransmit,
    /// It sent a reset.
    ResetSent,
    /// It received one.
    ResetReceived,
    /// It has another state.
    StateChange,
    /// Not known here.
    Other,
}

/// A request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first packet of a TCP connection.
    Syn,
    /// A UDP packet to a well-known service.
    Udp,
    /// A DNS question.
    Dns,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The batch that it is in.
    pub batch: &'a FlowBatch,
    /// Its place there.
    pub place: usize,
}

impl<'a> Row<'a> {
    /// A row of a batch.
    #[must_use]
    pub fn new(batch: &'a FlowBatch, place: usize) -> Self {
        Self { batch, place }
    }

    fn byte(&self, column: Column) -> Option<u8> {
        self.batch.number::<UInt8Type>(column, self.place)
    }

    /// The text of a column; empty if there is none.
    #[must_use]
    pub fn text(&self, column: Column) -> &'a str {
        self.batch.text_at(column, self.place).unwrap_or_default()
    }

    /// When, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time_ns(&self) -> i64 {
        self.batch.time_ns(self.place)
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let number = |column| self.batch.number::<Int32Type>(column, self.place);
        match (number(Column::EventType), number(Column::EventSubType)) {
            (Some(MESSAGE), _) => Kind::Message,
            (Some(TCP_EVENT), event) => Kind::Tcp(match event {
                Some(1) => TcpEvent::Retransmit,
                Some(2) => TcpEvent::ResetSent,
                Some(3) => TcpEvent::ResetReceived,
                Some(4) => TcpEvent::StateChange,
                _ => TcpEvent::Other,
            }),
            (Some(SILENCE), request) => Kind::Silence(match request {
                Some(2) => Request::Udp,
                Some(3) => Request::Dns,
                _ => Request::Syn,
            }),
            _ if self.is_dropped() => Kind::Drop,
            (Some(DROP), _) => Kind::Drop,
            (None | Some(4), _) => Kind::Packet,
            _ => Kind::Other,
        }
    }

    /// What became of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdict = self.byte(Column::Verdict).unwrap_or_default();
        Verdict::try_from(i32::from(verdict)).unwrap_or_default()
    }

    fn is_dropped(&self) -> bool {
        matches!(self.verdict(), Verdict::Dropped | Verdict::Error)
    }

    /// Whether something is wrong with it: it was dropped, or nobody answered.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(self.kind(), Kind::Drop | Kind::Silence(_))
    }

    /// The reason for a drop: the kernel's name, or else that of the API, or only that it was one.
    #[must_use]
    pub fn drop_reason(&self) -> &'a str {
        let kernel = self.text(Column::DropReason);
        if !kernel.is_empty() || self.kind() != Kind::Drop {
            return kernel;
        }
        let number = self
            .batch
            .shared_at::<UInt32Type>(Column::DropReasonApi, self.place)
            .unwrap_or_default();
        let reason = i32::try_from(number)
            .ok()
            .and_then(|number| flow::api::flow::DropReason::try_from(number).ok());
        match reason.unwrap_or_default() {
            flow::api::flow::DropReason::Unknown => self.verdict().as_str_name(),
            known => known.as_str_name(),
        }
    }

    /// What is known of that reason.
    #[must_use]
    pub fn known_reason(&self) -> Option<&'static DropReason> {
        drop_reason::lookup(self.text(Column::DropReason))
    }

    /// Whether it is a drop after which nothing is missing: the receiver did what it should, or nobody there wanted what was
    /// sent to everybody (neighbour and listener discovery; RFC 4861, RFC 3810, RFC 3376).
    #[must_use]
    pub fn is_noise(&self) -> bool {
        if self.known_reason().is_some_and(|reason| reason.benign) {
            return true;
        }
        let is_multicast = || {
            let address = self.batch.address(Column::DestinationIp, self.place).map(from_stored);
            address.is_some_and(|address| address.is_multicast())
        };
        const IGMP: u8 = 2;
        const ICMP_V6: u8 = 58;
        self.kind() == Kind::Drop
            && matches!(self.protocol(), Some(IGMP | ICMP_V6))
            && self.text(Column::DropReason) == "NOT_SPECIFIED"
            && is_multicast()
    }

    /// The function of the kernel that gave the packet up, without the offset.
    #[must_use]
    pub fn drop_function(&self) -> &'a str {
        let symbol = self.text(Column::DropSymbol);
        symbol.split_once('+').map_or(symbol, |(function, _)| function)
    }

    /// IANA number of the transport protocol.
    #[must_use]
    pub fn protocol(&self) -> Option<u8> {
        self.byte(Column::Protocol)
    }

    /// `TCP`, `UDP`, `ICMPv6`, or a number.
    #[must_use]
    pub fn protocol_name(&self) -> String {
        match self.protocol() {
            Some(1) => "ICMP".to_owned(),
            Some(TCP) => "TCP".to_owned(),
            Some(UDP) => "UDP".to_owned(),
            Some(58) => "ICMPv6".to_owned(),
            Some(132) => "SCTP".to_owned(),
            Some(112) => "VRRP".to_owned(),
            Some(2) => "IGMP".to_owned(),
            Some(number) => number.to_string(),
            None => String::new(),
        }
    }

    /// Flags of a TCP segment.
    #[must_use]
    pub fn tcp_flags(&self) -> u16 {
        self.half(Column::TcpFlags).unwrap_or_default()
    }

    fn half(&self, column: Column) -> Option<u16> {
        self.batch.number::<UInt16Type>(column, self.place)
    }

    /// A number of 32 bits.
    #[must_use]
    pub fn word(&self, column: Column) -> Option<u32> {
        self.batch.number::<UInt32Type>(column, self.place)
    }

    /// A number of 64 bits.
    #[must_use]
    pub fn long(&self, column: Column) -> Option<u64> {
        self.batch.number::<UInt64Type>(column, self.place)
    }

    /// Packets that the row stands for, at least one.
    #[must_use]
    pub fn packets(&self) -> u64 {
        u64::from(self.word(Column::Packets).unwrap_or_default().max(1))
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.word(Column::Length).unwrap_or_default())
    }

    /// Whether it travels from the server to the client.
    #[must_use]
    pub fn is_reply(&self) -> Option<bool> {
        use arrow_array::Array as _;
        let column = self.batch.booleans(Column::IsReply)?;
        column.is_valid(self.place).then(|| column.value(self.place))
    }

    /// The source as it is stored: an address of 16 bytes and a port.
    #[must_use]
    pub fn source_key(&self) -> Option<(Address, u16)> {
        let address = self.batch.address(Column::SourceIp, self.place)?;
        Some((address, self.half(Column::SourcePort).unwrap_or_default()))
    }

    /// The destination as it is stored.
    #[must_use]
    pub fn destination_key(&self) -> Option<(Address, u16)> {
        let address = self.batch.address(Column::DestinationIp, self.place)?;
        Some((address, self.half(Column::DestinationPort).unwrap_or_default()))
    }

    /// The end that sent it.
    #[must_use]
    pub fn source(&self) -> End<'a> {
        let address = self.batch.address(Column::SourceIp, self.place).map(from_stored);
        let identity = self.batch.shared_at::<UInt32Type>(Column::SourceIdentity, self.place);
        End {
            address,
            port: self.half(Column::SourcePort).unwrap_or_default(),
            namespace: self.text(Column::SourceNamespace),
            pod: self.text(Column::SourcePod),
            workloads: self.text(Column::SourceWorkloads),
            service: self.text(Column::SourceService),
            service_namespace: self.text(Column::SourceServiceNamespace),
            names: self.text(Column::SourceNames),
            labels: self.text(Column::SourceLabels),
            identity: identity.unwrap_or_default(),
        }
    }

    /// The end that it is for.
    #[must_use]
    pub fn destination(&self) -> End<'a> {
        let address = self.batch.address(Column::DestinationIp, self.place).map(from_stored);
        let identity = self
            .batch
            .shared_at::<UInt32Type>(Column::DestinationIdentity, self.place);
        End {
            address,
            port: self.half(Column::DestinationPort).unwrap_or_default(),
            namespace: self.text(Column::DestinationNamespace),
            pod: self.text(Column::DestinationPod),
            workloads: self.text(Column::DestinationWorkloads),
            service: self.text(Column::DestinationService),
            service_namespace: self.text(Column::DestinationServiceNamespace),
            names: self.text(Column::DestinationNames),
            labels: self.text(Column::DestinationLabels),
            identity: identity.unwrap_or_default(),
        }
    }

    /// Node and interface where it was seen, as a number that is the same for the same interface.
    #[must_use]
    pub fn interface_key(&self) -> u64 {
        let index = self.batch.shared_at::<UInt32Type>(Column::InterfaceIndex, self.place);
        FxBuildHasher.hash_one((self.text(Column::NodeName), index))
    }

    /// The same with the observation point.
    #[must_use]
    pub fn place_key(&self) -> u64 {
        FxBuildHasher.hash_one((self.interface_key(), self.byte(Column::ObservationPoint)))
    }

    /// Where it was seen, in words: `from-endpoint`, `to-network`; empty where that isn't known.
    #[must_use]
    pub fn point(&self) -> String {
        use flow::api::flow::TraceObservationPoint as Point;
        let number = i32::from(self.byte(Column::ObservationPoint).unwrap_or_default());
        match Point::try_from(number) {
            Ok(Point::UnknownPoint) | Err(_) => String::new(),
            Ok(point) => point.as_str_name().to_ascii_lowercase().replace('_', "-"),
        }
    }
}
