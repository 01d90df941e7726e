//! What panels ask in SQL has rows, over the Flight SQL of a real observer of the demo's traffic.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use nix::unistd::geteuid;
use serde_json::Value;

use crate::{PATIENCE, dashboards, demo, questions};

/// Rows that a question of a panel is answered with, over the Flight SQL of the demo's observer.
fn rows(pid: u32, question: &str) -> Result<Vec<Value>, String> {
    // As the plugin puts in the time that is shown: the last hour.
    let shown = |ago: Duration| DateTime::<Utc>::from(SystemTime::now() - ago).format("%Y-%m-%dT%H:%M:%SZ");
    let (from, to) = (shown(Duration::from_secs(3600)), shown(Duration::ZERO));
    let question = question.replace("$__timeFilter(time)", &format!("time >= '{from}' AND time <= '{to}'"));
    assert!(!question.contains("$__"), "{question}");
    let socket = std::env::temp_dir().join(format!("plx{pid}-demo/parallax-observer.sock"));
    let answer = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args([
            "sql",
            "-o",
            "jsonl",
            "--server",
            &format!("unix://{}", socket.display()),
            &question,
        ])
        .output()
        .expect("it runs");
    if !answer.status.success() {
        // Its socket may not be there yet.
        return Err(String::from_utf8_lossy(&answer.stderr).into_owned());
    }
    let lines = String::from_utf8(answer.stdout).expect("text");
    let rows = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    Ok(rows.collect())
}

#[test]
fn questions_of_panels_have_rows_in_the_demo() {
    if !geteuid().is_root() {
        return println!("skipped: the demo needs root");
    }
    let place = tempfile::tempdir().expect("a folder");
    let (demo, _) = demo(&place.path().join("history"));
    let boards = dashboards();
    let questions: BTreeSet<&str> = boards.values().flat_map(questions).collect();
    assert!(!questions.is_empty());
    let end = Instant::now() + PATIENCE;
    for question in questions {
        let rows = loop {
            match rows(demo.0.id(), question) {
                Ok(rows) if !rows.is_empty() => break rows,
                other => assert!(Instant::now() < end, "{question}: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(500));
        };
        let drop = &rows[0];
        for column in ["time", "source", "destination", "reason", "symbol", "advice"] {
            assert!(
                drop[column].as_str().is_some_and(|text| !text.is_empty()),
                "{column}: {drop}"
            );
        }
        println!("{} rows, the newest: {drop}", rows.len());
    }
}
