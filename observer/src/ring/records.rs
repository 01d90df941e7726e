//! The records in a ring. Works on plain bytes and two positions, so that it can be tested without a kernel.

/// `perf_event_type` of include/uapi/linux/perf_event.h.
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`: type (32 bits), misc (16), size (16).
const HEADER: usize = 8;

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

/// Calls `found` with each record between the positions `tail` and `head` of a ring whose bytes are `data` (a power of
/// two). Positions only ever grow; a record that goes over the end of `data` is put together in `scratch`.
pub(super) fn walk<'a>(
    data: &'a [u8],
    tail: u64,
    head: u64,
    scratch: &'a mut Vec<u8>,
    mut found: impl FnMut(Record<'_>),
) -> Result<(), Damage> {
    let filled = head.wrapping_sub(tail);
    if filled > data.len() as u64 {
        return Err(Damage::Overfull(filled));
    }
    let mask = data.len() - 1;
    let mut at = 0;
    let filled = filled as usize;
    while at < filled {
        let left = filled - at;
        // Records are multiples of 8 bytes, so a header never goes over the end.
        let start = (tail as usize).wrapping_add(at) & mask;
        let header = data
            .get(start..start + HEADER)
            .filter(|_| left >= HEADER)
            .ok_or(Damage::Size { size: 0, left })?;
        let kind = u32_at(header, 0);
        let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
        if size < HEADER || size > left {
            return Err(Damage::Size { size, left });
        }
        let body = match data.get(start..start + size) {
            Some(record) => &record[HEADER..],
            None => {
                let first = &data[start..];
                scratch.clear();
                scratch.extend_from_slice(first);
                scratch.extend_from_slice(&data[..size - first.len()]);
                &scratch[HEADER..]
            }
        };
        match kind {
            PERF_RECORD_SAMPLE => {
                // PERF_SAMPLE_RAW: length (32 bits), bytes.
                let length = body.get(..4).map_or(usize::MAX, |bytes| u32_at(bytes, 0) as usize);
                let sample = body
                    .get(4..)
                    .and_then(|bytes| bytes.get(..length))
                    .ok_or(Damage::Sample(length))?;
                found(Record::Sample(sample));
            }
            PERF_RECORD_LOST => {
                // id, lost (64 bits each)
                let lost = body.get(8..16).ok_or(Damage::Size { size, left })?;
                found(Record::Lost(
                    u64::from(u32_at(lost, 0)) | u64::from(u32_at(lost, 4)) << 32,
                ));
            }
            _ => {}
        }
        at += size;
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn a_record_over_the_end_is_put_together() {
        let bytes = [sample(b"0123456789ab"), lost(3)].concat();
        for tail in (0..128).step_by(8) {
            let data = ring(tail, &bytes);
            let mut seen = Vec::new();
            walk(
                &data,
                tail as u64,
                (tail + bytes.len()) as u64,
                &mut Vec::new(),
                |record| match record {
                    Record::Sample(sample) => seen.push(String::from_utf8_lossy(&sample[..12]).into_owned()),
                    Record::Lost(count) => seen.push(count.to_string()),
                },
            )
            .unwrap();
            assert_eq!(seen, ["0123456789ab", "3"], "at {tail}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(data in proptest::array::uniform32(any::<u64>()), tail in any::<u32>(), filled in 0..300_u64) {
            let data: Vec<u8> = data.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let tail = u64::from(tail) * 8;
            let mut bytes = 0;
            let result = walk(&data, tail, tail + filled, &mut Vec::new(), |record| if let Record::Sample(sample) = record {
                bytes += sample.len();
            });
            prop_assert!(bytes <= filled as usize);
            prop_assert!(filled <= 256 || result.is_err());
        }
    }
}
