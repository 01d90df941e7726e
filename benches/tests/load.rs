//! The harness as a user starts it, with the real observer on real traffic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const LOAD: &str = env!("CARGO_BIN_EXE_load");

#[test]
fn a_short_flood_is_measured_and_its_sums_hold() {
    let observer = Path::new(LOAD).with_file_name("parallax-observer");
    if !benches::namespace::may_create() {
        return println!("skipped: a_short_flood_is_measured_and_its_sums_hold needs root");
    }
    if !observer.is_file() {
        return println!(
            "skipped: {} is not built; `cargo build --workspace` does",
            observer.display()
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("load.json");
    let load = Command::new(LOAD)
        .args(["--seconds", "1", "--rounds", "1", "--only", "udp-flood", "--json"])
        .arg(&file)
        .args(["--observer-args", "--memory 8MiB"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let prefix = format!("plxb{}-", load.id());
    let output = load.wait_with_output().unwrap();
    let (table, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{errors}");
    assert!(
        table.contains("UDP flood") && table.contains("WITH: --memory 8MiB"),
        "{table}"
    );

    let value: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let [without, with] = value["traffic"].as_array().unwrap().as_slice() else {
        panic!("one run without the observer and one with it: {value:#}");
    };
    assert_eq!((&without["way"], &without["observer"]), (&Value::Null, &Value::Null));
    assert!(without["traffic"]["received"].as_u64().unwrap() > 1000);
    let cost = &with["observer"];
    assert_eq!(cost["sums_hold"], true, "{cost:#}");
    let accounting = &cost["accounting"];
    let count = |name: &str| accounting[name].as_u64().unwrap();
    let sent = with["traffic"]["sent"].as_u64().unwrap();
    assert!(
        count("packets_seen") >= sent && sent > 1000,
        "{sent} sent: {accounting:#}"
    );
    assert_eq!(count("unaccounted"), 0, "{accounting:#}");
    assert!(count("log_bytes") <= count("log_budget_bytes"), "{accounting:#}");
    assert!(cost["cpu_ns_per_event"].as_f64().unwrap() > 0.0);
    assert!(cost["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);

    let [counting, observing] = value["kernel"].as_array().unwrap().as_slice() else {
        panic!("one run of programs that only count and one of the observer: {value:#}");
    };
    let egress = |run: &Value| {
        let programs = run["programs"].as_array().unwrap().clone();
        let program = programs
            .into_iter()
            .find(|program| program["name"] == "egress_ethernet")
            .unwrap();
        (
            program["runs"].as_u64().unwrap(),
            program["run_time_ns"].as_u64().unwrap(),
        )
    };
    for (runs, run_time_ns) in [egress(counting), egress(observing)] {
        assert!(runs > 1000 && run_time_ns > runs, "{runs} runs in {run_time_ns} ns");
    }

    for field in ["kernel", "cpu", "rustc"] {
        assert!(!value["machine"][field].as_str().unwrap().is_empty(), "{field}");
    }
    assert!(value["observer"].as_str().unwrap().starts_with("parallax "));
    let namespaces = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let left = String::from_utf8_lossy(&namespaces.stdout).into_owned();
    assert!(!left.contains(&prefix), "namespaces are left: {left}");
}

#[test]
fn flags_that_cannot_be_split_are_refused_before_anything_starts() {
    let output = Command::new(LOAD)
        .args(["--observer-args", "--capture 'tcp"])
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(says.contains("--capture 'tcp") || says.contains("needs root"), "{says}");
}
