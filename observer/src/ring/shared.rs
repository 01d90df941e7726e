//! The reader's side of the shared rings; `bpf-probes/src/programs/shared_ring.rs` is the writer's.
//!
//! A ring is a power of two of pages. Each record has a header with its size, starts at a multiple of 8, and never goes
//! over the end of a page: a header of size 0 says that the rest of the page is empty. Writer and reader tell each other
//! how far they are by two positions in the stream's state, which only grow.

use std::os::fd::AsFd;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aya::maps::Map;
use bpf_probes::event::{PAGE_BYTES, RecordHeader, STREAM_DROPS, STREAM_PACKETS, STREAMS};

use super::RingError;
use super::fill::Fill;
use super::memory::{Memory, page_bytes};
use super::merge::{Damage, Record, Records, merge};
use super::state::{StreamStates, data};

const PAGE: usize = PAGE_BYTES as usize;
const HEADER: usize = size_of::<RecordHeader>();
/// What was read is given back to the writer in portions of this many bytes: it may wait for room.
const RELEASE_BYTES: u64 = 64 << 10;
/// The reader doesn't wait if the last look found more than this part of the fullest ring in use.
const BUSY_PART: u64 = 16;

/// Rings of several CPUs in one piece of memory.
pub struct SharedRings {
    pages: Memory,
    states: Arc<StreamStates>,
    rings: Vec<Ring>,
    busy: bool,
    pub(super) fill: Fill,
    /// The map is what the memory is; the programs hold it too.
    _map: Map,
}

impl std::fmt::Debug for SharedRings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SharedRings")
            .field("rings", &self.rings)
            .finish_non_exhaustive()
    }
}

/// Where in the memory a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ring {
    cpu: u32,
    stream: u32,
    first_page: usize,
    pages: usize,
    tail: u64,
}

/// What the maps of the shared rings have to look like.
#[derive(Debug)]
pub(crate) struct Plan {
    rings: Vec<Ring>,
    pages: usize,
}

impl Plan {
    /// Rings for the CPUs that are online, `ring_bytes` for the packets of each.
    ///
    /// # Errors
    /// If that isn't a power of two of pages, or more than a map can have.
    pub(crate) fn new(cpus: &[u32], ring_bytes: usize) -> Result<Self, RingError> {
        if !ring_bytes.is_power_of_two() || ring_bytes < page_bytes().max(PAGE) {
            return Err(RingError::Size(ring_bytes));
        }
        let mut rings = Vec::new();
        let mut pages = 0;
        for cpu in cpus {
            for stream in 0..STREAMS {
                let ring = Ring {
                    cpu: *cpu,
                    stream,
                    first_page: pages,
                    pages: (stream_bytes(stream, ring_bytes) / PAGE).max(1),
                    tail: 0,
                };
                pages += ring.pages;
                rings.push(ring);
            }
        }
        if u32::try_from(pages).is_err() {
            return Err(RingError::Size(ring_bytes));
        }
        Ok(Self { rings, pages })
    }

    /// Entries of the map of pages.
    pub(crate) fn pages(&self) -> u32 {
        self.pages as u32
    }
}

/// How much of `ring_bytes` a kind of ring gets. All of it is memory of this process from the start.
fn stream_bytes(stream: u32, ring_bytes: usize) -> usize {
    match stream {
        STREAM_PACKETS => ring_bytes,
        STREAM_DROPS => ring_bytes / 2,
        _ => ring_bytes / 16,
    }
}

impl SharedRings {
    /// Maps the rings into our memory, and tells the programs of them. CPUs without a ring, which were offline, can send
    /// nothing: what they see is counted as lost.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn open(plan: Plan, pages: Map, states: Arc<StreamStates>) -> Result<Self, RingError> {
        let open = |source| RingError::Open {
            cpu: 0,
            bytes: plan.pages * PAGE,
            source,
        };
        let fd = data(&pages).map_err(open)?.fd().as_fd();
        let memory = Memory::map(fd, plan.pages * PAGE, false).map_err(open)?;
        for ring in &plan.rings {
            states.set_ring(
                ring.cpu,
                ring.stream,
                ring.first_page as u32,
                ring.pages as u32,
                (ring.pages * PAGE) as u64,
            );
        }
        Ok(Self {
            pages: memory,
            states,
            rings: plan.rings,
            busy: false,
            fill: Fill::new(Instant::now()),
            _map: pages,
        })
    }

    /// Waits for `timeout`, unless there was so much to read that there is more by now.
    pub fn wait(&self, timeout: Duration) {
        if !self.busy {
            std::thread::sleep(timeout);
        }
    }

    /// Calls `record` with everything that is in the rings now, in the order of the records' times.
    ///
    /// # Errors
    /// If a ring is damaged: what is in it is skipped, the others are read.
    pub fn drain(&mut self, mut record: impl FnMut(u32, Record<'_>)) -> Result<(), RingError> {
        let mut result = Ok(());
        let mut busy = false;
        let heads: Vec<u64> = self
            .rings
            .iter()
            .map(|ring| self.states.head(ring.cpu, ring.stream))
            .collect();
        for (ring, head) in self.rings.iter().zip(&heads) {
            self.fill.note(head - ring.tail, ring.pages * PAGE);
        }
        let mut cursors = Vec::with_capacity(heads.len());
        let mut cpus = Vec::with_capacity(heads.len());
        for (ring, head) in self.rings.iter().zip(&heads) {
            if ring.tail == *head {
                continue;
            }
            busy |= (head - ring.tail) * BUSY_PART > (ring.pages * PAGE) as u64;
            match Cursor::new(
                self.bytes(ring),
                ring.tail,
                *head,
                Some(self.states.tail(ring.cpu, ring.stream)),
            ) {
                Ok(cursor) => {
                    cursors.push(cursor);
                    cpus.push(ring.cpu);
                }
                Err(reason) => result = Err(RingError::Damaged { cpu: ring.cpu, reason }),
            }
        }
        let mut unused = Vec::new();
        merge(
            &mut cursors,
            &mut unused,
            |ring, found| record(cpus[ring], found),
            |ring, reason| {
                result = Err(RingError::Damaged {
                    cpu: cpus[ring],
                    reason,
                })
            },
        );
        drop(cursors);
        self.busy = busy;
        for (ring, head) in self.rings.iter_mut().zip(heads) {
            ring.tail = head;
            self.states.tail(ring.cpu, ring.stream).store(head, Ordering::Release);
        }
        result
    }

    fn bytes(&self, ring: &Ring) -> &[u8] {
        // SAFETY: the plan gives each ring its part of the mapping, which lives as long as `self`. What the writer may be
        // writing lies behind the head, and isn't looked at.
        unsafe {
            let start = self.pages.start().as_ptr().add(ring.first_page * PAGE);
            slice::from_raw_parts(start, ring.pages * PAGE)
        }
    }
}

/// The records of one ring between two positions.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: u64,
    head: u64,
    released: u64,
    tail: Option<&'a AtomicU64>,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8], tail: u64, head: u64, release: Option<&'a AtomicU64>) -> Result<Self, Damage> {
        let filled = head.wrapping_sub(tail);
        if filled > bytes.len() as u64 {
            return Err(Damage::Overfull(filled));
        }
        Ok(Self {
            bytes,
            at: tail,
            head,
            released: tail,
            tail: release,
        })
    }

    /// The bytes from position `at` to the end of its page, but not beyond the head.
    fn rest_of_page(&self, at: u64) -> &'a [u8] {
        let start = at as usize & (self.bytes.len() - 1);
        let end = (start / PAGE + 1) * PAGE;
        let left = usize::try_from(self.head - at).unwrap_or(usize::MAX);
        &self.bytes[start..end.min(start + left)]
    }

    /// Where the next record's header is: in this page, or at the start of the next. `None` at the end.
    fn next_header(&self) -> Option<(u64, usize)> {
        let mut at = self.at;
        // A marker of an empty rest, and then a record.
        for _ in 0..2 {
            if at >= self.head {
                return None;
            }
            let size = match self.rest_of_page(at).get(..4) {
                Some(size) => u32::from_ne_bytes([size[0], size[1], size[2], size[3]]) as usize,
                None => return Some((at, 0)),
            };
            if size != 0 {
                return Some((at, size));
            }
            at = (at / PAGE as u64 + 1) * PAGE as u64;
        }
        (at < self.head).then_some((at, 0))
    }
}

impl Records for Cursor<'_> {
    fn next_time(&self) -> Option<u64> {
        let (at, _) = self.next_header()?;
        let time = self.rest_of_page(at).get(HEADER..HEADER + 8);
        Some(time.map_or(0, |time| u64::from_ne_bytes(std::array::from_fn(|index| time[index]))))
    }

    fn next<'r>(&'r mut self, _: &'r mut Vec<u8>) -> Result<Option<Record<'r>>, Damage> {
        if let Some(tail) = self.tail
            && self.at - self.released >= RELEASE_BYTES
        {
            self.released = self.at;
            tail.store(self.at, Ordering::Release);
        }
        let Some((at, size)) = self.next_header() else {
            return Ok(None);
        };
        let rest = self.rest_of_page(at);
        let left = rest.len();
        match rest.get(HEADER..HEADER + size) {
            Some(record) if size > 0 => {
                self.at = at + (HEADER + size.next_multiple_of(8)) as u64;
                Ok(Some(Record::Sample(record)))
            }
            _ => Err(Damage::Size { size, left }),
        }
    }
}

#[cfg(test)]
mod tests;
