//! Reads the log and writes files: once a second what is new, and what was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use history::error::HistoryError;
use history::lost::LostInterval;
use history::session::Session;
use history::writer::{Writer, rows_from};
use tokio::sync::watch;

use super::Run;
use super::notes::{Notes, lost_events};
use super::progress::{Accounted, Persisted, Progress, Task};
use crate::log::{FlowLog, Loss, Place, Stage};
use flow::clock::wall_ns;

/// How often rows are written.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the run's session is written.
const SESSION: Duration = Duration::from_secs(10);
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
    notes: Arc<Notes>,
    progress: Arc<Progress>,
    started_ns: i64,
    persisted: Persisted,
    /// Losses of the history itself that are not in files yet.
    unwritten: Vec<LostInterval>,
    /// Sums of the log's losses that are in files.
    told: BTreeMap<Place, u64>,
    /// When the newest row that was written was seen.
    newest_ns: i64,
    /// Until when losses are in files.
    losses_told_ns: i64,
    earlier_runs_closed: bool,
}

impl Recorder {
    pub(super) fn new(writer: Writer, run: Run, log: Arc<FlowLog>, notes: Arc<Notes>, progress: Arc<Progress>) -> Self {
        let started_ns = wall_ns();
        Self {
            writer,
            run,
            log,
            notes,
            progress,
            started_ns,
            persisted: Persisted::default(),
            unwritten: Vec::new(),
            told: BTreeMap::new(),
            newest_ns: started_ns,
            losses_told_ns: started_ns,
            earlier_runs_closed: false,
        }
    }

    /// Says that there is this run. If that fails it is tried again with the first rows.
    pub(super) async fn begin(&mut self) {
        self.notes.write();
        if let Err(error) = self.writer.write_session(&self.session(None)).await {
            self.failed(&error);
        }
    }

    /// Writes until it is told to stop, and then the rest.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut next = Instant::now();
        let mut session = Instant::now();
        let mut patience = PATIENCE.0;
        loop {
            let wait = tokio::time::sleep_until(next.into());
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = wait => false,
            };
            if stopped {
                break;
            }
            let started = Instant::now();
            self.log.catch_up().await;
            let mut done = self.flush().await;
            if done.is_ok() && session <= started {
                session = started + SESSION;
                done = self.writer.write_session(&self.session(None)).await;
            }
            match done {
                Ok(()) => {
                    // From its start on, so that a file holds a second also if writing takes half of one.
                    next = (started + FLUSH).max(Instant::now());
                    patience = PATIENCE.0;
                    if self.progress.works(Task::Writing) {
                        tracing::info!("the history is written again");
                    }
                }
                Err(error) => {
                    next = Instant::now() + patience;
                    patience = (patience * 2).min(PATIENCE.1);
                    self.failed(&error);
                }
            }
        }
        match tokio::time::timeout(LAST_FLUSH, self.end()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the end of this run is missing in the history: {error}"),
            Err(_) => tracing::error!("the end of this run is missing in the history: the store did not answer"),
        }
    }

    fn failed(&self, error: &HistoryError) {
        if self.progress.fails(Task::Writing, error.to_string()) {
            tracing::warn!("the history pauses: {error}");
        }
    }

    fn session(&self, ended_ns: Option<i64>) -> Session {
        Session {
            node: self.run.node.clone(),
            log_id: self.log.id(),
            version: self.run.version.clone(),
            started_ns: self.started_ns,
            seen_ns: wall_ns(),
            ended_ns,
            flows: self.log.range().1,
            lost: lost_events(&self.log),
        }
    }

    async fn flush(&mut self) -> Result<(), HistoryError> {
        if !self.earlier_runs_closed {
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
        let time_range = (self.newest_ns.min(wall_ns()), wall_ns());
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
        let news = self.log.losses().news(self.persisted.losses);
        let mut rows = self.unwritten.clone();
        rows.extend(news.losses.iter().map(|loss| interval(loss, &self.run.node)));
        // After a long pause more may have been lost than is remembered one by one: that is told in sums.
        for (place, forgotten) in news.forgotten(&self.told) {
            let (stage, source, cpu) = place;
            let loss = Loss {
                stage,
                source,
                cpu,
                count: forgotten,
                time_range: (self.losses_told_ns, wall_ns()),
            };
            rows.push(interval(&loss, &self.run.node));
        }
        self.writer.write_lost(&rows).await?;
        self.losses_told_ns = wall_ns();
        self.unwritten.clear();
        self.persisted.losses = news.next;
        self.persisted.written_losses = self.writer.losses();
        self.progress.advance(self.persisted);
        self.progress.account(Accounted {
            flows: self.persisted.flows,
            losses: self.persisted.written_losses,
            lost_events: news.sums.values().sum(),
        });
        self.told = news.sums;
        // At once: what is told here must not be told again by the next run.
        self.notes.write();
        Ok(())
    }

    async fn end(&mut self) -> Result<(), HistoryError> {
        self.notes.write();
        self.flush().await?;
        let session = self.session(Some(wall_ns()));
        self.writer.write_session(&session).await?;
        self.writer.store().forget_state(&session);
        Ok(())
    }
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
