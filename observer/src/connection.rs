//! The connection table: which end of a connection asked, so that requests can be told from replies.

use bpf_probes::event::{FLAG_NO_TRANSPORT, PacketHeaders};
use flow::record::Address;
use hashlink::LruCache;
use rustc_hash::FxBuildHasher;

/// `flow.TraceReason` of the API.
const REASON_UNKNOWN: u8 = 0;
const REASON_NEW: u8 = 1;
const REASON_ESTABLISHED: u8 = 2;
const REASON_REPLY: u8 = 3;
const REASON_RELATED: u8 = 4;

/// IANA protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// Where Linux takes the ports of clients from (`net.ipv4.ip_local_port_range`), and where those of privileged services end.
const FIRST_EPHEMERAL_PORT: u16 = 32768;
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// A time before that of every event, but not "never".
const SOME_TIME_AGO: u64 = 1;

/// What the table says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether it travels from the end that was asked to the one that asked.
    pub is_reply: Option<bool>,
    /// `flow.TraceReason` of the API.
    pub trace_reason: u8,
    /// What it means to a request that waits for an answer.
    pub turn: Turn,
    /// Whether a head of HTTP was seen on its connection.
    pub speaks_http: bool,
}

/// What a TCP or UDP packet means to a request that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Opens an exchange: a SYN, or a datagram to an end that hasn't said anything yet.
    Opens,
    /// Comes from the end that asked, in an exchange under way.
    Continues,
    /// Is the first packet of the other end since the exchange was opened.
    Answers,
    /// Nothing, or nothing any more: an answer that is newer than the packet has been read before it.
    Nothing,
}

/// How a packet came to our knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It passed an interface at this time (the clock of events).
    At(u64),
    /// It is one of those that the programs have only counted; when it passed isn't known.
    Counted,
    /// The kernel dropped it: it neither asks nor answers.
    Dropped,
}

/// Both ends of a connection, the smaller one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    low: (Address, u16),
    high: (Address, u16),
    protocol: u8,
}

impl Ends {
    /// The ends of the connection that a packet with ports belongs to, and whether it comes from the smaller one.
    pub(crate) fn of(headers: &PacketHeaders) -> (Self, bool) {
        Self::between(headers, headers.source_port, headers.destination_port)
    }

    fn between(headers: &PacketHeaders, source_port: u16, destination_port: u16) -> (Self, bool) {
        let source = (headers.source, source_port);
        let destination = (headers.destination, destination_port);
        let ends = Self {
            low: source.min(destination),
            high: source.max(destination),
            protocol: headers.protocol,
        };
        (ends, source <= destination)
    }
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    /// Whether the smaller end asked; `None` if that can't be told.
    low_asked: Option<bool>,
    answered: bool,
    /// Whether the exchange was opened, and nothing has come back since.
    awaits_answer: bool,
    /// When the end that was asked has said something last; 0: never.
    replied_ns: u64,
    /// Whether more is known of it elsewhere, so that nobody looks there for all others.
    speaks_http: bool,
}

impl Connection {
    fn turn(&mut self, headers: &PacketHeaders, is_reply: Option<bool>, passage: Passage) -> Turn {
        let now_ns = match passage {
            Passage::At(now_ns) => now_ns,
            // A SYN is answered by packets that are never just counted.
            Passage::Counted if headers.protocol == UDP && is_reply == Some(true) => SOME_TIME_AGO,
            Passage::Counted | Passage::Dropped => return Turn::Nothing,
        };
        if is_reply != Some(false) {
            self.replied_ns = self.replied_ns.max(now_ns);
            return match std::mem::take(&mut self.awaits_answer) {
                true => Turn::Answers,
                false => Turn::Nothing,
            };
        }
        if now_ns <= self.replied_ns {
            return Turn::Nothing;
        }
        let opens = match headers.protocol {
            TCP => headers.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
            UDP => self.replied_ns == 0,
            _ => return Turn::Nothing,
        };
        self.awaits_answer |= opens;
        if opens { Turn::Opens } else { Turn::Continues }
    }
}

/// A bounded table of connections. When it is full, the connection that has been silent for longest goes.
#[derive(Debug)]
pub struct ConnectionTable {
    connections: LruCache<Ends, Connection, FxBuildHasher>,
    evicted: u64,
}

impl ConnectionTable {
    /// An empty table for at most `capacity` connections.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            connections: LruCache::with_hasher(capacity.max(1), FxBuildHasher),
            evicted: 0,
        }
    }

    /// How many connections are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many connections had to go because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Notes a packet and says where in its connection it stands.
    pub fn observe(&mut self, headers: &PacketHeaders, passage: Passage) -> State {
        const UNKNOWN: State = State {
            is_reply: None,
            trace_reason: REASON_UNKNOWN,
            turn: Turn::Nothing,
            speaks_http: false,
        };
        if headers.flags & FLAG_NO_TRANSPORT != 0 {
            return UNKNOWN;
        }
        let ports = match headers.protocol {
            TCP | UDP | SCTP => (headers.source_port, headers.destination_port),
            ICMP | ICMPV6 => match icmp_kind(headers) {
                // Both directions carry the identifier, and the sequence number would make each echo its own connection.
                IcmpKind::Request | IcmpKind::Reply => (headers.source_port, headers.source_port),
                IcmpKind::Error => {
                    return State {
                        is_reply: None,
                        trace_reason: REASON_RELATED,
                        turn: Turn::Nothing,
                        speaks_http: false,
                    };
                }
                IcmpKind::Other => return UNKNOWN,
            },
            _ => return UNKNOWN,
        };
        let (ends, from_low) = Ends::between(headers, ports.0, ports.1);
        let start = self.start(headers);
        match self.connections.get_mut(&ends) {
            Some(connection) => {
                if let Some(asks) = start {
                    let restarted = connection.low_asked != Some(asks == from_low) || (asks && headers.protocol == TCP);
                    connection.low_asked = Some(asks == from_low);
                    connection.answered = if restarted { !asks } else { connection.answered || !asks };
                }
                let is_reply = connection.low_asked.map(|low_asked| low_asked != from_low);
                connection.answered |= is_reply == Some(true);
                State {
                    is_reply,
                    trace_reason: reason(is_reply, connection.answered),
                    turn: connection.turn(headers, is_reply, passage),
                    speaks_http: connection.speaks_http,
                }
            }
            None => {
                let asks = start.or_else(|| guess(headers));
                let is_reply = asks.map(|asks| !asks);
                let answered = is_reply == Some(true);
                if self.connections.len() == self.connections.capacity() {
                    self.evicted += 1;
                }
                let mut connection = Connection {
                    low_asked: asks.map(|asks| asks == from_low),
                    answered,
                    // Its start may have been forgotten when the table was full.
                    awaits_answer: true,
                    replied_ns: 0,
                    speaks_http: false,
                };
                let turn = connection.turn(headers, is_reply, passage);
                self.connections.insert(ends, connection);
                State {
                    is_reply,
                    trace_reason: reason(is_reply, answered),
                    turn,
                    speaks_http: false,
                }
            }
        }
    }

    /// Notes that a head of HTTP was seen on the connection of this packet.
    pub(crate) fn speaks_http(&mut self, headers: &PacketHeaders) {
        if let Some(connection) = self.connections.get_mut(&Ends::of(headers).0) {
            connection.speaks_http = true;
        }
    }

    /// Whether a packet with these ends travels from the end that was asked. Changes nothing in the table.
    #[must_use]
    pub fn is_reply(&self, headers: &PacketHeaders) -> Option<bool> {
        let (ends, from_low) = Ends::of(headers);
        match self.connections.peek(&ends) {
            Some(connection) => connection.low_asked.map(|low_asked| low_asked != from_low),
            None => guess(headers).map(|asks| !asks),
        }
    }

    /// Whether the packet's sender asks (`true`) or answers (`false`), where the packet itself says so.
    fn start(&self, headers: &PacketHeaders) -> Option<bool> {
        match headers.protocol {
            TCP if headers.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN => Some(true),
            TCP if headers.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK => Some(false),
            ICMP | ICMPV6 => Some(icmp_kind(headers) == IcmpKind::Request),
            _ => None,
        }
    }
}

fn reason(is_reply: Option<bool>, answered: bool) -> u8 {
    match is_reply {
        Some(true) => REASON_REPLY,
        Some(false) if answered => REASON_ESTABLISHED,
        Some(false) => REASON_NEW,
        None => REASON_UNKNOWN,
    }
}

/// Who asks in a connection whose start wasn't seen: the end with the port that looks like a client's. The first
/// datagram of a connectionless protocol is a request unless its ports say the opposite.
fn guess(headers: &PacketHeaders) -> Option<bool> {
    let (source, destination) = (headers.source_port, headers.destination_port);
    for limit in [FIRST_UNPRIVILEGED_PORT, FIRST_EPHEMERAL_PORT] {
        match (source < limit, destination < limit) {
            (false, true) => return Some(true),
            (true, false) => return Some(false),
            _ => {}
        }
    }
    (headers.protocol != TCP).then_some(true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IcmpKind {
    Request,
    Reply,
    Error,
    Other,
}

/// RFC 792; RFC 4443, section 2.1: ICMPv6 errors are the types below 128.
fn icmp_kind(headers: &PacketHeaders) -> IcmpKind {
    match (headers.protocol, headers.icmp_type) {
        (ICMP, 8) | (ICMPV6, 128) => IcmpKind::Request,
        (ICMP, 0) | (ICMPV6, 129) => IcmpKind::Reply,
        (ICMP, 3 | 4 | 5 | 11 | 12) | (ICMPV6, 0..=127) => IcmpKind::Error,
        _ => IcmpKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: (u8, u16), destination: (u8, u16), protocol: u8, tcp_flags: u8) -> PacketHeaders {
        PacketHeaders {
            source: [source.0; 16],
            destination: [destination.0; 16],
            source_port: source.1,
            destination_port: destination.1,
            protocol,
            tcp_flags,
            ..PacketHeaders::default()
        }
    }

    const CLIENT: (u8, u16) = (9, 40000);
    const SERVER: (u8, u16) = (1, 8080);

    #[test]
    fn a_handshake_is_told_apart() {
        let mut table = ConnectionTable::new(10);
        let syn = table.observe(&packet(CLIENT, SERVER, TCP, TCP_SYN), Passage::At(1));
        assert_eq!(
            syn,
            State {
                is_reply: Some(false),
                trace_reason: REASON_NEW,
                turn: Turn::Opens,
                speaks_http: false,
            }
        );
        let syn_ack = table.observe(&packet(SERVER, CLIENT, TCP, TCP_SYN | TCP_ACK), Passage::At(2));
        assert_eq!(
            syn_ack,
            State {
                is_reply: Some(true),
                trace_reason: REASON_REPLY,
                turn: Turn::Answers,
                speaks_http: false,
            }
        );
        let ack = table.observe(&packet(CLIENT, SERVER, TCP, TCP_ACK), Passage::At(3));
        assert_eq!(
            ack,
            State {
                is_reply: Some(false),
                trace_reason: REASON_ESTABLISHED,
                turn: Turn::Continues,
                speaks_http: false,
            }
        );
        let data = table.observe(&packet(SERVER, CLIENT, TCP, TCP_ACK), Passage::At(4));
        assert_eq!(data.turn, Turn::Nothing, "the SYN was answered before");
        let again = table.observe(&packet(CLIENT, SERVER, TCP, TCP_SYN), Passage::At(5));
        assert_eq!(again.trace_reason, REASON_NEW, "the ports are used again");
        assert_eq!(again.turn, Turn::Opens);
    }

    #[test]
    fn an_answer_read_before_its_request_is_still_an_answer() {
        let mut table = ConnectionTable::new(10);
        let syn_ack = table.observe(&packet(SERVER, CLIENT, TCP, TCP_SYN | TCP_ACK), Passage::At(2));
        assert_eq!(syn_ack.turn, Turn::Answers);
        let syn = table.observe(&packet(CLIENT, SERVER, TCP, TCP_SYN), Passage::At(1));
        assert_eq!(syn.turn, Turn::Nothing);
    }

    #[test]
    fn a_dropped_answer_is_none() {
        let mut table = ConnectionTable::new(10);
        assert_eq!(
            table
                .observe(&packet(CLIENT, SERVER, TCP, TCP_SYN), Passage::At(1))
                .turn,
            Turn::Opens
        );
        let answer = packet(SERVER, CLIENT, TCP, TCP_SYN | TCP_ACK);
        assert_eq!(table.observe(&answer, Passage::Dropped).turn, Turn::Nothing);
        assert_eq!(table.observe(&answer, Passage::At(9)).turn, Turn::Answers);
    }

    #[test]
    fn datagrams_open_an_exchange_until_something_comes_back() {
        let mut table = ConnectionTable::new(10);
        let (ask, answer) = (packet((1, 123), (2, 123), UDP, 0), packet((2, 123), (1, 123), UDP, 0));
        let mut turn = |headers, time| table.observe(headers, Passage::At(time)).turn;
        assert_eq!(turn(&ask, 1), Turn::Opens);
        assert_eq!(turn(&ask, 2), Turn::Opens, "nothing has come back yet");
        assert_eq!(turn(&answer, 3), Turn::Answers);
        assert_eq!(turn(&ask, 4), Turn::Continues);
        assert_eq!(turn(&answer, 5), Turn::Nothing);
    }

    #[test]
    fn what_was_only_counted_answers_but_does_not_ask() {
        let mut table = ConnectionTable::new(10);
        let (ask, answer) = (packet((1, 123), (2, 123), UDP, 0), packet((2, 123), (1, 123), UDP, 0));
        assert_eq!(table.observe(&ask, Passage::Counted).turn, Turn::Nothing);
        assert_eq!(table.observe(&ask, Passage::At(5)).turn, Turn::Opens);
        assert_eq!(table.observe(&answer, Passage::Counted).turn, Turn::Answers);
        assert_eq!(table.observe(&ask, Passage::At(6)).turn, Turn::Continues);
        let (syn, data) = (
            packet(CLIENT, SERVER, TCP, TCP_SYN),
            packet(SERVER, CLIENT, TCP, TCP_ACK),
        );
        assert_eq!(table.observe(&syn, Passage::At(7)).turn, Turn::Opens);
        assert_eq!(
            table.observe(&data, Passage::Counted).turn,
            Turn::Nothing,
            "it may be of the connection that had these ports before"
        );
    }

    #[test]
    fn a_connection_met_in_the_middle_is_guessed_from_its_ports() {
        let mut table = ConnectionTable::new(10);
        assert_eq!(
            table
                .observe(&packet((1, 443), (2, 5000), TCP, TCP_ACK), Passage::At(1))
                .is_reply,
            Some(true)
        );
        assert_eq!(
            table
                .observe(&packet((3, 33000), (4, 8080), TCP, TCP_ACK), Passage::At(1))
                .is_reply,
            Some(false)
        );
        assert_eq!(
            table
                .observe(&packet((5, 5000), (6, 6000), TCP, TCP_ACK), Passage::At(1))
                .is_reply,
            None
        );
        assert_eq!(
            table
                .observe(&packet((7, 53), (8, 40000), UDP, 0), Passage::At(1))
                .is_reply,
            Some(true)
        );
        assert_eq!(
            table
                .observe(&packet((7, 7000), (8, 8000), UDP, 0), Passage::At(1))
                .is_reply,
            Some(false)
        );
    }

    #[test]
    fn echoes_pair_up_and_errors_are_related() {
        let mut table = ConnectionTable::new(10);
        let mut ping = packet((1, 77), (2, 1), ICMP, 0);
        ping.icmp_type = 8;
        assert_eq!(table.observe(&ping, Passage::At(1)).is_reply, Some(false));
        let mut pong = packet((2, 77), (1, 1), ICMP, 0);
        pong.icmp_type = 0;
        assert_eq!(table.observe(&pong, Passage::At(1)).is_reply, Some(true));
        let mut unreachable = packet((2, 0), (1, 0), ICMP, 0);
        unreachable.icmp_type = 3;
        assert_eq!(table.observe(&unreachable, Passage::At(1)).trace_reason, REASON_RELATED);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_full_table_forgets_the_silent_one_and_counts_it() {
        let mut table = ConnectionTable::new(2);
        for client in [1, 2, 3] {
            table.observe(&packet((client, 40000), SERVER, TCP, TCP_SYN), Passage::At(1));
        }
        assert_eq!((table.len(), table.evicted()), (2, 1));
    }
}
