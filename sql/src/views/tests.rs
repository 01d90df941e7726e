use std::sync::Arc;

use flow::builder::FlowBatchBuilder;
use flow::endpoint::{DropSite, Interface, Node};
use flow::record::{FlowRecord, Ip, Transport, to_stored};

use super::recorded::{answer, demo, rows, session};
use super::*;

/// TCP flags, RFC 9293.
const FIN: u16 = 1;
const SYN: u16 = 2;
const RST: u16 = 4;
const ACK: u16 = 16;

/// `flow.TraceObservationPoint`: out of a pod, into a pod, out to the network, in from it.
const FROM_ENDPOINT: u8 = 5;
const TO_ENDPOINT: u8 = 101;
const TO_NETWORK: u8 = 11;
const FROM_NETWORK: u8 = 10;

const MS: i64 = 1_000_000;

/// Rows of one connection of 10.0.0.1:40000 to 10.0.0.2:80.
struct Seen {
    builder: FlowBatchBuilder,
    protocol: u8,
    isn: u32,
}

impl Seen {
    fn new() -> Self {
        Self {
            builder: FlowBatchBuilder::new(1, 0),
            protocol: 6,
            isn: 1000,
        }
    }

    /// A packet, or the totals of some, at an interface. A reply travels from the server to the client.
    fn at(&mut self, time_ms: i64, place: (&str, &str, u8), is_reply: bool, flags: u16, packets: u32) -> &mut Self {
        let (node, interface, point) = place;
        let node = Arc::new(Node {
            name: node.to_owned(),
            ..Node::default()
        });
        let interface = Arc::new(Interface {
            index: 3,
            name: interface.to_owned(),
        });
        let mut record = self.record(time_ms, is_reply, flags);
        record.node = Some(&node);
        record.interface = Some(&interface);
        record.observation_point = point;
        record.event_type = Some(4);
        record.verdict = 1;
        record.packets = packets;
        record.length = packets * 100;
        self.builder.append(&record);
        self
    }

    fn dropped(&mut self, time_ms: i64, is_reply: bool, flags: u16, reason: &str) -> &mut Self {
        let node = Arc::new(Node {
            name: "a".to_owned(),
            ..Node::default()
        });
        let site = Arc::new(DropSite {
            reason: reason.to_owned(),
            ..DropSite::default()
        });
        let mut record = self.record(time_ms, is_reply, flags);
        record.node = Some(&node);
        record.drop = Some(&site);
        record.event_type = Some(1);
        record.verdict = 2;
        record.packets = 1;
        record.length = 100;
        self.builder.append(&record);
        self
    }

    fn record<'a>(&self, time_ms: i64, is_reply: bool, flags: u16) -> FlowRecord<'a> {
        let (client, server) = (to_stored([10, 0, 0, 1].into()), to_stored([10, 0, 0, 2].into()));
        let (source, destination) = if is_reply { (server, client) } else { (client, server) };
        FlowRecord {
            time_ns: time_ms * MS,
            flow_type: 1,
            is_reply: Some(is_reply),
            ip: Some(Ip {
                version: 4,
                source: Some(source),
                destination: Some(destination),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(self.protocol),
                ports: Some(if is_reply { (80, 40_000) } else { (40_000, 80) }),
                tcp_flags: (self.protocol == 6).then_some(flags),
                tcp: (self.protocol == 6).then_some((self.isn, 0, 0)),
                ..Transport::default()
            },
            ..FlowRecord::default()
        }
    }

    async fn ask(&mut self, sql: &str) -> Vec<String> {
        let batch = self.builder.seal().expect("rows");
        answer(&session(vec![rows(&batch)]).await, sql).await
    }
}

#[tokio::test]
async fn every_column_of_every_view_is_documented() {
    let session = demo().await;
    for view in ALL.iter() {
        let schema = session
            .table(view.name)
            .await
            .expect("registered")
            .schema()
            .as_arrow()
            .clone();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let documented: Vec<&str> = view.columns.iter().map(|(name, _)| *name).collect();
        assert_eq!(columns, documented, "{}", view.name);
        assert!(view.doc.ends_with('.'), "{}", view.name);
        for field in view.documented(&schema).fields() {
            assert!(field.metadata()["doc"].ends_with('.'), "{}.{}", view.name, field.name());
        }
    }
}

#[tokio::test]
async fn a_packet_counts_once_although_it_is_seen_at_four_interfaces_of_two_nodes() {
    let mut seen = Seen::new();
    let path = [
        ("a", "veth", FROM_ENDPOINT),
        ("a", "eth0", TO_NETWORK),
        ("b", "eth0", FROM_NETWORK),
        ("b", "veth", TO_ENDPOINT),
    ];
    let back = [
        ("b", "veth", FROM_ENDPOINT),
        ("b", "eth0", TO_NETWORK),
        ("a", "eth0", FROM_NETWORK),
        ("a", "veth", TO_ENDPOINT),
    ];
    for (hop, place) in (0..).zip(path) {
        seen.at(hop, place, false, SYN, 1).at(20 + hop, place, false, ACK, 1);
        seen.at(5000, place, false, ACK, 40)
            .at(6000 + hop, place, false, FIN | ACK, 1);
    }
    for (hop, place) in (0..).zip(back) {
        seen.at(10 + hop, place, true, SYN | ACK, 1)
            .at(5000, place, true, ACK, 100);
        seen.at(6010 + hop, place, true, FIN | ACK, 1);
    }
    let answer = seen
        .ask(
            "SELECT client_ip, client_port, server_ip, server_port, service, state, packets_sent, bytes_sent, \
             packets_received, bytes_received, handshake_ms, duration_ms, drops, resets FROM connections",
        )
        .await;
    // The SYN left the pod at 0 ms, and its answer was back there at 13 ms.
    let expected = "10.0.0.1 | 40000 | 10.0.0.2 | 80 | http | closed | 43 | 4300 | 102 | 10200 | 13.0 | 6013.0 | 0 | 0";
    assert_eq!(answer, [expected]);
}

#[tokio::test]
async fn ports_that_are_used_again_make_another_connection() {
    let mut seen = Seen::new();
    let (out, back) = (("a", "veth", FROM_ENDPOINT), ("a", "veth", TO_ENDPOINT));
    seen.at(0, out, false, SYN, 1)
        .at(1000, out, false, SYN, 1)
        .at(1010, back, true, SYN | ACK, 1);
    seen.at(1011, out, false, ACK, 1).at(1012, back, true, RST, 1);
    seen.isn = 2000;
    seen.at(60_000, out, false, SYN, 1).at(60_001, back, true, RST | ACK, 1);
    let answer = seen
        .ask("SELECT state, packets_sent, resets, handshake_ms FROM connections ORDER BY start_time")
        .await;
    assert_eq!(answer, ["reset | 3 | 1 | 1010.0", "refused | 1 | 1 | -"]);
}

#[tokio::test]
async fn what_became_of_a_connection_is_told() {
    let (out, back) = (("a", "veth", FROM_ENDPOINT), ("a", "veth", TO_ENDPOINT));
    let state = "SELECT state, drop_reason, drops FROM connections";
    let mut seen = Seen::new();
    assert_eq!(seen.at(0, out, false, SYN, 1).ask(state).await, ["opening | - | 0"]);
    seen.at(0, out, false, SYN, 1).dropped(1, false, SYN, "NETFILTER_DROP");
    assert_eq!(seen.ask(state).await, ["dropped | NETFILTER_DROP | 1"]);
    seen.at(0, out, false, SYN, 1)
        .dropped(1, false, SYN, "NO_SOCKET")
        .at(2, back, true, RST | ACK, 1);
    assert_eq!(seen.ask(state).await, ["refused | NO_SOCKET | 1"]);
    seen.at(0, out, false, SYN, 1)
        .at(1, back, true, SYN | ACK, 1)
        .at(2, out, false, FIN | ACK, 1);
    assert_eq!(seen.ask(state).await, ["half closed | - | 0"]);
    // The start wasn't seen, only totals in both directions.
    seen.at(0, out, false, ACK, 10).at(1, back, true, ACK, 10);
    assert_eq!(seen.ask(state).await, ["established | - | 0"]);
    seen.protocol = 17;
    assert_eq!(seen.at(0, out, false, 0, 1).ask(state).await, ["one way | - | 0"]);
    seen.at(0, out, false, 0, 1).at(1, back, true, 0, 1);
    assert_eq!(seen.ask(state).await, ["answered | - | 0"]);
}

#[tokio::test]
async fn the_connections_of_the_demo_are_what_it_did() {
    let session = demo().await;
    let sql = "SELECT DISTINCT client, server, server_port, protocol, state, drop_reason FROM connections \
               WHERE protocol = 'TCP' ORDER BY 1, 2, 3";
    let answer = answer(&session, sql).await;
    assert_eq!(
        answer,
        [
            "team-a/client-0 | 198.51.100.10 | 80 | TCP | closed | -",
            "team-a/client-0 | 2001:db8::10 | 80 | TCP | closed | -",
            "team-a/client-0 | 203.0.113.9 | 80 | TCP | dropped | IP_INNOROUTES",
            "team-a/client-0 | team-a/web-0 | 80 | TCP | closed | -",
            "team-a/client-0 | team-a/web-0 | 81 | TCP | refused | NO_SOCKET",
            "team-a/client-0 | team-a/web-0 | 5432 | TCP | dropped | NETFILTER_DROP",
            "team-a/client-0 | team-b/api-0 | 80 | TCP | closed | -",
            "team-b/api-0 | team-a/web-0 | 80 | TCP | closed | -",
        ]
    );
}

#[tokio::test]
async fn each_dns_query_of_the_demo_has_one_row_with_its_answer() {
    let session = demo().await;
    let sql = "SELECT client, server_port, query, type, rcode, answers, answered, tries, latency_ms BETWEEN 0.01 AND 50 \
               FROM dns ORDER BY query, type";
    assert_eq!(
        answer(&session, sql).await,
        [
            "team-a/client-0 | 53 | nobody.demo.test. | A | NXDOMAIN | - | true | 1 | true",
            "team-a/client-0 | 53 | web.demo.test. | A | NOERROR | 10.1.0.10 | true | 1 | true",
            "team-a/client-0 | 53 | web.demo.test. | AAAA | NOERROR | fd00:1::a | true | 1 | true",
        ]
    );
}

#[tokio::test]
async fn drops_and_interfaces_of_the_demo_add_up_to_its_flows() {
    let session = demo().await;
    let drops = answer(&session, "SELECT count(*), count(advice), count(node) FROM drops").await;
    let flows = "SELECT count(*), count(drop_reason), count(node) FROM flows WHERE verdict = 'DROPPED'";
    assert_eq!(drops, answer(&session, flows).await);
    let sent = "SELECT sum(packets_in + packets_out), sum(bytes_in + bytes_out) FROM interfaces";
    let seen = "SELECT sum(packets), sum(length) FROM flows WHERE event_type = 'trace' AND interface_name IS NOT NULL";
    assert_eq!(answer(&session, sent).await, answer(&session, seen).await);
    let kinds = answer(
        &session,
        "SELECT DISTINCT kind FROM interfaces WHERE interface_name LIKE 'veth%'",
    )
    .await;
    assert_eq!(kinds, ["endpoint"]);
}

/// Rows in an order of their own, as the views have none.
async fn ordered(session: &SessionContext, sql: &str) -> Vec<String> {
    let mut rows = answer(session, sql).await;
    rows.sort();
    rows
}

#[tokio::test]
async fn a_view_of_a_time_is_the_view_of_the_flows_of_that_time() {
    let whole = demo().await;
    let times = "SELECT CAST(min(time) AS BIGINT), CAST(max(time) AS BIGINT) FROM flows";
    let times = answer(&whole, times).await.remove(0);
    let (first, last) = times.split_once(" | ").expect("two columns");
    let (first, last): (i64, i64) = (first.parse().expect("a number"), last.parse().expect("a number"));
    let third = (last - first) / 3;
    // All of it, a part in the middle, one flow less than all, nothing.
    for (from, to) in [
        (first, last + 1),
        (first + third, last - third),
        (first, last),
        (last + 1, last + 2),
    ] {
        let filter = format!("time >= to_timestamp_nanos({from}) AND time < to_timestamp_nanos({to})");
        let sql = format!("SELECT * FROM flows WHERE {filter}");
        let frame = whole.sql(&sql).await.expect("a query");
        let part = session(frame.collect().await.expect("rows")).await;
        for name in ALL.iter().map(|view| view.name) {
            let of_time = format!("SELECT * FROM {name}(to_timestamp_nanos({from}), to_timestamp_nanos({to}))");
            let expected = ordered(&part, &format!("SELECT * FROM {name}")).await;
            assert_eq!(ordered(&whole, &of_time).await, expected, "{name} from {from} to {to}");
            if from == first + third {
                let all = ordered(&whole, &format!("SELECT * FROM {name}")).await;
                assert_ne!(expected, all, "{name}: the part is not all");
            }
        }
    }
}

#[tokio::test]
async fn times_of_a_view_are_given_in_many_ways_and_wrong_ones_are_named() {
    let session = demo().await;
    let all = answer(&session, "SELECT count(*) FROM connections").await;
    for times in [
        "'2020-01-01', '2100-01-01 10:00:00'",
        "'2020-01-01T00:00:00Z', now()",
        "DATE '2020-01-01', now() + INTERVAL '1 hour'",
        "TIMESTAMP '2020-01-01 00:00:00', TIMESTAMP '2100-01-01 00:00:00'",
    ] {
        let sql = format!("SELECT count(*) FROM connections({times}) AS c");
        assert_eq!(answer(&session, &sql).await, all, "{times}");
    }
    for (times, wrong) in [
        ("", "takes two times, not 0"),
        ("now()", "takes two times, not 1"),
        ("now(), 5", "to of connections is not a time: 5"),
        ("'yesterday', now()", "from of connections is not a time: yesterday"),
        ("now(), NULL", "to of connections is not a time: NULL"),
        ("$1, now()", "is not known before the query runs: $1"),
        ("now(), now()", "is not before"),
    ] {
        let sql = format!("SELECT count(*) FROM connections({times})");
        let error = session.sql(&sql).await.expect_err(times).to_string();
        assert!(error.contains(wrong), "{times}: {error}");
    }
}
