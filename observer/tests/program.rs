//! The program as a user starts it: bad input gets one clear line and the right exit code, signals end it in good order,
//! and `kill -9` leaves no program attached.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

const OBSERVER: &str = env!("CARGO_BIN_EXE_parallax-observer");

fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: {test} needs root");
    }
    root
}

fn listen(folder: &Path) -> String {
    format!("unix://{}", folder.join("x.sock").display())
}

fn run(arguments: &[&str]) -> Output {
    Command::new(OBSERVER)
        .args(arguments)
        .env_remove("PARALLAX_OBSERVER_CONFIG")
        .output()
        .unwrap()
}

/// Checks that a start fails with that code, and says so in one line.
fn fails(arguments: &[&str], code: i32, says: &[&str]) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    for text in says {
        assert!(stderr.contains(text), "{arguments:?} should say `{text}`: {stderr}");
    }
    if code == 1 {
        assert_eq!(
            stderr
                .lines()
                .filter(|line| line.starts_with("parallax-observer: "))
                .count(),
            1,
            "{stderr}"
        );
    }
}

struct Running {
    child: Child,
    socket: PathBuf,
}

impl Running {
    fn start(mut command: Command, folder: &Path) -> Self {
        let socket = folder.join("x.sock");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = Self { child, socket };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&running.socket).is_err() {
            assert!(Instant::now() < deadline, "the observer doesn't come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn ended(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test was good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn replay_file(folder: &Path) -> PathBuf {
    let path = folder.join("flows.jsonl");
    fs::write(&path, "{\"flow\":{\"verdict\":\"FORWARDED\"}}\n").unwrap();
    path
}

fn replaying(folder: &Path) -> Running {
    let mut command = Command::new(OBSERVER);
    command
        .args(["--listen", &listen(folder), "--replay"])
        .arg(replay_file(folder));
    Running::start(command, folder)
}

#[test]
fn bad_usage_is_exit_code_2() {
    fails(&["--memory", "lots"], 2, &["--memory", "lots"]);
    fails(&["--listen", "nowhere"], 2, &["nowhere", "unix:///path"]);
    fails(
        &["--capture", "tcp port htp"],
        2,
        &[
            "--capture",
            "expected a port number (0 to 65535) at column 10, not `htp`",
        ],
    );
    fails(
        &["--drops-only", "--replay", "x.pcap"],
        2,
        &["--drops-only", "--replay"],
    );
    fails(&["--nonsense"], 2, &["--nonsense"]);
    fails(&["--connections", "0"], 2, &["--connections"]);
    fails(&["--config", "/nonexistent/file"], 2, &["/nonexistent/file"]);
}

#[test]
fn a_file_that_cannot_be_replayed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.pcap");
    fs::write(&garbage, [0x5a; 500]).unwrap();
    let address = listen(folder.path());
    fails(
        &["--listen", &address, "--replay", garbage.to_str().unwrap()],
        1,
        &["garbage.pcap", "neither a pcap"],
    );
    fails(
        &["--listen", &address, "--replay", "/nonexistent.pcap"],
        1,
        &["/nonexistent.pcap", "No such file"],
    );
    let flows = replay_file(folder.path());
    fails(
        &[
            "--listen",
            &address,
            "--replay",
            flows.to_str().unwrap(),
            "--capture",
            "tcp",
        ],
        1,
        &["--capture is about packets", "flows.jsonl has flows"],
    );
    let endpoints = folder.path().join("names.yaml");
    fs::write(&endpoints, "endpoints:\n  - addresses: [10.0.0.300]\n").unwrap();
    fails(
        &["--listen", &address, "--endpoints", endpoints.to_str().unwrap()],
        1,
        &["names.yaml", "10.0.0.300"],
    );
}

#[test]
fn a_second_observer_is_told_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = replaying(folder.path());
    let file = replay_file(folder.path());
    let pid = format!("(pid {})", first.child.id());
    fails(
        &["--listen", &listen(folder.path()), "--replay", file.to_str().unwrap()],
        1,
        &["another process", &pid],
    );
}

#[test]
fn sigterm_and_ctrl_c_end_it_in_good_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = replaying(folder.path());
        running.signal(signal);
        assert_eq!(running.ended(Duration::from_secs(5)), Some(0), "{signal}");
        assert!(!running.socket.exists(), "{signal}: the socket's file stays");
    }
}

#[test]
fn the_socket_of_a_killed_observer_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed = replaying(folder.path());
    killed.signal(Signal::SIGKILL);
    killed.ended(Duration::from_secs(5));
    assert!(killed.socket.exists());
    let mut next = replaying(folder.path());
    next.signal(Signal::SIGTERM);
    assert_eq!(next.ended(Duration::from_secs(5)), Some(0));
}

#[test]
fn a_socket_path_on_a_full_disk_is_told() {
    /// A file system of one page, unmounted again in the end.
    struct Full(tempfile::TempDir);
    impl Drop for Full {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }
    if !is_root("a_socket_path_on_a_full_disk_is_told") {
        return;
    }
    let full = Full(tempfile::tempdir().unwrap());
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "none"])
        .arg(full.0.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        return println!("skipped: a tmpfs can't be mounted here");
    }
    fs::write(full.0.path().join("filler"), [0; 4096]).unwrap();
    let file = tempfile::tempdir().unwrap();
    let replay = replay_file(file.path());
    fails(
        &["--listen", &listen(full.0.path()), "--replay", replay.to_str().unwrap()],
        1,
        &["cannot listen on unix://", "x.sock", "No space left"],
    );
}

#[test]
fn an_interface_that_does_not_exist_is_told_with_those_that_do() {
    if !is_root("an_interface_that_does_not_exist_is_told_with_those_that_do") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = listen(folder.path());
    fails(
        &["--listen", &address, "--interface", "nosuch0"],
        1,
        &["no interface `nosuch0`", "lo"],
    );
    fails(
        &["--listen", &address, "--ring-size", "5000"],
        1,
        &["5000", "power of two"],
    );
}

#[test]
fn without_privileges_it_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--clear-groups",
        OBSERVER,
        "--listen",
        &listen(folder.path()),
    ]);
    let output = match command.output() {
        Ok(output) if geteuid().is_root() => output,
        Ok(_) => run(&["--listen", &listen(folder.path())]),
        Err(error) => return println!("skipped: setpriv can't be run: {error}"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("ermission denied") {
        return println!("skipped: an ordinary user may not even start the program here");
    }
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("CAP_BPF") && stderr.contains("sudo parallax-observer"),
        "{stderr}"
    );
}

#[test]
fn kill_9_leaves_no_program_attached() {
    const TEST: &str = "kill_9_leaves_no_program_attached";
    /// A namespace with a dummy network of its own.
    struct Namespace(String);
    impl Drop for Namespace {
        fn drop(&mut self) {
            let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
        }
    }
    if !is_root(TEST) {
        return;
    }
    let namespace = Namespace(format!("plxk{}", std::process::id()));
    let ip = |arguments: &[&str]| {
        Command::new("ip")
            .args(arguments)
            .status()
            .is_ok_and(|status| status.success())
    };
    assert!(ip(&["netns", "add", &namespace.0]));
    assert!(ip(&[
        "-n",
        &namespace.0,
        "link",
        "add",
        "v0",
        "type",
        "veth",
        "peer",
        "name",
        "v1"
    ]));
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("ip");
    command.args([
        "netns",
        "exec",
        &namespace.0,
        OBSERVER,
        "--listen",
        &listen(folder.path()),
    ]);
    let mut running = Running::start(command, folder.path());
    let pid = running.child.id();
    // Programs are gone when nothing holds them any more: links, maps and the process's own descriptors.
    let held = || {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .map(|entries| {
                entries
                    .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                    .filter(|target| target.to_string_lossy().contains("bpf"))
                    .count()
            })
            .unwrap_or_default()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while held() < 8 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(held() >= 8, "programs, links and maps are held by descriptors");
    running.signal(Signal::SIGKILL);
    assert!(running.ended(Duration::from_secs(5)).is_some());
    assert_eq!(held(), 0);
    let Ok(links) = Command::new("bpftool").args(["link", "show"]).output() else {
        return println!("skipped: {TEST} can't ask bpftool");
    };
    let text = String::from_utf8_lossy(&links.stdout);
    assert!(!text.contains(&format!("parallax-observe({pid})")), "{text}");
}
