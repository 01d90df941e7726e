//! The attacher on the running kernel, without a capture. Needs root; makes its own network namespaces.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use observer::attach::{Attacher, Hook};
use observer::btf::Btf;
use observer::interface::{Interfaces, Selection};
use observer::probes::{Probes, ProbesOptions};
use parking_lot::Mutex;

/// A network namespace, removed again when dropped.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let name = format!("plxa{}", std::process::id());
        assert!(
            Command::new("ip")
                .args(["netns", "add", &name])
                .status()
                .unwrap()
                .success()
        );
        Self(name)
    }

    /// Runs a batch of `ip` commands.
    fn batch(&self, commands: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), commands).unwrap();
        let batch = file.path().to_str().unwrap();
        let status = Command::new("ip").args(["-n", &self.0, "-batch", batch]).status();
        assert!(status.unwrap().success(), "{commands}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn interfaces_whose_messages_got_lost_are_found_all_the_same() {
    const PAIRS: usize = 100;
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: needs root, for eBPF and network namespaces");
    }
    let namespace = Namespace::new();
    setns(
        File::open(format!("/run/netns/{}", namespace.0)).unwrap(),
        CloneFlags::CLONE_NEWNET,
    )
    .unwrap();
    namespace.batch("link add old0 type veth peer name old1");
    let (probes, _rings) = Probes::load(
        &Btf::from_kernel().unwrap(),
        ProbesOptions {
            ring_bytes: 1 << 13,
            ..ProbesOptions::default()
        },
    )
    .unwrap();
    let interfaces = Arc::new(Interfaces::default());
    // Nothing reads netlink while this runtime isn't entered.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let selection = Selection::new(&[]).unwrap();
    let start = Attacher::start(
        Arc::new(Mutex::new(probes)),
        selection,
        Hook::of_kernel(),
        Arc::clone(&interfaces),
    );
    let attacher = runtime.block_on(start).unwrap();
    assert_eq!(interfaces.watched(), ["old1", "old0"]);

    let mut commands = String::new();
    for pair in 0..PAIRS {
        commands += &format!("link add a{pair} type veth peer name b{pair}\nlink set a{pair} name c{pair}\n");
    }
    namespace.batch(&(commands + "link del old0\n"));
    let mut expected: Vec<String> = (0..PAIRS)
        .flat_map(|pair| [format!("b{pair}"), format!("c{pair}")])
        .collect();
    expected.sort();
    let watched = || {
        let mut watched = interfaces.watched();
        watched.sort();
        watched
    };
    let started = Instant::now();
    runtime.block_on(async {
        tokio::spawn(attacher.run());
        while watched() != expected && started.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    println!("caught up after {:?}", started.elapsed());
    assert_eq!(watched(), expected);
    let names: Vec<String> = interfaces
        .current()
        .values()
        .map(|interface| interface.name.clone())
        .collect();
    assert_eq!(names.len(), expected.len() + 1, "and lo: {names:?}");
}
