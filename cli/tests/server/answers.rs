//! Commands with one answer, and servers that have none.

use crate::recorder::*;

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::start(Manner::Silent);
    let output = server.run(&["status", "--request-timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("did not answer within 300ms"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_a_server_the_way_to_start_one_is_named() {
    let output = parallax()
        .args(["observe", "--server", "127.0.0.1:1", "--timeout", "1s"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output.stderr);
    assert!(
        line.contains("no server at 127.0.0.1:1: Connection refused") && line.contains("sudo parallax-observer"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn status_tells_losses_by_stage() {
    let server = Server::start(Manner::Normal);
    let output = text(&server.run(&["status"]).stdout);
    for line in [
        "): Ok",
        "Current/Max Flows: 50/100 (50.00%)",
        "Capture: kernel on eth0",
        "Filter: tcp port 443 (12,345 left out)",
        "Lost Events: 5 (kernel ring 5)",
    ] {
        assert!(output.contains(line), "{line} in {output}");
    }
    let json = text(&server.run(&["status", "-o", "json"]).stdout);
    assert!(json.contains("\"num_flows\":\"50\""), "{json}");
}

#[test]
fn nodes_and_namespaces_are_listed() {
    let server = Server::start(Manner::Normal);
    assert!(text(&server.run(&["list", "nodes"]).stdout).contains("default/vm   Connected"));
    assert_eq!(
        text(&server.run(&["list", "namespaces"]).stdout),
        "NAMESPACE\nteam-a\nteam-b\n"
    );
    let wide = text(&server.run(&["list", "namespaces", "-o", "wide"]).stdout);
    assert_eq!(wide, "NAMESPACE   CLUSTER\nteam-a      default\nteam-b      default\n");
}
