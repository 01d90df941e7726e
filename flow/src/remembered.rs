//! Things that many flows have in common, each kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// How many are remembered. A stream with more of them starts anew.
const MAX_REMEMBERED: usize = 100_000;

/// One copy of each thing, so that a batch stores it once: it tells things apart by their addresses.
#[derive(Debug)]
pub(crate) struct Remembered<T>(HashSet<Arc<T>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Default + Eq + Hash> Remembered<T> {
    /// The one copy of `thing`; `None` if it says nothing.
    pub(crate) fn get(&mut self, thing: T) -> Option<Arc<T>> {
        if thing == T::default() {
            return None;
        }
        if let Some(known) = self.0.get(&thing) {
            return Some(Arc::clone(known));
        }
        if self.0.len() >= MAX_REMEMBERED {
            self.0.clear();
        }
        let thing = Arc::new(thing);
        self.0.insert(Arc::clone(&thing));
        Some(thing)
    }
}
