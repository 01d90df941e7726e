//! The running kernel accepts the programs.

use observer::btf::Btf;
use observer::probes::{Probes, ProbesOptions};

#[test]
fn the_kernel_accepts_the_programs() {
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: needs root");
    }
    let btf = Btf::from_kernel().unwrap();
    let (mut probes, mut rings) = Probes::load(
        &btf,
        ProbesOptions {
            ring_bytes: 1 << 16,
            emit: true,
        },
    )
    .unwrap();
    probes.attach_drops().unwrap();
    rings.drain(|_, _| {}).unwrap();
    assert_eq!(probes.counters().unwrap().len(), 3);
}
