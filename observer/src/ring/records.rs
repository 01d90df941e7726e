//! The records in a perf ring. Works on plain bytes and two positions, so that it can be tested without a kernel.

use super::merge::{Damage, Record, Records};

/// `perf_event_type` of include/uapi/linux/perf_event.h.
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`: type (32 bits), misc (16), size (16).
const HEADER: usize = 8;

/// The records between two positions of one ring, in the order in which they were written.
pub(super) struct Cursor<'a> {
    /// The ring's bytes, a power of two.
    data: &'a [u8],
    tail: u64,
    filled: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The records from position `tail` to `head`. Positions only ever grow.
    ///
    /// # Errors
    /// If there would have to be more bytes than the ring has.
    pub(super) fn new(data: &'a [u8], tail: u64, head: u64) -> Result<Self, Damage> {
        let filled = head.wrapping_sub(tail);
        match usize::try_from(filled) {
            Ok(filled) if filled <= data.len() => Ok(Self {
                data,
                tail,
                filled,
                at: 0,
            }),
            _ => Err(Damage::Overfull(filled)),
        }
    }

    /// Where in the ring the byte `offset` of the next record is.
    fn place(&self, offset: usize) -> usize {
        (self.tail as usize).wrapping_add(self.at + offset) & (self.data.len() - 1)
    }
}

impl Records for Cursor<'_> {
    fn next_time(&self) -> Option<u64> {
        const SAMPLE_TIME: usize = HEADER + 4;
        if self.at >= self.filled {
            return None;
        }
        let header = self.data.get(self.place(0)..self.place(0) + 4);
        if header.map(|header| u32_at(header, 0)) != Some(PERF_RECORD_SAMPLE)
            || self.filled - self.at < SAMPLE_TIME + size_of::<u64>()
        {
            return Some(0);
        }
        let byte = |index: usize| self.data[self.place(SAMPLE_TIME + index)];
        Some(u64::from_ne_bytes(std::array::from_fn(byte)))
    }

    fn next<'r>(&'r mut self, scratch: &'r mut Vec<u8>) -> Result<Option<Record<'r>>, Damage> {
        while self.at < self.filled {
            let left = self.filled - self.at;
            // Records are multiples of 8 bytes, so a header never goes over the end.
            let start = self.place(0);
            let header = self
                .data
                .get(start..start + HEADER)
                .filter(|_| left >= HEADER)
                .ok_or(Damage::Size { size: 0, left })?;
            let kind = u32_at(header, 0);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if size < HEADER || size > left {
                return Err(Damage::Size { size, left });
            }
            self.at += size;
            if !matches!(kind, PERF_RECORD_SAMPLE | PERF_RECORD_LOST) {
                continue;
            }
            let body = match self.data.get(start..start + size) {
                Some(record) => &record[HEADER..],
                None => {
                    let first = &self.data[start..];
                    scratch.clear();
                    scratch.extend_from_slice(first);
                    scratch.extend_from_slice(&self.data[..size - first.len()]);
                    &scratch[HEADER..]
                }
            };
            if kind == PERF_RECORD_SAMPLE {
                // PERF_SAMPLE_RAW: length (32 bits), bytes.
                let length = body.get(..4).map_or(usize::MAX, |bytes| u32_at(bytes, 0) as usize);
                let sample = body
                    .get(4..)
                    .and_then(|bytes| bytes.get(..length))
                    .ok_or(Damage::Sample(length))?;
                return Ok(Some(Record::Sample(sample)));
            }
            // id, lost (64 bits each)
            let lost = body.get(8..16).ok_or(Damage::Size { size, left })?;
            return Ok(Some(Record::Lost(
                u64::from(u32_at(lost, 0)) | u64::from(u32_at(lost, 4)) << 32,
            )));
        }
        Ok(None)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::merge::merge;
    use super::*;

    fn sample(payload: &[u8]) -> Vec<u8> {
        let size = (HEADER + 4 + payload.len()).next_multiple_of(8);
        let mut record = PERF_RECORD_SAMPLE.to_ne_bytes().to_vec();
        record.extend([0, 0]);
        record.extend(u16::try_from(size).unwrap().to_ne_bytes());
        record.extend(u32::try_from(size - HEADER - 4).unwrap().to_ne_bytes());
        record.extend(payload);
        record.resize(size, 0);
        record
    }

    fn lost(count: u64) -> Vec<u8> {
        let mut record = PERF_RECORD_LOST.to_ne_bytes().to_vec();
        record.extend([0, 0]);
        record.extend(24_u16.to_ne_bytes());
        record.extend(7_u64.to_ne_bytes());
        record.extend(count.to_ne_bytes());
        record
    }

    /// Puts `bytes` into a ring of 64 bytes from position `tail` on.
    fn ring(tail: usize, bytes: &[u8]) -> [u8; 64] {
        let mut ring = [0xee; 64];
        for (index, byte) in bytes.iter().enumerate() {
            ring[(tail + index) % 64] = *byte;
        }
        ring
    }

    /// Everything in one ring.
    fn walk(data: &[u8], tail: u64, head: u64, mut found: impl FnMut(Record<'_>)) -> Result<(), Damage> {
        let mut cursors = [Cursor::new(data, tail, head)?];
        let mut result = Ok(());
        merge(
            &mut cursors,
            &mut Vec::new(),
            |_, record| found(record),
            |_, damage| result = Err(damage),
        );
        result
    }

    #[test]
    fn a_record_over_the_end_is_put_together() {
        let bytes = [sample(b"0123456789ab"), lost(3)].concat();
        for tail in (0..128).step_by(8) {
            let data = ring(tail, &bytes);
            let mut seen = Vec::new();
            walk(&data, tail as u64, (tail + bytes.len()) as u64, |record| match record {
                Record::Sample(sample) => seen.push(String::from_utf8_lossy(&sample[..12]).into_owned()),
                Record::Lost(count) => seen.push(count.to_string()),
            })
            .unwrap();
            assert_eq!(seen, ["0123456789ab", "3"], "at {tail}");
        }
    }

    fn timed(times: &[u64]) -> Vec<u8> {
        times
            .iter()
            .flat_map(|time| sample(&[&time.to_ne_bytes()[..], &[0; 4]].concat()))
            .collect()
    }

    proptest! {
        #[test]
        fn rings_are_merged_by_time(
            mut first in proptest::collection::vec(1..1000_u64, 0..40),
            mut second in proptest::collection::vec(1..1000_u64, 0..40),
            turn in 0..100_usize,
        ) {
            first.sort_unstable();
            second.sort_unstable();
            let tail = turn * 8;
            let place = |times: &[u64]| {
                let bytes = timed(times);
                let mut data = vec![0; 1024];
                for (index, byte) in bytes.iter().enumerate() {
                    data[(tail + index) % 1024] = *byte;
                }
                (data, (tail + bytes.len()) as u64)
            };
            let (one, two) = (place(&first), place(&second));
            let mut cursors =
                [Cursor::new(&one.0, tail as u64, one.1).unwrap(), Cursor::new(&two.0, tail as u64, two.1).unwrap()];
            let mut seen = Vec::new();
            merge(
                &mut cursors,
                &mut Vec::new(),
                |_, record| if let Record::Sample(bytes) = record {
                    seen.push(u64::from_ne_bytes(bytes[..8].try_into().unwrap()));
                },
                |_, damage| panic!("{damage}"),
            );
            let mut expected = [first, second].concat();
            expected.sort_unstable();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_bytes_end(data in proptest::array::uniform32(any::<u64>()), tail in any::<u32>(), filled in 0..300_u64) {
            let data: Vec<u8> = data.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let tail = u64::from(tail) * 8;
            let mut bytes = 0;
            let result = walk(&data, tail, tail + filled, |record| if let Record::Sample(sample) = record {
                bytes += sample.len();
            });
            prop_assert!(bytes <= filled as usize);
            prop_assert!(filled <= 256 || result.is_err());
        }
    }
}
