//! JSON, CSV and Parquet.

use std::fs::File;

use flow::api::observer::GetFlowsResponse;
use flow::table::table_schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::lab::{failure, flows, history, parallax, stdout, text};

#[test]
fn json_is_what_a_server_would_have_said() {
    let folder = history();
    let lines = stdout(["export", "--from", text(folder.path())]);
    let flows = flows();
    let said: Vec<GetFlowsResponse> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), flows.rows());
    for (row, response) in said.iter().enumerate() {
        assert_eq!(response, &flows.to_response(row), "row {row}");
    }
    // And `observe` reads it.
    let file = folder.path().join("flows.json");
    std::fs::write(&file, &lines).unwrap();
    let again = stdout(["observe", "--input-file", text(&file), "-o", "json"]);
    assert_eq!(again, lines);
}

#[test]
fn filters_and_windows_select() {
    let folder = history();
    let count = |arguments: &[&str]| {
        let all = ["export", "--from", text(folder.path())];
        stdout(all.iter().chain(arguments).copied()).lines().count()
    };
    assert_eq!(count(&["--verdict", "DROPPED"]), 1);
    assert_eq!(count(&["--not", "--verdict", "DROPPED"]), 11);
    assert_eq!(count(&["--to-port", "443"]), 5);
    assert_eq!(
        count(&["--since", "2025-11-23T19:34:57Z", "--until", "2025-11-23T19:34:58.5Z"]),
        2
    );
    assert_eq!(count(&["--since", "2025-11-23T20:00Z"]), 1);
    assert_eq!(count(&["--from-ip", "10.0.0.0/8", "--format", "csv"]), 10 + 2);
    let all = stdout(["export", "--from", text(folder.path())]);
    let all: Vec<&str> = all.lines().collect();
    for (flag, number, expected) in [
        ("--first", "3", &all[..3]),
        ("--last", "2", &all[10..]),
        ("--last", "99", &all),
    ] {
        let some = stdout(["export", "--from", text(folder.path()), flag, number]);
        assert_eq!(some.lines().collect::<Vec<_>>(), expected, "{flag} {number}");
    }
    let drops = ["--last", "1", "--verdict", "DROPPED"];
    let drop = stdout(["export", "--from", text(folder.path())].iter().chain(&drops).copied());
    assert_eq!(
        drop.lines().collect::<Vec<_>>(),
        [all[1]],
        "the newest of those that match"
    );
}

#[test]
fn a_parquet_file_has_the_columns_of_the_table() {
    let folder = history();
    let file = folder.path().join("out.parquet");
    let output = parallax(["export", "--from", text(folder.path()), "-o", text(&file)]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("12 flows in {}\n", text(&file.canonicalize().unwrap())));
    let reader = ParquetRecordBatchReader::try_new(File::open(&file).unwrap(), 100).unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    let names = |schema: &arrow_schema::Schema| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    assert_eq!(names(&batches[0].schema()), names(&table_schema()));
    assert_eq!(
        batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(),
        12
    );
}

#[test]
fn csv_has_a_header_and_words() {
    let folder = history();
    let csv = stdout([
        "export",
        "--from",
        text(folder.path()),
        "--format",
        "csv",
        "--verdict",
        "DROPPED",
    ]);
    let (header, row) = csv.trim_end().split_once('\n').unwrap();
    assert!(
        header.starts_with("time,log_id,sequence,uuid,cluster,node,"),
        "{header}"
    );
    assert!(
        row.starts_with("2025-11-23T19:34:57.123456789Z,7,1,,lab,node-1,"),
        "{row}"
    );
    assert!(
        row.contains(",DROPPED,NO_SOCKET,3,") && row.contains(",tcp_v4_rcv+0x91,"),
        "{row}"
    );
    let none = stdout([
        "export",
        "--from",
        text(folder.path()),
        "--format",
        "csv",
        "--to-port",
        "1",
    ]);
    assert_eq!(none, format!("{header}\n"), "also a file without flows has its header");
}

#[test]
fn a_file_is_complete_or_not_there() {
    let folder = history();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.parquet");
    // A file of the history that can't be read is told; the answer is complete without it.
    let (status, said) = failure(["export", "--from", text(place.path()), "-o", text(&file)]);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("there is no history in "), "{said}");
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    std::fs::write(&file, "what was there").unwrap();
    let link = place.path().join("link.parquet");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let done = parallax(["export", "--from", text(folder.path()), "-o", text(&link)]);
    assert!(done.status.success(), "{done:?}");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read(&file).unwrap()[..4], *b"PAR1");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn bad_arguments_are_told_in_one_line() {
    let folder = history();
    let from = text(folder.path());
    for (arguments, status, said) in [
        (
            vec!["-o", "/tmp/flows"],
            2,
            "the name /tmp/flows doesn't tell the format; add --format with one of ",
        ),
        (
            vec!["-o", "/nonexistent/a.csv"],
            1,
            "cannot write /nonexistent/a.csv: there is no folder /nonexistent\n",
        ),
        (
            vec!["-o", "/tmp", "--format", "csv"],
            1,
            "/tmp is a folder; name a file in it\n",
        ),
        (
            vec!["--first", "1", "--last", "1"],
            2,
            "--first and --last cannot be combined\n",
        ),
        (
            vec!["--since", "soon"],
            2,
            "invalid argument \"soon\" for \"--since\" flag: ",
        ),
        (
            vec!["--verdict", "DROPED"],
            2,
            "invalid argument \"DROPED\" for \"--verdict\" flag: ",
        ),
        (
            vec!["--follow"],
            2,
            "the argument '--from <PLACE>' cannot be used with '--follow'",
        ),
    ] {
        let (found, text) = failure(["export", "--from", from].iter().chain(&arguments).copied());
        assert_eq!(found, Some(status), "{arguments:?}: {text}");
        assert!(
            text.starts_with(said) && text.lines().count() == 1,
            "{arguments:?}: {text}"
        );
    }
}
