//! Aggregation: packets of connections that are known are counted and not sent.
//!
//! Each CPU has places for connections, found by a hash of everything that makes a row different. The observer reads the
//! totals out of them (`observer/src/aggregation.rs`); they only grow while a connection has its place, so that nothing has
//! to be reset and no count can be missed. When two connections need the same place, the totals of the one that leaves
//! are sent; if the ring has no room for them it stays, and the other one's packets are sent one by one.

use core::ptr::null_mut;
use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use bpf_probes::event::{
    AGGREGATION_MEDIUM, AGGREGATION_NONE, Aggregate, Event, FLAG_NO_TRANSPORT, KIND_UPDATE, Outer, StreamState,
    TUNNEL_NONE, Totals, Update,
};

use super::{global, send_words};

/// The places of all CPUs, one behind the other; the loader gives their number.
#[map]
static AGGREGATES: Array<Aggregate> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Where an update is put together.
#[map]
static UPDATE: PerCpuArray<Update> = PerCpuArray::with_max_entries(1, 0);

/// Written by the loader: one of the `AGGREGATION_*` values.
#[unsafe(no_mangle)]
static AGGREGATION: u32 = AGGREGATION_NONE;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_SCTP: u8 = 132;
/// FIN, SYN, RST: these are always sent.
const LIFE_OF_A_CONNECTION: u8 = 0x07;

/// What to do with a packet. Not an enum: what its other variants leave open the kernel takes for a value never set.
pub(crate) struct Course {
    /// It was counted: nothing is to be sent.
    pub(crate) counted: bool,
    /// If it is sent, its connection takes this place; null if it is just sent.
    place: *mut Aggregate,
    /// Number of the place.
    number: u32,
}

impl Course {
    const SEND: Self = Self {
        counted: false,
        place: null_mut(),
        number: 0,
    };
    const COUNTED: Self = Self {
        counted: true,
        ..Self::SEND
    };
}

/// Counts a packet if its connection is known. Of the event everything is needed but time and cgroup.
#[inline(always)]
pub(crate) fn course(state: &StreamState, event: &Event) -> Course {
    let level = global(&AGGREGATION);
    if level == AGGREGATION_NONE {
        return Course::SEND;
    }
    let headers = &event.headers;
    let with_ports = matches!(headers.protocol, PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_SCTP);
    if !with_ports || headers.flags & FLAG_NO_TRANSPORT != 0 || headers.tcp_flags & LIFE_OF_A_CONNECTION != 0 {
        return Course::SEND;
    }
    let number = state.first_aggregate + (hash(event) & state.aggregate_mask);
    let Some(place) = AGGREGATES.get_ptr_mut(number) else {
        return Course::SEND;
    };
    // SAFETY: as for the state of a stream, there is one writer a CPU.
    let aggregate = unsafe { &mut *place };
    if aggregate.generation == 0 || !same(&aggregate.event, event) {
        return Course {
            counted: false,
            place,
            number,
        };
    }
    let flags = u32::from(headers.tcp_flags);
    if flags & !aggregate.tcp_flags != 0 {
        aggregate.tcp_flags |= flags;
        if level == AGGREGATION_MEDIUM {
            return Course::SEND;
        }
    }
    aggregate.packets += u64::from(event.segments);
    aggregate.bytes += u64::from(event.length);
    Course::COUNTED
}

/// Gives the connection of `event`, which was sent, its place, if it has none. The totals of the one before are sent
/// first.
#[inline(always)]
pub(crate) fn take<C: EbpfContext>(
    context: &C,
    state: &mut StreamState,
    course: Course,
    event: &Event,
    outer: Option<&Outer>,
) -> Option<()> {
    if course.place.is_null() {
        return None;
    }
    // SAFETY: as in `course`.
    let aggregate = unsafe { &mut *course.place };
    if aggregate.generation != 0 && aggregate.packets != 0 {
        // SAFETY: as for the state of a stream, there is one writer a CPU.
        let update = UPDATE.get_ptr_mut(0).map(|slot| unsafe { &mut *slot })?;
        update.event = aggregate.event;
        update.outer = aggregate.outer;
        update.event.kind = KIND_UPDATE;
        update.event.time_ns = event.time_ns;
        update.event.headers.tcp_flags = aggregate.tcp_flags as u8;
        update.totals = Totals {
            generation: aggregate.generation,
            packets: aggregate.packets,
            bytes: aggregate.bytes,
            place: course.number,
            reserved: 0,
        };
        if !send_words::<{ size_of::<Update>() as u64 }, C>(context, core::ptr::from_ref(update).cast(), state) {
            return None;
        }
    }
    state.generation += 1;
    publish(aggregate, 0);
    aggregate.packets = 0;
    aggregate.bytes = 0;
    aggregate.tcp_flags = u32::from(event.headers.tcp_flags);
    aggregate.event = *event;
    if event.headers.tunnel != TUNNEL_NONE
        && let Some(outer) = outer
    {
        aggregate.outer = *outer;
    }
    publish(aggregate, state.generation);
    Some(())
}

/// The observer takes what it reads for valid if the generation was the same before and after.
#[inline(always)]
fn publish(aggregate: &mut Aggregate, generation: u64) {
    compiler_fence(Ordering::SeqCst);
    super::shared_ring::store(&raw mut aggregate.generation, generation);
    compiler_fence(Ordering::SeqCst);
}

/// The words of an event that tell connections apart.
#[inline(always)]
fn words(event: &Event) -> [u64; 6] {
    let headers = &event.headers;
    let (source, destination) = (
        (&raw const headers.source).cast::<u64>(),
        (&raw const headers.destination).cast::<u64>(),
    );
    // SAFETY: each is 16 bytes; the target allows misaligned access.
    let [a, b, c, d] = unsafe {
        [
            source.read_unaligned(),
            source.add(1).read_unaligned(),
            destination.read_unaligned(),
            destination.add(1).read_unaligned(),
        ]
    };
    let ports = u64::from(headers.source_port) << 16 | u64::from(headers.destination_port);
    let point = u64::from(event.direction) << 8 | u64::from(headers.protocol);
    [
        a,
        b,
        c,
        d,
        ports << 32 | u64::from(event.ifindex),
        u64::from(headers.vni) << 32 | u64::from(headers.vlan) << 16 | point,
    ]
}

#[inline(always)]
fn same(one: &Event, other: &Event) -> bool {
    let (one, other) = (words(one), words(other));
    let mut index = 0;
    let mut different = 0;
    while index < 6 {
        different |= one[index] ^ other[index];
        index += 1;
    }
    different == 0
}

#[inline(always)]
fn hash(event: &Event) -> u32 {
    // An odd number with its bits well spread: 2^64 divided by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = words(event);
    let mut hash: u64 = 0;
    let mut index = 0;
    while index < 6 {
        hash = (hash ^ words[index]).wrapping_mul(SPREAD);
        hash ^= hash >> 32;
        index += 1;
    }
    hash as u32
}
