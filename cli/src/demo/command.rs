//! Runs the system's own tools, and says what they said when they fail.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// If it can't be started or fails; the message has its last words.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String> {
    with_input(program, args, "")
}

/// Like [`output`], with text on the program's standard input.
///
/// # Errors
/// As for [`output`].
pub(super) fn with_input(program: &str, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`, which the demo needs; install it (`make setup` does)"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by its exit status, below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "`{program} {}` failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
