//! Encoded rows that several followers want: whoever comes first encodes them, the others get the same bytes.
//!
//! Followers that ask for the same thing read the same rows at nearly the same time. Rows are kept until every one of
//! them has had them, or until newer ones need the place.

use std::sync::Arc;

use bytes::Bytes;
use hashlink::LinkedHashMap;
use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap};

/// Memory that kept rows may take, for all followers of an observer together.
const BUDGET_BYTES: usize = 8 << 20;
/// What a chunk costs beside its bytes.
const CHUNK_BYTES: usize = 128;

/// Rows of the log, encoded.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Messages for the client; empty if no row was asked for.
    pub(super) frames: Bytes,
    /// How many messages.
    pub(super) rows: u64,
    /// Number after that of the last row that was looked at.
    pub(super) end: u64,
    /// Earliest and latest time in the batch, nanoseconds since the Unix epoch.
    pub(super) time_range: (i64, i64),
    /// Time of the last row that was looked at.
    pub(super) last_ns: i64,
}

/// What the followers of an observer share.
#[derive(Debug, Default)]
pub(super) struct SharedRows(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Who asks for what.
    wishes: FxHashMap<Arc<[u8]>, Wish>,
    next_id: u64,
    /// By wish and number of the first row; oldest first.
    chunks: LinkedHashMap<(u64, u64), KeptChunk, FxBuildHasher>,
    bytes: usize,
}

#[derive(Debug)]
struct Wish {
    id: u64,
    readers: usize,
}

#[derive(Debug)]
struct KeptChunk {
    chunk: Chunk,
    /// Readers that have not had it yet.
    awaited: usize,
}

/// One of those who ask for the same thing.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<SharedRows>,
    wish: Arc<[u8]>,
    id: u64,
}

impl SharedRows {
    /// Takes part in what others get who have the same wish, byte by byte.
    pub(super) fn join(self: &Arc<Self>, wish: Vec<u8>) -> Reader {
        let wish: Arc<[u8]> = wish.into();
        let mut guard = self.0.lock();
        let kept = &mut *guard;
        let known = kept.wishes.entry(Arc::clone(&wish)).or_insert_with(|| {
            kept.next_id += 1;
            Wish {
                id: kept.next_id,
                readers: 0,
            }
        });
        known.readers += 1;
        Reader {
            shared: Arc::clone(self),
            wish,
            id: known.id,
        }
    }
}

impl Reader {
    /// The rows from number `first` on, if another reader has encoded them and `wanted` says so.
    pub(super) fn get(&self, first: u64, wanted: impl FnOnce(&Chunk) -> bool) -> Option<Chunk> {
        let mut kept = self.shared.0.lock();
        let found = kept.chunks.get_mut(&(self.id, first))?;
        if !wanted(&found.chunk) {
            return None;
        }
        found.awaited -= 1;
        if found.awaited > 0 {
            return Some(found.chunk.clone());
        }
        kept.remove((self.id, first))
    }

    /// Keeps rows for the other readers, if there are any.
    pub(super) fn put(&self, first: u64, chunk: &Chunk) {
        let mut kept = self.shared.0.lock();
        let others = kept.wishes.get(&self.wish).map_or(0, |wish| wish.readers - 1);
        if others == 0 || kept.chunks.contains_key(&(self.id, first)) {
            return;
        }
        kept.bytes += size(chunk);
        let new = KeptChunk {
            chunk: chunk.clone(),
            awaited: others,
        };
        kept.chunks.insert((self.id, first), new);
        while kept.bytes > BUDGET_BYTES
            && let Some(oldest) = kept.chunks.front().map(|(key, _)| *key)
        {
            kept.remove(oldest);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut guard = self.shared.0.lock();
        let kept = &mut *guard;
        let Some(wish) = kept.wishes.get_mut(&self.wish) else {
            return;
        };
        wish.readers -= 1;
        if wish.readers == 0 {
            kept.wishes.remove(&self.wish);
        } else if wish.readers > 1 {
            return;
        }
        // Nobody, or only one who would be the first everywhere from now on.
        let id = self.id;
        kept.chunks.retain(|(wish, _), _| *wish != id);
        kept.bytes = kept.chunks.values().map(|kept| size(&kept.chunk)).sum();
    }
}

impl Kept {
    fn remove(&mut self, key: (u64, u64)) -> Option<Chunk> {
        let removed = self.chunks.remove(&key)?.chunk;
        self.bytes -= size(&removed);
        Some(removed)
    }
}

fn size(chunk: &Chunk) -> usize {
    chunk.frames.len() + CHUNK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(bytes: usize) -> Chunk {
        Chunk {
            frames: vec![1; bytes].into(),
            rows: 1,
            end: 1,
            time_range: (0, 0),
            last_ns: 0,
        }
    }

    fn bytes(shared: &SharedRows) -> usize {
        shared.0.lock().bytes
    }

    #[test]
    fn rows_are_kept_until_every_reader_has_had_them() {
        let shared = Arc::new(SharedRows::default());
        let readers: Vec<Reader> = (0..3).map(|_| shared.join(b"all".to_vec())).collect();
        let other = shared.join(b"other".to_vec());
        readers[0].put(7, &chunk(1000));
        assert!(other.get(7, |_| true).is_none(), "it asked for something else");
        assert!(readers[1].get(7, |_| false).is_none(), "it doesn't want them now");
        let first = readers[1].get(7, |_| true).unwrap();
        assert!(bytes(&shared) >= 1000);
        let second = readers[2].get(7, |_| true).unwrap();
        assert_eq!(first.frames.as_ptr(), second.frames.as_ptr(), "the same memory");
        assert_eq!(bytes(&shared), 0);
        assert!(readers[0].get(7, |_| true).is_none());
    }

    #[test]
    fn nothing_is_kept_for_one_reader() {
        let shared = Arc::new(SharedRows::default());
        let reader = shared.join(Vec::new());
        reader.put(1, &chunk(10));
        assert_eq!(bytes(&shared), 0);
        let second = shared.join(Vec::new());
        reader.put(1, &chunk(10));
        assert!(bytes(&shared) > 0);
        drop(second);
        assert_eq!(bytes(&shared), 0);
        drop(reader);
        assert!(shared.0.lock().wishes.is_empty());
    }

    #[test]
    fn kept_rows_stay_within_the_budget() {
        let shared = Arc::new(SharedRows::default());
        let (reader, late) = (shared.join(Vec::new()), shared.join(Vec::new()));
        for first in 0..100 {
            reader.put(first, &chunk(1 << 20));
            assert!(bytes(&shared) <= BUDGET_BYTES);
        }
        assert!(late.get(0, |_| true).is_none(), "it is too late for these");
        assert!(late.get(99, |_| true).is_some());
    }
}
