//! What the programs share: scratch space, counters, the way out.

mod aggregate;
mod capture_filter;
mod drop;
mod http;
mod in_place;
mod packet;
mod shared_ring;
mod tcp;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_F_CURRENT_CPU, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_perf_event_output, bpf_ringbuf_output, bpf_skb_load_bytes};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, PerfEventByteArray, RingBuf};
use aya_ebpf::programs::TcContext;
use bpf_probes::event::{
    Event, FullEvent, KernelOffsets, PacketHeaders, RING_BPF, RING_SHARED, SOURCES, SourceCounters, StreamState,
};
use bpf_probes::http::REQUEST_BYTES;
use bpf_probes::parse::{Frame, Rejected};
use shared_ring::{publish, reserve};

/// Per-CPU working memory of one program: all of it is too large for the 512 bytes of a program's stack.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) record: FullEvent,
    pub(crate) inner: PacketHeaders,
    pub(crate) frame: Frame,
}

/// Indexed by `SOURCE_*`: a drop can happen while a packet program runs on the same CPU.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SOURCES, 0);

/// The way out if `RING_KIND` says so.
#[map]
static EVENTS: PerfEventByteArray = PerfEventByteArray::new(0);

/// The way out if `RING_KIND` says so; the loader gives it its size.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(4096, 0);

/// How much of a packet with a DNS message goes with its event at most: what fits a classic message of 512 bytes behind
/// VLAN, IPv6 and UDP headers (RFC 1035, section 4.2.1), and most EDNS answers.
pub(crate) const DNS_BYTES: u32 = 640;

/// How much of any packet goes with its event at most.
const LONG_BYTES: u32 = REQUEST_BYTES;

/// An event with bytes of its packet.
#[repr(C)]
struct LongRecord {
    event: Event,
    bytes: [u8; LONG_BYTES as usize],
}

/// Only for the BPF ring buffer.
#[map]
static LONG: PerCpuArray<LongRecord> = PerCpuArray::with_max_entries(1, 0);

/// Written by the loader, from the kernel's BTF.
#[unsafe(no_mangle)]
static OFFSETS: KernelOffsets = KernelOffsets {
    skb_head: 0,
    skb_tail: 0,
    skb_len: 0,
    skb_protocol: 0,
    skb_mac_header: 0,
    skb_network_header: 0,
    skb_dev: 0,
    skb_iif: 0,
    skb_sk: 0,
    dev_ifindex: 0,
    dev_net: 0,
    net_cookie: 0,
    sock_net: 0,
    sock_family: 0,
    sock_state: 0,
    sock_cgroup: 0,
    cgroup_kn: 0,
    kernfs_id: 0,
};

/// Written by the loader: one of the `RING_*` values.
#[unsafe(no_mangle)]
static RING_KIND: u32 = RING_SHARED;

/// Written by the loader: 0 for a program that only counts, the base line of every cost measurement.
#[unsafe(no_mangle)]
static EMIT: u32 = 1;

/// Reads a global that the loader has written; the compiler must not assume the value it was compiled with.
#[inline(always)]
pub(crate) fn global(value: &u32) -> u32 {
    // SAFETY: a reference is always valid to read.
    unsafe { core::ptr::read_volatile(value) }
}

#[inline(always)]
pub(crate) fn offsets() -> &'static KernelOffsets {
    &OFFSETS
}

#[inline(always)]
pub(crate) fn emits() -> bool {
    global(&EMIT) != 0
}

#[inline(always)]
pub(crate) fn scratch(source: u32) -> Option<&'static mut Scratch> {
    // SAFETY: the slot belongs to this program on this CPU, and the kernel does not run a program of one kind inside
    // itself: packet programs run with bottom halves disabled, and a raw tracepoint program guards against recursion.
    SCRATCH.get_ptr_mut(source).map(|slot| unsafe { &mut *slot })
}

/// Counts a packet that the parser refuses.
#[inline(always)]
pub(crate) fn count_rejected(rejected: Rejected, counters: &mut SourceCounters) -> Option<()> {
    match rejected {
        Rejected::NotIp => counters.not_ip += 1,
        Rejected::Malformed => counters.malformed += 1,
    }
    None
}

/// Whether the shared rings are the way out.
#[inline(always)]
pub(crate) fn shared() -> bool {
    global(&RING_KIND) == RING_SHARED
}

/// Sends the first `SIZE` bytes of `record`, a multiple of 8. `source` is the place of its counters in the stream's state.
#[inline(always)]
pub(crate) fn send<const SIZE: u64, C: EbpfContext>(
    context: &C,
    record: &FullEvent,
    state: &mut StreamState,
    source: usize,
) -> bool {
    let sent = send_words::<SIZE, C>(context, core::ptr::from_ref(record).cast(), state);
    count(if sent { 0 } else { -1 }, &mut state.counters[source]);
    sent
}

/// Sends `SIZE` bytes, a multiple of 8, and doesn't count them.
#[inline(always)]
pub(crate) fn send_words<const SIZE: u64, C: EbpfContext>(
    context: &C,
    record: *const u64,
    state: &mut StreamState,
) -> bool {
    let data = record.cast_mut().cast();
    if shared() {
        copy::<SIZE>(record, state).is_some()
    } else if global(&RING_KIND) == RING_BPF {
        // SAFETY: `record` is at least `SIZE` bytes, `RING` is a ring buffer map.
        unsafe { bpf_ringbuf_output(ring(), data, SIZE, u64::from(BPF_RB_NO_WAKEUP)) == 0 }
    } else {
        let flags = u64::from(BPF_F_CURRENT_CPU);
        // SAFETY: `record` is at least `SIZE` bytes, `EVENTS` is a perf event array.
        unsafe { bpf_perf_event_output(context.as_ptr(), perf_rings(), flags, data, SIZE) == 0 }
    }
}

#[inline(always)]
fn copy<const SIZE: u64>(from: *const u64, state: &mut StreamState) -> Option<()> {
    let room = reserve::<SIZE>(state)?;
    let to = room.record().cast::<u64>();
    let mut word = 0;
    while word < SIZE as usize / 8 {
        // SAFETY: both have `SIZE` bytes, and are aligned to 8.
        unsafe { *to.add(word) = *from.add(word) };
        word += 1;
    }
    publish(state, room, SIZE as u32);
    Some(())
}

/// Sends an event, and behind it the first `length` bytes of its packet.
#[inline(always)]
pub(crate) fn send_with_bytes(context: &TcContext, event: &Event, length: u32, state: &mut StreamState, source: usize) {
    let length = if length > LONG_BYTES { LONG_BYTES } else { length };
    if length == 0 {
        state.counters[source].malformed += 1;
        return;
    }
    let result = if shared() {
        copy_with_bytes(context, event, length, state).map_or(-1, |()| 0)
    } else if global(&RING_KIND) == RING_BPF {
        // The ring buffer has no form that appends the packet's bytes.
        // SAFETY: bottom halves are disabled while packet programs run, so one slot a CPU is enough.
        let Some(long) = LONG.get_ptr_mut(0).map(|slot| unsafe { &mut *slot }) else {
            return;
        };
        long.event = *event;
        // SAFETY: `bytes` is `LONG_BYTES` long.
        if unsafe { bpf_skb_load_bytes(context.skb.skb.cast(), 0, long.bytes.as_mut_ptr().cast(), length) } != 0 {
            state.counters[source].malformed += 1;
            return;
        }
        let size = size_of::<Event>() as u64 + u64::from(length);
        // SAFETY: `long` is at least `size` bytes, `RING` is a ring buffer map.
        unsafe {
            bpf_ringbuf_output(
                ring(),
                core::ptr::from_mut(long).cast(),
                size,
                u64::from(BPF_RB_NO_WAKEUP),
            )
        }
    } else {
        let data = core::ptr::from_ref(event).cast_mut().cast();
        // The upper half of the flags is how much of the packet to append (BPF_F_CTXLEN_MASK).
        let flags = u64::from(BPF_F_CURRENT_CPU) | u64::from(length) << 32;
        // SAFETY: `EVENTS` is a perf event array.
        unsafe { bpf_perf_event_output(context.as_ptr(), perf_rings(), flags, data, size_of::<Event>() as u64) }
    };
    count(result, &mut state.counters[source]);
}

#[inline(always)]
fn copy_with_bytes(context: &TcContext, event: &Event, length: u32, state: &mut StreamState) -> Option<()> {
    let room = reserve::<{ size_of::<LongRecord>() as u64 }>(state)?;
    let long = room.record().cast::<LongRecord>();
    // SAFETY: there is room for all of it.
    unsafe {
        (*long).event = *event;
        let bytes = (&raw mut (*long).bytes).cast();
        if bpf_skb_load_bytes(context.skb.skb.cast(), 0, bytes, length) != 0 {
            return None;
        }
    }
    publish(state, room, size_of::<Event>() as u32 + length);
    Some(())
}

#[inline(always)]
fn perf_rings() -> *mut core::ffi::c_void {
    core::ptr::from_ref(&EVENTS).cast_mut().cast()
}

#[inline(always)]
fn ring() -> *mut core::ffi::c_void {
    core::ptr::from_ref(&RING).cast_mut().cast()
}

#[inline(always)]
fn count(result: i64, counters: &mut SourceCounters) {
    if result == 0 {
        counters.delivered += 1;
    } else {
        counters.lost += 1;
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers such as `bpf_perf_event_output` are only for programs under this licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
