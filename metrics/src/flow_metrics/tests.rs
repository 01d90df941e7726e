use std::collections::BTreeMap;

use flow::api::flow::Flow;
use flow::from_api::FlowReader;
use serde_json::{Value, json};

use super::*;
use crate::config::parse;

fn batch(flows: &[Value]) -> FlowBatch {
    let flows: Vec<Flow> = flows
        .iter()
        .map(|flow| serde_json::from_value(flow.clone()).unwrap())
        .collect();
    FlowReader::default().batch(&flows).unwrap()
}

/// The series of a family: values of labels, joined by spaces, with their sums.
fn series(metrics: &FlowMetrics, family: &str) -> BTreeMap<String, u64> {
    let family = metrics.family(family).unwrap();
    let text = |labels: &[Arc<str>]| labels.iter().map(|label| &**label).collect::<Vec<_>>().join(" ");
    family.series().map(|(labels, value)| (text(labels), value)).collect()
}

fn counted(config: &str, flows: &[Value]) -> FlowMetrics {
    let mut metrics = FlowMetrics::new(&parse(config).unwrap(), Limits::default());
    metrics.observe(&batch(flows), 0);
    metrics
}

fn is(series: BTreeMap<String, u64>, wanted: &[(&str, u64)]) {
    let wanted: BTreeMap<String, u64> = wanted
        .iter()
        .map(|(labels, value)| ((*labels).to_owned(), *value))
        .collect();
    assert_eq!(series, wanted);
}

fn tcp(flags: &Value, verdict: &str) -> Value {
    json!({
        "verdict": verdict,
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": flags}},
        "source": {"namespace": "a", "pod_name": "client", "labels": ["k8s:app=shop"],
                   "workloads": [{"kind": "Deployment", "name": "client"}]},
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "event_type": {"type": 4, "sub_type": 3},
        "trace_observation_point": "TO_STACK",
        "is_reply": false,
        "traffic_direction": "EGRESS",
    })
}

#[test]
fn flags_count_each_and_only_what_was_forwarded() {
    let flows = [
        tcp(&json!({"SYN": true}), "FORWARDED"),
        tcp(&json!({"SYN": true, "ACK": true}), "FORWARDED"),
        tcp(&json!({"ACK": true}), "FORWARDED"),
        tcp(&json!({"FIN": true, "RST": true, "ACK": true}), "REDIRECTED"),
        tcp(&json!({"SYN": true}), "DROPPED"),
    ];
    let metrics = counted("tcp", &flows);
    is(
        series(&metrics, "hubble_tcp_flags"),
        &[("FIN IPv4", 1), ("RST IPv4", 1), ("SYN IPv4", 1), ("SYN-ACK IPv4", 1)],
    );
}

#[test]
fn every_flow_is_counted_by_what_it_is() {
    let mut drop = tcp(&json!({"SYN": true}), "DROPPED");
    drop["event_type"] = json!({"type": 1, "sub_type": 133});
    drop["drop_reason_desc"] = json!("POLICY_DENIED");
    let dns = json!({"verdict": "FORWARDED", "event_type": {"type": 129}, "Type": "L7",
                     "l7": {"type": "REQUEST", "dns": {"query": "a.test.", "qtypes": ["A"]}}});
    let flows = [tcp(&json!({}), "FORWARDED"), tcp(&json!({}), "FORWARDED"), drop, dns];
    let metrics = counted("flow drop", &flows);
    is(
        series(&metrics, "hubble_flows_processed"),
        &[
            ("TCP Trace to-stack FORWARDED", 2),
            ("TCP Drop POLICY_DENIED DROPPED", 1),
            ("DNS L7 DNS FORWARDED", 1),
        ],
    );
    is(series(&metrics, "hubble_drop"), &[("POLICY_DENIED TCP", 1)]);
}

#[test]
fn ends_are_named_by_the_first_way_that_gives_a_name() {
    let flows = [tcp(&json!({"SYN": true}), "DROPPED")];
    for (options, labels) in [
        ("sourceContext=namespace;destinationContext=namespace|ip", "a 10.0.0.2"),
        (
            "sourceContext=pod;destinationContext=pod|reserved-identity",
            "a/client reserved:world",
        ),
        ("sourceContext=pod-name;destinationContext=dns", "client "),
        ("sourceContext=app;destinationContext=identity", "shop reserved:world"),
        (
            "sourceContext=workload;destinationContext=workload-name|ip",
            "a/client 10.0.0.2",
        ),
        ("sourceContext=ip;sourceEgressContext=namespace", "a"),
        ("sourceContext=ip;sourceIngressContext=namespace", "10.0.0.1"),
        (
            "labelsContext=traffic_direction,source_workload,source_workload_kind,source_app,destination_ip,source_pod",
            "client client Deployment shop 10.0.0.2 egress",
        ),
    ] {
        let metrics = counted(&format!("drop:{options}"), &flows);
        let series = series(&metrics, "hubble_drop");
        let (found, value) = series.first_key_value().unwrap();
        assert_eq!(
            (found.strip_prefix("DROP_REASON_UNKNOWN TCP ").unwrap(), *value),
            (labels, 1),
            "{options}"
        );
    }
}

#[test]
fn the_world_and_ports_are_counted_with_their_options() {
    let mut reply = tcp(&json!({"ACK": true}), "FORWARDED");
    reply["is_reply"] = json!(true);
    let flows = [
        tcp(&json!({"SYN": true}), "FORWARDED"),
        tcp(&json!({"ACK": true}), "FORWARDED"),
        tcp(&json!({"ACK": true}), "DROPPED"),
        reply,
    ];
    is(
        series(&counted("flows-to-world", &flows), "hubble_flows_to_world"),
        &[("TCP FORWARDED", 2), ("TCP DROPPED", 1)],
    );
    is(
        series(
            &counted("flows-to-world:syn-only;port", &flows),
            "hubble_flows_to_world",
        ),
        &[("TCP FORWARDED 443", 1)],
    );
    is(
        series(
            &counted("flows-to-world:syn-only;any-drop", &flows),
            "hubble_flows_to_world",
        ),
        &[("TCP FORWARDED", 1), ("TCP DROPPED", 1)],
    );
    is(
        series(&counted("port-distribution", &flows), "hubble_port_distribution"),
        &[("TCP 443", 2)],
    );
}

#[test]
fn icmp_of_both_families_is_told_apart() {
    let flows = [
        json!({"verdict": "FORWARDED", "IP": {"source": "10.0.0.1", "destination": "10.0.0.2", "ipVersion": "IPv4"},
               "l4": {"ICMPv4": {"type": 3, "code": 3}}}),
        json!({"verdict": "FORWARDED", "IP": {"source": "fd00::1", "destination": "fd00::2", "ipVersion": "IPv6"},
               "l4": {"ICMPv6": {"type": 128}}}),
    ];
    is(
        series(&counted("icmp", &flows), "hubble_icmp"),
        &[("IPv4 DestinationUnreachable(Port)", 1), ("IPv6 EchoRequest", 1)],
    );
}

#[test]
fn dns_is_counted_by_question_and_answer() {
    let message = |of_type: &str, verdict: &str, dns: Value| json!({"verdict": verdict, "event_type": {"type": 129}, "Type": "L7", "l7": {"type": of_type, "dns": dns}});
    let flows = [
        message("REQUEST", "FORWARDED", json!({"query": "a.test.", "qtypes": ["A"]})),
        message("REQUEST", "FORWARDED", json!({"query": "a.test.", "qtypes": ["AAAA"]})),
        message("REQUEST", "DROPPED", json!({"query": "b.test.", "qtypes": ["A"]})),
        message(
            "RESPONSE",
            "FORWARDED",
            json!({"query": "a.test.", "qtypes": ["A"], "ips": ["10.0.0.1", "10.0.0.2"], "rrtypes": ["CNAME", "A"]}),
        ),
        message(
            "RESPONSE",
            "FORWARDED",
            json!({"query": "c.test.", "qtypes": ["A"], "rcode": 3}),
        ),
    ];
    let metrics = counted("dns:query", &flows);
    is(
        series(&metrics, "hubble_dns_queries"),
        &[
            (" A 0 a.test.", 1),
            (" AAAA 0 a.test.", 1),
            ("Policy denied A 0 b.test.", 1),
        ],
    );
    is(
        series(&metrics, "hubble_dns_responses"),
        &[("No Error A 2 a.test.", 1), ("Non-Existent Domain A 0 c.test.", 1)],
    );
    is(
        series(&metrics, "hubble_dns_response_types"),
        &[("CNAME A a.test.", 1), ("A A a.test.", 1)],
    );
    is(
        series(&counted("dns:ignoreAAAA", &flows), "hubble_dns_queries"),
        &[(" A 0", 1), ("Policy denied A 0", 1)],
    );
}

#[test]
fn http_is_counted_from_the_clients_side() {
    let flow = |of_type: &str| {
        json!({"verdict": "FORWARDED", "event_type": {"type": 129}, "Type": "L7", "traffic_direction": "INGRESS",
               "source": {"namespace": if of_type == "REQUEST" { "client" } else { "server" }},
               "destination": {"namespace": if of_type == "REQUEST" { "server" } else { "client" }},
               "l7": {"type": of_type, "latency_ns": "250000000",
                      "http": {"code": if of_type == "REQUEST" { 0 } else { 503 }, "method": "GET", "protocol": "HTTP/1.1", "url": "/"}}})
    };
    let flows = [flow("REQUEST"), flow("RESPONSE")];
    let options = "sourceContext=namespace;destinationContext=namespace";
    let metrics = counted(&format!("http:{options}"), &flows);
    is(
        series(&metrics, "hubble_http_requests"),
        &[("GET HTTP/1.1 server client server", 1)],
    );
    is(
        series(&metrics, "hubble_http_responses"),
        &[("GET HTTP/1.1 503 server server client", 1)],
    );
    let mut metrics = FlowMetrics::new(&parse(&format!("httpV2:{options}")).unwrap(), Limits::default());
    let times = metrics.observe(&batch(&flows), 0);
    is(
        series(&metrics, "hubble_http_requests"),
        &[("GET HTTP/1.1 503 server client server", 1)],
    );
    assert_eq!(times.len(), 1);
    assert_eq!(times[0].seconds, 0.25);
    assert_eq!(times[0].labels[2], ("source", "client".into()));
}

#[test]
fn what_became_of_connections_is_told_by_their_sockets() {
    let event = |sub_type: i32, old: &str, new: &str, srtt: u32| {
        json!({"verdict": "TRACED", "event_type": {"type": 160, "sub_type": sub_type},
               "l4": {"TCP": {"source_port": 1, "destination_port": 2}},
               "detail": {"tcp_state_old": old, "tcp_state_new": new, "srtt_us": srtt}})
    };
    let mut dropped = tcp(&json!({"SYN": true}), "DROPPED");
    dropped["event_type"] = json!({"type": 1, "sub_type": 0});
    dropped["detail"] = json!({"kernel_drop_reason": "NETFILTER_DROP", "drop_symbol": "nf_hook_slow+0x10"});
    let flows = [
        event(4, "SYN_SENT", "ESTABLISHED", 1500),
        event(4, "SYN_RECV", "ESTABLISHED", 0),
        event(4, "ESTABLISHED", "FIN_WAIT1", 900),
        event(3, "", "SYN_SENT", 0),
        event(3, "", "ESTABLISHED", 0),
        event(1, "", "ESTABLISHED", 0),
        json!({"verdict": "ERROR", "event_type": {"type": 161, "sub_type": 1}, "l4": {"TCP": {"source_port": 1, "destination_port": 2}}}),
        dropped,
    ];
    let mut metrics = FlowMetrics::new(&parse("connection drop-reason traffic").unwrap(), Limits::default());
    let times = metrics.observe(&batch(&flows), 0);
    is(
        series(&metrics, "parallax_connection_outcomes"),
        &[
            ("established", 1),
            ("refused", 1),
            ("reset", 1),
            ("timed out", 1),
            ("dropped", 1),
        ],
    );
    is(series(&metrics, "parallax_tcp_retransmits"), &[("", 1)]);
    is(series(&metrics, "parallax_tcp_resets"), &[("received", 2)]);
    is(
        series(&metrics, "parallax_drops"),
        &[("NETFILTER_DROP nf_hook_slow TCP false", 1)],
    );
    let times: Vec<_> = times.iter().map(|timed| (timed.family.name, timed.seconds)).collect();
    assert_eq!(
        times,
        [
            ("parallax_tcp_handshake_duration", 0.0015),
            ("parallax_tcp_rtt", 0.0009)
        ]
    );
}

#[test]
fn a_flood_of_names_stays_within_the_limit_and_is_counted() {
    let limits = Limits {
        series: 100,
        ..Limits::default()
    };
    let mut metrics = FlowMetrics::new(&parse("dns:query").unwrap(), limits);
    let odd = ["\"", "\\", "\n", "名前", "\u{202e}"];
    for part in 0..20_u64 {
        let flows: Vec<Value> = (0..50)
            .map(|number| {
                let name = format!("{part}-{number}{}.test.", odd[number % odd.len()]);
                json!({"verdict": "FORWARDED", "l7": {"type": "REQUEST", "dns": {"query": name, "qtypes": ["A"]}}})
            })
            .collect();
        metrics.observe(&batch(&flows), part);
    }
    let family = metrics.family("hubble_dns_queries").unwrap();
    assert_eq!((family.len(), family.overflow(), family.total()), (100, 900, 1000));
    metrics.expire(10_000);
    let family = metrics.family("hubble_dns_queries").unwrap();
    assert_eq!((family.len(), family.expired()), (0, 100));
}

#[test]
fn what_stays_goes_on_and_what_changes_begins_anew() {
    let flows = [tcp(&json!({"SYN": true}), "DROPPED")];
    let mut metrics = counted("drop tcp flow", &flows);
    metrics.reconfigure(&parse("flow drop:sourceContext=namespace icmp").unwrap());
    metrics.observe(&batch(&flows), 1);
    assert_eq!(metrics.family("hubble_flows_processed").unwrap().total(), 2);
    is(series(&metrics, "hubble_drop"), &[("DROP_REASON_UNKNOWN TCP a", 1)]);
    assert!(metrics.family("hubble_tcp_flags").is_none());
    assert!(FlowMetrics::known_families().len() > 15);
}

#[test]
fn filters_say_which_flows_count() {
    let configs = crate::config::read("metrics: [{name: flow, excludeFilters: [{verdict: [DROPPED]}]}]").unwrap();
    let mut metrics = FlowMetrics::new(&configs, Limits::default());
    metrics.observe(&batch(&[tcp(&json!({}), "DROPPED"), tcp(&json!({}), "FORWARDED")]), 0);
    assert_eq!(metrics.family("hubble_flows_processed").unwrap().total(), 1);
}

/// Labels, trace and value of the exemplars of a family.
fn exemplars(metrics: &FlowMetrics, family: &str) -> BTreeMap<String, (String, f64)> {
    let family = metrics.family(family).unwrap();
    let text = |labels: &[Arc<str>]| labels.iter().map(|label| &**label).collect::<Vec<_>>().join(" ");
    let all = family.exemplars();
    all.map(|(labels, exemplar)| (text(labels), (exemplar.trace.trace_text(), exemplar.value)))
        .collect()
}

#[test]
fn a_series_keeps_the_newest_flow_of_a_trace_and_forgets_it_in_time() {
    let traced = |flow: Value, digit: &str| {
        let mut flow = flow;
        flow["trace_context"] = json!({"parent": {"trace_id": digit.repeat(32)}});
        flow
    };
    let drop = || tcp(&json!({"SYN": true}), "DROPPED");
    let ended = json!({"event_type": {"type": 160, "sub_type": 4}, "l4": {"TCP": {"source_port": 1, "destination_port": 2}},
        "detail": {"tcp_state_old": "ESTABLISHED", "tcp_state_new": "FIN_WAIT1", "srtt_us": 2000}});
    let flows = [
        traced(drop(), "a"),
        traced(drop(), "b"),
        drop(),
        traced(tcp(&json!({}), "FORWARDED"), "c"),
        traced(ended.clone(), "d"),
        ended,
    ];
    let limits = Limits {
        series: 1,
        ..Limits::default()
    };
    let mut metrics = FlowMetrics::new(&parse("drop flow:labelsContext=source_ip connection").unwrap(), limits);
    let times = metrics.observe(&batch(&flows), 0);
    assert_eq!(times.len(), 2);
    assert_eq!(series(&metrics, "hubble_drop")["DROP_REASON_UNKNOWN TCP"], 3);
    let of_drops = exemplars(&metrics, "hubble_drop");
    assert_eq!(of_drops["DROP_REASON_UNKNOWN TCP"], ("b".repeat(32), 1.0));
    assert_eq!(exemplars(&metrics, "parallax_tcp_rtt")[""], ("d".repeat(32), 0.002));
    let family = metrics.family("hubble_flows_processed").unwrap();
    assert!(family.overflow() > 0 && family.exemplars().count() <= 1);
    metrics.expire(599);
    assert_eq!(exemplars(&metrics, "hubble_drop").len(), 1);
    metrics.expire(600);
    assert!(metrics.families().all(|family| family.exemplars().count() == 0));
}
