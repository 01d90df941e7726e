//! One connection: how far it came, how quick and how well it is.

use std::time::Duration;

use flow::schema::Column;

use crate::row::{Kind, Request, Row, TCP, TcpEvent, flags};

/// How far a connection came. The order is that of the screen: what failed comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionState {
    /// It never came to be, because packets of it were dropped.
    Dropped,
    /// Somebody answered that nobody listens.
    Refused,
    /// Nobody answered its first packet.
    TimedOut,
    /// Nobody answered the request, of UDP or DNS.
    NoAnswer,
    /// It was there, and one side gave it up.
    Reset,
    /// Its first packet was sent.
    Opening,
    /// It is there.
    Established,
    /// Packets come and go; without a beginning or an end.
    Active,
    /// One side has ended it.
    Closing,
    /// Both have.
    Closed,
}

impl ConnectionState {
    /// In a word or two.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::NoAnswer => "no answer",
            Self::Reset => "reset",
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Active => "active",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }

    /// Whether it failed.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self <= Self::Reset
    }

    fn is_over(self) -> bool {
        self.is_failure() || self == Self::Closed
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// How far it came.
    pub state: ConnectionState,
    /// The client's name and port.
    pub client: String,
    /// The server's name and port.
    pub server: String,
    /// `TCP`, `UDP`, …
    pub protocol: String,
    /// Process of the node that has it, as far as the kernel tells.
    pub process: String,
    /// Time of the first and of the last flow.
    pub first_ns: i64,
    /// Time of the last flow.
    pub last_ns: i64,
    /// From the first packet to its answer.
    pub handshake: Option<Duration>,
    /// Smoothed round-trip time as the kernel last said.
    pub round_trip: Option<Duration>,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// Packets that were dropped, noise left away.
    pub drops: u64,
    /// The reason of the last drop.
    pub reason: String,
    /// Packets and bytes from the client.
    pub sent: (u64, u64),
    /// Packets and bytes from the server.
    pub received: (u64, u64),
    /// Number of the newest flow.
    pub newest: u64,
    /// Whether the client is the second end of the key.
    client_is_second: bool,
    /// Where the packets of each end are counted: at the first place that one was seen at.
    counted_at: [Option<u64>; 2],
    /// When the first packet was sent, and the interface that this was seen at.
    syn: Option<(i64, u64)>,
    fins: [bool; 2],
}

impl Connection {
    /// A connection of which nothing is known but its first row, which may go from the second end to the first.
    pub(super) fn new(row: &Row<'_>, turned: bool) -> Self {
        let is_reply =
            row.is_reply() == Some(true) || row.tcp_flags() & (flags::SYN | flags::ACK) == flags::SYN | flags::ACK;
        let (client, server) = match is_reply {
            true => (row.destination(), row.source()),
            false => (row.source(), row.destination()),
        };
        Self {
            state: match row.protocol() {
                Some(TCP) if row.tcp_flags() & flags::SYN == 0 => ConnectionState::Established,
                Some(TCP) => ConnectionState::Opening,
                _ => ConnectionState::Active,
            },
            client: client.name_and_port(),
            server: server.name_and_port(),
            protocol: row.protocol_name(),
            process: String::new(),
            first_ns: row.time_ns(),
            last_ns: row.time_ns(),
            handshake: None,
            round_trip: None,
            retransmits: 0,
            drops: 0,
            reason: String::new(),
            sent: (0, 0),
            received: (0, 0),
            newest: 0,
            client_is_second: turned != is_reply,
            counted_at: [None; 2],
            syn: None,
            fins: [false; 2],
        }
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.1 + self.received.1
    }

    /// Takes a row; whether its packets count.
    pub(super) fn push(&mut self, row: &Row<'_>, number: u64, turned: bool, weight: f64) -> bool {
        self.last_ns = self.last_ns.max(row.time_ns());
        self.first_ns = self.first_ns.min(row.time_ns());
        self.newest = self.newest.max(number);
        if let process @ [_, ..] = row.text(Column::ProcessName).as_bytes() {
            let process = String::from_utf8_lossy(process);
            self.process = match row
                .batch
                .shared_at::<arrow_array::types::UInt32Type>(Column::ProcessId, row.place)
            {
                Some(id) => format!("{process}/{id}"),
                None => process.into_owned(),
            };
        }
        if let Some(micros) = row.word(Column::SrttUs) {
            self.round_trip = Some(Duration::from_micros(micros.into()));
        }
        match row.kind() {
            Kind::Packet => return self.packet(row, turned, weight),
            Kind::Drop => self.dropped(row),
            Kind::Silence(request) => {
                if self.state != ConnectionState::Dropped {
                    self.state = match request {
                        Request::Syn => ConnectionState::TimedOut,
                        Request::Udp | Request::Dns => ConnectionState::NoAnswer,
                    };
                }
            }
            Kind::Tcp(event) => self.tcp_event(event, row),
            Kind::Message | Kind::Other => {}
        }
        false
    }

    fn packet(&mut self, row: &Row<'_>, turned: bool, weight: f64) -> bool {
        let from_client = turned == self.client_is_second;
        let place = row.place_key();
        let counts = *self.counted_at[usize::from(turned)].get_or_insert(place) == place;
        if counts {
            let (packets, bytes) = if from_client {
                &mut self.sent
            } else {
                &mut self.received
            };
            *packets += (row.packets() as f64 * weight) as u64;
            *bytes += (row.bytes() as f64 * weight) as u64;
        }
        match row.protocol() {
            Some(TCP) => self.segment(row, from_client),
            _ if self.state == ConnectionState::NoAnswer && !from_client => self.state = ConnectionState::Active,
            _ => {}
        }
        counts
    }

    fn segment(&mut self, row: &Row<'_>, from_client: bool) {
        let set = row.tcp_flags();
        if set & flags::RST != 0 {
            self.was_reset();
            return;
        }
        match set & (flags::SYN | flags::ACK) {
            flags::SYN if set & flags::FIN == 0 => {
                if self.state.is_over() && self.state != ConnectionState::Dropped {
                    self.state = ConnectionState::Opening;
                    self.fins = [false; 2];
                    self.syn = None;
                }
                self.syn.get_or_insert((row.time_ns(), row.interface_key()));
            }
            both if both == flags::SYN | flags::ACK => {
                // The answer to a packet comes back to the interface that it left through.
                if let Some((sent_ns, interface)) = self.syn.filter(|_| self.handshake.is_none())
                    && interface == row.interface_key()
                {
                    let nanos = row.time_ns().saturating_sub(sent_ns);
                    self.handshake = u64::try_from(nanos).ok().map(Duration::from_nanos);
                }
                self.established();
            }
            _ => {
                if self.state == ConnectionState::Opening && !from_client {
                    self.established();
                }
            }
        }
        if set & flags::FIN != 0 {
            self.fins[usize::from(from_client)] = true;
            self.state = match self.fins {
                [true, true] => ConnectionState::Closed,
                _ if self.state.is_failure() => self.state,
                _ => ConnectionState::Closing,
            };
        }
    }

    fn established(&mut self) {
        if matches!(
            self.state,
            ConnectionState::Opening | ConnectionState::TimedOut | ConnectionState::Dropped
        ) {
            self.state = ConnectionState::Established;
        }
    }

    fn was_reset(&mut self) {
        self.state = match self.state {
            ConnectionState::Opening
            | ConnectionState::Dropped
            | ConnectionState::TimedOut
            | ConnectionState::Refused => ConnectionState::Refused,
            ConnectionState::Closed => ConnectionState::Closed,
            _ => ConnectionState::Reset,
        };
    }

    fn dropped(&mut self, row: &Row<'_>) {
        if row.is_noise() {
            return;
        }
        self.drops += row.packets();
        self.reason = row.drop_reason().to_owned();
        let is_first = row.tcp_flags() & (flags::SYN | flags::ACK) == flags::SYN;
        if self.state == ConnectionState::Opening
            || (self.state == ConnectionState::TimedOut && is_first)
            || (self.state == ConnectionState::Active && self.received.0 == 0)
        {
            self.state = ConnectionState::Dropped;
        }
    }

    fn tcp_event(&mut self, event: TcpEvent, row: &Row<'_>) {
        match event {
            TcpEvent::Retransmit => self.retransmits += row.packets(),
            TcpEvent::ResetSent | TcpEvent::ResetReceived => {
                let state = row.text(Column::TcpStateNew);
                match state {
                    "SYN_SENT" => self.state = ConnectionState::Refused,
                    _ => self.was_reset(),
                }
            }
            TcpEvent::StateChange => {
                if (row.text(Column::TcpStateOld), row.text(Column::TcpStateNew)) == ("SYN_SENT", "ESTABLISHED") {
                    self.handshake = self.handshake.or(self.round_trip);
                    self.established();
                }
            }
            TcpEvent::Other => {}
        }
    }
}
