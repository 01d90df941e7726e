//! The packet programs: one for each direction and kind of link. They never change a packet or its fate.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use bpf_probes::event::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, Event, FLAG_NO_TRANSPORT, FLAG_QINQ, FLAG_VLAN, FullEvent, KIND_PACKET,
    KIND_PACKET_WITH_BYTES, Outer, PacketHeaders, SOURCE_EGRESS, SOURCE_INGRESS, STREAM_PACKETS, StreamState,
    TUNNEL_NONE, stream_of,
};
use bpf_probes::parse::{Link, SNAPLEN, parse};

use super::aggregate::{course, take};
use super::capture_filter::captured_by_filter;
use super::shared_ring::{publish, reserve, state};
use super::{DNS_BYTES, count_rejected, emits, http, in_place, scratch, send, send_with_bytes, shared};

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
    let state = state(STREAM_PACKETS)?;
    let place = stream_of(source).1;
    state.counters[place].seen += 1;
    if !emits() {
        return None;
    }
    let skb = context.skb.skb;
    // Where the ring is full, what is filtered out or only counted isn't lost: that needs no room.
    if shared()
        && let Some(room) = reserve::<EVENT>(state)
    {
        // SAFETY: there is room for an event, at an address that is a multiple of 8.
        let event = unsafe { &mut *room.record().cast::<Event>() };
        if in_place::read(skb, link, &mut event.headers) && !is_dns(&event.headers) {
            if !captured_by_filter(&event.headers) {
                state.counters[place].filtered += 1;
                return None;
            }
            if http::in_place(skb, &event.headers) == 0 {
                measure(skb, direction, event);
                let course = course(state, event);
                if course.counted {
                    state.counters[place].aggregated += 1;
                    return None;
                }
                describe(skb, direction, event);
                publish(state, room, EVENT as u32);
                state.counters[place].delivered += 1;
                return take(context, state, course, event, None);
            }
        }
    } else {
        let record = &mut scratch(source)?.record;
        if in_place::read(skb, link, &mut record.event.headers) && !is_dns(&record.event.headers) {
            if !captured_by_filter(&record.event.headers) {
                state.counters[place].filtered += 1;
                return None;
            }
            if http::in_place(skb, &record.event.headers) == 0 {
                measure(skb, direction, &mut record.event);
                return send_or_count::<EVENT>(context, direction, record, state, place);
            }
        }
    }
    copied(context, link, direction, source, state)
}

/// Sends a packet that is complete but for time and cgroup, unless it is only to be counted.
#[inline(always)]
fn send_or_count<const SIZE: u64>(
    context: &TcContext,
    direction: u8,
    record: &mut FullEvent,
    state: &mut StreamState,
    place: usize,
) -> Option<()> {
    let course = course(state, &record.event);
    if course.counted {
        state.counters[place].aggregated += 1;
        return None;
    }
    describe(context.skb.skb, direction, &mut record.event);
    if send::<SIZE, _>(context, record, state, place) {
        take(context, state, course, &record.event, Some(&record.outer));
    }
    None
}

const EVENT: u64 = size_of::<Event>() as u64;
const TUNNELLED: u64 = (size_of::<Event>() + size_of::<Outer>()) as u64;

/// A packet that can't be read in place: its first bytes are copied, and read by the parser of both sides.
#[inline(always)]
fn copied(context: &TcContext, link: Link, direction: u8, source: u32, state: &mut StreamState) -> Option<()> {
    let place = stream_of(source).1;
    let scratch = scratch(source)?;
    let skb = context.skb.skb;
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`.
    let length = unsafe { (*skb).len };
    let captured = if length > SNAPLEN { SNAPLEN } else { length };
    if captured == 0 {
        state.counters[place].malformed += 1;
        return None;
    }
    // SAFETY: `frame` is longer than `SNAPLEN`.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 0, scratch.frame.as_mut_ptr().cast(), captured) } != 0 {
        state.counters[place].malformed += 1;
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
        return count_rejected(rejected, &mut state.counters[place]);
    }
    if !captured_by_filter(&event.headers) {
        state.counters[place].filtered += 1;
        return None;
    }
    measure(skb, direction, event);
    if event.headers.tunnel != TUNNEL_NONE {
        return send_or_count::<TUNNELLED>(context, direction, &mut scratch.record, state, place);
    }
    let wanted = if is_dns(&event.headers) {
        DNS_BYTES
    } else {
        http::loaded(skb, &event.headers)
    };
    if wanted == 0 {
        return send_or_count::<EVENT>(context, direction, &mut scratch.record, state, place);
    }
    describe(skb, direction, event);
    event.kind = KIND_PACKET_WITH_BYTES;
    let wanted = if length > wanted { wanted } else { length };
    send_with_bytes(context, event, wanted, state, place);
    None
}

/// Where a packet is, and how large it is. That is all that counting it needs.
#[inline(always)]
fn measure(skb: *mut __sk_buff, direction: u8, event: &mut Event) {
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`.
    unsafe {
        event.ifindex = (*skb).ifindex;
        event.length = (*skb).len;
        let segments = (*skb).gso_segs;
        event.segments = if segments == 0 { 1 } else { segments as u16 };
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
    event.kind = KIND_PACKET;
    event.direction = direction;
}

/// What only an event needs, each by a call into the kernel.
#[inline(always)]
fn describe(skb: *mut __sk_buff, direction: u8, event: &mut Event) {
    // SAFETY: the kernel hands every classifier a valid `__sk_buff`.
    unsafe {
        event.time_ns = bpf_ktime_get_ns();
        event.cgroup_id = if direction == DIRECTION_EGRESS {
            bpf_skb_cgroup_id(skb)
        } else {
            0
        };
    }
}

#[inline(always)]
fn is_dns(headers: &PacketHeaders) -> bool {
    headers.protocol == PROTOCOL_UDP
        && headers.flags & FLAG_NO_TRANSPORT == 0
        && (headers.source_port == PORT_DNS || headers.destination_port == PORT_DNS)
}
