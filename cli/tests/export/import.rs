//! Files into a history, and back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::lab::{failure, history, parallax, stdout, text};

/// All that a history says of its flows but the numbers of its runs, which an import has of its own.
fn rows(history: &Path) -> String {
    let schema = flow::table::table_schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !["log_id", "sequence", "uuid"].contains(name))
        .collect();
    let query = format!(
        "SELECT {}, coalesce(uuid, flow_uuid(log_id, sequence)) AS id FROM flows ORDER BY time",
        names.join(", ")
    );
    stdout(["sql", "--from", text(history), "-o", "csv", &query])
}

fn export(history: &Path, file: &Path) {
    let output = parallax(["export", "--from", text(history), "-o", text(file)]);
    assert!(output.status.success(), "{output:?}");
}

fn import(file: &Path, history: &Path) -> Output {
    parallax(["import", text(file), "--to", text(history)])
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Files below a folder, by their path and content.
fn tree(folder: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                found.insert((path, content));
            }
        }
    }
    found
}

#[test]
fn what_was_exported_is_imported_as_it_was() {
    let folder = history();
    let expected = rows(folder.path());
    assert_eq!(expected.lines().count(), 1 + 12);
    let work = tempfile::tempdir().unwrap();
    for ending in ["json", "csv", "parquet"] {
        let file = work.path().join(format!("flows.{ending}"));
        let to = work.path().join(ending);
        export(folder.path(), &file);
        let output = import(&file, &to);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(said(&output), format!("{}: 12 flows of 1 node\n", text(&file)));
        assert_eq!(rows(&to), expected, "{ending}");
        let nodes = "SELECT cluster, node, version, flows, lost, state FROM nodes";
        let nodes = stdout(["sql", "--from", text(&to), "-o", "csv", nodes]);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            nodes.lines().nth(1).unwrap(),
            format!("lab,node-1,{version} (import),12,0,ended"),
            "{ending}"
        );
        // And a second time it is the same file.
        let again = work.path().join(format!("again.{ending}"));
        export(&to, &again);
        if ending == "json" {
            assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn the_same_file_is_known_whatever_its_name() {
    let folder = history();
    let work = tempfile::tempdir().unwrap();
    let (file, other) = (work.path().join("flows.json"), work.path().join("other.json"));
    export(folder.path(), &file);
    std::fs::copy(&file, &other).unwrap();
    let to = work.path().join("history");
    assert!(import(&file, &to).status.success());
    let before = tree(&to);
    let output = import(&other, &to);
    assert!(output.status.success(), "{output:?}");
    let said = said(&output);
    assert!(
        said.contains("other.json is in the history already, imported ")
            && said.contains(" with 12 flows; nothing was done"),
        "{said}"
    );
    assert_eq!(tree(&to), before);
    let expected = rows(&to);
    let output = parallax(["import", text(&file), "--to", text(&to), "--again"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rows(&to), expected, "in place of what was there");
    // What a killed import leaves are files without a note that they are complete.
    for (path, _) in tree(&to) {
        if text(&path).contains("/imports/") || text(&path).contains("/sessions/") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(import(&file, &to).status.success());
    assert_eq!(rows(&to), expected, "and it is begun anew");
}

#[test]
fn broken_lines_are_named_and_the_rest_is_kept() {
    let folder = history();
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("flows.json");
    export(folder.path(), &file);
    let good = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let lost = r#"{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"17"},"node_name":"lab/node-1","time":"2025-11-23T19:35:00Z"}"#;
    let mixed = [
        lines[0],
        "garbage",
        lines[1],
        r#"{"flow":{"time":5}}"#,
        lost,
        r#"{"agent_event":{}}"#,
    ]
    .join("\n");
    let broken = work.path().join("broken.json");
    std::fs::write(&broken, mixed).unwrap();
    let to = work.path().join("json");
    let output = import(&broken, &to);
    assert_eq!(output.status.code(), Some(1));
    let told = said(&output);
    let told: Vec<&str> = told.lines().collect();
    assert!(
        told[0].starts_with(&format!(
            "warning: line 2 of {} is not a flow and is left out: ",
            text(&broken)
        )),
        "{told:?}"
    );
    assert!(
        told[1].starts_with(&format!("warning: line 4 of {} is not a flow", text(&broken))),
        "{told:?}"
    );
    assert_eq!(
        told[2..],
        [
            &format!(
                "{}: 2 flows of 1 node, 17 events told to be lost, 2 left out",
                text(&broken)
            ),
            "2 lines or rows were left out"
        ]
    );
    let lost = stdout([
        "sql",
        "--from",
        text(&to),
        "-o",
        "csv",
        "SELECT node, stage, count FROM lost",
    ]);
    assert_eq!(lost, "node,stage,count\nnode-1,kernel ring,17\n");

    let csv = work.path().join("flows.csv");
    export(folder.path(), &csv);
    let good = std::fs::read_to_string(&csv).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let (no_time, no_address) = (
        lines[2].replacen("2025", "x", 1),
        lines[3].replacen("10.1.2.3", "10.1.2.300", 1),
    );
    let no_verdict = lines[4].replacen("FORWARDED", "LOST", 1);
    let mixed = [lines[0], lines[1], "a,b", &no_time, &no_address, &no_verdict, lines[5]].join("\n");
    std::fs::write(&csv, mixed).unwrap();
    let output = import(&csv, &work.path().join("csv"));
    assert_eq!(output.status.code(), Some(1));
    let told = said(&output);
    for (line, why) in [
        (3, "it has 2 columns, and the header has "),
        (4, "`x-11-23T19:34:57.123456789Z` is no time"),
        (5, "`10.1.2.300` is no source_ip"),
        (6, "`LOST` is no verdict"),
    ] {
        let expected = format!(
            "warning: line {line} of {} is not a flow and is left out: {why}",
            text(&csv)
        );
        assert!(told.contains(&expected), "{expected}\n{told}");
    }
    assert!(told.contains(": 2 flows of 1 node, 4 left out\n"), "{told}");
}

#[test]
fn files_of_other_kinds_are_refused_in_a_line_and_leave_nothing() {
    let folder = history();
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = work.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let parquet = work.path().join("flows.parquet");
    export(folder.path(), &parquet);
    let content = std::fs::read(&parquet).unwrap();
    let mut damaged = content.clone();
    damaged[4..300].fill(0xa5);
    let packets = work.path().join("flows.pcapng");
    export(folder.path(), &packets);
    let to = work.path().join("history");
    for (path, why) in [
        (file("empty", b""), "it is empty"),
        (
            file("text", b"nothing,here\n"),
            "it is neither Parquet, nor lines of JSON, nor CSV with a header that has a column `time`",
        ),
        (
            file("cut", &content[..content.len() / 2]),
            "it is no Parquet file that can be read: ",
        ),
        (file("damaged", &damaged), "it is damaged after 0 rows: "),
        (
            file("nonsense.json", b"{nonsense\n{\n"),
            "none of its lines or rows is a flow",
        ),
        (
            packets,
            "it holds packets, not flows; `parallax-observer --replay FILE --history PLACE` makes flows of packets",
        ),
        (work.path().join("nothing"), "it can't be opened: "),
        (work.path().to_owned(), "it is not a file"),
    ] {
        let (status, said) = failure(["import", text(&path), "--to", text(&to)]);
        assert_eq!(status, Some(1), "{said}");
        let line = said.lines().find(|line| !line.starts_with("warning: ")).unwrap();
        assert!(line.starts_with(&format!("{}: {why}", text(&path))), "{line}");
        assert!(line.ends_with("; nothing of it was imported"), "{line}");
        assert!(said.ends_with("\n1 file could not be imported\n"), "{said}");
    }
    let left: Vec<PathBuf> = tree(&to).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [to.join("parallax-history.json")]);
    // One that can't be read doesn't keep others out.
    let (status, said) = failure(["import", "/nonexistent", text(&parquet), "--to", text(&to)]);
    assert_eq!(status, Some(1));
    assert!(said.contains(": 12 flows of 1 node\n"), "{said}");
    assert_eq!(rows(&to), rows(folder.path()));
}

#[test]
fn flows_without_a_node_get_the_one_that_is_given_and_others_keep_theirs() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("flows.json");
    let flow = |node: &str| {
        format!(r#"{{"flow":{{"time":"2025-11-23T19:34:56Z","verdict":"DROPPED"}},"node_name":"{node}"}}"#)
    };
    std::fs::write(&file, [flow("east/a"), flow(""), flow("b"), flow("east/a")].join("\n")).unwrap();
    let nodes = |arguments: &[&str]| {
        let to = tempfile::tempdir().unwrap();
        let output = parallax(
            ["import", text(&file), "--to", text(to.path())]
                .iter()
                .chain(arguments)
                .copied(),
        );
        assert!(said(&output).contains(": 4 flows of 3 nodes\n"), "{output:?}");
        let query = "SELECT cluster, node, count(*) AS flows FROM flows GROUP BY 1, 2 ORDER BY 2";
        stdout(["sql", "--from", text(to.path()), "-o", "csv", query])
    };
    assert_eq!(nodes(&[]), "cluster,node,flows\neast,a,2\n,b,1\n,imported,1\n");
    assert_eq!(
        nodes(&["--node", "lab/x"]),
        "cluster,node,flows\neast,a,2\n,b,1\nlab,x,1\n"
    );
}

/// Enough flows that a signal comes before the end.
fn many(work: &Path) -> PathBuf {
    let file = work.join("many.json");
    let lines: String = (0..200_000)
        .map(|number| {
            format!("{{\"flow\":{{\"time\":\"2025-11-23T19:34:56.{number:09}Z\",\"verdict\":\"DROPPED\"}}}}\n")
        })
        .collect();
    std::fs::write(&file, lines).unwrap();
    file
}

#[test]
fn ctrl_c_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let file = many(work.path());
    let to = work.path().join("history");
    let child = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(["import", text(&file), "--to", text(&to)])
        .env("HOME", "/nonexistent")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !to.join("parallax-history.json").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // It has read the file for its number by then, or is about to; signals are heard after that.
    std::thread::sleep(Duration::from_millis(300));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        println!("skipped: it was done before the signal came");
        return;
    }
    let left: Vec<PathBuf> = tree(&to).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [to.join("parallax-history.json")]);
}
