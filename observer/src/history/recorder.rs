//! Reads the log and writes files: the loop of the history's thread.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use history::error::HistoryError;
use history::lost::LostInterval;
use history::session::Session;
use history::state::{State, StateFile};
use history::writer::{Writer, rows_from};
use tokio::sync::watch;

use super::Run;
use super::progress::{Persisted, Progress};
use crate::log::{FlowLog, Loss, Stage};

/// How often the state of the run is written: what a run that is killed can't account for is younger than this.
const STATE: Duration = Duration::from_millis(200);
/// How often rows are written.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the run's session is written, and files are merged and deleted.
const UPKEEP: Duration = Duration::from_secs(10);
/// How long it waits after a failure, at least and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the end may take.
const LAST_FLUSH: Duration = Duration::from_secs(10);
/// Rows of a file at most.
const FILE_ROWS: usize = 1 << 18;

pub(super) struct Recorder {
    writer: Writer,
    run: Run,
    log: Arc<FlowLog>,
    state: Option<StateFile>,
    progress: Arc<Progress>,
    started_ns: i64,
    persisted: Persisted,
    /// Losses of the history itself that are not in files yet.
    unwritten: Vec<LostInterval>,
    /// When the newest row that was written was seen.
    newest_ns: i64,
    earlier_runs_closed: bool,
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

impl Recorder {
    pub(super) fn new(
        writer: Writer,
        run: Run,
        log: Arc<FlowLog>,
        state: Option<StateFile>,
        progress: Arc<Progress>,
    ) -> Self {
        let started_ns = now_ns();
        Self {
            writer,
            run,
            log,
            state,
            progress,
            started_ns,
            persisted: Persisted::default(),
            unwritten: Vec::new(),
            newest_ns: started_ns,
            earlier_runs_closed: false,
        }
    }

    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut flush = Instant::now();
        let mut upkeep = Instant::now();
        let mut patience = PATIENCE.0;
        loop {
            let stopped = tokio::time::timeout(STATE, stop.wait_for(|stop| *stop)).await.is_ok();
            if stopped {
                break;
            }
            self.log.catch_up().await;
            self.note_state();
            if Instant::now() < flush {
                continue;
            }
            let mut done = self.flush().await;
            if done.is_ok() && upkeep <= Instant::now() {
                upkeep = Instant::now() + UPKEEP;
                done = self.upkeep().await;
            }
            flush = Instant::now();
            match done {
                Ok(()) => {
                    flush += FLUSH;
                    patience = PATIENCE.0;
                    if self.progress.resume() {
                        tracing::info!("the history is written again");
                    }
                }
                Err(error) => {
                    flush += patience;
                    patience = (patience * 2).min(PATIENCE.1);
                    if self.progress.pause(error.to_string()) {
                        tracing::warn!("the history pauses: {error}");
                    }
                }
            }
        }
        match tokio::time::timeout(LAST_FLUSH, self.end()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the end of this run is missing in the history: {error}"),
            Err(_) => tracing::error!("the end of this run is missing in the history: the store did not answer"),
        }
    }

    fn note_state(&self) {
        let state = State {
            end_sequence: self.log.range().1,
            time_ns: now_ns(),
        };
        if let Some(file) = &self.state
            && let Err(error) = file.write(state)
        {
            tracing::debug!("cannot write how far the log is: {error}");
        }
    }

    fn session(&self, ended_ns: Option<i64>) -> Session {
        Session {
            node: self.run.node.clone(),
            log_id: self.log.id(),
            version: self.run.version.clone(),
            started_ns: self.started_ns,
            seen_ns: now_ns(),
            ended_ns,
            flows: self.log.range().1,
            lost: lost_events(&self.log),
        }
    }

    async fn flush(&mut self) -> Result<(), HistoryError> {
        if !self.earlier_runs_closed {
            // This run is known before anything of it is there, so that whatever it leaves behind is accounted for.
            self.writer.write_session(&self.session(None)).await?;
            let lost = self.writer.close_earlier_runs().await?;
            for loss in &lost {
                tracing::warn!(events = ?loss.count, "an earlier run ended without writing its last flows");
            }
            self.earlier_runs_closed = true;
        }
        let (first, end) = self.log.range();
        if first > self.persisted.flows {
            self.skip(first - self.persisted.flows);
        }
        while self.persisted.flows < end {
            let batches = rows_from(
                &self.log.read_from(self.persisted.flows),
                self.persisted.flows,
                FILE_ROWS,
            );
            let Some(last) = batches.last() else { break };
            // Rows may have left the log since a moment ago.
            if batches[0].first_sequence() > self.persisted.flows {
                self.skip(batches[0].first_sequence() - self.persisted.flows);
            }
            self.writer.write(&batches).await?;
            self.newest_ns = last.time_range().1;
            self.persisted.flows = last.end_sequence();
            self.progress.advance(self.persisted);
        }
        self.flush_losses().await
    }

    /// Notes rows that left the log before they were written.
    fn skip(&mut self, rows: u64) {
        let time_range = (self.newest_ns.min(now_ns()), now_ns());
        self.persisted.flows += rows;
        self.log.losses().record(Loss {
            stage: Stage::History,
            source: None,
            cpu: None,
            count: rows,
            time_range,
        });
        self.unwritten.push(LostInterval {
            from_ns: time_range.0,
            to_ns: time_range.1,
            node: self.run.node.clone(),
            stage: Stage::History.name().to_owned(),
            source: None,
            cpu: None,
            count: Some(rows),
        });
    }

    async fn flush_losses(&mut self) -> Result<(), HistoryError> {
        let (losses, next) = self.log.losses().since(self.persisted.losses);
        let mut rows = self.unwritten.clone();
        rows.extend(losses.iter().map(|loss| interval(loss, &self.run.node)));
        self.writer.write_lost(&rows).await?;
        self.unwritten.clear();
        self.persisted.losses = next;
        self.persisted.written_losses = self.writer.losses();
        self.progress.advance(self.persisted);
        Ok(())
    }

    async fn upkeep(&mut self) -> Result<(), HistoryError> {
        self.writer.write_session(&self.session(None)).await?;
        let kept = self.writer.maintain(now_ns()).await?;
        self.progress.keep(kept);
        Ok(())
    }

    async fn end(&mut self) -> Result<(), HistoryError> {
        self.note_state();
        self.flush().await?;
        let session = self.session(Some(now_ns()));
        self.writer.write_session(&session).await?;
        self.writer.store().forget_state(&session);
        Ok(())
    }
}

/// Events lost on the way into the log; what clients and the history missed is still lost to nobody else.
pub(crate) fn lost_events(log: &FlowLog) -> u64 {
    let sums = log.losses().sums();
    sums.into_iter()
        .filter(|((stage, ..), _)| !matches!(stage, Stage::Client))
        .map(|(_, count)| count)
        .sum()
}

/// A loss as the history and SQL have it.
pub(crate) fn interval(loss: &Loss, node: &str) -> LostInterval {
    LostInterval {
        from_ns: loss.time_range.0,
        to_ns: loss.time_range.1,
        node: node.to_owned(),
        stage: loss.stage.name().to_owned(),
        source: loss.source.map(|source| source.name().to_owned()),
        cpu: loss.cpu,
        count: Some(loss.count),
    }
}
