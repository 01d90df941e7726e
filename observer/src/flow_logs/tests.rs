use std::fs;
use std::io::Read as _;

use flow::api::flow::Flow;
use flow::from_api::FlowReader;
use serde_json::{Value, json};

use super::config::read;
use super::*;

const NODE: &str = "c1/n1";

fn batch(flows: usize) -> FlowBatch {
    let flows: Vec<Flow> = (0..flows)
        .map(|number| {
            let verdict = if number % 2 == 0 { "DROPPED" } else { "FORWARDED" };
            let port = number % 60_000;
            let text = json!({"verdict": verdict, "IP": {"source": "10.0.0.1", "destination": "10.0.0.2"},
                              "l4": {"TCP": {"source_port": port, "destination_port": 443}}, "node_name": NODE});
            serde_json::from_value(text).unwrap()
        })
        .collect();
    FlowReader::default().batch(&flows).unwrap()
}

fn log(yaml: &str) -> Log {
    let config = read(yaml).unwrap().remove(0);
    Log::new(config, Arc::default())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_are_those_of_the_api_chosen_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/drops.log");
    let mut log = log(&format!(
        "flowLogs: [{{name: drops, filePath: '{}', includeFilters: [{{verdict: [DROPPED]}}], fieldMask: [verdict, l4.TCP.destination_port]}}]",
        path.display()
    ));
    log.write(NODE, &batch(10), 7);
    log.flush();
    let lines = lines(&fs::read_to_string(&path).unwrap());
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0]["lost_events"]["num_events_lost"], "7");
    assert_eq!(
        lines[1]["flow"],
        json!({"verdict": "DROPPED", "l4": {"TCP": {"destination_port": 443}}})
    );
    assert_eq!(lines[1]["node_name"], NODE);
    assert_eq!(log.counts.written.load(Ordering::Relaxed), 5);
}

#[test]
fn flows_that_are_the_same_are_one_line_that_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sums.log");
    let mut log = log(&format!(
        "flowLogs: [{{name: sums, filePath: '{}', fieldAggregate: [verdict, l4.TCP.destination_port], aggregationInterval: 1h}}]",
        path.display()
    ));
    log.write(NODE, &batch(10), 3);
    log.write(NODE, &batch(5), 0);
    log.flush();
    let text = || fs::read_to_string(&path).unwrap();
    assert_eq!(lines(&text()).len(), 1, "the interval is not over: {}", text());
    log.end();
    log.end();
    let told = lines(&text());
    assert_eq!(told[0]["lost_events"]["num_events_lost"], "3");
    let mut sums: Vec<(&str, u64)> = told[1..]
        .iter()
        .map(|line| {
            assert_eq!(line["node_name"], NODE);
            assert_eq!(line["flow"]["l4"], json!({"TCP": {"destination_port": 443}}));
            assert!(line["flow"]["IP"].is_null(), "{line}");
            let count = &line["flow"]["aggregate"]["unknown_direction_flow_count"];
            (line["flow"]["verdict"].as_str().unwrap(), count.as_u64().unwrap())
        })
        .collect();
    sums.sort_unstable();
    assert_eq!(sums, [("DROPPED", 8), ("FORWARDED", 7)]);
    assert_eq!(log.counts.written.load(Ordering::Relaxed), 15);
}

#[test]
fn an_interval_ends_when_it_is_over_or_when_there_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ports.log");
    let mut log = log(&format!(
        "flowLogs: [{{name: ports, filePath: '{}', fieldAggregate: [l4.TCP.source_port], aggregationInterval: 1h}}]",
        path.display()
    ));
    log.write(NODE, &batch(10_500), 0);
    log.flush();
    assert_eq!(lines(&fs::read_to_string(&path).unwrap()).len(), 10_000);
    let mut aggregation = Aggregation::new(
        log.config.aggregation.clone().unwrap().0,
        Duration::from_secs(30),
        Instant::now(),
    );
    aggregation.add(&batch(1).to_response(0));
    assert!(aggregation.due(Instant::now()).is_empty());
    assert_eq!(aggregation.due(Instant::now() + Duration::from_secs(31)).len(), 1);
}

#[test]
fn files_are_rotated_and_compressed_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows.log");
    for compress in [false, true] {
        let mut log = log(&format!(
            "flowLogs: [{{name: all, filePath: '{}', fileMaxSizeMb: 1, fileMaxBackups: 2, fileCompress: {compress}}}]",
            path.display()
        ));
        // Some 200 bytes each: three files and a bit, of which the oldest goes.
        let batch = batch(4000);
        (0..4).for_each(|_| log.write(NODE, &batch, 0));
        log.flush();
        let ends: &[&str] = if compress {
            &["", ".1.gz", ".2.gz"]
        } else {
            &["", ".1", ".2"]
        };
        let mut kept = 0;
        for end in ends {
            let bytes = fs::read(format!("{}{end}", path.display())).unwrap();
            let mut text = String::new();
            match end.ends_with(".gz") {
                true => flate2::read::GzDecoder::new(&bytes[..])
                    .read_to_string(&mut text)
                    .unwrap(),
                false => (&bytes[..]).read_to_string(&mut text).unwrap(),
            };
            assert!(text.len() <= 1 << 20, "{end}: {}", text.len());
            assert!(end.is_empty() || text.len() > (1 << 20) - 4096, "{end}: {}", text.len());
            kept += lines(&text).len();
        }
        assert!(kept > 6000 && kept < 16_000, "{kept}");
        let others = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(others, 3, "nothing else is left");
        for end in ends {
            fs::remove_file(format!("{}{end}", path.display())).unwrap();
        }
    }
}

#[test]
fn what_can_not_be_written_is_counted_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    fs::write(&place, "a file where the folder should be").unwrap();
    let path = place.join("flows.log");
    let mut log = log(&format!("flowLogs: [{{name: all, filePath: '{}'}}]", path.display()));
    log.write(NODE, &batch(3), 0);
    assert_eq!(log.counts.failed.load(Ordering::Relaxed), 3);
    fs::remove_file(&place).unwrap();
    log.write(NODE, &batch(2), 0);
    log.flush();
    assert_eq!(log.counts.written.load(Ordering::Relaxed), 2);
    assert_eq!(lines(&fs::read_to_string(&path).unwrap()).len(), 2);
}

#[test]
fn a_log_ends_when_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows.log");
    let mut log = log(&format!(
        "flowLogs: [{{name: all, filePath: '{}', end: 2020-01-01T00:00:00Z}}]",
        path.display()
    ));
    log.write(NODE, &batch(3), 0);
    assert!(!path.exists());
}

#[test]
fn what_is_wrong_is_said() {
    for (yaml, why) in [
        ("flowLogs: [{name: a}]", "filePath"),
        (
            "flowLogs: [{name: a, filePath: x, fieldMask: [verdit]}]",
            "flow log a: fieldMask: ",
        ),
        (
            "flowLogs: [{name: a, filePath: x, includeFilters: [{source_ip: ['10.0.0.0/99']}]}]",
            "10.0.0.0/99",
        ),
        (
            "flowLogs: [{name: a, filePath: x}, {name: a, filePath: y}]",
            "two flow logs a",
        ),
        (
            "flowLogs: [{name: a, filePath: x}, {name: b, filePath: x}]",
            "two flow logs write x",
        ),
        (
            "flowLogs: [{name: a, filePath: x, end: tomorrow}]",
            "end is no time: write 2026-12-24T18:00:00Z",
        ),
        (
            "flowLogs: [{name: a, filePath: x, fileMaxSizeMb: 0}]",
            "fileMaxSizeMb must be 1 at least",
        ),
        (
            "flowLogs: [{name: a, filePath: x, fieldAggregate: [verdict]}]",
            "flow log a: fieldAggregate needs an aggregationInterval: 30s",
        ),
        (
            "flowLogs: [{name: a, filePath: x, aggregationInterval: 30s}]",
            "fieldAggregate: [source, destination, verdict]",
        ),
        (
            "flowLogs: [{name: a, filePath: x, fieldAggregate: [verdict], aggregationInterval: soon}]",
            "write 30s or 5m",
        ),
        (
            "flowLogs: [{name: a, filePath: x, fieldAggregate: [verdit], aggregationInterval: 1s}]",
            "fieldAggregate: ",
        ),
        ("flowLogs: [{name: a, filePath: x, size: 1}]", "size"),
    ] {
        let error = read(yaml).unwrap_err();
        assert!(error.contains(why), "{yaml}: {error}");
    }
    let again = "flowLogs: [{name: a, filePath: x}]";
    assert_eq!(read(again).unwrap(), read(again).unwrap());
}
