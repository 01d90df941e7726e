//! Two network namespaces with a veth pair between them, removed again when dropped.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

/// Whether this process may create namespaces.
#[must_use]
pub fn may_create() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A sender with `10.77.0.1` on `a0` and a receiver with `10.77.0.2` on `b0`. The receiver also answers to all of
/// `10.78.0.0/16`, and the sender to `10.79.0.0/16`.
#[derive(Debug)]
pub struct Pair {
    /// Name of the sender's namespace.
    pub sender: String,
    /// Name of the receiver's namespace.
    pub receiver: String,
}

impl Pair {
    /// Makes the namespaces.
    ///
    /// # Errors
    /// If a command fails, which needs root.
    pub fn new() -> anyhow::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("plxb{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let pair = Self {
            sender: format!("{prefix}-a"),
            receiver: format!("{prefix}-b"),
        };
        ip(&["netns", "add", &pair.sender])?;
        ip(&["netns", "add", &pair.receiver])?;
        ip(&[
            "-n",
            &pair.sender,
            "link",
            "add",
            "a0",
            "type",
            "veth",
            "peer",
            "name",
            "b0",
            "netns",
            &pair.receiver,
        ])?;
        for (namespace, interface, last) in [(&pair.sender, "a0", 1), (&pair.receiver, "b0", 2)] {
            ip(&[
                "-n",
                namespace,
                "addr",
                "add",
                &format!("10.77.0.{last}/24"),
                "dev",
                interface,
            ])?;
            ip(&["-n", namespace, "link", "set", interface, "up"])?;
        }
        for (here, interface, network, there, address) in [
            (&pair.receiver, "b0", "10.78.0.0/16", &pair.sender, "10.77.0.2"),
            (&pair.sender, "a0", "10.79.0.0/16", &pair.receiver, "10.77.0.1"),
        ] {
            ip(&["-n", here, "route", "add", "local", network, "dev", interface])?;
            ip(&["-n", there, "route", "add", network, "via", address])?;
        }
        Ok(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.sender, &self.receiver] {
            if let Err(error) = ip(&["netns", "del", namespace]) {
                eprintln!("{error}");
            }
        }
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .context("cannot run `ip` (package iproute2)")?;
    if !status.success() {
        bail!("`ip {}` failed", arguments.join(" "));
    }
    Ok(())
}

/// Runs `work` on a thread inside a namespace.
pub fn within<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> JoinHandle<anyhow::Result<T>> {
    let path = format!("/run/netns/{namespace}");
    thread::spawn(move || {
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {path}"))?;
        work()
    })
}

/// Runs `work` inside a namespace and waits for it. A socket that it returns stays in that namespace.
///
/// # Errors
/// If the namespace can't be entered, and those of `work`.
pub fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    finished(within(namespace, work))
}

/// Waits for a thread.
///
/// # Errors
/// Those of the thread, and its panic.
pub fn finished<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?
}
