//! The attacher on the running kernel, without a capture. Needs root; makes its own network namespaces.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use observer::attach::{Attacher, Hook};
use observer::btf::Btf;
use observer::interface::{Interfaces, Selection};
use observer::observation_point::Role;
use observer::probes::{Probes, ProbesOptions};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

/// A network namespace, removed again when dropped.
struct Namespace(String);

impl Namespace {
    /// A new one, which this thread is in from now on.
    fn enter() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("plxa{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        assert!(
            Command::new("ip")
                .args(["netns", "add", &name])
                .status()
                .unwrap()
                .success()
        );
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
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

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Of all interfaces.
fn attacher(runtime: &Runtime, probes: Probes, interfaces: &Arc<Interfaces>) -> Attacher {
    let start = Attacher::start(
        Arc::new(Mutex::new(probes)),
        Selection::new(&[]).unwrap(),
        Hook::of_kernel(),
        Arc::clone(interfaces),
    );
    runtime.block_on(start).unwrap()
}

#[test]
fn interfaces_whose_messages_got_lost_are_found_all_the_same() {
    const PAIRS: usize = 100;
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: needs root, for eBPF and network namespaces");
    }
    let namespace = Namespace::enter();
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
    let runtime = runtime();
    let attacher = attacher(&runtime, probes, &interfaces);
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

/// Bridges tell of their ports in messages about links that say neither what kind these are nor where their peers are.
#[test]
fn an_interface_stays_what_it_is_when_its_bridge_tells_of_it() {
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: needs root, for eBPF and network namespaces");
    }
    let namespace = Namespace::enter();
    namespace
        .batch("link add bridge0 type bridge\nlink set bridge0 up\nlink add tunnel0 type vxlan id 7 dstport 4789\n");
    let (probes, _rings) = Probes::load(&Btf::from_kernel().unwrap(), ProbesOptions::default()).unwrap();
    let interfaces = Arc::new(Interfaces::default());
    let runtime = runtime();
    let attacher = attacher(&runtime, probes, &interfaces);
    let role = |name: &str| {
        let current = interfaces.current();
        let found = current.values().find(|interface| interface.name == name);
        found.map(|interface| interface.role)
    };
    assert_eq!(role("tunnel0"), Some(Role::Overlay));
    // The last one shows that all before it was heard.
    namespace.batch("link set tunnel0 up\nlink set tunnel0 master bridge0\nlink add last0 type bridge\n");
    let started = Instant::now();
    runtime.block_on(async {
        tokio::spawn(attacher.run());
        while role("last0").is_none() && started.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(role("last0"), Some(Role::Bridge));
    assert_eq!(role("tunnel0"), Some(Role::Overlay));
}
