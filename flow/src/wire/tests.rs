#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt16Type;
use arrow_array::{DictionaryArray, PrimitiveArray};
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::api::observer::GetFlowsResponse;
use crate::builder::FlowBatchBuilder;
use crate::endpoint::{DropSite, Endpoint, Interface, Node, Process};
use crate::record::{Dns, FlowRecord, Http, Ip, L7, TcpEvent, Transport as TransportHeader, Tunnel};
use crate::schema::Kind;

const SERVER: &str = "the-server";

/// A record that owns what it tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) plain: FlowRecord<'static>,
    uuid: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    rest: Option<Vec<u8>>,
    l7: Option<L7>,
    /// Places in the [`Things`].
    node: Option<usize>,
    interface: Option<usize>,
    drop: Option<usize>,
    process: Option<usize>,
    source: Option<usize>,
    destination: Option<usize>,
}

struct Things {
    nodes: Vec<Arc<Node>>,
    interfaces: Vec<Arc<Interface>>,
    drops: Vec<Arc<DropSite>>,
    processes: Vec<Arc<Process>>,
    ends: Vec<Arc<Endpoint>>,
}

const THINGS: usize = 3;

/// Of each kind one that is empty, one that is half known, and one that is known.
fn things() -> Things {
    Things {
        nodes: [("", ""), ("node-1", ""), ("east/node-2", "zone=a,,arch=x")]
            .map(|(name, labels)| {
                Arc::new(Node {
                    name: name.into(),
                    labels: labels.into(),
                })
            })
            .into(),
        interfaces: [(0, ""), (7, ""), (300, "eth0")]
            .map(|(index, name)| {
                Arc::new(Interface {
                    index,
                    name: name.into(),
                })
            })
            .into(),
        drops: [
            ("", 0, 0, ""),
            ("", 133, 133, ""),
            ("NO_SOCKET", 3, u32::MAX, "tcp_v4_rcv+0x91"),
        ]
        .map(|(reason, code, api, symbol)| {
            Arc::new(DropSite {
                reason: reason.into(),
                code,
                api,
                symbol: symbol.into(),
            })
        })
        .into(),
        processes: [(0, ""), (7, ""), (4711, "curl")]
            .map(|(id, name)| Arc::new(Process { id, name: name.into() }))
            .into(),
        ends: vec![
            Arc::default(),
            Arc::new(Endpoint {
                service: "web".into(),
                names: "a.test,b.test".into(),
                ..Endpoint::default()
            }),
            Arc::new(Endpoint {
                id: 200,
                identity: 70_000,
                cluster: "east".into(),
                namespace: "team-a".into(),
                pod: "web-0".into(),
                labels: format!("k8s:app=web,k8s:long={}", "x".repeat(200)),
                workloads: "Deployment/web,bare".into(),
                names: "web.test".into(),
                service: "web".into(),
                service_namespace: "team-a".into(),
            }),
        ],
    }
}

pub(crate) fn batch(rows: &[Row]) -> FlowBatch {
    let things = things();
    let mut builder = FlowBatchBuilder::new(0x1234_5678_9abc_def0, 1000);
    for row in rows {
        builder.append(&FlowRecord {
            uuid: row.uuid.as_deref(),
            trace_id: row.trace_id.as_deref(),
            span_id: row.span_id.as_deref(),
            rest: row.rest.as_deref(),
            l7: row.l7.as_ref(),
            node: row.node.map(|place| &things.nodes[place]),
            interface: row.interface.map(|place| &things.interfaces[place]),
            drop: row.drop.map(|place| &things.drops[place]),
            process: row.process.map(|place| &things.processes[place]),
            source: row.source.map(|place| &things.ends[place]),
            destination: row.destination.map(|place| &things.ends[place]),
            ..row.plain.clone()
        });
    }
    builder.seal().unwrap()
}

fn header() -> BoxedStrategy<(Option<Ip>, TransportHeader, Option<Tunnel>)> {
    let ip = (
        prop_oneof![Just(0_u8), Just(4), Just(6), Just(9)],
        (of(any_address()), of(any_address()), of(any_address())),
        any::<bool>(),
        of(any::<u8>()),
        of(any::<u16>()),
    )
        .prop_map(
            |(version, (source, destination, source_xlated), encrypted, ttl, fragment_offset)| Ip {
                version,
                source,
                destination,
                source_xlated,
                encrypted,
                ttl,
                fragment_offset,
            },
        );
    let transport = (
        of(prop_oneof![
            Just(1_u8),
            Just(6),
            Just(17),
            Just(58),
            Just(132),
            any::<u8>()
        ]),
        of(any::<(u16, u16)>()),
        of(any::<u16>()),
        of(any::<(u32, u32, u16)>()),
        of(any::<(u8, u8)>()),
    )
        .prop_map(|(protocol, ports, tcp_flags, tcp, icmp)| TransportHeader {
            protocol,
            ports,
            tcp_flags,
            tcp,
            icmp,
        });
    let tunnel = (
        0..5_u8,
        any::<u32>(),
        of((any_address(), any_address())),
        of(any::<(u16, u16)>()),
    )
        .prop_map(|(protocol, vni, addresses, ports)| Tunnel {
            protocol,
            vni,
            addresses,
            ports,
        });
    (of(ip.boxed()), transport.boxed(), of(tunnel.boxed())).boxed()
}

fn any_address() -> BoxedStrategy<[u8; 16]> {
    any::<std::net::IpAddr>().prop_map(crate::record::to_stored).boxed()
}

fn l7() -> BoxedStrategy<L7> {
    let list = "[a-z]{0,3}(,[a-z]{0,3}){0,2}";
    let dns = (
        "[a-z.]{0,5}",
        (list, list, list, list),
        any::<u16>(),
        any::<u32>(),
        "[a-z]{0,3}",
    )
        .prop_map(|(query, (qtypes, rrtypes, ips, cnames), rcode, ttl, source)| Dns {
            query,
            qtypes,
            rrtypes,
            rcode: rcode % 8,
            ips,
            ttl,
            cnames,
            source,
        });
    let http = (
        "[A-Z]{0,4}",
        "[a-z/]{0,9}",
        any::<u16>(),
        "([a-z]:[a-z]\n|[a-z]\n){0,3}",
    )
        .prop_map(|(method, url, code, headers)| Http {
            code,
            method,
            url,
            protocol: "HTTP/2".into(),
            headers,
        });
    (0..4_u8, any::<u64>(), of(dns), of(http))
        .prop_map(|(message_type, latency_ns, dns, http)| L7 {
            message_type,
            latency_ns,
            dns,
            http,
        })
        .boxed()
}

fn plain() -> BoxedStrategy<FlowRecord<'static>> {
    let event = (any::<i64>(), any::<u8>(), of(any::<i32>()), any::<i32>(), any::<u8>());
    let state = (any::<u8>(), any::<u8>(), any::<u8>(), of(any::<bool>()), any::<u32>());
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
    );
    // A request without an answer every now and then.
    let silence = prop_oneof![3 => Just((0, 0)), 1 => any::<(u32, u64)>()];
    let link = (of(any::<([u8; 6], [u8; 6])>()), of(any::<u16>()), of(any::<u16>()));
    let states = ["", "SYN_SENT", "CLOSE"];
    let tcp_event =
        (0..3_usize, 0..3_usize, 0..3_u32, 0..2_usize).prop_map(move |(old, new, srtt_us, reason)| TcpEvent {
            old_state: states[old],
            new_state: states[new],
            srtt_us,
            reset_reason: ["", "NO_SOCKET"][reason],
        });
    (event, state, (numbers, silence), link, (header(), tcp_event))
        .prop_map(
            |(event, state, (numbers, silence), link, (header, tcp_event))| FlowRecord {
                tcp_event,
                time_ns: event.0,
                flow_type: event.1,
                event_type: event.2,
                event_sub_type: event.3,
                verdict: event.4,
                traffic_direction: state.0,
                observation_point: state.1,
                trace_reason: state.2,
                is_reply: state.3,
                policy_match_type: state.4,
                netns_cookie: numbers.0,
                cgroup_id: numbers.1,
                socket_cookie: numbers.2,
                ip_trace_id: numbers.3,
                length: numbers.4,
                packets: numbers.5,
                tries: silence.0,
                waited_ns: silence.1,
                mac: link.0,
                vlan: link.1,
                inner_vlan: link.2,
                ip: header.0,
                transport: header.1,
                tunnel: header.2,
                ..FlowRecord::default()
            },
        )
        .boxed()
}

pub(crate) fn row() -> BoxedStrategy<Row> {
    let thing = || of(0..THINGS);
    let rare_text = || proptest::option::weighted(0.1, "[a-f0-9-]{0,36}");
    let rest = Flow {
        uuid: "of another observer".into(),
        proxy_port: 15_001,
        ..Flow::default()
    };
    let rest = prop_oneof![
        8 => Just(None),
        1 => Just(Some(rest.encode_to_vec())),
        1 => Just(Some(b"no flow".to_vec())),
    ];
    let named = (thing(), thing(), thing(), thing(), thing(), thing());
    let own = (
        rare_text(),
        (rare_text(), rare_text()),
        rest,
        proptest::option::weighted(0.2, l7()),
    );
    let plain = plain();
    // Nothing at all but a time, every now and then.
    let plain = prop_oneof![9 => plain, 1 => Just(FlowRecord::default())];
    (plain, own, named)
        .prop_map(|(plain, (uuid, (trace_id, span_id), rest, l7), named)| Row {
            plain,
            uuid,
            trace_id,
            span_id,
            rest,
            l7,
            node: named.0,
            interface: named.1,
            drop: named.2,
            source: named.3,
            destination: named.4,
            process: named.5,
        })
        .boxed()
}

fn reference(batch: &FlowBatch, row: usize) -> GetFlowsResponse {
    let mut response = batch.to_response(row);
    if response.node_name.is_empty() {
        response.node_name = SERVER.to_owned();
    }
    response
}

/// Rows as a client decodes them. They are encoded into one buffer, as they are when they are served.
fn encoded(batch: &FlowBatch) -> Vec<GetFlowsResponse> {
    let mut encoder = RowEncoder::new(batch, SERVER);
    let mut out = Vec::new();
    let mut start = 0;
    (0..batch.rows())
        .map(|row| {
            encoder.encode(row, &mut out);
            let response = GetFlowsResponse::decode(&out[start..]).unwrap();
            start = out.len();
            response
        })
        .collect()
}

fn assert_same(batch: &FlowBatch) {
    for (row, response) in encoded(batch).into_iter().enumerate() {
        assert_eq!(response, reference(batch, row), "row {row}");
    }
}

/// The same rows in columns that don't share their keys.
fn with_keys_apart(batch: &FlowBatch) -> FlowBatch {
    let columns = Column::ALL
        .iter()
        .map(|column| {
            let array = batch.column(*column)?;
            if !matches!(column.kind(), Kind::Text | Kind::SharedU32 | Kind::SharedU64) {
                return Some(Arc::clone(array));
            }
            let dictionary = array.as_dictionary::<UInt16Type>();
            let keys: PrimitiveArray<UInt16Type> = dictionary.keys().iter().collect();
            Some(Arc::new(DictionaryArray::new(keys, Arc::clone(dictionary.values()))) as _)
        })
        .collect();
    FlowBatch::new(
        columns,
        batch.rows(),
        batch.bytes(),
        batch.log_id(),
        batch.first_sequence(),
        batch.time_range(),
    )
}

proptest! {
    #[test]
    fn a_client_gets_what_the_message_would_say(rows in proptest::collection::vec(row(), 1..20), skip in 0..20_usize) {
        let batch = batch(&rows);
        for batch in [Some(&batch), Some(&with_keys_apart(&batch)), batch.from_row(skip).as_ref()].into_iter().flatten() {
            assert_same(batch);
        }
    }
}

/// A column that is new must be added here, and then to the encoder.
#[test]
fn every_column_is_told() {
    let address = [9; 16];
    let dns = Dns {
        query: "a.test.".into(),
        qtypes: "A,AAAA".into(),
        rrtypes: "A".into(),
        rcode: 3,
        ips: "192.0.2.1,192.0.2.2".into(),
        ttl: 30,
        cnames: "b.test.".into(),
        source: "packet".into(),
    };
    let http = Http {
        code: 404,
        method: "GET".into(),
        url: "/a".into(),
        protocol: "HTTP/1.1".into(),
        headers: "a:b\nc".into(),
    };
    let l7 = |dns, http| {
        Some(L7 {
            message_type: 2,
            latency_ns: 5,
            dns,
            http,
        })
    };
    let full = Row {
        plain: FlowRecord {
            time_ns: 1_700_000_000_123_456_789,
            flow_type: 1,
            event_type: Some(-4),
            event_sub_type: 3,
            verdict: 1,
            traffic_direction: 1,
            observation_point: 101,
            trace_reason: 2,
            is_reply: Some(false),
            policy_match_type: 4,
            netns_cookie: 5,
            cgroup_id: 6,
            socket_cookie: 7,
            length: 1500,
            packets: 44,
            tries: 45,
            waited_ns: 46,
            mac: Some(([1; 6], [0xfe; 6])),
            vlan: Some(4000),
            inner_vlan: Some(0),
            ip: Some(Ip {
                version: 6,
                source: Some(address),
                destination: Some(crate::record::to_stored([192, 0, 2, 10].into())),
                source_xlated: Some(address),
                encrypted: true,
                ttl: Some(64),
                fragment_offset: Some(0),
            }),
            transport: TransportHeader {
                protocol: Some(6),
                ports: Some((0, 443)),
                tcp_flags: Some(0x12),
                tcp: Some((0, 1, 0)),
                icmp: Some((3, 3)),
            },
            tcp_event: TcpEvent {
                old_state: "SYN_SENT",
                new_state: "CLOSE",
                srtt_us: 1200,
                reset_reason: "NO_SOCKET",
            },
            tunnel: Some(Tunnel {
                protocol: 1,
                vni: 77,
                addresses: Some((address, address)),
                ports: Some((1, 8472)),
            }),
            ip_trace_id: 8,
            ..FlowRecord::default()
        },
        uuid: Some("of its own".into()),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        span_id: Some("b7ad6b7169203331".into()),
        rest: None,
        l7: None,
        node: Some(2),
        interface: Some(2),
        drop: Some(2),
        process: Some(2),
        source: Some(2),
        destination: Some(2),
    };
    let with_l7 = |l7| Row { l7, ..full.clone() };
    let whole = Row {
        rest: Some(Flow::default().encode_to_vec()),
        ..Row::default()
    };
    let batch = batch(&[
        full.clone(),
        with_l7(l7(Some(dns), None)),
        with_l7(l7(None, Some(http))),
        with_l7(l7(None, None)),
        whole,
        Row::default(),
    ]);
    for column in Column::ALL {
        assert!(batch.column(*column).is_some(), "{column:?} is in no row");
    }
    assert_same(&batch);
    assert_same(&with_keys_apart(&batch));
}

#[test]
fn every_set_of_tcp_flags_is_told() {
    let rows: Vec<Row> = (0..1024)
        .map(|bits| Row {
            plain: FlowRecord {
                transport: TransportHeader {
                    protocol: Some(6),
                    ports: Some((1, 2)),
                    tcp_flags: Some(bits),
                    ..TransportHeader::default()
                },
                ..FlowRecord::default()
            },
            ..Row::default()
        })
        .collect();
    assert_same(&batch(&rows));
}
