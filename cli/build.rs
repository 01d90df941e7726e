//! Puts the commit into the program's version, if the sources are in a git repository.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(args)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn main() {
    let commit = git(&["rev-parse", "--short=9", "HEAD"])
        .map(|commit| format!(" ({commit})"))
        .unwrap_or_default();
    println!("cargo::rustc-env=PARALLAX_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
    // HEAD names a branch; the log of HEAD changes with each commit and checkout, in worktrees too.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}
