//! The TCP programs: raw tracepoints of the stack for what goes wrong with connections, and for their states.
//!
//! They can interrupt each other: a timer that sends a segment again, while a system call closes a socket. So counters are
//! added to in one instruction, and only one of them makes a record: what another would have sent meanwhile counts as lost.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_get_current_comm;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_buf};
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::RawTracePointContext;
use bpf_probes::event::{DIRECTION_EGRESS, DIRECTION_INGRESS, FLAG_FROM_SOCKET, KIND_TCP, PacketHeaders, STREAM_TCP};
use bpf_probes::tcp::{
    SocketOffsets, TCP_RESET_RECEIVED, TCP_RESET_SENT, TCP_RETRANSMIT, TCP_STATE_CHANGE, TcpDetail, TcpRecord, state,
};

use super::capture_filter::captured_by_filter;
use super::drop::{AF_INET, AF_INET6, NOT_SET, cgroup, read};
use super::shared_ring::state as stream_state;
use super::{emits, global, offsets, send_words};

const PROTOCOL_TCP: u8 = 6;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The first 12 bytes of an IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Written by the loader, from the kernel's BTF.
#[unsafe(no_mangle)]
static SOCKET_OFFSETS: SocketOffsets = SocketOffsets {
    peer_v4: 0,
    local_v4: 0,
    peer_v6: 0,
    local_v6: 0,
    peer_port: 0,
    local_port: 0,
    last_local_port: 0,
    protocol: 0,
    srtt: 0,
    skb_transport_header: 0,
    has_reset_reason: 0,
};

/// The record that a program on this CPU makes. It isn't on the stack, where the verifier asks for aligned access.
#[map]
static TCP_RECORD: PerCpuArray<TcpRecord> = PerCpuArray::with_max_entries(1, 0);

/// Arguments (include/trace/events/tcp.h): the socket, the segment.
#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(context: RawTracePointContext) -> i32 {
    let socket: u64 = context.arg(0);
    report(&context, socket, |record| {
        record.tcp.sub_type = TCP_RETRANSMIT;
        ends_of_socket(&mut record.event.headers, socket)
    })
}

/// Arguments: the listener, the request that wasn't acknowledged.
#[raw_tracepoint(tracepoint = "tcp_retransmit_synack")]
pub fn tcp_retransmit_synack(context: RawTracePointContext) -> i32 {
    let request: u64 = context.arg(1);
    report(&context, request, |record| {
        record.tcp.sub_type = TCP_RETRANSMIT;
        ends_of_socket(&mut record.event.headers, request)
    })
}

/// Argument: the socket.
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn tcp_receive_reset(context: RawTracePointContext) -> i32 {
    let socket: u64 = context.arg(0);
    report(&context, socket, |record| {
        record.tcp.sub_type = TCP_RESET_RECEIVED;
        let headers = &mut record.event.headers;
        let known = ends_of_socket(headers, socket);
        core::mem::swap(&mut headers.source, &mut headers.destination);
        core::mem::swap(&mut headers.source_port, &mut headers.destination_port);
        known
    })
}

/// Arguments: the socket, the segment that is answered by the reset, the reason. The first two may be null, but not both.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn tcp_send_reset(context: RawTracePointContext) -> i32 {
    let (socket, skb): (u64, u64) = (context.arg(0), context.arg(1));
    report(&context, socket, |record| {
        record.tcp.sub_type = TCP_RESET_SENT;
        if global(&SOCKET_OFFSETS.has_reset_reason) != 0 {
            record.tcp.reset_reason = context.arg(2);
        }
        if skb == 0 {
            return ends_of_socket(&mut record.event.headers, socket);
        }
        let device: u64 = read(skb, &offsets().skb_dev);
        let net: u64 = read(device, &offsets().dev_net);
        record.tcp.netns_cookie = read(net, &offsets().net_cookie);
        ends_of_answered(&mut record.event.headers, skb)
    })
}

/// Arguments (include/trace/events/sock.h): the socket, the state before, the state after.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(context: RawTracePointContext) -> i32 {
    let socket: u64 = context.arg(0);
    let (old, new): (u32, u32) = (context.arg(1), context.arg(2));
    let (old, new) = (old as u8, new as u8);
    let protocol: u16 = read(socket, &SOCKET_OFFSETS.protocol);
    // SCTP and others use the states of TCP. A listener's copy isn't a connection yet: it has no peer, and its next
    // change (SYN_RECV to ESTABLISHED) tells of it.
    if protocol != u16::from(PROTOCOL_TCP) || (old == state::LISTEN && new == state::SYN_RECV) {
        return 0;
    }
    report(&context, socket, |record| {
        record.tcp.sub_type = TCP_STATE_CHANGE;
        record.tcp.old_state = old;
        record.tcp.new_state = new;
        if is_system_call(old, new) {
            set_process(&mut record.tcp);
        }
        ends_of_socket(&mut record.event.headers, socket)
    })
}

/// Whether only a system call changes a state in that way: connect, listen, close, shutdown. Other changes come from the
/// network, and the task that they interrupt has nothing to do with them.
#[inline(always)]
fn is_system_call(old: u8, new: u8) -> bool {
    matches!(
        (old, new),
        (state::CLOSE, state::SYN_SENT | state::LISTEN)
            | (state::LISTEN, state::CLOSE)
            | (state::ESTABLISHED, state::FIN_WAIT1)
            | (state::CLOSE_WAIT, state::LAST_ACK)
    )
}

#[inline(always)]
fn set_process(tcp: &mut TcpDetail) {
    tcp.process_id = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: a buffer of that size. On failure it stays empty.
    unsafe { bpf_get_current_comm(tcp.command.as_mut_ptr().cast(), size_of_val(&tcp.command) as u32) };
}

/// Sends an event. `fill` puts in what only its tracepoint knows, and says whether the connection's ends are known.
#[inline(always)]
fn report(context: &RawTracePointContext, socket: u64, fill: impl FnOnce(&mut TcpRecord) -> bool) -> i32 {
    let Some(stream) = stream_state(STREAM_TCP) else {
        return 0;
    };
    add(&mut stream.counters[0].seen);
    let Some(record) = TCP_RECORD.get_ptr_mut(0) else {
        return 0;
    };
    if !emits() {
        return 0;
    }
    // Interruptions on one CPU end before what they interrupt goes on, so plain loads and stores are enough.
    let is_written = &raw mut stream.is_written;
    // SAFETY: a map's value; volatile, since another program changes it.
    if unsafe { is_written.read_volatile() } != 0 {
        add(&mut stream.counters[0].lost);
        return 0;
    }
    // SAFETY: as above. From here on until it is 0 again the record is this program's.
    let record = unsafe {
        is_written.write_volatile(1);
        &mut *record
    };
    *record = TcpRecord::default();
    if !fill(record) {
        add(&mut stream.counters[0].not_ip);
    } else if !captured_by_filter(&record.event.headers) {
        add(&mut stream.counters[0].filtered);
    } else {
        finish(record, socket);
        let words = core::ptr::from_ref(record).cast();
        if send_words::<{ size_of::<TcpRecord>() as u64 }, _>(context, words, stream) {
            add(&mut stream.counters[0].delivered);
        } else {
            add(&mut stream.counters[0].lost);
        }
    }
    // SAFETY: as above.
    unsafe { is_written.write_volatile(0) };
    0
}

/// Fills in what all events have.
#[inline(always)]
fn finish(record: &mut TcpRecord, socket: u64) {
    let current: u8 = read(socket, &offsets().sock_state);
    if record.tcp.sub_type != TCP_STATE_CHANGE {
        record.tcp.new_state = current;
    }
    // Small sockets and listeners have measured nothing.
    if !matches!(current, 0 | state::TIME_WAIT | state::NEW_SYN_RECV | state::LISTEN) {
        let eighths: u32 = read(socket, &SOCKET_OFFSETS.srtt);
        record.tcp.srtt_us = eighths >> 3;
    }
    let net: u64 = read(socket, &offsets().sock_net);
    if net != 0 {
        record.tcp.netns_cookie = read(net, &offsets().net_cookie);
    }
    record.tcp.socket = socket;
    record.event.cgroup_id = cgroup(socket);
    record.event.kind = KIND_TCP;
    record.event.direction = if record.tcp.sub_type == TCP_RESET_RECEIVED {
        DIRECTION_INGRESS
    } else {
        DIRECTION_EGRESS
    };
    // SAFETY: has no preconditions.
    record.event.time_ns = unsafe { bpf_ktime_get_ns() };
}

/// Adds one in a single instruction, so that nothing can come in between. (`core` has no atomic additions for this target.)
#[inline(always)]
fn add(counter: &mut u64) {
    // SAFETY: a map's value, which is aligned and lives as long as the program runs.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) core::ptr::from_mut(counter), one = in(reg) 1_u64);
    }
}

/// Takes the ends from a socket, full or small: all begin with `struct sock_common`. The local one is the source.
#[inline(always)]
fn ends_of_socket(headers: &mut PacketHeaders, socket: u64) -> bool {
    let family: u16 = read(socket, &offsets().sock_family);
    let at = |offset: &u32| socket + u64::from(global(offset));
    match family {
        AF_INET => set_v4(headers, at(&SOCKET_OFFSETS.local_v4), at(&SOCKET_OFFSETS.peer_v4)),
        AF_INET6 => set_v6(headers, at(&SOCKET_OFFSETS.local_v6), at(&SOCKET_OFFSETS.peer_v6)),
        _ => return false,
    }
    headers.source_port = read(socket, &SOCKET_OFFSETS.local_port);
    // Only a full socket can be without a port.
    if headers.source_port == 0 {
        headers.source_port = u16::from_be(read(socket, &SOCKET_OFFSETS.last_local_port));
    }
    headers.destination_port = u16::from_be(read(socket, &SOCKET_OFFSETS.peer_port));
    headers.protocol = PROTOCOL_TCP;
    headers.flags = FLAG_FROM_SOCKET;
    true
}

/// Takes the ends from a segment that is answered: its destination is the source.
#[inline(always)]
fn ends_of_answered(headers: &mut PacketHeaders, skb: u64) -> bool {
    let head: u64 = read(skb, &offsets().skb_head);
    let network: u16 = read(skb, &offsets().skb_network_header);
    let transport: u16 = read(skb, &SOCKET_OFFSETS.skb_transport_header);
    if head == 0 || network == NOT_SET || transport == NOT_SET {
        return false;
    }
    let (network, transport) = (head + u64::from(network), head + u64::from(transport));
    // Places of the addresses: RFC 791, section 3.1; RFC 8200, section 3. Of the ports: RFC 9293, section 3.1.
    let first: u8 = read_at(network);
    match first >> 4 {
        4 => set_v4(headers, network + 16, network + 12),
        6 => set_v6(headers, network + 24, network + 8),
        _ => return false,
    }
    headers.source_port = u16::from_be(read_at(transport + 2));
    headers.destination_port = u16::from_be(read_at(transport));
    headers.protocol = PROTOCOL_TCP;
    headers.flags = FLAG_FROM_SOCKET;
    true
}

#[inline(always)]
fn read_at<T: Copy + Default>(address: u64) -> T {
    // SAFETY: the helper checks the address itself and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
}

/// Reads an address straight to its place. It stays zero if it can't be read.
#[inline(always)]
fn read_address(to: &mut [u8], from: u64) {
    // SAFETY: the helper checks the address itself and fails on a bad one.
    let _ = unsafe { bpf_probe_read_kernel_buf(from as *const u8, to) };
}

#[inline(always)]
fn set_v4(headers: &mut PacketHeaders, source: u64, destination: u64) {
    headers.source[..12].copy_from_slice(&MAPPED);
    headers.destination[..12].copy_from_slice(&MAPPED);
    read_address(&mut headers.source[12..], source);
    read_address(&mut headers.destination[12..], destination);
    (headers.ip_version, headers.ethertype) = (4, ETHERTYPE_IPV4);
}

#[inline(always)]
fn set_v6(headers: &mut PacketHeaders, source: u64, destination: u64) {
    read_address(&mut headers.source, source);
    read_address(&mut headers.destination, destination);
    // An IPv6 socket that talks IPv4.
    (headers.ip_version, headers.ethertype) = if headers.destination[..12] == MAPPED {
        (4, ETHERTYPE_IPV4)
    } else {
        (6, ETHERTYPE_IPV6)
    };
}
