//! The running kernel, the probes, and the way of a packet into the log. Needs root; makes its own network namespaces.
#![allow(clippy::unwrap_used)]

#[path = "kernel/frame.rs"]
mod frame;
#[path = "kernel/playground.rs"]
mod playground;

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use etherparse::{PacketBuilder, VlanId};
use flow::batch::FlowBatch;
use flow::record::from_stored;
use flow::schema::Column;
use observer::attach::Hook;
use observer::log::{Source, Stage};
use observer::probes::{ProbesOptions, RingKind};
use playground::{Playground, Running, available, ip, run_in, try_ip, within};

const RING: usize = 1 << 20;

fn byte(batch: &FlowBatch, column: Column, row: usize) -> Option<u8> {
    batch.number::<UInt8Type>(column, row)
}

fn port(batch: &FlowBatch, row: usize) -> Option<u16> {
    batch.number::<UInt16Type>(Column::DestinationPort, row)
}

fn connect(namespace: &str, to: &str) {
    let to: SocketAddr = to.parse().unwrap();
    within(namespace, move || {
        drop(TcpStream::connect_timeout(&to, Duration::from_millis(300)))
    })
    .join()
    .unwrap();
}

fn send_udp(namespace: &str, from: &'static str, to: &'static str, count: usize) {
    within(namespace, move || {
        let socket = UdpSocket::bind(from).unwrap();
        for _ in 0..count {
            // A refusal that came back for an earlier datagram is not of interest.
            let _ = socket.send_to(&[1; 64], to);
        }
    })
    .join()
    .unwrap();
}

#[test]
fn a_refused_connection_is_seen_with_the_reason_and_the_place_of_the_drop() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    connect(&playground.node, "10.99.0.2:81");

    let (batch, row) = running
        .wait_for(|batch, row| port(batch, row) == Some(81) && byte(batch, Column::ObservationPoint, row) == Some(101))
        .expect("the SYN goes out to the pod");
    assert_eq!(batch.text_at(Column::InterfaceName, row), Some("vpod"));
    assert_eq!(
        batch
            .number::<UInt16Type>(Column::TcpFlags, row)
            .map(|flags| flags & 0x3f),
        Some(2)
    );
    assert_eq!(
        batch.address(Column::SourceIp, row).map(from_stored),
        Some("10.99.0.1".parse().unwrap())
    );
    assert_eq!(
        batch.shared_at::<UInt32Type>(Column::SourceIdentity, row),
        Some(1),
        "the node's own address"
    );
    assert!(batch.column(Column::SourceMac).is_some());

    let (batch, row) = running
        .wait_for(|batch, row| {
            port(batch, row) == Some(81) && batch.text_at(Column::DropReason, row) == Some("NO_SOCKET")
        })
        .expect("the drop in the pod is reported");
    assert!(
        batch
            .text_at(Column::DropSymbol, row)
            .is_some_and(|symbol| symbol.starts_with("tcp_v4_rcv+"))
    );
    assert!(batch.column(Column::NetnsCookie).is_some());
    assert_eq!(byte(&batch, Column::Verdict, row), Some(2));
    running.stop();
}

#[test]
fn a_packet_that_nftables_drops_is_a_netfilter_drop() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let rules = "table inet t {\n chain c {\n type filter hook input priority 0;\n udp dport 5555 drop\n }\n}\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    if !run_in(&playground.pod, &["nft", "-f", file.path().to_str().unwrap()]) {
        return println!("skipped: nft can't be used");
    }
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    send_udp(&playground.node, "[fd99::1]:5554", "[fd99::2]:5555", 1);
    let found = running.wait_for(|batch, row| {
        port(batch, row) == Some(5555) && batch.text_at(Column::DropReason, row) == Some("NETFILTER_DROP")
    });
    let (batch, row) = found.expect("the drop is reported");
    assert_eq!(byte(&batch, Column::IpVersion, row), Some(6));
    assert_eq!(
        batch.address(Column::DestinationIp, row).map(from_stored),
        Some("fd99::2".parse().unwrap())
    );
    running.stop();
}

#[test]
fn an_interface_without_ethernet_is_read_from_its_ip_header() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    // Some kernels have one of these, some have others; each has packets that start with an IP header.
    let add = |kind: &[&str]| {
        let mut arguments = vec!["-n", &playground.node];
        arguments.extend(kind);
        try_ip(&arguments)
    };
    let made = add(&["tuntap", "add", "dev", "tun9", "mode", "tun"])
        || add(&["link", "add", "tun9", "type", "wireguard"])
        || add(&[
            "link",
            "add",
            "tun9",
            "type",
            "ipip",
            "local",
            "10.99.0.1",
            "remote",
            "10.99.0.2",
        ])
        || add(&[
            "link",
            "add",
            "tun9",
            "type",
            "gre",
            "local",
            "10.99.0.1",
            "remote",
            "10.99.0.2",
        ]);
    if !made {
        return println!("skipped: this kernel has no tun, wireguard, ipip or gre interfaces");
    }
    ip(&["-n", &playground.node, "addr", "add", "10.94.0.1/24", "dev", "tun9"]);
    ip(&["-n", &playground.node, "link", "set", "tun9", "up"]);
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    send_udp(&playground.node, "10.94.0.1:0", "10.94.0.2:1094", 1);
    let found = running.wait_for(|batch, row| {
        port(batch, row) == Some(1094) && batch.text_at(Column::InterfaceName, row) == Some("tun9")
    });
    let (batch, row) = found.expect("the packet is seen on the interface without Ethernet");
    assert_eq!(
        batch.address(Column::DestinationIp, row).map(from_stored),
        Some("10.94.0.2".parse().unwrap())
    );
    running.stop();
}

#[test]
fn a_tag_that_the_stack_has_taken_off_is_put_back_in_front() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    // On the way in the kernel takes the outer tag out of the frame before the programs see it.
    let tags = |outer| VlanId::try_new(outer).unwrap();
    let builder = || PacketBuilder::ethernet2([1; 6], [2; 6]);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let ends = ([10, 98, 0, 2], [10, 98, 0, 1]);
    let single = builder().single_vlan(tags(7)).ipv4(ends.0, ends.1, 64);
    single.udp(1, 1007).write(&mut one, &[0; 30]).unwrap();
    let double = builder().double_vlan(tags(8), tags(9)).ipv4(ends.0, ends.1, 64);
    double.udp(1, 1009).write(&mut two, &[0; 30]).unwrap();
    within(&playground.pod, move || {
        frame::send_frame("eth0", &one).unwrap();
        frame::send_frame("eth0", &two).unwrap();
    })
    .join()
    .unwrap();
    for (to, tags) in [(1007, (Some(7), None)), (1009, (Some(8), Some(9)))] {
        let (batch, row) = running
            .wait_for(|batch, row| port(batch, row) == Some(to) && byte(batch, Column::Verdict, row) == Some(1))
            .expect("the frame is seen on its way in");
        let tag = |column| batch.number::<UInt16Type>(column, row);
        assert_eq!((tag(Column::Vlan), tag(Column::InnerVlan)), tags, "to port {to}");
    }
    running.stop();
}

#[test]
fn a_packet_in_a_tunnel_is_seen_inside_and_outside_of_it() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    for (namespace, from, to) in [(&playground.node, 1, 2), (&playground.pod, 2, 1)] {
        let (local, remote) = (format!("10.99.0.{from}"), format!("10.99.0.{to}"));
        let device = [
            "-n", namespace, "link", "add", "vx", "type", "vxlan", "id", "42", "dstport", "4789",
        ];
        if !try_ip(&[&device[..], &["local", &local, "remote", &remote]].concat()) {
            return println!("skipped: this kernel has no vxlan interfaces");
        }
        ip(&[
            "-n",
            namespace,
            "addr",
            "add",
            &format!("10.95.0.{from}/24"),
            "dev",
            "vx",
        ]);
        ip(&["-n", namespace, "link", "set", "vx", "up"]);
    }
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    send_udp(&playground.node, "10.95.0.1:0", "10.95.0.2:1095", 1);
    for (interface, tunnel) in [("vx", None), ("vpod", Some((1, 42, "10.99.0.2".parse().unwrap())))] {
        let (batch, row) = running
            .wait_for(|batch, row| {
                port(batch, row) == Some(1095)
                    && byte(batch, Column::Verdict, row) == Some(1)
                    && batch.text_at(Column::InterfaceName, row) == Some(interface)
            })
            .expect("the packet is seen");
        let found = byte(&batch, Column::TunnelProtocol, row).map(|protocol| {
            let vni = batch.number::<UInt32Type>(Column::TunnelVni, row).unwrap();
            (
                protocol,
                vni,
                from_stored(batch.address(Column::TunnelDestinationIp, row).unwrap()),
            )
        });
        assert_eq!(found, tunnel, "on {interface}");
        let inner = batch.address(Column::DestinationIp, row).map(from_stored);
        assert_eq!(inner, Some("10.95.0.2".parse().unwrap()));
    }
    running.stop();
}

#[test]
fn a_new_interface_is_watched_at_once() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    let started = Instant::now();
    ip(&[
        "-n",
        &playground.node,
        "link",
        "add",
        "late0",
        "type",
        "veth",
        "peer",
        "name",
        "late1",
        "netns",
        &playground.pod,
    ]);
    let created = started.elapsed();
    while !running.interfaces.watched().iter().any(|name| name == "late0") {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "late0 was never attached to"
        );
        thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed();
    println!("created in {created:?}, watched after {took:?}");
    ip(&["-n", &playground.node, "link", "del", "late0"]);
    let gone = Instant::now();
    while running.interfaces.watched().iter().any(|name| name == "late0") {
        assert!(gone.elapsed() < Duration::from_secs(5), "late0 was never forgotten");
        thread::sleep(Duration::from_millis(1));
    }
    running.stop();
}

#[test]
fn what_the_kernel_saw_is_in_the_log_or_counted() {
    if !available() {
        return;
    }
    for ring in [RingKind::Shared, RingKind::Perf, RingKind::Bpf] {
        nothing_is_lost_uncounted(ring);
    }
}

fn nothing_is_lost_uncounted(ring: RingKind) {
    let playground = Playground::new();
    // A ring of two pages overflows.
    let options = ProbesOptions {
        ring_bytes: 1 << 13,
        ring,
        ..ProbesOptions::default()
    };
    let mut running = Running::start_with(&playground, Hook::of_kernel(), options);
    send_udp(&playground.node, "10.99.0.1:0", "10.99.0.2:9", 20_000);
    let counters = running.stop();
    let seen = counters.packets_seen + counters.drops_seen + counters.tcp_events_seen;
    println!("{counters:?}");
    assert!(counters.packets_seen >= 20_000);
    assert!(counters.lost > 0, "the ring was meant to overflow");
    assert_eq!(
        seen,
        counters.delivered + counters.lost + counters.not_ip + counters.malformed
    );
    assert_eq!(running.log.state().seen, counters.delivered);
    let reported = running.log.losses().sums();
    assert_eq!(reported.iter().map(|(_, count)| count).sum::<u64>(), counters.lost);
    for (source, cpus) in (0..).zip(&counters.sources) {
        for (cpu, counted) in (0..).zip(cpus) {
            let accounted = counted.delivered + counted.lost + counted.not_ip + counted.malformed;
            assert_eq!(counted.seen, accounted, "source {source} on CPU {cpu}");
            let place = (Stage::KernelRing, Some(Source::of(source)), Some(cpu));
            let told = reported
                .iter()
                .find(|(told, _)| *told == place)
                .map_or(0, |(_, count)| *count);
            assert_eq!(told, counted.lost, "source {source} on CPU {cpu}");
        }
    }
}

#[test]
fn filters_of_clsact_work_too_and_leave_with_the_observer() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let mut running = Running::start(&playground, Hook::Clsact, RING);
    send_udp(&playground.node, "10.99.0.1:0", "10.99.0.2:1099", 1);
    let seen =
        running.wait_for(|batch, row| port(batch, row) == Some(1099) && byte(batch, Column::Verdict, row) == Some(1));
    assert!(seen.is_some(), "the packet is seen");
    running.stop();
    let filters = std::process::Command::new("tc")
        .args(["-n", &playground.node, "filter", "show", "dev", "vpod", "egress"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&filters.stdout), "", "no filter stays");
}

#[test]
fn filters_that_a_killed_observer_left_behind_are_removed_at_the_next_start() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let filters = || {
        let output = std::process::Command::new("tc")
            .args(["-n", &playground.node, "filter", "show", "dev", "vpod", "egress"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).matches("direct-action").count()
    };
    playground::attach_and_forget(&playground.node, Hook::Clsact);
    assert_eq!(filters(), 1, "as after kill -9");
    let mut running = Running::start(&playground, Hook::Clsact, RING);
    assert_eq!(filters(), 1, "the new one, and not the old one");
    running.stop();
    assert_eq!(filters(), 0);
}

#[test]
fn the_sender_of_a_packet_is_known_by_its_cgroup() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let mut running = Running::start(&playground, Hook::of_kernel(), RING);
    send_udp(&playground.node, "10.99.0.1:0", "10.99.0.2:1010", 1);
    let (batch, row) = running
        .wait_for(|batch, row| port(batch, row) == Some(1010) && byte(batch, Column::Verdict, row) == Some(1))
        .expect("the packet is seen");
    let cgroup = batch.shared_at::<UInt64Type>(Column::CgroupId, row);
    running.stop();
    match std::fs::metadata("/sys/fs/cgroup/cgroup.controllers") {
        Ok(_) => assert!(cgroup.is_some_and(|cgroup| cgroup > 0), "{cgroup:?}"),
        Err(_) => println!("skipped: no unified cgroup hierarchy here, the kernel said {cgroup:?}"),
    }
}
