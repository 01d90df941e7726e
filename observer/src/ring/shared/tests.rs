use proptest::prelude::*;

use super::*;

/// A writer as the programs are one, in plain memory.
struct Writer {
    bytes: Vec<u8>,
    head: u64,
}

impl Writer {
    fn new(pages: usize, head: u64) -> Self {
        Self {
            bytes: vec![0xee; pages * PAGE],
            head,
        }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let start = at as usize & (self.bytes.len() - 1);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Appends a record for which there was room for `room` bytes; `false` if the ring is full.
    fn write(&mut self, tail: u64, room: usize, record: &[u8]) -> bool {
        let need = (HEADER + room) as u64;
        let used = self.head % PAGE as u64;
        let skipped = if used + need > PAGE as u64 {
            PAGE as u64 - used
        } else {
            0
        };
        if self.head + skipped + need - tail > self.bytes.len() as u64 {
            return false;
        }
        if skipped > 0 {
            self.put(self.head, &[0; HEADER]);
        }
        let at = self.head + skipped;
        self.put(at, &(record.len() as u64).to_ne_bytes());
        self.put(at + HEADER as u64, record);
        self.head = at + (HEADER + record.len().next_multiple_of(8)) as u64;
        true
    }
}

fn read(writer: &Writer, tail: u64, release: Option<&AtomicU64>) -> Result<Vec<Vec<u8>>, Damage> {
    let mut cursor = Cursor::new(&writer.bytes, tail, writer.head, release)?;
    let mut unused = Vec::new();
    let mut records = Vec::new();
    while let Some(Record::Sample(record)) = cursor.next(&mut unused)? {
        records.push(record.to_vec());
    }
    Ok(records)
}

#[test]
fn what_was_read_is_given_back_in_portions() {
    let mut writer = Writer::new(64, 0);
    while writer.write(0, 112, &[7; 112]) {}
    let tail = AtomicU64::new(0);
    let records = read(&writer, 0, Some(&tail)).unwrap();
    assert_eq!(records.len(), 64 * (PAGE / 120));
    let given_back = tail.load(Ordering::Relaxed);
    assert!(
        given_back > 0 && writer.head - given_back <= RELEASE_BYTES + 120,
        "{given_back}"
    );
}

#[test]
fn each_cpu_and_stream_has_pages_of_its_own() {
    let plan = Plan::new(&[0, 2], 1 << 13).unwrap();
    let mut owners = vec![None; plan.pages() as usize];
    for ring in &plan.rings {
        assert!(ring.pages.is_power_of_two());
        for owner in &mut owners[ring.first_page..ring.first_page + ring.pages] {
            assert_eq!(owner.replace((ring.cpu, ring.stream)), None);
        }
    }
    assert!(owners.iter().all(Option::is_some));
    assert_eq!(plan.rings.len(), 2 * STREAMS as usize);
}

#[test]
fn sizes_that_are_no_power_of_two_of_pages_are_refused() {
    for bytes in [0, 100, 5000, 3 << 12] {
        assert!(matches!(Plan::new(&[0], bytes), Err(RingError::Size(_))), "{bytes}");
    }
}

proptest! {
    #[test]
    fn everything_that_was_written_is_read_in_order(
        start in 0..4096_u64,
        rounds in proptest::collection::vec(proptest::collection::vec((0..5_usize, 1..800_usize), 0..40), 1..8),
    ) {
        let start = start * 8;
        let mut writer = Writer::new(4, start);
        let mut tail = start;
        let mut number = 0_u8;
        for round in rounds {
            let mut written = Vec::new();
            for (spare, size) in round {
                number = number.wrapping_add(1);
                let record = vec![number; size];
                if writer.write(tail, (size + spare * 40).next_multiple_of(8), &record) {
                    written.push(record);
                }
            }
            prop_assert_eq!(read(&writer, tail, None).unwrap(), written);
            tail = writer.head;
        }
    }

    #[test]
    fn any_bytes_end(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], PAGE),
        tail in 0..2000_u64,
        filled in 0..5000_u64,
    ) {
        let writer = Writer { bytes, head: tail * 8 + filled };
        match read(&writer, tail * 8, None) {
            Ok(records) => prop_assert!(records.iter().map(Vec::len).sum::<usize>() <= filled as usize),
            Err(Damage::Overfull(bytes)) => prop_assert!(bytes > PAGE as u64),
            Err(_) => {}
        }
    }
}
