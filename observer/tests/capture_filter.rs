//! `--capture` at work: the programs in the kernel decide about every frame as the same filter does here, what they leave
//! out is counted, the verifier takes the largest filter, and a replay is filtered too.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the playground of other tests too")]
#[path = "kernel/playground.rs"]
mod playground;
#[path = "kernel/test_run.rs"]
mod test_run;

use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrow_array::types::{UInt8Type, UInt16Type};
use bpf_probes::capture_filter::{CompiledFilter, MAX_TESTS, accepts};
use bpf_probes::event::{Outer, PacketHeaders, SOURCE_EGRESS, SourceCounters};
use bpf_probes::parse::{Frame, Link, SNAPLEN, parse};
use etherparse::{PacketBuilder, VlanId};
use flow::api::flow::layer4::Protocol;
use flow::api::flow::{Flow, Verdict};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, ServerStatusRequest};
use flow::api::parallax::CaptureStatus;
use flow::schema::Column;
use hyper_util::rt::TokioIo;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use observer::attach::Hook;
use observer::btf::Btf;
use observer::capture_filter::CaptureFilter;
use observer::decode::decode;
use observer::probes::{Probes, ProbesOptions};
use observer::ring::{Record, Rings};
use playground::{Playground, Running, available, within};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use test_run::test_run;
use tokio::net::UnixStream;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

const OBSERVER: &str = env!("CARGO_BIN_EXE_parallax-observer");

struct Kernel {
    probes: Probes,
    rings: Rings,
    program: i32,
}

/// Programs with this filter; `None` where they can't be loaded.
fn load(filter: &str) -> Option<Kernel> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root, for eBPF");
        return None;
    }
    let options = ProbesOptions {
        ring_bytes: 1 << 16,
        capture: compiled(filter),
        ..ProbesOptions::default()
    };
    let started = Instant::now();
    let (mut probes, rings) = Probes::load(&Btf::from_kernel().unwrap(), options).unwrap();
    println!(
        "loaded in {:?} with {} tests",
        started.elapsed(),
        options.capture.length
    );
    let program = probes.classifier_fd("egress_ethernet").unwrap();
    Some(Kernel { probes, rings, program })
}

fn compiled(filter: &str) -> CompiledFilter {
    *filter.parse::<CaptureFilter>().unwrap().compiled()
}

impl Kernel {
    fn counters(&self) -> SourceCounters {
        let sources = self.probes.states().counters();
        sources[SOURCE_EGRESS as usize]
            .iter()
            .fold(SourceCounters::default(), |sum, cpu| SourceCounters {
                seen: sum.seen + cpu.seen,
                delivered: sum.delivered + cpu.delivered,
                lost: sum.lost + cpu.lost,
                not_ip: sum.not_ip + cpu.not_ip,
                malformed: sum.malformed + cpu.malformed,
                filtered: sum.filtered + cpu.filtered,
                aggregated: sum.aggregated + cpu.aggregated,
            })
    }

    /// Whether the frame is captured. It is counted as filtered if it isn't, provided that it is a packet.
    fn captures(&mut self, frame: &[u8]) -> bool {
        let before = self.counters();
        test_run(self.program, frame).unwrap();
        let mut records = 0;
        self.rings.wait(Duration::ZERO).unwrap();
        self.rings
            .drain(|_, record| {
                if let Record::Sample(bytes) = record {
                    decode(bytes).unwrap();
                    records += 1;
                }
            })
            .unwrap();
        let after = self.counters();
        assert_eq!(after.seen, before.seen + 1);
        assert_eq!(after.delivered, before.delivered + records);
        let counted = |counters: SourceCounters| {
            counters.delivered + counters.lost + counters.not_ip + counters.malformed + counters.filtered
        };
        assert_eq!(counted(after), after.seen, "{after:?}");
        let refused = after.filtered - before.filtered;
        assert!(records + refused <= 1);
        records == 1
    }
}

/// Whether it would be captured here.
fn captures_here(filter: &CompiledFilter, bytes: &[u8]) -> bool {
    let mut frame: Frame = [0; size_of::<Frame>()];
    let captured = bytes.len().min(SNAPLEN as usize);
    frame[..captured].copy_from_slice(&bytes[..captured]);
    let (mut headers, mut inner, mut outer) = (PacketHeaders::default(), PacketHeaders::default(), Outer::default());
    let link = Link::Ethernet;
    parse(&frame, captured as u32, link, &mut headers, &mut inner, &mut outer).is_ok() && accepts(filter, &headers)
}

/// A frame out of a few numbers, so that the filters of the test say yes as often as no.
fn frame(shape: u8, ends: (u8, u8), ports: (u16, u16)) -> Vec<u8> {
    let (from, to) = ends;
    let mut frame = Vec::new();
    let ethernet = PacketBuilder::ethernet2([1; 6], [2; 6]);
    let v4 = || PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, from, 0, 1], [10, to, 0, 1], 64);
    let v6_address = |last| {
        let mut address = [0; 16];
        (address[0], address[1], address[15]) = (0xfd, last, 1);
        address
    };
    let v6 = || PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6(v6_address(from), v6_address(to), 64);
    let tcp = (ports.0, ports.1, 1, 1000);
    let result = match shape {
        0 => v4().udp(ports.0, ports.1).write(&mut frame, &[0; 20]),
        1 => v4().tcp(tcp.0, tcp.1, tcp.2, tcp.3).syn().write(&mut frame, &[]),
        2 => v6().udp(ports.0, ports.1).write(&mut frame, &[0; 20]),
        3 => v6().tcp(tcp.0, tcp.1, tcp.2, tcp.3).syn().write(&mut frame, &[]),
        4 => v4().icmpv4_echo_request(ports.0, ports.1).write(&mut frame, &[0; 20]),
        5 => v6().icmpv6_echo_request(ports.0, ports.1).write(&mut frame, &[0; 20]),
        6 => ethernet
            .single_vlan(VlanId::try_new(7).unwrap())
            .ipv4([10, from, 0, 1], [10, to, 0, 1], 64)
            .udp(ports.0, ports.1)
            .write(&mut frame, &[0; 20]),
        7 => {
            let inner = self::frame(1, ends, ports);
            ethernet
                .ipv4([172, 16, 0, 1], [172, 16, 0, 2], 64)
                .udp(40000, 4789)
                .write(&mut frame, &[vec![8, 0, 0, 0, 0, 0, 42, 0], inner].concat())
        }
        _ => {
            frame.extend([[1; 6], [2; 6]].concat());
            frame.extend([0x08, 0x06]);
            frame.extend([0; 46]);
            Ok(())
        }
    };
    result.unwrap();
    frame
}

#[test]
fn the_kernel_and_we_decide_the_same_about_any_frame() {
    let filters = [
        "tcp",
        "udp dst portrange 1-2",
        "src and dst port 1",
        "src net 10.1.0.0/16 or fd01::/16",
        "not net fd00::/15",
        "tcp port 1 and not host 10.2.0.1 or icmp",
        "(tcp or udp) and (src host 10.0.0.1 or dst host fd02::1) and not (src port 0 or 3)",
        "icmp6 or proto 6 or ip proto 17",
    ];
    for filter in filters {
        let Some(mut kernel) = load(filter) else { return };
        let here = compiled(filter);
        let mut decided = [0; 2];
        let mut runner = TestRunner::new(Config::with_cases(300));
        let (kernel, counts) = (
            std::cell::RefCell::new(&mut kernel),
            std::cell::RefCell::new(&mut decided),
        );
        let frames = (
            0..9_u8,
            (0..3_u8, 0..3_u8),
            (0..4_u16, 0..4_u16),
            proptest::option::weighted(0.2, 12..90_usize),
        );
        runner
            .run(&frames, |(shape, ends, ports, damage)| {
                let mut frame = frame(shape, ends, ports);
                if let Some(at) = damage {
                    let at = at % frame.len();
                    frame[at] ^= 0x11;
                }
                let captured = kernel.borrow_mut().captures(&frame);
                prop_assert_eq!(captured, captures_here(&here, &frame), "{}", filter);
                counts.borrow_mut()[usize::from(captured)] += 1;
                Ok(())
            })
            .unwrap();
        println!("{filter}: {decided:?}");
        assert!(decided[0] > 0 && decided[1] > 0, "{filter}: {decided:?}");
    }
}

#[test]
fn the_verifier_takes_the_largest_filters() {
    let pairs: Vec<String> = (0..MAX_TESTS / 2)
        .map(|pair| format!("(tcp port {pair} or net 10.{pair}.0.0/16)"))
        .collect();
    let hosts: Vec<String> = (0..MAX_TESTS).map(|host| format!("fd00::{host:x}")).collect();
    let ports: Vec<String> = (0..MAX_TESTS).map(|port| format!("port {port}")).collect();
    for filter in [
        pairs.join(" and "),
        format!("host {}", hosts.join(" or ")),
        format!("not ({})", ports.join(" or ")),
    ] {
        let Some(mut kernel) = load(&filter) else { return };
        let here = compiled(&filter);
        assert_eq!(here.length as usize, MAX_TESTS);
        for shape in 0..9 {
            let frame = frame(shape, (1, 1), (3, 900));
            assert_eq!(kernel.captures(&frame), captures_here(&here, &frame), "{filter}");
        }
    }
}

#[test]
fn a_full_ring_loses_nothing_that_the_filter_leaves_out() {
    let Some(kernel) = load("tcp") else { return };
    // Each CPU has a ring of its own: this thread stays on one.
    let thread = nix::unistd::Pid::from_raw(0);
    let allowed = sched_getaffinity(thread).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap()).unwrap())
        .unwrap();
    sched_setaffinity(thread, &one).unwrap();
    let run = |shape, times| {
        for _ in 0..times {
            test_run(kernel.program, &frame(shape, (1, 1), (1, 1))).unwrap();
        }
    };
    let mut sent = 0;
    while kernel.counters().lost == 0 {
        assert!(sent < 10_000, "the ring is never full");
        run(1, 100);
        sent += 100;
    }
    let full = kernel.counters();
    run(0, 50);
    let after = kernel.counters();
    assert_eq!((after.filtered, after.lost), (full.filtered + 50, full.lost));
    run(1, 1);
    assert_eq!(kernel.counters().lost, full.lost + 1);
}

/// A port that no other test uses, not even one of another process.
fn port() -> u16 {
    20_000 + (std::process::id() % 20_000) as u16
}

/// Sends datagrams from the node to ports of the pod at which nobody listens.
fn send(playground: &Playground, ports: &[(u16, usize)]) {
    let ports = ports.to_owned();
    within(&playground.node, move || {
        for (port, count) in ports {
            // A new socket each time: a refused one has an error to tell first.
            for _ in 0..count {
                let socket = UdpSocket::bind("10.99.0.1:0").unwrap();
                socket.send_to(&[1; 64], ("10.99.0.2", port)).unwrap();
            }
        }
    })
    .join()
    .unwrap();
}

#[test]
fn only_what_the_filter_accepts_arrives_and_the_rest_is_counted() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let wanted = port();
    let options = ProbesOptions {
        ring_bytes: 1 << 20,
        capture: compiled(&format!("udp port {wanted}")),
        ..ProbesOptions::default()
    };
    let mut running = Running::start_with(&playground, Hook::of_kernel(), options);
    send(&playground, &[(wanted, 50), (wanted + 1, 70), (wanted, 10)]);
    let counters = running.stop();
    println!("{counters:?}");
    let (mut packets, mut drops) = (0, 0);
    for batch in running.log.read_from(0) {
        for row in 0..batch.rows() {
            let ports = [Column::SourcePort, Column::DestinationPort];
            assert!(
                ports
                    .iter()
                    .any(|port| batch.number::<UInt16Type>(*port, row) == Some(wanted)),
                "row {row}"
            );
            match batch.number::<UInt8Type>(Column::Verdict, row) {
                Some(1) => packets += 1,
                _ => drops += 1,
            }
        }
    }
    assert_eq!((packets, drops), (60, 60), "each was sent and found no socket");
    assert_eq!(counters.delivered, 120);
    // The other datagrams and their drops, and the pod's answers to some.
    assert!(counters.filtered >= 140);
    assert_eq!(
        // TCP events are of the whole machine, whoever else is at work on it.
        counters.packets_seen + counters.drops_seen + counters.tcp_events_seen,
        counters.delivered + counters.lost + counters.not_ip + counters.malformed + counters.filtered
    );
}

/// The program itself, ended with the test.
struct Program(Child);

impl Program {
    fn start(mut command: Command, socket: &Path) -> Self {
        command.args(["--listen", &format!("unix://{}", socket.display())]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status and flows of a program; `None` while it doesn't listen yet.
fn ask(socket: &Path) -> Option<(CaptureStatus, Vec<Flow>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let socket = socket.to_owned();
        let connect = move |_: Uri| {
            let socket = socket.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        };
        let channel = Endpoint::from_static("http://observer")
            .connect_with_connector(service_fn(connect))
            .await
            .ok()?;
        let mut client = ObserverClient::new(channel);
        let request = GetFlowsRequest {
            number: 1000,
            ..Default::default()
        };
        let mut responses = client.get_flows(request).await.unwrap().into_inner();
        let mut flows = Vec::new();
        while let Some(response) = responses.message().await.unwrap() {
            if let Some(ResponseTypes::Flow(flow)) = response.response_types {
                flows.push(flow);
            }
        }
        let status = client.server_status(ServerStatusRequest {}).await.unwrap().into_inner();
        Some((status.capture?, flows))
    })
}

#[test]
fn drops_can_be_captured_alone() {
    if !available() {
        return;
    }
    let playground = Playground::new();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let (wanted, filter) = (port() + 100, format!("udp dst port {}", port() + 100));
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &playground.node, OBSERVER]);
    command.args(["--drops-only", "--capture", &filter]);
    let _program = Program::start(command, &socket);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut sent = false;
    let (status, flows) = loop {
        assert!(Instant::now() < deadline, "no drops were reported");
        std::thread::sleep(Duration::from_millis(50));
        let Some((status, flows)) = ask(&socket) else {
            continue;
        };
        if !sent {
            send(&playground, &[(wanted, 20), (wanted + 1, 20)]);
            sent = true;
        }
        // Counters are read while drops go on elsewhere on this machine, so now and then one is seen and not yet counted.
        let counted = status.delivered + status.lost.iter().map(|loss| loss.count).sum::<u64>() + status.not_ip;
        if flows.len() >= 20
            && status.delivered >= 20
            && status.drops_seen == counted + status.malformed + status.filtered
        {
            break (status, flows);
        }
    };
    assert_eq!(flows.len(), 20);
    assert!(flows.iter().all(|flow| flow.verdict() == Verdict::Dropped));
    assert_eq!(
        (status.mode.as_str(), status.capture_filter),
        ("kernel, drops only", filter)
    );
    assert_eq!((status.interfaces.len(), status.packets_seen), (0, 0));
    assert_eq!(status.delivered, 20);
    assert!(status.filtered >= 20);
}

#[test]
fn a_replay_is_filtered_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/assets/demo.pcap");
    let mut command = Command::new(OBSERVER);
    command.args(["--replay", demo, "--capture", "tcp and not dst port 80"]);
    let _program = Program::start(command, &socket);
    let deadline = Instant::now() + Duration::from_secs(30);
    let (status, flows) = loop {
        assert!(Instant::now() < deadline, "the replay doesn't come to its end");
        std::thread::sleep(Duration::from_millis(50));
        // Counters are there when all of the file is read.
        match ask(&socket) {
            Some((status, flows)) if status.packets_seen > 0 => break (status, flows),
            _ => {}
        }
    };
    assert!(status.delivered > 0 && status.filtered > 0, "{status:?}");
    assert_eq!(status.packets_seen, status.delivered + status.filtered + status.not_ip);
    assert!(flows.len() as u64 >= status.delivered);
    for flow in flows {
        let protocol = flow.l4.and_then(|l4| l4.protocol);
        let Some(Protocol::Tcp(tcp)) = protocol else {
            panic!("{protocol:?}")
        };
        assert_ne!(tcp.destination_port, 80);
    }
}
