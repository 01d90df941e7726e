#![allow(clippy::unwrap_used)]
use std::process::Command;

use arrow_array::RecordBatch;
use clap::Parser;
use datafusion::prelude::SessionContext;
use flow::api::Timestamp;
use flow::api::flow::{Ethernet, IcmPv4, IcmPv6, Igmp, Ip, Layer4, Sctp, Tcp, Udp, Vrrp};
use flow::filter::Filters;
use flow::from_api::FlowReader;

use super::*;
use crate::observe::filter_flags::FilterArgs;
use crate::observe::filters::FilterLists;

fn flow(source: &str, destination: &str, protocol: Option<Protocol>) -> Flow {
    Flow {
        time: Some(Timestamp::from_nanos(1_763_926_496_123_456_789)),
        uuid: "it's $(an) id".to_owned(),
        ip: Some(Ip {
            source: source.to_owned(),
            destination: destination.to_owned(),
            ..Ip::default()
        }),
        l4: Some(Layer4 { protocol }),
        ..Flow::default()
    }
}

fn tcp(source_port: u32, destination_port: u32) -> Option<Protocol> {
    Some(Protocol::Tcp(Tcp {
        source_port,
        destination_port,
        ..Tcp::default()
    }))
}

fn all_kinds() -> Vec<Flow> {
    let udp = Udp {
        source_port: 53,
        destination_port: 53,
    };
    let sctp = Sctp {
        source_port: 1,
        destination_port: 2,
    };
    vec![
        flow("10.0.0.1", "10.0.0.2", tcp(40_000, 80)),
        flow("127.0.0.1", "127.0.0.1", tcp(80, 80)),
        flow("2001:db8::1", "2001:db8::2", Some(Protocol::Udp(udp))),
        flow("10.0.0.1", "10.0.0.2", Some(Protocol::Sctp(sctp))),
        flow(
            "10.0.0.1",
            "10.0.0.2",
            Some(Protocol::IcmPv4(IcmPv4 { r#type: 8, code: 0 })),
        ),
        flow(
            "fe80::1",
            "fe80::2",
            Some(Protocol::IcmPv6(IcmPv6 { r#type: 128, code: 0 })),
        ),
        flow("fe80::1", "ff02::12", Some(Protocol::Vrrp(Vrrp::default()))),
        flow("10.0.0.1", "224.0.0.22", Some(Protocol::Igmp(Igmp::default()))),
        flow("10.0.0.1", "10.0.0.2", None),
        Flow {
            ip: None,
            ethernet: Some(Ethernet {
                source: "02:00:00:00:00:01".to_owned(),
                destination: "02:00:00:00:00:02".to_owned(),
            }),
            ..flow("", "", None)
        },
    ]
}

#[derive(Parser)]
struct Observe {
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

/// The rows that the flow's command shows.
fn shown(of: &Flow, flows: &[Flow]) -> Vec<usize> {
    let words = shlex::split(&observe_command(of).unwrap()).unwrap();
    assert_eq!(words[0], "parallax");
    let parsed = Observe::try_parse_from(&words[1..]).unwrap();
    assert!(parsed.all);
    let lists = FilterLists::build(&parsed.filters, (&[], &[])).unwrap();
    let filters = Filters::compile(&lists.allow, &lists.deny).unwrap();
    let batch = FlowReader::default().batch(flows).unwrap();
    filters.matches(&batch).set_indices().collect()
}

#[test]
fn the_command_shows_both_directions_of_that_connection_alone() {
    let flows = [
        flow("10.0.0.1", "10.0.0.2", tcp(40_000, 80)),
        flow("10.0.0.2", "10.0.0.1", tcp(80, 40_000)),
        flow("10.0.0.1", "10.0.0.2", tcp(40_001, 80)),
        flow("10.0.0.2", "10.0.0.1", tcp(40_000, 80)),
        flow("10.0.0.1", "10.0.0.2", Some(Protocol::IcmPv4(IcmPv4::default()))),
    ];
    assert_eq!(shown(&flows[0], &flows), [0, 1]);
    assert_eq!(shown(&flows[4], &flows), [4]);
}

#[test]
fn a_flow_without_addresses_is_found_by_its_id() {
    let alone = Flow {
        uuid: "0aa0-b'c".to_owned(),
        ..all_kinds().pop().unwrap()
    };
    let words = shlex::split(&observe_command(&alone).unwrap()).unwrap();
    assert_eq!(words, ["parallax", "observe", "--all", "--uuid=0aa0-b'c"]);
    assert!(sql(&alone).unwrap().contains("= '0aa0-b''c'"));
    let nothing = Flow::default();
    assert_eq!(
        (observe_command(&nothing), sql(&nothing), tcpdump_filter(&nothing)),
        (None, None, None)
    );
    let evil = flow("1.2.3.4' OR true --", "$(reboot)", tcp(1, 2));
    assert_eq!(tcpdump_filter(&evil), None);
    assert!(!sql(&evil).unwrap().contains("OR true"));
}

#[tokio::test]
async fn the_query_runs() {
    let session = SessionContext::new();
    ::sql::functions::register(&session);
    let table = RecordBatch::new_empty(flow::table::table_schema());
    session.register_batch("flows", table).unwrap();
    for flow in all_kinds() {
        let query = sql(&flow).unwrap();
        let answer = session
            .sql(&query)
            .await
            .unwrap_or_else(|error| panic!("{query}\n{error}"));
        let rows = answer
            .collect()
            .await
            .unwrap_or_else(|error| panic!("{query}\n{error}"));
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
}

#[tokio::test]
async fn the_query_finds_both_directions_within_its_time() {
    let at = |seconds: i64, flow: Flow| Flow {
        time: Some(Timestamp::from_nanos(
            1_763_926_496_000_000_000 + seconds * 1_000_000_000,
        )),
        ..flow
    };
    let flows = [
        at(0, flow("10.0.0.1", "10.0.0.2", tcp(40_000, 80))),
        at(9, flow("10.0.0.2", "10.0.0.1", tcp(80, 40_000))),
        at(9, flow("10.0.0.2", "10.0.0.1", tcp(80, 40_001))),
        at(900, flow("10.0.0.2", "10.0.0.1", tcp(80, 40_000))),
    ];
    let session = SessionContext::new();
    ::sql::functions::register(&session);
    let batch = FlowReader::default().batch(&flows).unwrap();
    let all: Vec<usize> = (0..flow::table::table_schema().fields().len()).collect();
    let table = flow::table::table_batch(&batch, &all).unwrap();
    session.register_batch("flows", table).unwrap();
    let answer = session.sql(&sql(&flows[0]).unwrap()).await.unwrap();
    assert_eq!(answer.count().await.unwrap(), 2);
}

#[test]
fn tcpdump_takes_the_expression() {
    assert_eq!(
        tcpdump_filter(&all_kinds()[0]).unwrap(),
        "host 10.0.0.1 and host 10.0.0.2 and tcp port 40000 and tcp port 80"
    );
    for flow in all_kinds() {
        let expression = tcpdump_filter(&flow).unwrap();
        let compiled = Command::new("tcpdump")
            .args(["-y", "EN10MB", "-d", &expression])
            .output();
        let Ok(compiled) = compiled else {
            println!("skipped: tcpdump is not installed");
            return;
        };
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{expression}: {said}");
        assert!(!compiled.stdout.is_empty(), "{expression}: {said}");
    }
}
