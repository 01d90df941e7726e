//! The programs read a frame in the kernel as the same parser reads it here. The kernel runs them on frames that the test
//! makes (`BPF_PROG_TEST_RUN`), so that tags, tunnels and broken headers need no devices.
#![allow(clippy::unwrap_used)]

#[path = "kernel/test_run.rs"]
mod test_run;

use std::sync::Arc;
use std::time::Duration;

use bpf_probes::event::{Outer, PacketHeaders, SOURCE_EGRESS, TUNNEL_GENEVE, TUNNEL_VXLAN};
use bpf_probes::parse::{Frame, Link, Rejected, SNAPLEN, parse};
use etherparse::{PacketBuilder, VlanId};
use observer::btf::Btf;
use observer::decode::decode;
use observer::probes::{Probes, ProbesOptions};
use observer::ring::{Record, Rings, StreamStates};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use test_run::test_run;

struct Kernel {
    _probes: Probes,
    states: Arc<StreamStates>,
    rings: Rings,
    program: i32,
}

/// What became of a frame: the headers of the record, or how it was counted.
type Outcome = Result<(PacketHeaders, Option<Outer>), Rejected>;

impl Kernel {
    fn load() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root, for eBPF");
            return None;
        }
        let btf = Btf::from_kernel().unwrap();
        let (mut probes, rings) = Probes::load(
            &btf,
            ProbesOptions {
                ring_bytes: 1 << 20,
                ..ProbesOptions::default()
            },
        )
        .unwrap();
        let program = probes.classifier_fd("egress_ethernet").unwrap();
        Some(Self {
            states: probes.states(),
            _probes: probes,
            rings,
            program,
        })
    }

    fn counted(&self) -> (u64, u64) {
        let counters = self.states.counters();
        let egress = &counters[SOURCE_EGRESS as usize];
        (
            egress.iter().map(|cpu| cpu.not_ip).sum(),
            egress.iter().map(|cpu| cpu.malformed).sum(),
        )
    }

    fn outcome(&mut self, frame: &[u8]) -> Outcome {
        const TC_ACT_UNSPEC: i32 = -1;
        let before = self.counted();
        let verdict = test_run(self.program, frame).unwrap();
        assert_eq!(verdict, TC_ACT_UNSPEC, "the packet goes on as if we weren't there");
        let mut outcome = None;
        self.rings.wait(Duration::ZERO).unwrap();
        self.rings
            .drain(|_, record| {
                if let Record::Sample(bytes) = record {
                    let decoded = decode(bytes).unwrap();
                    assert_eq!(decoded.event.length as usize, frame.len());
                    outcome = Some((decoded.event.headers, decoded.outer));
                }
            })
            .unwrap();
        let after = self.counted();
        match outcome {
            Some(outcome) => Ok(outcome),
            None if after.0 > before.0 => Err(Rejected::NotIp),
            None if after.1 > before.1 => Err(Rejected::Malformed),
            None => panic!("the frame is neither in the ring nor counted"),
        }
    }
}

fn here(bytes: &[u8]) -> Outcome {
    let mut frame: Frame = [0; size_of::<Frame>()];
    let captured = bytes.len().min(SNAPLEN as usize);
    frame[..captured].copy_from_slice(&bytes[..captured]);
    let (mut headers, mut inner, mut outer) = Default::default();
    parse(
        &frame,
        captured as u32,
        Link::Ethernet,
        &mut headers,
        &mut inner,
        &mut outer,
    )
    .map(|()| (headers, (headers.tunnel != 0).then_some(outer)))
}

fn udp(destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(40000, destination_port)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

fn inner() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([3; 6], [4; 6])
        .ipv6([7; 16], [8; 16], 5)
        .tcp(1234, 443, 77, 1000)
        .syn()
        .write(&mut packet, &[])
        .unwrap();
    packet
}

fn tagged() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .double_vlan(VlanId::try_new(7).unwrap(), VlanId::try_new(8).unwrap())
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1, 2)
        .write(&mut packet, &[0; 30])
        .unwrap();
    packet
}

#[test]
fn tags_and_tunnels_are_taken_off_in_the_kernel() {
    let Some(mut kernel) = Kernel::load() else { return };
    let (headers, _) = kernel.outcome(&tagged()).unwrap();
    assert_eq!((headers.vlan & 0xfff, headers.inner_vlan & 0xfff), (7, 8));
    assert_eq!((headers.source_port, headers.destination_port), (1, 2));

    let vxlan = udp(4789, &[vec![8, 0, 0, 0, 0, 0, 42, 0], inner()].concat());
    let (headers, outer) = kernel.outcome(&vxlan).unwrap();
    assert_eq!(
        (headers.tunnel, headers.vni, headers.destination_port),
        (TUNNEL_VXLAN, 42, 443)
    );
    assert_eq!((headers.source, outer.unwrap().destination_port), ([7; 16], 4789));

    let geneve = udp(
        6081,
        &[vec![1, 0, 0x65, 0x58, 0, 0, 43, 0, 9, 9, 9, 9], inner()].concat(),
    );
    let (headers, _) = kernel.outcome(&geneve).unwrap();
    assert_eq!((headers.tunnel, headers.vni, headers.tcp_flags), (TUNNEL_GENEVE, 43, 2));

    let not_vxlan = udp(4789, &[1; 60]);
    let (headers, outer) = kernel.outcome(&not_vxlan).unwrap();
    assert_eq!((headers.tunnel, headers.destination_port, outer), (0, 4789, None));

    let arp = [vec![0xff; 12], vec![0x08, 0x06], vec![0; 46]].concat();
    assert_eq!(kernel.outcome(&arp), Err(Rejected::NotIp));
}

#[test]
fn the_kernel_and_we_read_the_same_out_of_any_frame() {
    let Some(mut kernel) = Kernel::load() else { return };
    let frames = [
        udp(53, b"query"),
        tagged(),
        udp(4789, &[vec![8, 0, 0, 0, 0, 0, 42, 0], inner()].concat()),
        udp(
            6081,
            &[vec![1, 0, 0x65, 0x58, 0, 0, 43, 0, 9, 9, 9, 9], inner()].concat(),
        ),
        inner(),
    ];
    let damage = proptest::collection::vec((12..120_usize, any::<u8>()), 0..6);
    let mut runner = TestRunner::new(Config::with_cases(2000));
    let kernel = std::cell::RefCell::new(&mut kernel);
    runner
        .run(&(0..frames.len(), damage, 60..220_usize), |(which, damage, length)| {
            let mut frame = frames[which].clone();
            frame.resize(length.max(20), 0x5a);
            for (at, value) in damage {
                let at = at % frame.len();
                frame[at] = value;
            }
            prop_assert_eq!(kernel.borrow_mut().outcome(&frame), here(&frame));
            Ok(())
        })
        .unwrap();
}
