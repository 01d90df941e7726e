//! Lines and rows that are no flows.

use std::path::{Path, PathBuf};

use crate::observe::offline::{AND_MORE, MOST_TOLD};

/// Tells what is left out of a file, and counts it.
pub(super) struct LeftOut {
    path: PathBuf,
    count: u64,
}

impl LeftOut {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            count: 0,
        }
    }

    /// Says on stderr that something is no flow.
    pub(super) fn tell(&mut self, place: &str, why: &str) {
        self.count += 1;
        if self.count <= MOST_TOLD {
            let more = if self.count == MOST_TOLD { AND_MORE } else { "" };
            eprintln!(
                "warning: {place} of {} is not a flow and is left out: {why}{more}",
                self.path.display()
            );
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
