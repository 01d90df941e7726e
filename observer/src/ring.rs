//! The rings: filled by the programs, read by one thread, in place.
//!
//! There are three kinds. *Shared* rings are memory that the programs and the observer have in common: the programs write
//! to it without a call into the kernel. A *perf* ring for each CPU, and one *BPF* ring buffer for all, are the kernel's
//! own; they cost a packet more, and are there to compare with. A wake-up for each event would cost the packet's sender
//! 9 µs: perf rings wake the reader when a good part of one is full, the others never, and the reader looks by itself
//! every few milliseconds, so that a quiet network shows its packets at once.

mod fill;
mod mapping;
mod memory;
mod merge;
mod perf;
mod records;
mod shared;
mod state;

use std::io;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};

pub(crate) use memory::{Memory, page_bytes};
pub use merge::{Damage, Record};
pub use perf::PerfRings;
pub(crate) use shared::Plan as SharedPlan;
pub use shared::SharedRings;
pub use state::StreamStates;
pub(crate) use state::data;

/// Why the rings can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel refuses one.
    #[error(
        "cannot open the ring of CPU {cpu} ({bytes} bytes): {source}; try a smaller ring, or check ulimit -l and kernel.perf_event_mlock_kb"
    )]
    Open {
        /// The CPU.
        cpu: u32,
        /// Size of the ring.
        bytes: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// What the programs count can't be read.
    #[error("cannot map the eBPF programs' counters: {0}; the kernel may be older than 5.5")]
    States(io::Error),
    /// The CPUs can't be counted.
    #[error("cannot read which CPUs are online: {0}")]
    Cpus(String),
    /// A ring isn't a power of two of pages.
    #[error("a ring of {0} bytes is not possible: it must be a power of two, at least one page")]
    Size(usize),
    /// Waiting failed.
    #[error("cannot wait for the rings: {0}")]
    Wait(io::Error),
    /// A record can't be right.
    #[error("the ring of CPU {cpu} is damaged: {reason}; its content is skipped")]
    Damaged {
        /// The CPU.
        cpu: u32,
        /// What is wrong.
        reason: Damage,
    },
}

/// How often the ring buffer is looked at: nobody says when something is in it.
const BPF_RING_INTERVAL: Duration = Duration::from_millis(2);

/// The way of events from the programs to the reader.
pub enum Rings {
    /// Memory that the programs write to.
    Shared(SharedRings),
    /// A perf ring for each CPU.
    Perf(PerfRings),
    /// One ring buffer for all.
    Bpf(RingBuf<MapData>),
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared(rings) => rings.fmt(formatter),
            Self::Perf(rings) => rings.fmt(formatter),
            Self::Bpf(_) => formatter.write_str("RingBuf"),
        }
    }
}

impl Rings {
    /// Waits until there is a good part of a ring to read, or for `timeout`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn wait(&self, timeout: Duration) -> Result<(), RingError> {
        match self {
            Self::Perf(rings) => rings.wait(timeout),
            Self::Shared(rings) => {
                rings.wait(timeout);
                Ok(())
            }
            Self::Bpf(_) => {
                std::thread::sleep(timeout.min(BPF_RING_INTERVAL));
                Ok(())
            }
        }
    }

    /// Calls `record` with everything that is in the rings now. The number is that of the CPU; 0 for the ring buffer,
    /// which doesn't tell.
    ///
    /// # Errors
    /// If a ring is damaged: what is in it is skipped, the others are read.
    pub fn drain(&mut self, mut record: impl FnMut(u32, Record<'_>)) -> Result<(), RingError> {
        match self {
            Self::Shared(rings) => rings.drain(record),
            Self::Perf(rings) => rings.drain(record),
            Self::Bpf(ring) => {
                // A flood must not keep the reader here for ever: other things wait to be done.
                for _ in 0..BPF_RING_BATCH {
                    let Some(item) = ring.next() else { break };
                    record(0, Record::Sample(&item));
                }
                Ok(())
            }
        }
    }
}

impl Rings {
    /// How full the fullest ring was when it was read, of late: thousandths. The ring buffer doesn't tell.
    pub fn fill_permille(&mut self) -> Option<u32> {
        let now = Instant::now();
        match self {
            Self::Shared(rings) => Some(rings.fill.most(now)),
            Self::Perf(rings) => Some(rings.fill.most(now)),
            Self::Bpf(_) => None,
        }
    }
}

/// Records of the ring buffer that are read in one go.
const BPF_RING_BATCH: usize = 1 << 16;
