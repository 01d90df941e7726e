//! Runs that ended without saying so: what they have seen and nobody wrote.

use crate::error::HistoryError;
use crate::file::rows;
use crate::layout::{HistoryFile, Kind};
use crate::lost::LostInterval;
use crate::state::State;
use crate::writer::Writer;

impl Writer {
    /// Closes the runs of this node that ended without saying so, and tells what they lost: a row for each, from when its
    /// last flow was written to when it was heard of last. How many flows that were, the run's own state says, where there
    /// is one.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn close_earlier_runs(&mut self) -> Result<Vec<LostInterval>, HistoryError> {
        let mut open = self.store().sessions().await?;
        open.retain(|session| session.node == self.node && session.log_id != self.log_id && session.ended_ns.is_none());
        if open.is_empty() {
            return Ok(Vec::new());
        }
        // Of any time: a run may have seen flows from before its start, if the clock was set back or a file replayed.
        let files = self.store().list(Kind::Flows, None).await?.files;
        let mut losses = Vec::new();
        for mut session in open {
            let own: Vec<&HistoryFile> = files
                .iter()
                .filter(|file| file.name.node == session.node && file.name.log_id == session.log_id)
                .collect();
            let last_ns = own.iter().map(|file| file.name.time_range.1).max();
            let last_ns = last_ns.unwrap_or(session.started_ns);
            let state = self.store().read_state(&session);
            let unwritten = match &state {
                Some(state) => Some(self.unwritten(state, &own).await?),
                None => None,
            };
            let seen_ns = state.map_or(session.seen_ns, |state| state.time_ns.max(session.seen_ns));
            let count = state.zip(unwritten).map(|(state, flows)| flows + state.untold);
            if count != Some(0) {
                let loss = LostInterval {
                    from_ns: last_ns,
                    to_ns: seen_ns.max(last_ns),
                    node: self.node.clone(),
                    stage: "history".to_owned(),
                    source: None,
                    cpu: None,
                    count,
                };
                self.write_lost(std::slice::from_ref(&loss)).await?;
                losses.push(loss);
            }
            session.seen_ns = seen_ns;
            session.ended_ns = Some(seen_ns);
            session.flows = state.map_or(session.flows, |state| state.end_sequence);
            session.lost = state.map_or(session.lost, |state| state.lost) + unwritten.unwrap_or(0);
            self.store().put_session(&session).await?;
            self.store().forget_state(&session);
        }
        Ok(losses)
    }

    /// How many flows of a run are in none of its files, though it says that it has seen them.
    async fn unwritten(&self, state: &State, files: &[&HistoryFile]) -> Result<u64, HistoryError> {
        let mut present = 0;
        // What was written at the turn of an hour is in two files, and the second may be missing: only their rows tell.
        for file in files.iter().filter(|file| file.name.end_sequence > state.accounted) {
            let earlier = state.accounted.saturating_sub(file.name.first_sequence);
            match rows(self.store().read(&file.location).await?) {
                Ok(rows) => present += rows.saturating_sub(earlier),
                Err(error) => tracing::warn!("{} cannot be read, its flows are lost: {error}", file.location),
            }
        }
        Ok(state
            .end_sequence
            .saturating_sub(state.accounted)
            .saturating_sub(present))
    }
}
