//! The drop program: `skb:kfree_skb`, which fires for every packet that the kernel gives up.

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_buf};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use bpf_probes::event::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, FullEvent, KIND_DROP, Outer, SOURCE_DROP, STREAM_DROPS, StreamState,
    TUNNEL_NONE,
};
use bpf_probes::parse::{Link, SNAPLEN, parse};

use super::capture_filter::captured_by_filter;
use super::shared_ring::state;
use super::{count_rejected, emits, global, offsets, scratch, send};

/// `sk_buff.mac_header` and `network_header` while they aren't set.
pub(super) const NOT_SET: u16 = 0xffff;
/// The longest link-layer header in front of an Ethernet payload: two VLAN tags.
const MAX_ETHERNET_HEADER: u32 = 14 + 4 + 4;
const MIN_ETHERNET_HEADER: u32 = 14;

pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` (include/net/tcp_states.h): small sockets without a cgroup.
const TCP_TIME_WAIT: u8 = 6;
const TCP_NEW_SYN_RECV: u8 = 12;

/// Arguments of the tracepoint (include/trace/events/skb.h): the buffer, the address of the code, the reason.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb(context: RawTracePointContext) -> i32 {
    if let Some(state) = state(STREAM_DROPS) {
        state.counters[0].seen += 1;
        if emits() {
            observe(&context, state);
        }
    }
    0
}

/// Reads a value of the kernel's at `base + offset`; zero where `base` is null or can't be read.
#[inline(always)]
pub(super) fn read<T: Copy + Default>(base: u64, offset: &u32) -> T {
    if base == 0 {
        return T::default();
    }
    // SAFETY: the helper checks the address itself and fails on a bad one.
    unsafe { bpf_probe_read_kernel((base + u64::from(global(offset))) as *const T) }.unwrap_or_default()
}

#[inline(always)]
fn observe(context: &RawTracePointContext, state: &mut StreamState) -> Option<()> {
    let scratch = scratch(SOURCE_DROP)?;
    let skb: u64 = context.arg(0);
    let offsets = offsets();

    let head: u64 = read(skb, &offsets.skb_head);
    let protocol: u16 = read(skb, &offsets.skb_protocol);
    let network: u16 = read(skb, &offsets.skb_network_header);
    let mac: u16 = read(skb, &offsets.skb_mac_header);
    let tail: u32 = read(skb, &offsets.skb_tail);
    // Buffers of netlink and unix sockets go the same way; they have neither a protocol nor a network header.
    if protocol == 0 || network == 0 || network == NOT_SET || head == 0 {
        state.counters[0].not_ip += 1;
        return None;
    }
    let mac = u32::from(mac);
    let network = u32::from(network);
    let gap = network.wrapping_sub(mac);
    let (start, link) = if mac != u32::from(NOT_SET) && gap >= MIN_ETHERNET_HEADER && gap <= MAX_ETHERNET_HEADER {
        (mac, Link::Ethernet)
    } else {
        (network, Link::Ip)
    };
    if tail <= start {
        state.counters[0].malformed += 1;
        return None;
    }
    let available = tail - start;
    let captured = if available > SNAPLEN { SNAPLEN } else { available };
    let to = scratch.frame.get_mut(..captured as usize)?;
    // SAFETY: the helper checks the address itself and fails on a bad one.
    if unsafe { bpf_probe_read_kernel_buf((head + u64::from(start)) as *const u8, to) }.is_err() {
        state.counters[0].malformed += 1;
        return None;
    }
    let event = &mut scratch.record.event;
    if let Err(rejected) = parse(
        &scratch.frame,
        captured,
        link,
        &mut event.headers,
        &mut scratch.inner,
        &mut scratch.record.outer,
    ) {
        return count_rejected(rejected, &mut state.counters[0]);
    }
    if !captured_by_filter(&event.headers) {
        state.counters[0].filtered += 1;
        return None;
    }
    if event.headers.tunnel == TUNNEL_NONE {
        scratch.record.outer = Outer::default();
    }

    let socket: u64 = read(skb, &offsets.skb_sk);
    let device: u64 = read(skb, &offsets.skb_dev);
    // While a packet waits in a socket's queue its `dev` is used for other things: an address that can't be read gives 0.
    let came_in: u32 = read(skb, &offsets.skb_iif);
    let mut ifindex: u32 = read(device, &offsets.dev_ifindex);
    let mut net: u64 = read(device, &offsets.dev_net);
    if net == 0 {
        net = read(socket, &offsets.sock_net);
        ifindex = came_in;
    }
    event.time_ns = unsafe_time();
    event.ifindex = ifindex;
    event.length = read(skb, &offsets.skb_len);
    event.segments = 1;
    event.kind = KIND_DROP;
    // A packet that was made here, and not received, never came in through an interface.
    event.direction = if came_in != 0 {
        DIRECTION_INGRESS
    } else {
        DIRECTION_EGRESS
    };
    event.cgroup_id = cgroup(socket);
    let drop = &mut scratch.record.drop;
    drop.location = context.arg(1);
    drop.reason = context.arg(2);
    drop.netns_cookie = read(net, &offsets.net_cookie);
    drop.reserved = 0;
    send::<{ size_of::<FullEvent>() as u64 }, _>(context, &scratch.record, state, 0);
    None
}

#[inline(always)]
fn unsafe_time() -> u64 {
    // SAFETY: has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The cgroup of a full socket of an address family that we report; 0 for all others.
#[inline(always)]
pub(super) fn cgroup(socket: u64) -> u64 {
    let offsets = offsets();
    let family: u16 = read(socket, &offsets.sock_family);
    let state: u8 = read(socket, &offsets.sock_state);
    if (family != AF_INET && family != AF_INET6) || state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV {
        return 0;
    }
    let cgroup: u64 = read(socket, &offsets.sock_cgroup);
    let node: u64 = read(cgroup, &offsets.cgroup_kn);
    read(node, &offsets.kernfs_id)
}
