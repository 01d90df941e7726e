//! Streams: what is printed while flows come, and how they end.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::recorder::*;

#[test]
fn flows_and_losses_of_a_server_are_printed() {
    let server = Server::start(Manner::Normal);
    let output = server.run(&["observe"]);
    let lines = text(&output.stdout);
    assert!(
        lines.contains("Nov 14 22:13:20.000") && lines.contains("FORWARDED"),
        "{lines}"
    );
    assert!(
        lines.contains("EVENTS LOST: HUBBLE_RING_BUFFER") && lines.contains("17"),
        "{lines}"
    );
}

#[test]
fn until_ends_a_stream_that_follows() {
    let server = Server::start(Manner::Normal);
    let started = Instant::now();
    let output = server.run(&["observe", "--follow", "--until", "-1s"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(started.elapsed() >= Duration::from_secs(1), "it followed until then");
    assert!(text(&output.stdout).contains("FORWARDED"));
}

#[test]
fn a_follow_that_loses_its_server_fails_and_says_so() {
    let mut server = Server::start(Manner::Normal);
    let (child, _stdout) = following(&server, &[]);
    server.stop();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("observer.sock"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn events_that_a_server_does_not_offer_are_told_so() {
    let server = Server::start(Manner::Normal);
    let output = server.run(&["observe", "agent-events"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("this server has no agent events"),
        "{}",
        text(&output.stderr)
    );
    let output = server.run(&["observe", "debug-events"]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        server
            .run(&["observe", "agent-events", "--verdict", "DROPPED"])
            .status
            .code(),
        Some(2)
    );
}

/// A follow that has printed its first flow.
fn following(server: &Server, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = server
        .command(&[&["observe", "--follow"], args].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a flow comes");
    assert!(
        first.contains("FORWARDED"),
        "flows are printed while following: {first}"
    );
    (child, stdout)
}

fn interrupt(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("the program is there");
}

#[test]
fn ctrl_c_is_a_good_end() {
    let server = Server::start(Manner::Normal);
    let (child, _stdout) = following(&server, &[]);
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn ctrl_c_is_heard_while_flows_never_pause() {
    let server = Server::start(Manner::Flood);
    let (child, mut stdout) = following(&server, &[]);
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).expect("readable"));
    std::thread::sleep(Duration::from_millis(200));
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(reader.join().expect("it ends") > 10_000, "there was a flood");
}

#[test]
fn a_closed_pipe_is_a_good_end() {
    let server = Server::start(Manner::Flood);
    let (child, stdout) = following(&server, &[]);
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
