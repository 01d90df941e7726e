//! Records of several rings, in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the kernel has put into a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// What a program has sent, padded at the end.
    Sample(&'a [u8]),
    /// So many events did not fit.
    Lost(u64),
}

/// What can be wrong with a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// More bytes than the ring has.
    #[error("it claims to hold {0} bytes, more than its size")]
    Overfull(u64),
    /// A record that is shorter than its header or longer than what is there.
    #[error("a record of {size} bytes where {left} are left")]
    Size {
        /// What the record claims.
        size: usize,
        /// What is there.
        left: usize,
    },
    /// A sample that is longer than its record.
    #[error("a sample of {0} bytes does not fit its record")]
    Sample(usize),
}

/// The records of one ring that are there now, in the order in which they were written.
pub(super) trait Records {
    /// The first eight bytes of the next sample, which are its time; 0 for a record of another kind, which can't wait,
    /// and for a damaged one. `None` at the end.
    fn next_time(&self) -> Option<u64>;

    /// The next record; `None` at the end. One that goes over the end of the ring is put together in `scratch`.
    ///
    /// # Errors
    /// If it can't be right; nothing that follows can be read then.
    fn next<'r>(&'r mut self, scratch: &'r mut Vec<u8>) -> Result<Option<Record<'r>>, Damage>;
}

/// Calls `found` with the records of several rings in the order of their times, and with the place of their ring among
/// `cursors`. A ring with a damaged record is left there; `damaged` is told.
pub(super) fn merge(
    cursors: &mut [impl Records],
    scratch: &mut Vec<u8>,
    mut found: impl FnMut(usize, Record<'_>),
    mut damaged: impl FnMut(usize, Damage),
) {
    let mut heap: BinaryHeap<Reverse<(u64, usize)>> = cursors
        .iter()
        .enumerate()
        .filter_map(|(ring, cursor)| cursor.next_time().map(|time| Reverse((time, ring))))
        .collect();
    while let Some(Reverse((_, ring))) = heap.pop() {
        let cursor = &mut cursors[ring];
        let others = heap.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
        // Packets come in bursts on one CPU: as long as this ring is the earliest there is nothing to sort.
        loop {
            match cursor.next(scratch) {
                Ok(Some(record)) => found(ring, record),
                Ok(None) => break,
                Err(damage) => {
                    damaged(ring, damage);
                    break;
                }
            }
            match cursor.next_time() {
                Some(time) if time <= others => {}
                Some(time) => {
                    heap.push(Reverse((time, ring)));
                    break;
                }
                None => break,
            }
        }
    }
}
