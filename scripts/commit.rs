//! The build script of several crates: puts the commit into the version of their programs, if the sources are in a git
//! repository.

use std::process::Command;

fn main() {
    let commit = git(&["rev-parse", "--short=9", "HEAD"]).map_or_else(String::new, |commit| format!(" ({commit})"));
    println!("cargo::rustc-env=PARALLAX_COMMIT={commit}");
    // HEAD itself names a branch; its log changes with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
