//! Names of what a demo makes, and the removal of what a killed one left behind.
//!
//! Every name starts with `plx<pid>-`. While that process lives its things are its own; once it is gone, nobody else
//! will take them away.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command;

const PREFIX: &str = "plx";

/// The name of a namespace of the demo that runs as process `pid`.
pub(super) fn namespace(pid: u32, name: &str) -> String {
    format!("{PREFIX}{pid}-{name}")
}

/// The folder for the files of the demo that runs as process `pid`.
pub(super) fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{pid}-demo"))
}

/// The process that a name belongs to, if the name is one of a demo's.
fn owner(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let digits = pid.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !rest.is_empty()).then(|| pid.parse().ok()).flatten()
}

fn alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Removes namespaces and folders of demos whose process is gone. Returns how many namespaces there were.
///
/// # Errors
/// If a namespace or a folder is there and can't be removed.
pub(super) fn remove_dead() -> Result<usize> {
    let mut removed = 0;
    for name in names_in(Path::new("/run/netns"))? {
        if owner(&name).is_some_and(|pid| !alive(pid)) {
            remove_namespace(&name)?;
            removed += 1;
        }
    }
    for name in names_in(&std::env::temp_dir())? {
        if name.ends_with("-demo") && owner(&name).is_some_and(|pid| !alive(pid)) {
            std::fs::remove_dir_all(std::env::temp_dir().join(name))?;
        }
    }
    Ok(removed)
}

/// Ends the processes in a namespace of a demo, then removes it with all its interfaces and rules.
///
/// # Errors
/// If `ip` can't remove it.
pub(super) fn remove_namespace(name: &str) -> Result<()> {
    for pid in command::output("ip", &["netns", "pids", name])?.lines() {
        if let Ok(pid) = pid.trim().parse() {
            // One that ended meanwhile is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    command::output("ip", &["netns", "delete", name]).map(drop)
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        // No namespace was ever made on this machine.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_demo_have_an_owner() {
        assert_eq!(owner(&namespace(4711, "web")), Some(4711));
        for foreign in [
            "plx-web",
            "plxa1-web",
            "plx12",
            "plx12-",
            "cni-12",
            "plx+1-web",
            "plx99999999999-web",
        ] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn this_process_lives_and_a_number_beyond_the_largest_does_not() {
        assert!(alive(std::process::id()));
        assert!(!alive(u32::MAX));
    }
}
