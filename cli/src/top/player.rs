//! Plays a recording at the pace of its own times.
//!
//! [`pace`] knows which flows are due, given what the clock says; the player reads, waits and hands out.

mod pace;
mod speed;

use std::time::Duration;

use anyhow::Result;
use arrow_buffer::BooleanBuffer;
use flow::batch::FlowBatch;
use tokio::time::Instant;

use super::recording::Recording;
use pace::{Due, Pace};
pub(crate) use speed::Speed;

/// Where the player is. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Time of the flow that was played last.
    pub(crate) time_ns: Option<i64>,
    /// Earliest time of the recording, as far as it is known.
    pub(crate) first_ns: Option<i64>,
    /// Latest time of the recording, as far as it is known.
    pub(crate) last_ns: Option<i64>,
    /// Flows that were played.
    pub(crate) flows: u64,
}

/// Plays a recording.
pub(crate) struct Player {
    recording: Recording,
    pace: Pace,
    /// What was read, and its first row that wasn't played.
    current: Option<(FlowBatch, usize)>,
    position: Position,
    /// Flows to play although it is paused.
    steps: u64,
    ended: bool,
}

impl Player {
    /// Starts with the recording's first flow, at once.
    pub(crate) fn new(recording: Recording, speed: Speed) -> Self {
        let position = Position {
            first_ns: recording.first_ns,
            last_ns: recording.last_ns,
            ..Position::default()
        };
        Self {
            recording,
            pace: Pace::new(speed),
            current: None,
            position,
            steps: 0,
            ended: false,
        }
    }

    /// The next flows, when they are due; `None` when all were played. While paused it waits until it is given up.
    ///
    /// It may be given up at any time, and nothing is lost; a change of speed, a pause or a step counts from the next
    /// call on.
    pub(crate) async fn next(&mut self) -> Result<Option<FlowBatch>> {
        loop {
            if self.pace.is_paused() && self.steps == 0 {
                std::future::pending::<()>().await;
            }
            let Some((batch, row)) = &self.current else {
                match self.recording.next().await? {
                    Some(batch) => self.current = Some((batch, 0)),
                    None => {
                        self.ended = true;
                        return Ok(None);
                    }
                }
                continue;
            };
            let times = (*row..batch.rows()).map(|row| batch.time_ns(row));
            if self.pace.is_paused() {
                self.steps -= 1;
                self.pace.stepped(batch.time_ns(*row));
                return Ok(self.take(1));
            }
            match self.pace.due(times, Instant::now()) {
                Due::Now(count) => return Ok(self.take(count)),
                Due::In(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Hands out the next rows of the current batch.
    fn take(&mut self, count: usize) -> Option<FlowBatch> {
        let (batch, row) = self.current.take()?;
        let end = (row + count).min(batch.rows());
        self.position.flows += (end - row) as u64;
        for time in (row..end).map(|row| batch.time_ns(row)) {
            self.position.time_ns = Some(time);
            self.position.first_ns = Some(self.position.first_ns.map_or(time, |first| first.min(time)));
            self.position.last_ns = self.position.last_ns.map(|last| last.max(time));
        }
        if row == 0 && end == batch.rows() {
            return Some(batch);
        }
        let part = batch.select(&BooleanBuffer::collect_bool(batch.rows(), |at| {
            (row..end).contains(&at)
        }));
        if end < batch.rows() {
            self.current = Some((batch, end));
        }
        part
    }

    /// Where it is.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether all flows were played.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many lines of a file were left out so far, because they are no flows.
    pub(crate) fn broken(&self) -> u64 {
        self.recording.broken()
    }

    /// How much of the recording's time was left out since this was asked last: idle time, or a leap of its clock.
    pub(crate) fn skipped(&mut self) -> Option<Duration> {
        self.pace.take_skipped()
    }

    pub(crate) fn speed(&self) -> Speed {
        self.pace.speed()
    }

    pub(crate) fn set_speed(&mut self, speed: Speed) {
        self.pace.set_speed(speed, Instant::now());
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.pace.is_paused()
    }

    pub(crate) fn pause(&mut self) {
        self.pace.pause(Instant::now());
    }

    /// Goes on where it was paused.
    pub(crate) fn resume(&mut self) {
        self.steps = 0;
        self.pace.resume(Instant::now());
    }

    /// Pauses, and plays one flow more.
    pub(crate) fn step(&mut self) {
        self.pause();
        self.steps += 1;
    }
}

#[cfg(test)]
mod tests;
