//! What the programs know and count, in memory that we have mapped: a [`StreamState`] for each CPU and stream. Reading it
//! needs neither a call into the kernel nor a lock.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapData};
use bpf_probes::event::{SOURCES, STREAMS, SourceCounters, StreamState, stream_of};

use super::memory::{Memory, page_bytes};

/// The states of all CPUs that the machine may have.
pub struct StreamStates {
    memory: Memory,
    cpus: usize,
    /// The map is what the memory is; the programs hold it too.
    _map: Map,
}

impl std::fmt::Debug for StreamStates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StreamStates")
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

// SAFETY: all access to the memory is by atomic operations.
unsafe impl Sync for StreamStates {}

impl StreamStates {
    /// Entries that the map needs for `cpus` CPUs.
    pub(crate) fn entries(cpus: usize) -> u32 {
        cpus as u32 * STREAMS
    }

    /// Maps the states of `cpus` CPUs into our memory.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn open(map: Map, cpus: usize) -> io::Result<Self> {
        let bytes = cpus * STREAMS as usize * size_of::<StreamState>();
        let memory = Memory::map(data(&map)?.fd().as_fd(), bytes.next_multiple_of(page_bytes()), true)?;
        Ok(Self {
            memory,
            cpus,
            _map: map,
        })
    }

    fn state(&self, cpu: u32, stream: u32) -> *mut StreamState {
        assert!(
            (cpu as usize) < self.cpus && stream < STREAMS,
            "CPUs are numbered below their count"
        );
        // SAFETY: the mapping has an entry for each CPU and stream.
        unsafe {
            let states = self.memory.start().cast::<StreamState>().as_ptr();
            states.add((cpu * STREAMS + stream) as usize)
        }
    }

    fn word(&self, cpu: u32, stream: u32, member: fn(*mut StreamState) -> *mut u64) -> &AtomicU64 {
        // SAFETY: inside the mapping and aligned to 8; both sides access it as a whole.
        unsafe { AtomicU64::from_ptr(member(self.state(cpu, stream))) }
    }

    /// Tells the programs where the ring of a stream is. Nothing may be attached yet.
    pub(super) fn set_ring(&self, cpu: u32, stream: u32, first_page: u32, pages: u32, bytes: u64) {
        let state = self.state(cpu, stream);
        // SAFETY: inside the mapping; no program runs yet.
        unsafe {
            (*state).capacity = bytes;
            (*state).first_page = first_page;
            (*state).page_mask = pages - 1;
        }
    }

    /// Tells the programs where this CPU's places for connections are. Nothing may be attached yet.
    pub(crate) fn set_aggregates(&self, cpu: u32, stream: u32, first: u32, number: u32) {
        let state = self.state(cpu, stream);
        // SAFETY: inside the mapping; no program runs yet.
        unsafe {
            (*state).first_aggregate = first;
            (*state).aggregate_mask = number - 1;
        }
    }

    /// Up to where a program has written.
    pub(super) fn head(&self, cpu: u32, stream: u32) -> u64 {
        // SAFETY: only the member's address is taken.
        self.word(cpu, stream, |state| unsafe { &raw mut (*state).head })
            .load(Ordering::Acquire)
    }

    /// Up to where we have read.
    pub(super) fn tail(&self, cpu: u32, stream: u32) -> &AtomicU64 {
        // SAFETY: only the member's address is taken.
        self.word(cpu, stream, |state| unsafe { &raw mut (*state).tail })
    }

    /// What the programs have counted: by source (`SOURCE_*`), then by CPU.
    #[must_use]
    pub fn counters(&self) -> Vec<Vec<SourceCounters>> {
        let of = |source, cpu| {
            let (stream, place) = stream_of(source);
            let state = self.state(cpu, stream);
            // SAFETY: inside the mapping; a state has counters for two sources.
            let counters = unsafe { (&raw mut (*state).counters).cast::<SourceCounters>().add(place) };
            // SAFETY: as above, and aligned to 8.
            let word = |member: *mut u64| unsafe { AtomicU64::from_ptr(member) }.load(Ordering::Relaxed);
            // SAFETY: only the members' addresses are taken.
            unsafe {
                // A packet is counted as seen first, so what became of it is read first: never more than was seen.
                let (delivered, lost) = (word(&raw mut (*counters).delivered), word(&raw mut (*counters).lost));
                let (aggregated, filtered) = (
                    word(&raw mut (*counters).aggregated),
                    word(&raw mut (*counters).filtered),
                );
                let (not_ip, malformed) = (word(&raw mut (*counters).not_ip), word(&raw mut (*counters).malformed));
                SourceCounters {
                    seen: word(&raw mut (*counters).seen),
                    delivered,
                    lost,
                    not_ip,
                    malformed,
                    aggregated,
                    filtered,
                }
            }
        };
        (0..SOURCES)
            .map(|source| (0..self.cpus as u32).map(|cpu| of(source, cpu)).collect())
            .collect()
    }
}

/// The kernel's handle of an array map.
pub(crate) fn data(map: &Map) -> io::Result<&MapData> {
    match map {
        Map::Array(data) => Ok(data),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}
