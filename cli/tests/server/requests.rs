//! Flags → the request that the server gets.

use flow::api::flow::{FlowFilter, Verdict};

use crate::recorder::*;

#[test]
fn flags_about_how_much_become_the_request() {
    let server = Server::start(Manner::Normal);
    let numbers = |args: &[&str]| {
        let request = server.request(args);
        (request.number, request.first, request.follow)
    };
    assert_eq!(numbers(&[]), (20, false, false));
    assert_eq!(numbers(&["--last", "7"]), (7, false, false));
    assert_eq!(numbers(&["--first", "7"]), (7, true, false));
    assert_eq!(numbers(&["--all"]), (u64::MAX, false, false));
    assert_eq!(numbers(&["--since", "2026-01-02T03:04:05Z"]), (0, false, false));
    let request = server.request(&["--since", "2020-01-02T03:04:05Z", "--until", "2026-01-02"]);
    assert_eq!(request.since.map(|time| time.seconds), Some(1_577_934_245));
    assert_eq!(request.until.map(|time| time.seconds), Some(1_767_312_000));
}

#[test]
fn filter_flags_become_the_lists() {
    let server = Server::start(Manner::Normal);
    let request = server.request(&[
        "--verdict",
        "dropped",
        "--ip",
        "192.0.2.1",
        "--not",
        "--port",
        "53-54",
        "--not",
        "--protocol",
        "UDP",
    ]);
    let side = |source: bool| {
        let ip = vec!["192.0.2.1".to_owned()];
        let (source_ip, destination_ip) = if source { (ip, vec![]) } else { (vec![], ip) };
        FlowFilter {
            source_ip,
            destination_ip,
            verdict: vec![Verdict::Dropped.into()],
            ..Default::default()
        }
    };
    assert_eq!(request.whitelist, [side(true), side(false)]);
    let ports = vec!["53".to_owned(), "54".to_owned()];
    let protocol = vec!["udp".to_owned()];
    assert_eq!(
        request.blacklist,
        [
            FlowFilter {
                source_port: ports.clone(),
                protocol: protocol.clone(),
                ..Default::default()
            },
            FlowFilter {
                destination_port: ports,
                protocol,
                ..Default::default()
            },
        ]
    );
}

#[test]
fn the_default_mask_has_what_compact_prints_and_json_has_none() {
    let server = Server::start(Manner::Normal);
    let paths = |args: &[&str]| {
        server
            .request(args)
            .field_mask
            .map(|mask| mask.paths)
            .unwrap_or_default()
    };
    let default = paths(&[]);
    for path in [
        "time",
        "traffic_direction",
        "destination_names",
        "ingress_denied_by",
        "policy_match_type",
        "detail",
    ] {
        assert!(
            default.iter().any(|shown| shown == path),
            "{path} is missing in {default:?}"
        );
    }
    assert!(paths(&["-o", "json"]).is_empty());
    assert!(paths(&["--use-default-field-masks=false"]).is_empty());
    assert_eq!(
        paths(&["-o", "json", "--field-mask", "time,verdict"]),
        ["time", "verdict"]
    );
}

#[test]
fn a_server_that_refuses_the_default_mask_is_asked_without() {
    let server = Server::start(Manner::RefusesMasks);
    let output = server.run(&["observe"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("FORWARDED"));
    assert_eq!(server.requests.lock().expect("not poisoned").len(), 2);
    let output = server.run(&["observe", "-o", "json", "--field-mask", "verdict"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "a mask that somebody typed is not dropped"
    );
}

#[test]
fn what_the_server_refuses_is_a_usage_error() {
    let server = Server::start(Manner::RefusesAll);
    let output = server.run(&["observe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("invalid CIDR: nonsense"),
        "{}",
        text(&output.stderr)
    );
}
