//! Runs the real program on a pseudo terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

/// What the program writes to a terminal in a time zone five hours ahead of UTC.
fn on_a_terminal(change: impl FnOnce(&mut Command)) -> String {
    let pty = nix::pty::openpty(None, None).expect("a pseudo terminal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_parallax"));
    command
        .args(["observe", "--input-file", "flows.jsonl", "--last", "4"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
        .env_clear()
        .env("TZ", "<+05>-5")
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(pty.slave)
        .stderr(Stdio::null());
    change(&mut command);
    assert!(command.status().expect("the program runs").success());
    // The command still holds the terminal's other end; without it, reading ends with an error at the end of output.
    drop(command);
    let mut output = Vec::new();
    let mut master = File::from(pty.master);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        output.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(output).expect("UTF-8")
}

#[test]
fn a_terminal_gets_colours_and_local_time() {
    let output = on_a_terminal(|_| ());
    assert!(output.contains("Jan  2 08:04:10.000"), "{output}");
    assert!(output.contains("\x1b[31m✗ DENIED\x1b[0m"), "{output}");
}

#[test]
fn no_color_and_a_chosen_layout_are_respected() {
    let output = on_a_terminal(|command| {
        command.env("NO_COLOR", "1").args(["--time-format", "RFC3339"]);
    });
    assert!(
        output.contains("2026-01-02T03:04:10Z"),
        "a chosen layout is UTC: {output}"
    );
    assert!(!output.contains('\x1b'), "{output}");
}
