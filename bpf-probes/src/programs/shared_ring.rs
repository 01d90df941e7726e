//! The writer's side of the shared rings: pages of an array map that the observer has mapped into its memory. Writing a
//! record costs no call into the kernel, and wakes nobody; the reader looks every few milliseconds.
//!
//! A record is written in place, from [`reserve`] on, and seen by the reader from [`publish`] on.

use core::arch::asm;
use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use bpf_probes::event::{PAGE_BYTES, RecordHeader, STREAMS, StreamState};

use super::global;

#[repr(C, align(8))]
struct Page([u8; PAGE_BYTES as usize]);

/// The rings of all CPUs, one behind the other; the loader gives their number.
#[map]
static PAGES: Array<Page> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// A [`StreamState`] for each CPU and `STREAM_*`; the loader gives their number.
#[map]
static STATES: Array<StreamState> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Written by the loader: 1 where stores of one CPU may be seen by another in a different order (everything but x86-64).
#[unsafe(no_mangle)]
static WEAK_ORDER: u32 = 0;

const HEADER: u64 = size_of::<RecordHeader>() as u64;

/// The state of a stream on this CPU.
///
/// There is one writer a stream and CPU, so it may be changed: packet programs run with bottom halves disabled, and a raw
/// tracepoint program isn't run inside itself.
#[inline(always)]
pub(crate) fn state(stream: u32) -> Option<&'static mut StreamState> {
    // SAFETY: has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    // SAFETY: see above; the observer changes only `tail`, which is read as volatile.
    STATES
        .get_ptr_mut(cpu * STREAMS + stream)
        .map(|state| unsafe { &mut *state })
}

/// Room for one record.
pub(crate) struct Room {
    /// Where the record's header goes.
    start: *mut u8,
    /// Position of the header in the ring.
    position: u64,
}

impl Room {
    /// Where the record goes: as many bytes as were asked for.
    #[inline(always)]
    pub(crate) fn record(&self) -> *mut u8 {
        // SAFETY: `reserve` has left room for the header and the record behind it.
        unsafe { self.start.add(HEADER as usize) }
    }
}

/// Room for a record of at most `SIZE` bytes, a multiple of 8; `None` if the reader is too far behind.
#[inline(always)]
pub(crate) fn reserve<const SIZE: u64>(state: &mut StreamState) -> Option<Room> {
    let need = HEADER + SIZE;
    let page_bytes = u64::from(PAGE_BYTES);
    let mut position = state.head;
    let used = position & (page_bytes - 1);
    let skipped = if used + need > page_bytes { page_bytes - used } else { 0 };
    if position + skipped + need - state.tail_seen > state.capacity {
        // SAFETY: the reader changes it meanwhile, so it is read exactly once.
        state.tail_seen = unsafe { core::ptr::read_volatile(&raw const state.tail) };
        if position + skipped + need - state.tail_seen > state.capacity {
            return None;
        }
    }
    if skipped != 0 {
        let page = page(state, position)?;
        // SAFETY: positions are multiples of 8, so that a header always fits before the end of a page.
        unsafe { header_at(page, used).write(RecordHeader { size: 0, reserved: 0 }) };
        position += skipped;
    }
    let page = page(state, position)?;
    // The verifier has to see that the record fits, so the compiler must not know it already.
    let at = hide(position & (page_bytes - 1));
    if at > page_bytes - need {
        return None;
    }
    Some(Room {
        // SAFETY: just checked.
        start: unsafe { page.add(at as usize) },
        position,
    })
}

/// Makes the record visible to the reader, with the first `size` bytes of its room.
#[inline(always)]
pub(crate) fn publish(state: &mut StreamState, room: Room, size: u32) {
    // SAFETY: the header is a part of the room.
    unsafe {
        room.start
            .cast::<RecordHeader>()
            .write(RecordHeader { size, reserved: 0 });
    }
    let end = room.position + HEADER + ((u64::from(size) + 7) & !7);
    store(&raw mut state.head, end);
}

/// Stores a value of a map so that the observer sees it after everything that was stored before.
#[inline(always)]
pub(crate) fn store(to: *mut u64, value: u64) {
    // SAFETY: a map's value, which the caller has checked and only this CPU writes.
    unsafe {
        if global(&WEAK_ORDER) != 0 {
            // The only kind of instruction that orders the stores before it, on all kernels with kinds of drop reasons.
            asm!("{value} = xchg_64({to} + 0, {value})", value = inout(reg) value => _, to = in(reg) to);
        } else {
            compiler_fence(Ordering::Release);
            to.write_volatile(value);
        }
    }
}

/// A value of which the compiler knows nothing.
#[inline(always)]
fn hide(mut value: u64) -> u64 {
    // SAFETY: moves a register to itself. With no instruction at all the kernel refuses the line numbers.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

#[inline(always)]
fn page(state: &StreamState, position: u64) -> Option<*mut u8> {
    let number = (position / u64::from(PAGE_BYTES)) as u32 & state.page_mask;
    PAGES.get_ptr_mut(state.first_page + number).map(<*mut Page>::cast)
}

#[inline(always)]
unsafe fn header_at(page: *mut u8, offset: u64) -> *mut RecordHeader {
    let offset = hide(offset) & u64::from(PAGE_BYTES - HEADER as u32);
    // SAFETY: the mask keeps it inside the page.
    unsafe { page.add(offset as usize) }.cast()
}
