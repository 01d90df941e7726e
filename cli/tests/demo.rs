//! Runs the real demo and looks for what it leaves behind. Needs root; without, it says that it was skipped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

fn root(test: &str) -> bool {
    if !geteuid().is_root() {
        eprintln!("SKIPPED {test}: needs root");
    }
    geteuid().is_root()
}

/// Names in a folder that belong to the demo with this process.
fn of_demo(folder: &Path, pid: u32) -> Vec<String> {
    let prefix = format!("plx{pid}-");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

fn namespaces(pid: u32) -> Vec<String> {
    of_demo(Path::new("/run/netns"), pid)
}

fn interfaces() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").expect("a list of interfaces");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn start() -> Child {
    Command::new(env!("CARGO_BIN_EXE_parallax"))
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs")
}

fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Interrupts a demo once `wanted` of its namespaces are there, and checks that all of it is gone.
fn nothing_is_left_after(signal: Signal, wanted: usize) {
    let before = interfaces();
    let mut demo = start();
    let pid = demo.id();
    within(Duration::from_secs(10), "namespaces", || {
        namespaces(pid).len() >= wanted
    });
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("it lives");
    within(Duration::from_secs(20), "the end", || {
        demo.try_wait().expect("a child").is_some()
    });
    assert_eq!(namespaces(pid), [""; 0]);
    assert_eq!(of_demo(&std::env::temp_dir(), pid), [""; 0]);
    assert_eq!(interfaces(), before);
    assert_eq!(processes_in(pid), [""; 0]);
}

/// Command lines that name a namespace or file of the demo.
fn processes_in(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("processes");
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.contains(&format!("plx{pid}-")))
        .collect()
}

#[test]
fn nothing_is_left_after_ctrl_c_sigterm_and_hangup() {
    if root("nothing_is_left_after_ctrl_c_sigterm_and_hangup") {
        nothing_is_left_after(Signal::SIGINT, 7);
        nothing_is_left_after(Signal::SIGTERM, 1);
        nothing_is_left_after(Signal::SIGHUP, 4);
    }
}

#[test]
fn what_a_killed_demo_left_is_removed_by_the_next() {
    if !root("what_a_killed_demo_left_is_removed_by_the_next") {
        return;
    }
    let mut killed = start();
    let pid = killed.id();
    within(Duration::from_secs(10), "namespaces", || namespaces(pid).len() >= 7);
    killed.kill().expect("it lives");
    killed.wait().expect("a child");
    assert!(!namespaces(pid).is_empty(), "SIGKILL leaves no time to clean up");

    let mut next = start();
    within(Duration::from_secs(20), "removal", || {
        namespaces(pid).is_empty() && of_demo(&std::env::temp_dir(), pid).is_empty()
    });
    kill(Pid::from_raw(next.id().cast_signed()), Signal::SIGINT).expect("it lives");
    next.wait().expect("a child");
    assert_eq!(namespaces(next.id()), [""; 0]);
}

#[test]
fn the_demo_shows_every_broken_connection_with_its_reason_and_what_to_check() {
    const TEST: &str = "the_demo_shows_every_broken_connection_with_its_reason_and_what_to_check";
    if !root(TEST) {
        return;
    }
    let observer = Path::new(env!("CARGO_BIN_EXE_parallax")).with_file_name("parallax-observer");
    if !observer.is_file() {
        println!("skipped: {TEST}: {} is not built", observer.display());
        return;
    }
    let demo = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let pid = demo.id();
    let output = demo.wait_with_output().expect("it ends by itself");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    if text.starts_with("No live demo") {
        println!("skipped: {TEST}: {}", text.lines().next().unwrap_or_default());
        return;
    }
    for shown in [
        "web-0:5432 (ID:1001) NETFILTER_DROP DROPPED (TCP Flags: SYN)",
        "web-0:81 (ID:1001) NO_SOCKET DROPPED (TCP Flags: SYN)",
        "203.0.113.9:80 (world) IP_INNOROUTES DROPPED",
        "web-0:9999 (ID:1001) NO_SOCKET DROPPED (UDP)",
        "api-0:80 (ID:1003) IP_RPFILTER DROPPED (UDP)",
        "198.51.100.10 (world) PKT_TOO_BIG DROPPED (ICMPv4 EchoRequest)",
        "dns-request packet FORWARDED (DNS Query web.demo.test. A)",
        "dns-response packet FORWARDED (DNS Answer",
        "http-request FORWARDED (HTTP/1.1 GET http://demo.test/",
        "http-response FORWARDED (HTTP/1.1 200 ",
        "FORWARDED (ICMPv4 EchoReply)",
        "FORWARDED (ICMPv6 EchoRequest)",
        "FORWARDED (ICMPv6 EchoReply)",
        " <- team-a/web-0:80 (ID:1001) from-endpoint FORWARDED (TCP Flags: SYN, ACK)",
        "NETFILTER_DROP (",
        "  check: `nft list ruleset`",
        "Lost events: none",
    ] {
        assert!(text.contains(shown), "{shown} is missing:\n{text}");
    }
    assert_eq!(namespaces(pid), [""; 0]);
    assert_eq!(processes_in(pid), [""; 0]);
}

/// A relay answers for an observer in each pod; nothing of it stays.
#[test]
fn a_cluster_is_shown_by_its_relay() {
    if !root("a_cluster_is_shown_by_its_relay") {
        return;
    }
    let beside = |name| Path::new(env!("CARGO_BIN_EXE_parallax")).with_file_name(name);
    if !beside("parallax-observer").exists() || !beside("parallax-relay").exists() {
        return println!(
            "skipped: parallax-observer or parallax-relay is not built; run the tests of the whole workspace"
        );
    }
    let before = interfaces();
    let child = Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_parallax"), "demo", "--cluster"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for node in ["demo/web", "demo/client", "demo/api", "demo/dns", "demo/gateway"] {
        let connected = text
            .lines()
            .any(|line| line.starts_with(node) && line.contains("Connected"));
        assert!(connected, "{node}: {text}");
    }
    for expected in ["NETFILTER_DROP", "NO_SOCKET", "Connected Nodes: 5/5", "drop_reason"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(interfaces(), before);
}
