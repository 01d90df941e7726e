//! A perf ring for each CPU, with a watermark.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use aya::maps::MapData;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::RingError;
use super::fill::Fill;
use super::mapping::{Mapping, put_into_map};
use super::memory::page_bytes;
use super::merge::{Record, merge};
use super::records::Cursor;

/// The rings of all CPUs that are online.
#[derive(Debug)]
pub struct PerfRings {
    rings: Vec<(u32, Mapping)>,
    /// The map must live as long as its rings are to be written to.
    _events: MapData,
    scratch: Vec<u8>,
    pub(super) fill: Fill,
}

impl PerfRings {
    /// Opens a ring of `bytes` for each of `cpus` and puts it into the map `events`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn open(events: MapData, cpus: &[u32], bytes: usize) -> Result<Self, RingError> {
        if !bytes.is_power_of_two() || bytes < page_bytes() {
            return Err(RingError::Size(bytes));
        }
        let mut rings = Vec::with_capacity(cpus.len());
        for &cpu in cpus {
            let open = |source| RingError::Open { cpu, bytes, source };
            let ring = Mapping::open(cpu, bytes).map_err(open)?;
            put_into_map(events.fd().as_fd(), cpu, ring.as_fd()).map_err(open)?;
            rings.push((cpu, ring));
        }
        Ok(Self {
            rings,
            _events: events,
            scratch: Vec::new(),
            fill: Fill::new(Instant::now()),
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
        for ((_, ring), head) in self.rings.iter().zip(&heads) {
            self.fill.note(head.wrapping_sub(ring.tail()), ring.data().len());
        }
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
        merge(
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
