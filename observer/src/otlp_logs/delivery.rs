//! Sends records from the queue, and again where that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::counts::LogCounts;

/// Records sent at once; what OpenTelemetry's SDKs take by default.
const BATCH: usize = 512;
/// An attempt that takes so long has failed.
const ATTEMPT: Duration = Duration::from_secs(30);
/// Time before the second attempt; it doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Attempts for the same records: some two minutes. A collector that refuses them for what they are must not keep those
/// behind them.
const ATTEMPTS: u32 = 9;
/// Time for what is in the queue when the program ends.
const LAST: Duration = Duration::from_secs(3);

pub(super) struct Delivery {
    exporter: LogExporter,
    scope: InstrumentationScope,
    counts: Arc<LogCounts>,
    /// Whether the last attempt failed, so that it is told once.
    fails: bool,
}

impl Delivery {
    pub(super) fn new(exporter: LogExporter, scope: InstrumentationScope, counts: Arc<LogCounts>) -> Self {
        Self {
            exporter,
            scope,
            counts,
            fails: false,
        }
    }

    /// Sends until the queue ends, and not much longer than it takes after `stop`.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<SdkLogRecord>, stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut stopped = stop.clone();
        let last_moment = async move {
            // Without its sender the program ends as well.
            let _ = stopped.wait_for(|stop| *stop).await;
            sleep(LAST).await;
        };
        let all = async {
            while queue.recv_many(&mut batch, BATCH).await > 0 {
                self.deliver(&batch, stop.clone()).await;
                batch.clear();
            }
        };
        tokio::select! {
            () = all => {}
            () = last_moment => {}
        }
        let left = batch.len() + queue.len();
        if left > 0 {
            self.counts.dropped.fetch_add(left as u64, Ordering::Relaxed);
            tracing::warn!(records = left, "log records did not reach the collector before the end");
        }
    }

    async fn deliver(&mut self, batch: &[SdkLogRecord], mut stop: watch::Receiver<bool>) {
        let count = batch.len() as u64;
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let is_last = attempt == ATTEMPTS || *stop.borrow();
            match self.send(batch).await {
                Ok(()) => {
                    self.counts.exported.fetch_add(1, Ordering::Relaxed);
                    self.counts.sent.fetch_add(count, Ordering::Relaxed);
                    if std::mem::take(&mut self.fails) {
                        tracing::info!("log records reach the collector again");
                    }
                    return;
                }
                Err(error) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.fails, true) {
                        tracing::warn!("log records don't reach the collector, and are sent again: {error}");
                    }
                }
            }
            if is_last {
                break;
            }
            // The end of the program ends the pause: there is one attempt more.
            let _ = timeout(pause, stop.wait_for(|stop| *stop)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.counts.dropped.fetch_add(count, Ordering::Relaxed);
    }

    async fn send(&self, batch: &[SdkLogRecord]) -> OTelSdkResult {
        let records: Vec<_> = batch.iter().map(|record| (record, &self.scope)).collect();
        let sent = self.exporter.export(LogBatch::new(&records));
        timeout(ATTEMPT, sent)
            .await
            .unwrap_or(Err(OTelSdkError::Timeout(ATTEMPT)))
    }
}
