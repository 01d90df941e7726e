use proptest::prelude::*;

use super::*;
use crate::api::flow::flow_filter::Experimental;
use crate::api::flow::{EventTypeFilter, Flow, HttpHeader, NetworkInterface, TcpFlags, Verdict, Workload};
use crate::api::observer::GetFlowsResponse;
use crate::api::observer::get_flows_response::ResponseTypes;
use crate::from_api::FlowReader;

fn golden() -> Vec<Flow> {
    include_str!("../../tests/fixtures/text/flows.jsonl")
        .lines()
        .filter_map(
            |line| match serde_json::from_str::<GetFlowsResponse>(line).unwrap().response_types {
                Some(ResponseTypes::Flow(flow)) => Some(flow),
                _ => None,
            },
        )
        .collect()
}

/// Rows of the golden flows that a filter selects.
fn rows(filter: FlowFilter) -> Vec<usize> {
    let batch = FlowReader::default().batch(&golden()).unwrap();
    Filters::compile(&[filter], &[])
        .unwrap()
        .matches(&batch)
        .set_indices()
        .collect()
}

fn text(value: &str) -> Vec<String> {
    vec![value.to_owned()]
}

fn cel(expression: &str) -> FlowFilter {
    FlowFilter {
        experimental: Some(Experimental {
            cel_expression: text(expression),
        }),
        ..FlowFilter::default()
    }
}

macro_rules! selects {
    ($($field:ident: $value:expr => $rows:expr;)*) => {
        $(assert_eq!(
            rows(FlowFilter { $field: $value, ..FlowFilter::default() }),
            $rows as [usize; _],
            "{} {}", stringify!($field), stringify!($value)
        );)*
    };
}

#[test]
fn every_field_selects() {
    selects! {
        uuid: text("0a0b0c0d-0000-4000-8000-000000000001") => [0];
        source_ip: text("192.0.2.2") => [1, 5];
        source_ip: text("2001:db8:0::1") => [4];
        destination_ip: text("192.0.2.0/30") => [0, 1, 2, 3, 5, 6];
        source_ip: text("0.0.0.0/0") => [0, 1, 2, 3, 5, 6];
        source_ip_xlated: text("192.0.2.9") => [];
        source_pod: text("ns-a/cli") => [0, 2, 4, 6];
        source_pod: text("client") => [];
        source_pod: text("/server") => [1, 5];
        destination_pod: text("kube-system/") => [4];
        destination_pod: text("/") => [0, 1, 4, 5, 6];
        source_service: text("ns-a/x") => [];
        destination_fqdn: text("*.TEST.") => [3];
        source_fqdn: text("*") => [];
        source_label: text("app=client") => [0];
        source_label: text("!app") => [2, 3, 4, 5, 6];
        destination_label: text("reserved:world") => [2, 3];
        node_labels: text("x") => [];
        source_identity: vec![1002] => [1, 5];
        destination_identity: vec![2, 1003] => [2, 3, 4];
        source_workload: vec![Workload { name: "w".into(), kind: String::new() }] => [];
        source_cluster_name: text("default") => [0];
        destination_cluster_name: text("default") => [0];
        source_port: text("40000-40002") => [0, 2, 4];
        destination_port: text("53") => [2, 4];
        protocol: text("UDP") => [2, 4];
        protocol: vec!["dns".into(), "icmp".into()] => [3, 4];
        protocol: text("http") => [5];
        protocol: text("kafka") => [];
        verdict: vec![Verdict::Dropped.into()] => [2, 6];
        drop_reason_desc: vec![133] => [2];
        drop_reason_desc: vec![0] => [6];
        event_type: vec![EventTypeFilter { r#type: 4, match_sub_type: true, sub_type: 0 }] => [1, 3];
        event_type: vec![EventTypeFilter { r#type: 0, ..Default::default() }] => [0, 1, 2, 3, 4, 5, 6];
        http_status_code: text("2+") => [5];
        http_status_code: text("404") => [];
        http_method: text("get") => [5];
        http_path: text("^/in") => [5];
        http_url: text("server[.]test") => [5];
        http_header: vec![HttpHeader { key: "a".into(), value: "b".into() }] => [];
        dns_query: text("^example") => [4];
        tcp_flags: vec![TcpFlags { syn: true, ..Default::default() }] => [0, 1, 6];
        tcp_flags: vec![TcpFlags { syn: true, ack: true, ..Default::default() }] => [1];
        reply: vec![true] => [1, 5];
        reply: vec![false] => [0, 2, 4, 6];
        traffic_direction: vec![1] => [1, 6];
        traffic_direction: vec![0] => [3, 5];
        node_name: text("v*") => [0, 1, 2, 3, 4, 5, 6];
        node_name: text("other/vm") => [];
        node_name: text("default/vm") => [0, 1, 2, 3, 4, 5, 6];
        ip_version: vec![2] => [4];
        ip_version: vec![0] => [];
        trace_id: text("x") => [];
        ip_trace_id: vec![7] => [];
        interface: vec![NetworkInterface { index: 7, name: String::new() }] => [0];
        interface: vec![NetworkInterface { index: 0, name: "veth1".into() }] => [];
        encrypted: vec![true] => [];
        encrypted: vec![false] => [0, 1, 2, 3, 4, 5, 6];
    }
}

#[test]
fn expressions_see_the_whole_flow() {
    for (expression, expected) in [
        ("_flow.verdict == Verdict.DROPPED", vec![2, 6]),
        ("_flow.verdict == 2", vec![2, 6]),
        ("_flow.source.pod_name.startsWith('server')", vec![1, 5]),
        ("_flow.l4.TCP.destination_port == 5201", vec![0]),
        ("_flow.is_reply == true", vec![1, 5]),
        ("'k8s:app=server' in _flow.source.labels", vec![1]),
        ("true", vec![0, 1, 2, 3, 4, 5, 6]),
    ] {
        assert_eq!(rows(cel(expression)), expected, "{expression}");
    }
}

#[test]
fn what_is_not_valid_is_named() {
    let filter = FlowFilter::default;
    for (filter, says) in [
        (
            FlowFilter {
                source_ip: text("nonsense"),
                ..filter()
            },
            "invalid source_ip filter `nonsense`: give an address",
        ),
        (
            FlowFilter {
                source_ip: text("10.0.0.0/33"),
                ..filter()
            },
            "give an address",
        ),
        (
            FlowFilter {
                destination_port: text("70000"),
                ..filter()
            },
            "a port from 0 to 65535",
        ),
        (
            FlowFilter {
                destination_port: text("9-8"),
                ..filter()
            },
            "a port from 0 to 65535",
        ),
        (
            FlowFilter {
                protocol: text("tpc"),
                ..filter()
            },
            "give one of icmp",
        ),
        (
            FlowFilter {
                source_pod: text(""),
                ..filter()
            },
            "team-a/web",
        ),
        (
            FlowFilter {
                source_label: text("a in b"),
                ..filter()
            },
            "in brackets",
        ),
        (
            FlowFilter {
                http_path: text("("),
                ..filter()
            },
            "not a regular expression",
        ),
        (
            FlowFilter {
                http_status_code: text("600"),
                ..filter()
            },
            "give a status",
        ),
        (
            FlowFilter {
                source_fqdn: text("a b"),
                ..filter()
            },
            "give a name",
        ),
        (
            FlowFilter {
                source_cluster_name: text(""),
                ..filter()
            },
            "name of a cluster",
        ),
        (
            FlowFilter {
                http_method: text("GET"),
                event_type: vec![EventTypeFilter {
                    r#type: 1,
                    ..Default::default()
                }],
                ..filter()
            },
            "never HTTP",
        ),
        (cel("_flow.verdict"), "true or false"),
        (cel("flow.verdict == 2"), "there is no `flow`"),
        (cel("1 +"), "cel_expression"),
    ] {
        let error = Filters::compile(&[filter], &[]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn lists_are_joined_as_the_api_says() {
    let batch = FlowReader::default().batch(&golden()).unwrap();
    let dropped = FlowFilter {
        verdict: vec![Verdict::Dropped.into()],
        ..FlowFilter::default()
    };
    let udp = FlowFilter {
        protocol: text("udp"),
        ..FlowFilter::default()
    };
    let select = |allow: &[FlowFilter], deny: &[FlowFilter]| -> Vec<usize> {
        Filters::compile(allow, deny)
            .unwrap()
            .matches(&batch)
            .set_indices()
            .collect()
    };
    assert_eq!(select(&[dropped.clone(), udp.clone()], &[]), [2, 4, 6]);
    assert_eq!(select(std::slice::from_ref(&dropped), std::slice::from_ref(&udp)), [6]);
    assert_eq!(select(&[], std::slice::from_ref(&udp)), [0, 1, 3, 5, 6]);
    let both = FlowFilter {
        protocol: text("udp"),
        ..dropped
    };
    assert_eq!(select(&[both], &[]), [2]);
    assert!(Filters::compile(&[], &[]).unwrap().is_empty());
}

proptest! {
    /// Over whole columns and row by row come to the same.
    #[test]
    fn columns_and_rows_agree(
        flows in proptest::collection::vec((0..4_u8, 0..4_u32, 0..3_i32, 0..3_u8), 1..80),
        address in 0..4_u8,
        port in 0..4_u32,
        verdict in 0..3_i32,
        pod in 0..3_u8,
    ) {
        use crate::api::flow::{Endpoint, Ip, Layer4, Udp, layer4::Protocol};
        let flows: Vec<Flow> = flows
            .into_iter()
            .map(|(address, port, verdict, pod)| Flow {
                verdict,
                ip: (address > 0).then(|| Ip { source: format!("10.0.0.{address}"), ip_version: 1, ..Ip::default() }),
                l4: (port > 0).then_some(Layer4 {
                    protocol: Some(Protocol::Udp(Udp { source_port: 1, destination_port: port })),
                }),
                source: (pod > 0).then(|| Endpoint {
                    namespace: "ns".into(),
                    pod_name: format!("pod-{pod}"),
                    ..Endpoint::default()
                }),
                ..Flow::default()
            })
            .collect();
        let filter = FlowFilter {
            source_ip: vec![format!("10.0.0.{address}")],
            destination_port: vec![port.to_string(), "2".into()],
            verdict: vec![verdict, 1],
            source_pod: vec![format!("ns/pod-{pod}"), "ns/pod-1".into()],
            ..FlowFilter::default()
        };
        let batch = FlowReader::default().batch(&flows).unwrap();
        let by_column = Filters::compile(&[filter], &[]).unwrap().matches(&batch);
        for (row, flow) in flows.iter().enumerate() {
            let source = flow.ip.as_ref().map(|ip| ip.source.clone());
            let destination_port = flow.l4.as_ref().and_then(|l4| match &l4.protocol {
                Some(Protocol::Udp(udp)) => Some(udp.destination_port),
                _ => None,
            });
            let name = flow.source.as_ref().map(|source| source.pod_name.as_str());
            let expected = source == Some(format!("10.0.0.{address}"))
                && destination_port.is_some_and(|found| found == port || found == 2)
                && (flow.verdict == verdict || flow.verdict == 1)
                && name.is_some_and(|name| name == format!("pod-{pod}") || name == "pod-1");
            prop_assert_eq!(by_column.value(row), expected, "row {}", row);
        }
    }
}
