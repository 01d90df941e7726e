//! The rings: filled by the programs, read by one thread. Either a perf ring for each CPU, or one BPF ring buffer for all.
//!
//! A wake-up for each event costs the packet's sender 9 µs, so the rings are opened with a watermark: the kernel wakes the
//! reader when a good part of a ring is full, and the reader looks by itself every few milliseconds, so that a quiet
//! network shows its packets at once. The ring buffer is cheaper to write to and wakes nobody; its reader only looks.
//! The records are read in place.

mod mapping;
mod records;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use mapping::Mapping;
use records::Cursor;
pub use records::Record;

/// Why the rings can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel refuses one.
    #[error(
        "cannot open the perf ring of CPU {cpu} ({bytes} bytes): {source}; try a smaller ring, or check ulimit -l and kernel.perf_event_mlock_kb"
    )]
    Open {
        /// The CPU.
        cpu: u32,
        /// Size of the ring.
        bytes: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// The CPUs can't be counted.
    #[error("cannot read which CPUs are online: {0}")]
    Cpus(String),
    /// A ring isn't a power of two of pages.
    #[error("a ring of {0} bytes is not possible: it must be a power of two, at least one page")]
    Size(usize),
    /// Waiting failed.
    #[error("cannot wait for the perf rings: {0}")]
    Wait(io::Error),
    /// A record can't be right.
    #[error("the perf ring of CPU {cpu} is damaged: {reason}; its content is skipped")]
    Damaged {
        /// The CPU.
        cpu: u32,
        /// What is wrong.
        reason: records::Damage,
    },
}

/// How often the ring buffer is looked at: nobody says when something is in it.
const BPF_RING_INTERVAL: Duration = Duration::from_millis(2);

/// The way of events from the programs to the reader.
pub enum Rings {
    /// A perf ring for each CPU.
    Perf(PerfRings),
    /// One ring buffer for all.
    Bpf(RingBuf<MapData>),
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
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

/// Records of the ring buffer that are read in one go.
const BPF_RING_BATCH: usize = 1 << 16;

/// The rings of all CPUs that are online.
#[derive(Debug)]
pub struct PerfRings {
    rings: Vec<(u32, Mapping)>,
    /// The map must live as long as its rings are to be written to.
    _events: MapData,
    scratch: Vec<u8>,
}

impl PerfRings {
    /// Opens a ring of `bytes` for each CPU and puts it into the map `events`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn open(events: MapData, bytes: usize) -> Result<Self, RingError> {
        if !bytes.is_power_of_two() || bytes < mapping::page_bytes() {
            return Err(RingError::Size(bytes));
        }
        let cpus = aya::util::online_cpus().map_err(|(path, error)| RingError::Cpus(format!("{path}: {error}")))?;
        let mut rings = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            let open = |source| RingError::Open { cpu, bytes, source };
            let ring = Mapping::open(cpu, bytes).map_err(open)?;
            mapping::put_into_map(events.fd().as_fd(), cpu, ring.as_fd()).map_err(open)?;
            rings.push((cpu, ring));
        }
        Ok(Self {
            rings,
            _events: events,
            scratch: Vec::new(),
        })
    }

    /// Waits until a ring has passed its watermark, or for `timeout`.
    ///
    /// # Errors
    /// If the kernel refuses; an interruption by a signal is none.
    pub fn wait(&self, timeout: Duration) -> Result<(), RingError> {
        let mut fds: Vec<PollFd<'_>> = self
            .rings
            .iter()
            .map(|(_, ring)| PollFd::new(ring.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(RingError::Wait(error.into())),
        }
    }

    /// Calls `record` with everything that is in the rings now, in the order of the records' times.
    ///
    /// # Errors
    /// If a ring is damaged: what is in it is skipped, the others are read.
    pub fn drain(&mut self, mut record: impl FnMut(u32, Record<'_>)) -> Result<(), RingError> {
        let mut result = Ok(());
        let heads: Vec<u64> = self.rings.iter().map(|(_, ring)| ring.head()).collect();
        let mut cursors = Vec::with_capacity(heads.len());
        let mut cpus = Vec::with_capacity(heads.len());
        for ((cpu, ring), head) in self.rings.iter().zip(&heads) {
            match Cursor::new(ring.data(), ring.tail(), *head) {
                Ok(cursor) => {
                    cursors.push(cursor);
                    cpus.push(*cpu);
                }
                Err(reason) => result = Err(RingError::Damaged { cpu: *cpu, reason }),
            }
        }
        records::merge(
            &mut cursors,
            &mut self.scratch,
            |ring, found| record(cpus[ring], found),
            |ring, reason| {
                result = Err(RingError::Damaged {
                    cpu: cpus[ring],
                    reason,
                })
            },
        );
        drop(cursors);
        for ((_, ring), head) in self.rings.iter_mut().zip(heads) {
            ring.release(head);
        }
        result
    }

    /// File descriptors that become readable when a ring has passed its watermark.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|(_, ring)| ring.as_fd())
    }
}
