//! The packet programs: one for each direction and kind of link. They never change a packet or its fate.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use bpf_probes::event::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, Event, FLAG_NO_TRANSPORT, FLAG_QINQ, FLAG_VLAN, KIND_PACKET,
    KIND_PACKET_WITH_BYTES, Outer, PacketHeaders, SOURCE_EGRESS, SOURCE_INGRESS, TUNNEL_NONE,
};
use bpf_probes::parse::{Link, SNAPLEN, parse};

use super::capture_filter::captured_by_filter;
use super::{LONG_BYTES, count_rejected, counters, emits, scratch, send, send_with_bytes, uses_bpf_ring};

const PORT_DNS: u16 = 53;
const PROTOCOL_UDP: u8 = 17;

/// "Go on with the next program", for tcx and clsact alike (`TCX_NEXT`, `TC_ACT_UNSPEC`).
const NEXT: i32 = TC_ACT_UNSPEC;

#[classifier]
pub fn ingress_ethernet(context: TcContext) -> i32 {
    observe(&context, Link::Ethernet, DIRECTION_INGRESS);
    NEXT
}

#[classifier]
pub fn egress_ethernet(context: TcContext) -> i32 {
    observe(&context, Link::Ethernet, DIRECTION_EGRESS);
    NEXT
}

#[classifier]
pub fn ingress_ip(context: TcContext) -> i32 {
    observe(&context, Link::Ip, DIRECTION_INGRESS);
    NEXT
}

#[classifier]
pub fn egress_ip(context: TcContext) -> i32 {
    observe(&context, Link::Ip, DIRECTION_EGRESS);
    NEXT
}

#[inline(always)]
fn observe(context: &TcContext, link: Link, direction: u8) -> Option<()> {
    let source = if direction == DIRECTION_INGRESS {
        SOURCE_INGRESS
    } else {
        SOURCE_EGRESS
    };
    let counters = counters(source)?;
    counters.seen += 1;
    if !emits() {
        return None;
    }
    let scratch = scratch(source)?;
    let skb = context.skb.skb;
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`.
    let length = unsafe { (*skb).len };
    let captured = if length > SNAPLEN { SNAPLEN } else { length };
    if captured == 0 {
        counters.malformed += 1;
        return None;
    }
    // SAFETY: `frame` is longer than `SNAPLEN`.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 0, scratch.frame.as_mut_ptr().cast(), captured) } != 0 {
        counters.malformed += 1;
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
        return count_rejected(rejected, counters);
    }
    if !captured_by_filter(&event.headers) {
        counters.filtered += 1;
        return None;
    }
    // SAFETY: as above.
    unsafe {
        event.time_ns = bpf_ktime_get_ns();
        event.ifindex = (*skb).ifindex;
        let segments = (*skb).gso_segs;
        event.segments = if segments == 0 { 1 } else { segments as u16 };
        event.cgroup_id = if direction == DIRECTION_EGRESS {
            bpf_skb_cgroup_id(skb)
        } else {
            0
        };
        // A tag that the network card or the stack has taken out of the frame was the first one. Tags around a tunnel
        // aren't reported: the headers are those of the packet inside.
        if (*skb).vlan_present != 0 && event.headers.tunnel == TUNNEL_NONE {
            if event.headers.flags & FLAG_VLAN != 0 {
                event.headers.inner_vlan = event.headers.vlan;
                event.headers.flags |= FLAG_QINQ;
            }
            event.headers.vlan = (*skb).vlan_tci as u16;
            event.headers.flags |= FLAG_VLAN;
        }
    }
    event.length = length;
    event.kind = KIND_PACKET;
    event.direction = direction;
    let mut packet_bytes = 0;
    let size = if event.headers.tunnel != TUNNEL_NONE {
        size_of::<Event>() + size_of::<Outer>()
    } else {
        if is_dns(&event.headers) {
            event.kind = KIND_PACKET_WITH_BYTES;
            if uses_bpf_ring() {
                return send_with_bytes(context, event, length, counters);
            }
            packet_bytes = if length > LONG_BYTES { LONG_BYTES } else { length };
        }
        size_of::<Event>()
    };
    send(context, &scratch.record, size as u64, u64::from(packet_bytes), counters);
    None
}

#[inline(always)]
fn is_dns(headers: &PacketHeaders) -> bool {
    headers.protocol == PROTOCOL_UDP
        && headers.flags & FLAG_NO_TRANSPORT == 0
        && (headers.source_port == PORT_DNS || headers.destination_port == PORT_DNS)
}
