//! `parallax export` from a server.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::recorder::*;

#[test]
fn json_is_what_observe_prints() {
    let server = Server::start(Manner::Normal);
    let observed = server.run(&["observe", "--all", "-o", "json"]);
    let exported = server.run(&["export"]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(text(&exported.stdout), text(&observed.stdout));
    assert_eq!(text(&exported.stderr), "17 events were lost and are missing\n");
    let requests = server.requests.lock().expect("not poisoned");
    assert_eq!(requests[1].number, u64::MAX, "all flows");
    assert_eq!(requests[1].field_mask, None, "with every field");
}

#[test]
fn filters_and_numbers_are_the_servers_work() {
    let server = Server::start(Manner::Normal);
    let output = server.run(&[
        "export",
        "--last",
        "7",
        "--verdict",
        "DROPPED",
        "--not",
        "--to-port",
        "53",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let requests = server.requests.lock().expect("not poisoned");
    assert_eq!((requests[0].number, requests[0].first), (7, false));
    assert_eq!((requests[0].whitelist.len(), requests[0].blacklist.len()), (1, 1));
}

#[test]
fn rows_of_a_server_are_rows_of_the_table() {
    let server = Server::start(Manner::Normal);
    let file = server.dir.path().join("flows.csv");
    let output = server.run(&["export", "-o", path(&file)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let csv = std::fs::read_to_string(&file).expect("it was written");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("time,log_id,sequence,"), "{csv}");
    assert!(lines[1].starts_with("2023-11-14T22:13:20Z,0,0,"), "{csv}");
    assert_eq!(lines.len(), 2, "{csv}");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Waits until the folder has a file with that in its name, and something in it.
fn appears(folder: &Path, part: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let mut files = std::fs::read_dir(folder).expect("the folder").flatten();
        if files.any(|file| {
            let is_long = file.metadata().is_ok_and(|file| file.len() > 0);
            is_long && file.file_name().to_string_lossy().contains(part)
        }) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no file {part} in {}", folder.display());
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("the program is there");
}

#[test]
fn an_interrupted_export_leaves_no_half_file() {
    for interruption in [nix::sys::signal::Signal::SIGINT, nix::sys::signal::Signal::SIGTERM] {
        let server = Server::start(Manner::Flood);
        let work = tempfile::tempdir().expect("a folder");
        let file = work.path().join("flows.json");
        std::fs::write(&file, "what was there").expect("it can be written");
        let child = server
            .command(&["export", "-o", path(&file)])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        appears(work.path(), ".part");
        signal(&child, interruption);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(
            said.starts_with("cancelled; ") && said.ends_with("flows.json is not complete, and was not written\n"),
            "{said}"
        );
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "what was there");
        assert_eq!(std::fs::read_dir(work.path()).expect("the folder").count(), 1);
    }
}

#[test]
fn an_export_that_follows_ends_with_a_complete_file() {
    let server = Server::start(Manner::Normal);
    let work = tempfile::tempdir().expect("a folder");
    let file = work.path().join("flows.pcapng");
    let child = server
        .command(&["export", "--follow", "-o", path(&file)])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    appears(work.path(), ".part");
    signal(&child, nix::sys::signal::Signal::SIGINT);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(
        said.contains("left out 1 flow that is no packet: 1 packet without addresses\n"),
        "{said}"
    );
    let start = std::fs::read(&file).expect("it was written");
    assert_eq!(start[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
}
