//! Places of queries: so many run at once.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::SqlError;

/// Parts of one question that run at once; more than any plan has.
const MOST_PARTS: usize = 64;

/// A place; it is free when it is dropped, with those of the other parts of its question.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// The places of an engine.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    free: Arc<Semaphore>,
    /// Places of questions that come in parts, by what the asker calls them.
    parts: Mutex<HashMap<String, Weak<OwnedSemaphorePermit>>>,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit)),
            parts: Mutex::default(),
        }
    }

    /// Questions that have a place.
    pub(crate) fn taken(&self) -> usize {
        self.limit - self.free.available_permits()
    }

    /// A place for a question. A relay's question comes in parts when it looks at a table several times; if each had its
    /// own place, a few could take all, and wait for the others for ever.
    ///
    /// # Errors
    /// If all places are taken.
    pub(crate) fn take(&self, part_of: Option<&str>) -> Result<Place, SqlError> {
        let full = || SqlError::Queries { limit: self.limit };
        let new = || {
            Arc::clone(&self.free)
                .try_acquire_owned()
                .map(Arc::new)
                .map_err(|_| full())
        };
        let Some(whole) = part_of else {
            return new();
        };
        let mut parts = self.parts.lock();
        match parts.get(whole).and_then(Weak::upgrade) {
            Some(place) if Arc::strong_count(&place) > MOST_PARTS => Err(full()),
            Some(place) => Ok(place),
            None => {
                let place = new()?;
                parts.retain(|_, place| place.strong_count() > 0);
                parts.insert(whole.to_owned(), Arc::downgrade(&place));
                Ok(place)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_question_have_one_place() {
        let places = Places::new(2);
        let parts: Vec<Place> = (0..MOST_PARTS).map(|_| places.take(Some("a")).unwrap()).collect();
        assert_eq!(places.taken(), 1);
        assert!(places.take(Some("a")).is_err(), "there is an end to parts");
        let alone = places.take(None).unwrap();
        assert_eq!(places.taken(), 2);
        assert!(places.take(Some("b")).is_err());
        drop(alone);
        let other = places.take(Some("b")).unwrap();
        drop(parts);
        assert_eq!(places.taken(), 1);
        drop(other);
        assert_eq!(places.taken(), 0);
        let _again = places.take(Some("c")).unwrap();
        assert_eq!(places.parts.lock().len(), 1, "what is over is forgotten");
    }
}
