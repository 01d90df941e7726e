//! Says several times a second how far a run is, in a file that outlives a process that is killed.

use std::sync::Arc;
use std::time::Duration;

use history::state::{State, StateFile};

use super::progress::Progress;
use crate::log::{FlowLog, Stage};
use flow::clock::wall_ns;

/// How often: what a run that is killed can't account for is younger than this.
const OFTEN: Duration = Duration::from_millis(200);

/// The notes of a run.
pub(super) struct Notes {
    /// Only a history in a folder of this machine has one.
    file: Option<StateFile>,
    log: Arc<FlowLog>,
    progress: Arc<Progress>,
}

impl Notes {
    pub(super) fn new(file: Option<StateFile>, log: Arc<FlowLog>, progress: Arc<Progress>) -> Self {
        Self { file, log, progress }
    }

    /// Writes for ever.
    pub(super) async fn run(&self) {
        if self.file.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(OFTEN).await;
            self.log.catch_up().await;
            self.write();
        }
    }

    /// Writes how far it is now.
    pub(super) fn write(&self) {
        let Some(file) = &self.file else { return };
        // First what is told, as it grows: what is lost between the two is untold.
        let accounted = self.progress.accounted();
        let before_the_log: u64 = self.log.losses().of_log().values().sum();
        let state = State {
            end_sequence: self.log.range().1,
            accounted: accounted.flows,
            lost: lost_events(&self.log),
            untold: before_the_log.saturating_sub(accounted.lost_events),
            time_ns: wall_ns(),
        };
        if let Err(error) = file.write(state) {
            tracing::debug!("cannot write how far the log is: {error}");
        }
    }
}

/// Events of which the history of a run has no flow; what clients missed is still lost to nobody else.
pub(crate) fn lost_events(log: &FlowLog) -> u64 {
    let sums = log.losses().sums();
    sums.into_iter()
        .filter(|((stage, ..), _)| !matches!(stage, Stage::Client))
        .map(|(_, count)| count)
        .sum()
}
