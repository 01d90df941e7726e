//! The flows of a day, in the order of their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{DropSite, Endpoint, Interface, Node};
use flow::record::{Address, Dns, FlowRecord, Ip, L7, Transport, to_stored};

/// Number of the log.
pub const LOG_ID: u64 = 42;
/// The day begins on 2026-11-01, 00:00 UTC.
pub const START_NS: i64 = 1_793_491_200_000_000_000;

const TEAMS: usize = 20;
const PODS: usize = 10;
/// Addresses outside that are talked to.
const WORLD: u64 = 5000;
const NAMES: u64 = 300;
const REASONS: [(&str, &str, u64); 5] = [
    ("NO_SOCKET", "tcp_v4_rcv+0x91", 50),
    ("NETFILTER_DROP", "nf_hook_slow+0xbf", 30),
    ("TCP_CSUM", "tcp_v4_rcv+0x2f1", 3),
    ("SOCKET_RCVBUFF", "sock_queue_rcv_skb_reason+0x55", 7),
    ("IP_INNOROUTES", "ip_rcv_finish_core+0x1a2", 10),
];
const FIN: u16 = 1;
const SYN: u16 = 2;
const RST: u16 = 4;
const PSH: u16 = 8;
const ACK: u16 = 16;
/// Flows of a connection, about.
const FLOWS_A_CONNECTION: u64 = 9;

/// A small generator of numbers that are the same in each run (xorshift64*, Vigna 2016).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small numbers are more likely than large ones, as some pods have more to say than others.
    fn skewed(&mut self, end: u64) -> u64 {
        let (a, b) = (self.below(end), self.below(end));
        self.below(a.min(b) + 1)
    }
}

/// One side of a connection.
#[derive(Clone, Debug)]
struct Peer {
    address: Address,
    name: Arc<Endpoint>,
    interface: usize,
}

/// A connection of which more is to come.
#[derive(Debug)]
struct Connection {
    client: Peer,
    server: Peer,
    ports: (u16, u16),
    /// Next numbers of the client's and the server's bytes.
    numbers: (u32, u32),
    step: u32,
    exchanges: u32,
    round_trip_ns: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Closed,
    Dropped(usize),
    Dns(u64),
}

/// The flows of a day.
pub struct Day {
    random: Random,
    builder: FlowBatchBuilder,
    node: Arc<Node>,
    interfaces: Vec<Arc<Interface>>,
    pods: Vec<Peer>,
    world: Arc<Endpoint>,
    drops: Vec<Arc<DropSite>>,
    names: Vec<String>,
    /// When something is next seen of a connection, and its place.
    due: BinaryHeap<Reverse<(i64, usize)>>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    next_start_ns: i64,
    pause_ns: u64,
    left: u64,
}

impl Day {
    /// So many flows, spread over a time.
    pub fn new(flows: u64, time: Duration) -> Self {
        let pods = (0..TEAMS * PODS).map(|number| Peer {
            address: to_stored(Ipv4Addr::new(10, 1, (number / 250) as u8, (number % 250) as u8 + 1).into()),
            name: Arc::new(Endpoint {
                id: 100 + number as u32,
                identity: 1000 + number as u32,
                namespace: format!("team-{}", number / PODS),
                pod: format!("app-{}-{:05x}", number % PODS, number * 7919),
                labels: format!("k8s:app=app-{},k8s:team=team-{}", number % PODS, number / PODS),
                workloads: format!("Deployment/app-{}", number % PODS),
                ..Endpoint::default()
            }),
            interface: number % 60,
        });
        let connections = (flows / FLOWS_A_CONNECTION).max(1);
        Self {
            random: Random(0x9e37_79b9_7f4a_7c15),
            builder: FlowBatchBuilder::new(LOG_ID, 0),
            node: Arc::new(Node {
                name: "node-1".to_owned(),
                labels: String::new(),
            }),
            interfaces: (0..60)
                .map(|number| {
                    Arc::new(Interface {
                        index: 10 + number,
                        name: format!("veth{number:04x}"),
                    })
                })
                .collect(),
            pods: pods.collect(),
            world: Arc::new(Endpoint {
                identity: 2,
                labels: "reserved:world".to_owned(),
                ..Endpoint::default()
            }),
            drops: REASONS
                .iter()
                .zip(2..)
                .map(|((reason, symbol, _), code)| {
                    Arc::new(DropSite {
                        reason: (*reason).to_owned(),
                        code,
                        api: 0,
                        symbol: (*symbol).to_owned(),
                    })
                })
                .collect(),
            names: (0..NAMES)
                .map(|number| format!("service-{number}.team-{}.svc.cluster.local.", number % TEAMS as u64))
                .collect(),
            due: BinaryHeap::new(),
            connections: Vec::new(),
            free: Vec::new(),
            next_start_ns: START_NS,
            pause_ns: (time.as_nanos() as u64 / connections).max(1),
            left: flows,
        }
    }

    /// The next flows; `None` at the end of the day.
    pub fn next_batch(&mut self) -> Option<FlowBatch> {
        while self.left > 0 && !self.builder.is_full() {
            match self.due.peek() {
                Some(Reverse((time, _))) if *time < self.next_start_ns => {
                    if let Some(Reverse((time, place))) = self.due.pop() {
                        self.go_on(time, place);
                    }
                }
                _ => self.begin(),
            }
        }
        self.builder.seal()
    }

    fn begin(&mut self) {
        let time = self.next_start_ns;
        self.next_start_ns += 1 + self.random.below(2 * self.pause_ns) as i64;
        let pod = |random: &mut Random, pods: &[Peer]| pods[random.skewed(pods.len() as u64) as usize].clone();
        let client = pod(&mut self.random, &self.pods);
        let server = if self.random.below(5) == 0 {
            let number = self.random.skewed(WORLD) as u32;
            Peer {
                address: to_stored(Ipv4Addr::from(0xc633_6400 + number * 257).into()),
                name: Arc::clone(&self.world),
                interface: client.interface,
            }
        } else {
            pod(&mut self.random, &self.pods)
        };
        let kind = self.random.below(100);
        let fate = match kind {
            0..30 => Fate::Dns(self.random.skewed(NAMES)),
            30..42 => Fate::Dropped(self.reason()),
            _ => Fate::Closed,
        };
        let port = match fate {
            Fate::Dns(_) => 53,
            _ => [443, 80, 8080, 5432, 6379, 9090][self.random.skewed(6) as usize],
        };
        let connection = Connection {
            client,
            server,
            ports: (32768 + self.random.below(28000) as u16, port),
            numbers: (self.random.next() as u32, self.random.next() as u32),
            step: 0,
            exchanges: 1 + self.random.skewed(16) as u32,
            round_trip_ns: 50_000 + self.random.skewed(20_000_000),
            fate,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[place] = Some(connection);
        self.due.push(Reverse((time, place)));
    }

    fn reason(&mut self) -> usize {
        let mut number = self.random.below(100);
        for (place, (_, _, share)) in REASONS.iter().enumerate() {
            if number < *share {
                return place;
            }
            number -= share;
        }
        0
    }

    /// One more flow of a connection.
    fn go_on(&mut self, time: i64, place: usize) {
        let Some(mut connection) = self.connections[place].take() else {
            return;
        };
        let pause = match connection.fate {
            Fate::Closed => self.packet(time, &mut connection),
            Fate::Dropped(reason) => self.dropped(time, &mut connection, reason),
            Fate::Dns(name) => self.dns(time, &mut connection, name),
        };
        self.left = self.left.saturating_sub(1);
        connection.step += 1;
        match pause {
            Some(pause) => {
                self.connections[place] = Some(connection);
                self.due.push(Reverse((time + pause as i64, place)));
            }
            None => self.free.push(place),
        }
    }

    /// SYN, SYN-ACK, then what is exchanged as one row for each direction and five seconds, and the end.
    fn packet(&mut self, time: i64, connection: &mut Connection) -> Option<u64> {
        let (step, last) = (connection.step, 1 + 2 * connection.exchanges);
        let from_server = step % 2 == 1;
        let (flags, packets, length) = match step {
            0 => (SYN, 1, 74),
            1 => (SYN | ACK, 1, 74),
            step if step >= last => (FIN | ACK, 1, 66),
            _ => {
                let packets = 1 + self.random.skewed(12) as u32;
                (PSH | ACK, packets, packets * (100 + self.random.below(1300) as u32))
            }
        };
        let numbers = if from_server {
            (connection.numbers.1, connection.numbers.0)
        } else {
            connection.numbers
        };
        let moved = if flags & SYN != 0 {
            1
        } else {
            length.saturating_sub(packets * 66)
        };
        if from_server {
            connection.numbers.1 = connection.numbers.1.wrapping_add(moved);
        } else {
            connection.numbers.0 = connection.numbers.0.wrapping_add(moved);
        }
        let window = 500 + self.random.skewed(60) as u16;
        let transport = Transport {
            protocol: Some(6),
            ports: Some(if from_server {
                (connection.ports.1, connection.ports.0)
            } else {
                connection.ports
            }),
            tcp_flags: Some(flags),
            tcp: Some((numbers.0, if flags == SYN { 0 } else { numbers.1 }, window)),
            icmp: None,
        };
        self.append(time, connection, from_server, transport, (packets, length), None, None);
        if step > last {
            return None;
        }
        Some(match step {
            0 | 1 => connection.round_trip_ns,
            _ => connection.round_trip_ns + self.random.below(4_000_000_000),
        })
    }

    /// A SYN that is dropped, and its repetition; some are answered by a reset.
    fn dropped(&mut self, time: i64, connection: &mut Connection, reason: usize) -> Option<u64> {
        let refused = reason == 0;
        let (is_drop, from_server) = (connection.step % 2 == 1, refused && connection.step == 2);
        let transport = Transport {
            protocol: Some(6),
            ports: Some(if from_server {
                (connection.ports.1, connection.ports.0)
            } else {
                connection.ports
            }),
            tcp_flags: Some(if from_server { RST | ACK } else { SYN }),
            tcp: Some(if from_server {
                (0, connection.numbers.0.wrapping_add(1), 0)
            } else {
                (connection.numbers.0, 0, 64_240)
            }),
            icmp: None,
        };
        let site = is_drop.then(|| Arc::clone(&self.drops[reason]));
        self.append(time, connection, from_server, transport, (1, 74), site, None);
        match connection.step {
            0 => Some(20_000),
            1 if refused => Some(30_000),
            1 => Some(1_000_000_000),
            2 if !refused => Some(20_000),
            _ => None,
        }
    }

    fn dns(&mut self, time: i64, connection: &mut Connection, name: u64) -> Option<u64> {
        let is_answer = connection.step >= 2;
        let transport = Transport {
            protocol: Some(17),
            ports: Some(if is_answer {
                (53, connection.ports.0)
            } else {
                connection.ports
            }),
            ..Transport::default()
        };
        let message = (connection.step % 2 == 1).then(|| {
            let failed = name % 17 == 3;
            L7 {
                message_type: if is_answer { 2 } else { 1 },
                latency_ns: if is_answer { connection.round_trip_ns } else { 0 },
                dns: Some(Dns {
                    query: self.names[name as usize].clone(),
                    qtypes: "A".to_owned(),
                    rcode: if is_answer && failed { 3 } else { 0 },
                    ips: match is_answer && !failed {
                        true => format!("10.1.0.{}", name % 200 + 1),
                        false => String::new(),
                    },
                    ttl: if is_answer { 30 } else { 0 },
                    source: "packet".to_owned(),
                    ..Dns::default()
                }),
                http: None,
            }
        });
        self.append(time, connection, is_answer, transport, (1, 90), None, message);
        match connection.step {
            0 | 2 => Some(0),
            1 => Some(connection.round_trip_ns),
            _ => None,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a flow is made of")]
    fn append(
        &mut self,
        time_ns: i64,
        connection: &Connection,
        from_server: bool,
        transport: Transport,
        (packets, length): (u32, u32),
        site: Option<Arc<DropSite>>,
        l7: Option<L7>,
    ) {
        let (client, server) = (&connection.client, &connection.server);
        let (source, destination) = if from_server {
            (server, client)
        } else {
            (client, server)
        };
        self.builder.append(&FlowRecord {
            time_ns,
            node: Some(&self.node),
            flow_type: if l7.is_some() { 2 } else { 1 },
            event_type: Some(match (&site, &l7) {
                (Some(_), _) => 1,
                (None, Some(_)) => 129,
                (None, None) => 4,
            }),
            verdict: if site.is_some() { 2 } else { 1 },
            drop: site.as_ref(),
            traffic_direction: if from_server { 1 } else { 2 },
            observation_point: if from_server { 2 } else { 5 },
            trace_reason: u8::from(from_server) * 2 + 1,
            is_reply: Some(from_server),
            interface: Some(&self.interfaces[client.interface]),
            length,
            packets,
            mac: Some(([2, 0, 0, 0, 0, client.interface as u8], [2, 0, 0, 0, 1, 0])),
            ip: Some(Ip {
                version: 4,
                source: Some(source.address),
                destination: Some(destination.address),
                ttl: Some(if from_server { 62 } else { 64 }),
                ..Ip::default()
            }),
            transport,
            source: Some(&source.name),
            destination: Some(&destination.name),
            l7: l7.as_ref(),
            ..FlowRecord::default()
        });
    }
}
