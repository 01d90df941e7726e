//! `parallax sql` on a history, as people and programs run it.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::process::{Command, Output};

use flow::builder::FlowBatchBuilder;
use flow::record::{FlowRecord, Ip, Transport, to_stored};
use history::store::Store;
use history::writer::Writer;

const START_NS: i64 = 1_763_926_496_000_000_000;

/// A history of 100 flows; every tenth is an error, and none comes from another address.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = FlowBatchBuilder::new(7, 0);
    for number in 0..100_u16 {
        builder.append(&FlowRecord {
            time_ns: START_NS + i64::from(number) * 1_000_000,
            verdict: if number % 10 == 0 { 3 } else { 1 },
            event_type: Some(4),
            ip: Some(Ip {
                version: 4,
                source: Some(to_stored("10.1.2.3".parse::<IpAddr>().unwrap())),
                ..Ip::default()
            }),
            transport: Transport {
                protocol: Some(6),
                ports: Some((40_000 + number, 443)),
                ..Transport::default()
            },
            ..FlowRecord::default()
        });
    }
    let batch = builder.seal().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        store.prepare().await.unwrap();
        Writer::new(store, "n".into(), 7).write(&[batch]).await.unwrap();
    });
    folder
}

fn sql(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(["sql", "--from", folder.path().to_str().unwrap()])
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_answer_has_the_form_that_is_asked_for() {
    let folder = folder();
    let query = "SELECT verdict, count(*) AS flows, NULL AS nothing FROM flows GROUP BY verdict ORDER BY flows";
    let answer = |form: &str| {
        let output = sql(&folder, &["-o", form, query]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        output.stdout
    };
    assert_eq!(
        text(&answer("table")),
        "┌───────────┬───────┬─────────┐\n\
         │ verdict   ┆ flows ┆ nothing │\n\
         ╞═══════════╪═══════╪═════════╡\n\
         │ ERROR     ┆    10 ┆         │\n\
         │ FORWARDED ┆    90 ┆         │\n\
         └───────────┴───────┴─────────┘\n"
    );
    assert_eq!(
        text(&answer("csv")),
        "verdict,flows,nothing\nERROR,10,\nFORWARDED,90,\n"
    );
    assert_eq!(
        text(&answer("jsonl")),
        "{\"verdict\":\"ERROR\",\"flows\":10}\n{\"verdict\":\"FORWARDED\",\"flows\":90}\n"
    );
    assert_eq!(
        text(&answer("json")),
        "[{\"verdict\":\"ERROR\",\"flows\":10},{\"verdict\":\"FORWARDED\",\"flows\":90}]\n"
    );
    let expanded = text(&answer("expanded"));
    assert!(
        expanded.starts_with("-[ row 1 ]-\nverdict | ERROR\nflows   | 10\n"),
        "{expanded}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), answer("parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file.reopen().unwrap(), 1024).unwrap();
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 2);
    let stream = answer("arrow");
    let rows: usize = arrow_ipc::reader::StreamReader::try_new(stream.as_slice(), None)
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(rows, 2);
}

#[test]
fn errors_point_at_their_place() {
    let folder = folder();
    let output = sql(&folder, &["SELECT time,\n  sorce_ip\nFROM flows"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "there is no column `sorce_ip`; did you mean `source_ip`?\nLINE 2:   sorce_ip\n          ^^^^^^^^\n"
    );
    let nowhere = tempfile::tempdir().unwrap();
    let output = sql(&nowhere, &["SELECT 1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("there is no history in "),
        "{output:?}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "SELECT /* a; */ 1;\n\nSELECT E'it\\'s; x',\n  tme FROM flows;\n",
    )
    .unwrap();
    let output = sql(&folder, &["-o", "csv", "-f", file.path().to_str().unwrap()]);
    assert!(
        text(&output.stderr).ends_with("\nLINE 4:   tme FROM flows\n          ^^^\n"),
        "the line is that of the file: {output:?}"
    );
    let output = sql(&folder, &["-o", "parquet", "-f", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn statements_of_a_file_are_answered_one_after_the_other() {
    let folder = folder();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "-- two\nSELECT 1 AS a;\nSELECT ';' AS b;\n").unwrap();
    let output = sql(&folder, &["-o", "csv", "-f", file.path().to_str().unwrap()]);
    assert_eq!(text(&output.stdout), "a\n1\nb\n;\n");
    std::fs::write(file.path(), "-- nothing\n").unwrap();
    let output = sql(&folder, &["-f", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_file_that_is_not_a_history_is_named_and_the_rest_is_answered() {
    let folder = folder();
    std::fs::write(folder.path().join("flows/date=2025-11-23/hour=19/x.parquet"), "rubbish").unwrap();
    let output = sql(&folder, &["-o", "csv", "SELECT count(*) AS n FROM flows"]);
    assert_eq!(text(&output.stdout), "n\n100\n");
    assert!(text(&output.stderr).contains("1 file skipped, such as "), "{output:?}");
}

#[test]
fn the_examples_are_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(["sql", "--examples"])
        .output()
        .unwrap();
    assert!(text(&output.stdout).matches(";\n").count() >= 12);
}
