//! Runs the real program on flows that are written to it while it runs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

const FLOW: &str = r#"{"flow":{"verdict":"FORWARDED","IP":{"source":"192.0.2.1","destination":"192.0.2.2"}}}"#;
const SHOWN: &str = "N/A: 192.0.2.1 (unknown) <> 192.0.2.2 (unknown) UNKNOWN FORWARDED ()\n";

fn reading(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(["observe", "--input-file", "-"])
        .args(args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs")
}

#[test]
fn a_flow_is_shown_before_the_next_one_comes_and_ctrl_c_is_a_good_end() {
    let mut child = reading(&[]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..3 {
        writeln!(stdin, "{FLOW}").expect("it reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it writes");
        assert_eq!(line, SHOWN);
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("the program is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_line_of_a_megabyte_and_bytes_that_are_no_text_do_not_stop_it() {
    let mut child = reading(&[]);
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        let long = FLOW
            .replace("UNKNOWN", "")
            .replace("}}}", &format!("}},\"node_name\":\"{}\"}}}}", "x".repeat(1 << 20)));
        for line in [long.as_bytes(), b"\xff\xfe\x00", b"{}", b"[[[[[[", FLOW.as_bytes()] {
            stdin
                .write_all(line)
                .and_then(|()| stdin.write_all(b"\r\n"))
                .expect("it reads");
        }
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("all was written");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), SHOWN.repeat(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(
        lines[0].starts_with("warning: line 2 of standard input") && lines[1].contains("line 4 of"),
        "{told}"
    );
}

#[test]
fn the_last_flows_of_many_are_the_newest() {
    let mut child = reading(&["--last", "2", "-o", "json"]);
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        for number in 0..10_000 {
            writeln!(stdin, r#"{{"flow":{{"uuid":"{number}"}}}}"#).expect("it reads");
        }
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("all was written");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        shown,
        "{\"flow\":{\"uuid\":\"9998\"}}\n{\"flow\":{\"uuid\":\"9999\"}}\n"
    );
}
