//! Flows that look like those of a busy node: a thousand connections to twenty named servers, all columns of a packet.

use std::net::Ipv4Addr;
use std::sync::Arc;

use flow::batch::FlowBatch;
use flow::builder::FlowBatchBuilder;
use flow::endpoint::{DropSite, Endpoint, Interface, Node};
use flow::record::{FlowRecord, Ip, Transport, to_stored};

const CONNECTIONS: u64 = 1000;
const SERVERS: u64 = 20;
const START_NS: i64 = 1_700_000_000_000_000_000;
/// The destination port of one row in [`RARE`].
pub const RARE_PORT: u16 = 9999;
/// How rare that port is.
pub const RARE: u64 = 10_000;

/// Makes batches of one log, one after the other.
#[derive(Debug)]
pub struct Flows {
    builder: FlowBatchBuilder,
    node: Arc<Node>,
    interfaces: Vec<Arc<Interface>>,
    servers: Vec<Arc<Endpoint>>,
    rare: Arc<Endpoint>,
    drop: Arc<DropSite>,
}

impl Flows {
    /// The first batch starts with row 0 of the log with this number.
    #[must_use]
    pub fn new(log_id: u64) -> Self {
        let server = |number: u64| {
            Arc::new(Endpoint {
                identity: 1000 + number as u32,
                namespace: format!("team-{}", number % 5),
                pod: format!("web-{number}"),
                labels: format!("k8s:app=web,k8s:team=team-{}", number % 5),
                workloads: "Deployment/web".to_owned(),
                ..Endpoint::default()
            })
        };
        Self {
            builder: FlowBatchBuilder::new(log_id, 0),
            node: Arc::new(Node {
                name: "node-1".to_owned(),
                labels: String::new(),
            }),
            interfaces: (1..9)
                .map(|index| {
                    Arc::new(Interface {
                        index,
                        name: format!("veth{index}"),
                    })
                })
                .collect(),
            servers: (0..SERVERS).map(server).collect(),
            rare: Arc::new(Endpoint {
                namespace: "rare".to_owned(),
                pod: "rare-0".to_owned(),
                labels: "k8s:app=rare".to_owned(),
                ..Endpoint::default()
            }),
            drop: Arc::new(DropSite {
                reason: "NO_SOCKET".to_owned(),
                code: 3,
                api: 0,
                symbol: "tcp_v4_rcv+0x91".to_owned(),
            }),
        }
    }

    /// The next batch.
    ///
    /// # Panics
    /// If `rows` is 0 or more than a batch can have.
    pub fn batch(&mut self, rows: usize) -> FlowBatch {
        for _ in 0..rows {
            self.append();
        }
        self.builder.seal().expect("a batch of some rows")
    }

    fn append(&mut self) {
        let number = self.builder.next_sequence();
        let connection = number % CONNECTIONS;
        let is_rare = number % RARE == RARE / 2;
        let (client, server) = (1000 + connection as u32, connection % SERVERS);
        let forward = is_rare || (number / CONNECTIONS).is_multiple_of(2);
        let is_drop = number % 50 == 49;
        let address = |host: u32| Some(to_stored(Ipv4Addr::from(0x0a00_0000 + host).into()));
        let ends = (address(client), address(server as u32));
        let service = if is_rare {
            RARE_PORT
        } else {
            [80, 443, 53, 5432][connection as usize % 4]
        };
        let ports = (32_768 + connection as u16, service);
        let named = if is_rare {
            &self.rare
        } else {
            &self.servers[server as usize]
        };
        self.builder.append(&FlowRecord {
            time_ns: START_NS + number as i64 * 1000,
            node: Some(&self.node),
            flow_type: 1,
            event_type: Some(if is_drop { 1 } else { 4 }),
            event_sub_type: if is_drop { 3 } else { 0 },
            verdict: if is_drop { 2 } else { 1 },
            drop: is_drop.then_some(&self.drop),
            traffic_direction: 1 + u8::from(forward),
            observation_point: 101,
            trace_reason: 2,
            is_reply: Some(!forward),
            interface: Some(&self.interfaces[connection as usize % self.interfaces.len()]),
            length: 66 + (number % 1400) as u32,
            packets: 1,
            mac: Some(([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])),
            ip: Some(Ip {
                version: 4,
                source: if forward { ends.0 } else { ends.1 },
                destination: if forward { ends.1 } else { ends.0 },
                ttl: Some(64),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(if service == 53 { 17 } else { 6 }),
                ports: Some(if forward { ports } else { (ports.1, ports.0) }),
                tcp_flags: (service != 53).then_some(0x18),
                tcp: (service != 53).then_some((number as u32, number as u32 / 2, 501)),
                ..Transport::default()
            },
            source: (!forward).then_some(named),
            destination: forward.then_some(named),
            ..FlowRecord::default()
        });
    }
}
