//! Text is the same to the byte as what the Hubble client printed for the same flows.

use flow::api::observer::GetFlowsResponse;
use flow::text::{Format, Options, Printer, TimeFormat};

const FLOWS: &str = include_str!("fixtures/text/flows.jsonl");

fn print_last(last: usize, options: Options) -> (String, String) {
    let lines: Vec<&str> = FLOWS.lines().collect();
    print(&lines[lines.len() - last..], options)
}

fn print(lines: &[&str], options: Options) -> (String, String) {
    let mut printer = Printer::new(Vec::new(), Vec::new(), options);
    for line in lines {
        let response: GetFlowsResponse = serde_json::from_str(line).expect("a response");
        printer.print(&response).expect("memory can be written to");
    }
    let (out, err) = printer.finish().expect("memory can be written to");
    let text = |bytes| String::from_utf8(bytes).expect("only text is printed");
    (text(out), text(err))
}

macro_rules! golden {
    ($($name:ident: $last:expr, $file:literal, { $($field:ident: $value:expr),* $(,)? };)*) => {
        $(
            #[test]
            fn $name() {
                let options = Options { $($field: $value,)* ..Options::default() };
                let (out, err) = print_last($last, options);
                assert_eq!(out, include_str!(concat!("fixtures/text/", $file, ".out")));
                assert_eq!(err, include_str!(concat!("fixtures/text/", $file, ".err")));
            }
        )*
    };
}

golden! {
    compact: 9, "compact", { format: Format::Compact };
    dict: 9, "dict", { format: Format::Dict };
    json: 9, "json", { format: Format::Json };
    table: 9, "table", { format: Format::Table };
    compact_with_nodes: 9, "compact-node", { print_node_name: true };
    table_with_nodes: 9, "table-node", { format: Format::Table, print_node_name: true };
    dict_with_nodes: 3, "dict-node-last3", { format: Format::Dict, print_node_name: true };
    compact_with_addresses: 9, "compact-numeric", { ip_translation: false };
    compact_with_full_times: 9, "compact-rfc3339nano", { time_format: TimeFormat::Rfc3339Nano };
    compact_with_policies_of_flows_without_policies: 9, "compact-policy", { print_policy_names: true };
    compact_in_color: 5, "compact-color-last5", { color: true };
}

fn line(json: &str, options: Options) -> String {
    print(&[json], options).0
}

#[test]
fn a_flow_that_knows_little_says_so() {
    assert_eq!(
        line(
            r#"{"flow":{"verdict":"FORWARDED","new_field":1,"IP":{"source":"192.0.2.1","destination":"192.0.2.2"}}}"#,
            Options::default()
        ),
        "N/A: 192.0.2.1 (unknown) <> 192.0.2.2 (unknown) UNKNOWN FORWARDED ()\n"
    );
}

#[test]
fn a_response_without_an_event_prints_nothing() {
    assert_eq!(line(r#"{"verdict":"FORWARDED"}"#, Options::default()), "");
}

#[test]
fn garbage_is_an_error_not_a_flow() {
    for garbage in ["garbage", "[]", r#"{"flow":7}"#, r#"{"flow":{"time":"yesterday"}}"#, ""] {
        assert!(serde_json::from_str::<GetFlowsResponse>(garbage).is_err(), "{garbage}");
    }
}

#[test]
fn names_from_the_network_cannot_steer_the_terminal() {
    let hostile = r#"{"flow":{"verdict":"DROPPED","node_name":"\u001b[2J","destination_names":["a\u001b]0;x\u0007"],
        "event_type":{"type":1},"Summary":"x\r\ny","detail":{"kernel_drop_reason":"N\u001b[1m"}},"node_name":"\u001b"}"#;
    for format in [Format::Compact, Format::Dict, Format::Table, Format::Json] {
        let options = Options {
            format,
            print_node_name: true,
            explain_drops: true,
            ..Options::default()
        };
        let text = line(hostile, options);
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
        assert_eq!(text.contains("^[[2J"), format != Format::Json, "{text:?}");
    }
}

#[test]
fn a_policy_verdict_names_its_policies() {
    let json = r#"{"flow":{"verdict":"DROPPED","event_type":{"type":5},"policy_match_type":2,"traffic_direction":"INGRESS",
        "IP":{"source":"192.0.2.1","destination":"192.0.2.2"},"auth_type":"SPIRE","ip_trace_id":{"trace_id":"5"},
        "l4":{"TCP":{"flags":{"SYN":true}}},
        "ingress_denied_by":[{"name":"deny-9090","kind":"CiliumNetworkPolicy"},{"name":"b"}]}}"#;
    let options = Options {
        print_policy_names: true,
        ..Options::default()
    };
    assert_eq!(
        line(json, options),
        "N/A: 192.0.2.1 (unknown) <> 192.0.2.2 (unknown) policy-verdict:L3-L4 INGRESS \
         DENIED BY deny-9090 (CiliumNetworkPolicy), b (IP Trace ID: 5; TCP Flags: SYN; Auth: SPIRE)\n"
    );
}

#[test]
fn lost_events_tell_from_when_to_when() {
    let json = r#"{"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"17",
        "first":"2026-01-02T03:04:10Z","last":"2026-01-02T03:04:11Z"},"time":"2026-01-02T03:04:11Z"}"#;
    assert_eq!(
        line(json, Options::default()),
        "Jan  2 03:04:11.000 EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 17 \
         (first: Jan  2 03:04:10.000, last: Jan  2 03:04:11.000)\n"
    );
}

#[test]
fn a_drop_shows_the_reason_of_the_kernel_and_explains_it() {
    let json = |reason: &str| {
        format!(
            r#"{{"flow":{{"verdict":"DROPPED","drop_reason_desc":"UNKNOWN_L3_TARGET_ADDRESS","event_type":{{"type":1,"sub_type":150}},
            "IP":{{"source":"192.0.2.1","destination":"192.0.2.2"}},"source":{{"identity":2}},
            "l4":{{"UDP":{{"source_port":1,"destination_port":53}}}},
            "detail":{{"kernel_drop_reason":"{reason}","drop_symbol":"udp_queue_rcv+0x1f"}}}}}}"#
        )
    };
    let options = Options {
        explain_drops: true,
        ..Options::default()
    };
    let explained = line(&json("NO_SOCKET"), options.clone());
    let (flow, explanation) = explained.split_once('\n').unwrap();
    assert_eq!(
        flow,
        "N/A: 192.0.2.1:1 (world) <> 192.0.2.2:53 (unknown) NO_SOCKET DROPPED (UDP)"
    );
    assert_eq!(
        explanation,
        format!(
            "    NO_SOCKET in udp_queue_rcv+0x1f: {}\n",
            flow::drop_reason::advice("NO_SOCKET")
        )
    );
    assert!(line(&json("NEW_REASON"), options).ends_with("no advice yet\n"));
    assert_eq!(
        line(&json(""), Options::default()),
        "N/A: 192.0.2.1:1 (world) <> 192.0.2.2:53 (unknown) Unknown L3 target address DROPPED (UDP)\n"
    );
}

#[test]
fn only_failures_of_nodes_are_shown_unless_all_are_asked_for() {
    let json = r#"{"node_status":{"state_change":"NODE_CONNECTED","node_names":["a","b"]},"node_name":"relay"}"#;
    assert_eq!(print(&[json], Options::default()).1, "");
    let options = Options {
        all_node_status: true,
        ..Options::default()
    };
    assert_eq!(
        print(&[json], options).1,
        "N/A [relay]: Receiving flows from 2 nodes: a, b\n"
    );
}

#[test]
fn hosts_without_ip_show_their_ethernet_addresses_and_services_their_namespace() {
    let ethernet = r#"{"flow":{"ethernet":{"source":"02:00:00:00:00:01","destination":"02:00:00:00:00:02"}}}"#;
    assert!(line(ethernet, Options::default()).starts_with("N/A: 02:00:00:00:00:01 (unknown) <> 02:00:00:00:00:02 "));
    let service = r#"{"flow":{"destination":{"namespace":"a"},"destination_service":{"name":"web","namespace":"b"},
        "l4":{"TCP":{"destination_port":80}}}}"#;
    assert!(line(service, Options::default()).contains("<> b/web:80 (unknown)"));
}

#[test]
fn a_value_newer_than_the_api_costs_only_itself() {
    let mut response: GetFlowsResponse = serde_json::from_str(
        r#"{"flow":{"verdict":"DROPPED","event_type":{"type":1,"sub_type":250}},"node_name":"vm"}"#,
    )
    .unwrap();
    let Some(flow::api::observer::get_flows_response::ResponseTypes::Flow(flow)) = &mut response.response_types else {
        panic!("not a flow")
    };
    flow.drop_reason_desc = 250;
    for (format, expected) in [
        (
            Format::Json,
            "{\"flow\":{\"verdict\":\"DROPPED\",\"event_type\":{\"type\":1,\"sub_type\":250}},\"node_name\":\"vm\"}\n",
        ),
        (Format::Compact, "N/A:  (unknown) <>  (unknown) 250 DROPPED ()\n"),
    ] {
        let mut printer = Printer::new(
            Vec::new(),
            Vec::new(),
            Options {
                format,
                ..Options::default()
            },
        );
        printer.print(&response).unwrap();
        assert_eq!(String::from_utf8(printer.finish().unwrap().0).unwrap(), expected);
    }
}

#[test]
fn json_goes_there_and_back_through_the_wire() {
    use prost::Message as _;
    for line in include_str!("fixtures/text/json.out").lines() {
        let response: GetFlowsResponse = serde_json::from_str(line).unwrap();
        let wire = response.encode_to_vec();
        let back = GetFlowsResponse::decode(wire.as_slice()).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), line);
    }
}
