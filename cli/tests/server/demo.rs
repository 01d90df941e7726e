//! What the demo shows of the observer that it starts: here one whose socket leads to the recording server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::recorder::{Manner, Server};

/// Makes the socket that it is told to listen on, then waits as an observer does.
const OBSERVER: &str = "#!/bin/sh
while [ \"$1\" != --listen ]; do shift; done
/bin/ln -s \"$TEST_SOCKET\" \"${2#unix://}\"
exec /bin/sleep 20
";

#[test]
fn a_replay_shows_the_first_flows_and_sums_up_all() {
    let server = Server::start(Manner::Flood);
    let programs = tempfile::tempdir().expect("a directory");
    let parallax = programs.path().join("parallax");
    fs::copy(env!("CARGO_BIN_EXE_parallax"), &parallax).expect("copied");
    let observer = programs.path().join("parallax-observer");
    fs::write(&observer, OBSERVER).expect("written");
    fs::set_permissions(&observer, fs::Permissions::from_mode(0o755)).expect("executable");

    let output = Command::new(parallax)
        .arg("demo")
        .env_clear()
        // Without `ip` there is no playground, for root either.
        .env("PATH", programs.path())
        .env("TEST_SOCKET", server.dir.path().join("observer.sock"))
        .output()
        .expect("the program runs");

    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("No live demo: "), "{text}");
    let shown = lines
        .iter()
        .filter(|line| line.starts_with("Nov 14 22:13:20.000"))
        .count();
    assert_eq!(shown, 1, "flows that are alike leave room for others: {text}");
    let total: u64 = lines
        .iter()
        .find_map(|line| {
            line.strip_suffix(" flows, 0 of them packets dropped for a reason to look at")?
                .parse()
                .ok()
        })
        .expect("a summary");
    assert!(total > 1, "all are counted, not only those shown: {total}");
    assert_eq!(lines.last(), Some(&"Lost events: 5 at kernel ring (CPU 0)"));
    let request = server.requests.lock().expect("not poisoned")[0].clone();
    assert!(request.follow && request.whitelist.len() == 2, "{request:?}");
}
