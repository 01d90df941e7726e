//! Keeps the files of this node in shape while more are written.

use std::sync::Arc;
use std::time::Duration;

use history::upkeep::{Upkeep, Written};

use super::progress::{Progress, Task};
use flow::clock::wall_ns;

/// How often files are merged and deleted.
const OFTEN: Duration = Duration::from_secs(10);

pub(super) struct Keeper {
    upkeep: Upkeep,
    progress: Arc<Progress>,
}

impl Keeper {
    pub(super) fn new(upkeep: Upkeep, progress: Arc<Progress>) -> Self {
        Self { upkeep, progress }
    }

    /// Goes on for ever.
    pub(super) async fn run(mut self) {
        loop {
            let accounted = self.progress.accounted();
            let written = Written {
                flows: accounted.flows,
                losses: accounted.losses,
            };
            match self.upkeep.maintain(wall_ns(), written).await {
                Ok(kept) => {
                    self.progress.keep(kept);
                    if self.progress.works(Task::Upkeep) {
                        tracing::info!("files of the history are merged and deleted again");
                    }
                }
                Err(error) => {
                    if self.progress.fails(Task::Upkeep, error.to_string()) {
                        tracing::warn!("files of the history are neither merged nor deleted: {error}");
                    }
                }
            }
            tokio::time::sleep(OFTEN).await;
        }
    }
}
