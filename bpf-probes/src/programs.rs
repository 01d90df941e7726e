//! What the programs share: scratch space, counters, the way out.

mod capture_filter;
mod drop;
mod packet;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_F_CURRENT_CPU, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_perf_event_output, bpf_ringbuf_output, bpf_skb_load_bytes};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, PerfEventByteArray, RingBuf};
use aya_ebpf::programs::TcContext;
use bpf_probes::event::{
    DIRECTION_INGRESS, Event, FullEvent, KernelOffsets, PacketHeaders, SOURCE_EGRESS, SOURCE_INGRESS, SOURCES,
    SourceCounters,
};
use bpf_probes::parse::{Frame, Rejected};

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

/// Indexed by `SOURCE_*`.
#[map]
static COUNTERS: PerCpuArray<SourceCounters> = PerCpuArray::with_max_entries(SOURCES, 0);

#[map]
static EVENTS: PerfEventByteArray = PerfEventByteArray::new(0);

/// Used instead of `EVENTS` if `USE_BPF_RING` is set; the loader gives it its size.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(4096, 0);

/// How much of a packet goes with its event at most: what fits a classic DNS message of 512 bytes behind VLAN, IPv6 and
/// UDP headers (RFC 1035, section 4.2.1), and most EDNS answers.
pub(crate) const LONG_BYTES: u32 = 640;

/// An event with bytes of its packet.
#[repr(C)]
struct LongRecord {
    event: Event,
    bytes: [u8; LONG_BYTES as usize],
}

/// Indexed by `SOURCE_*`; only for the ring buffer.
#[map]
static LONG: PerCpuArray<LongRecord> = PerCpuArray::with_max_entries(SOURCES, 0);

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

/// Written by the loader: 1 for the BPF ring buffer, 0 for the perf rings.
#[unsafe(no_mangle)]
static USE_BPF_RING: u32 = 0;

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

#[inline(always)]
pub(crate) fn counters(source: u32) -> Option<&'static mut SourceCounters> {
    // SAFETY: as for `scratch`: one slot a program and CPU.
    COUNTERS.get_ptr_mut(source).map(|slot| unsafe { &mut *slot })
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

/// Whether the ring buffer is the way out, and not the perf rings.
#[inline(always)]
pub(crate) fn uses_bpf_ring() -> bool {
    global(&USE_BPF_RING) != 0
}

/// Sends the first `size` bytes of `record`, and behind them `packet_bytes` bytes of the packet itself, which only perf
/// rings can do: see [`send_with_bytes`].
#[inline(always)]
pub(crate) fn send<C: EbpfContext>(
    context: &C,
    record: &FullEvent,
    size: u64,
    packet_bytes: u64,
    counters: &mut SourceCounters,
) {
    let data = core::ptr::from_ref(record).cast_mut().cast();
    let result = if uses_bpf_ring() {
        // SAFETY: `record` is at least `size` bytes, `RING` is a ring buffer map.
        unsafe { bpf_ringbuf_output(ring(), data, size, u64::from(BPF_RB_NO_WAKEUP)) }
    } else {
        let events = core::ptr::from_ref(&EVENTS).cast_mut().cast();
        // The upper half of the flags is how much of the packet to append (BPF_F_CTXLEN_MASK).
        let flags = u64::from(BPF_F_CURRENT_CPU) | packet_bytes << 32;
        // SAFETY: `record` is at least `size` bytes, `events` is a perf event array.
        unsafe { bpf_perf_event_output(context.as_ptr(), events, flags, data, size) }
    };
    count(result, counters);
}

/// Sends an event and the first bytes of its packet through the ring buffer, which has no form that appends them.
#[inline(always)]
pub(crate) fn send_with_bytes(
    context: &TcContext,
    event: &Event,
    length: u32,
    counters: &mut SourceCounters,
) -> Option<()> {
    let source = if event.direction == DIRECTION_INGRESS {
        SOURCE_INGRESS
    } else {
        SOURCE_EGRESS
    };
    // SAFETY: as for `scratch`: one slot a program and CPU.
    let long = LONG.get_ptr_mut(source).map(|slot| unsafe { &mut *slot })?;
    long.event = *event;
    let length = if length > LONG_BYTES { LONG_BYTES } else { length };
    // SAFETY: `bytes` is `LONG_BYTES` long, and a packet with a DNS message isn't empty.
    if length == 0
        || unsafe { bpf_skb_load_bytes(context.skb.skb.cast(), 0, long.bytes.as_mut_ptr().cast(), length) } != 0
    {
        counters.malformed += 1;
        return None;
    }
    let data = core::ptr::from_mut(long).cast();
    let size = size_of::<Event>() as u64 + u64::from(length);
    // SAFETY: `long` is at least `size` bytes, `RING` is a ring buffer map.
    let result = unsafe { bpf_ringbuf_output(ring(), data, size, u64::from(BPF_RB_NO_WAKEUP)) };
    count(result, counters);
    None
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
