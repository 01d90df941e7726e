//! UDP as fast as it goes: one flow, or many.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt};

use super::interrupt::Interrupt;
use super::traffic::{PORT, Traffic};
use crate::namespace::{Pair, finished, inside};

/// 22 bytes behind Ethernet, IP and UDP headers make a frame of 64.
const PAYLOAD: [u8; 22] = [0; 22];
/// Packets in one call into the kernel.
const BURST: usize = 64;
/// What may wait at a receiver: some 10,000 packets, so that it can be late without a loss.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// A receiver that has nothing to do looks again after this time. If it slept until a packet wakes it, each packet would
/// pay for a wake-up, and the flood would measure that.
const PAUSE: Duration = Duration::from_micros(500);
/// Source ports of many flows, in each direction.
const PORTS: u16 = 100;
/// Destination addresses of many flows, in each direction.
const ADDRESSES: u8 = 250;

/// Traffic in one direction.
struct Lane {
    /// Each sends to all targets before it is the next one's turn.
    senders: Vec<UdpSocket>,
    /// `None`: where the socket is connected to.
    targets: Vec<Option<SockaddrIn>>,
    receiver: UdpSocket,
}

pub(super) fn flood(pair: &Pair, time: Duration, interrupt: &Interrupt) -> anyhow::Result<Traffic> {
    let receiver = receiver(&pair.receiver)?;
    let sender = inside(&pair.sender, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(10, 77, 0, 2), PORT))?;
        Ok(socket)
    })?;
    let lane = Lane {
        senders: vec![sender],
        targets: vec![None; BURST],
        receiver,
    };
    run(vec![lane], time, interrupt)
}

pub(super) fn many_flows(pair: &Pair, time: Duration, interrupt: &Interrupt) -> anyhow::Result<Traffic> {
    let lane = |from: &str, to: &str, network: u8| -> anyhow::Result<Lane> {
        let senders = inside(from, || {
            (0..PORTS)
                .map(|_| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))
                .collect()
        })?;
        let target = |last| Some(SocketAddrV4::new(Ipv4Addr::new(10, network, 0, last), PORT).into());
        Ok(Lane {
            senders,
            targets: (1..=ADDRESSES).map(target).collect(),
            receiver: receiver(to)?,
        })
    };
    let lanes = vec![
        lane(&pair.sender, &pair.receiver, 78)?,
        lane(&pair.receiver, &pair.sender, 79)?,
    ];
    run(lanes, time, interrupt)
}

fn receiver(namespace: &str) -> anyhow::Result<UdpSocket> {
    inside(namespace, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
        setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER_BYTES).context("cannot make the receive buffer larger")?;
        Ok(socket)
    })
}

fn run(lanes: Vec<Lane>, time: Duration, interrupt: &Interrupt) -> anyhow::Result<Traffic> {
    let sent_all = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        let mut sending = Vec::new();
        let mut receiving = Vec::new();
        for lane in lanes {
            let Lane {
                senders,
                targets,
                receiver,
            } = lane;
            let sent_all = &sent_all;
            receiving.push(scope.spawn(move || receive(&receiver, sent_all)));
            sending.push(scope.spawn(move || send(&senders, &targets, start + time, interrupt)));
        }
        let sum = |threads: Vec<thread::ScopedJoinHandle<'_, anyhow::Result<u64>>>| -> anyhow::Result<u64> {
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?)
                .sum()
        };
        let sent = sum(sending);
        let seconds = start.elapsed().as_secs_f64();
        sent_all.store(true, Ordering::Relaxed);
        let received = sum(receiving)?;
        Ok(Traffic {
            seconds,
            sent: sent?,
            received,
            ..Traffic::default()
        })
    })
}

fn send(
    sockets: &[UdpSocket],
    targets: &[Option<SockaddrIn>],
    end: Instant,
    interrupt: &Interrupt,
) -> anyhow::Result<u64> {
    let slices = vec![[IoSlice::new(&PAYLOAD)]; BURST];
    let mut headers = MultiHeaders::preallocate(BURST, None);
    let no_control: [ControlMessage<'_>; 0] = [];
    let mut sent = 0;
    for socket in sockets.iter().cycle() {
        for burst in targets.chunks(BURST) {
            let fd = socket.as_raw_fd();
            match sendmmsg(
                fd,
                &mut headers,
                &slices[..burst.len()],
                burst,
                no_control,
                MsgFlags::empty(),
            ) {
                Ok(results) => sent += results.count() as u64,
                // A full queue is part of a flood.
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        if Instant::now() >= end || interrupt.is_set() {
            break;
        }
    }
    Ok(sent)
}

/// Counts packets until all are sent and none is left.
fn receive(socket: &UdpSocket, sent_all: &AtomicBool) -> anyhow::Result<u64> {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BURST, None);
    let mut buffers = vec![[0; PAYLOAD.len()]; BURST];
    let mut received = 0;
    loop {
        // Asked before the socket is empty: what comes after that is not missed.
        let last = sent_all.load(Ordering::Relaxed);
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        match recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &mut slices,
            MsgFlags::MSG_DONTWAIT,
            None,
        ) {
            Ok(results) => received += results.count() as u64,
            Err(Errno::EAGAIN) if last => return Ok(received),
            Err(Errno::EAGAIN) => thread::sleep(PAUSE),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
}

/// Sends one packet to a port of the receiver, where nobody listens.
pub(super) fn sender_to_ports(pair: &Pair) -> anyhow::Result<impl Fn(u16) -> std::io::Result<usize> + use<>> {
    let socket = finished(crate::namespace::within(&pair.sender, || {
        Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?)
    }))?;
    Ok(move |port| socket.send_to(&PAYLOAD, (Ipv4Addr::new(10, 77, 0, 2), port)))
}
