//! Flows as log records of OpenTelemetry: drops, or whatever a filter chooses.
//!
//! A thread of low priority reads the log as any client does, and sends what it finds from a queue of its own. While the
//! collector is away the queue fills, and what it can't take is counted; the capture never waits.

mod choice;
mod counts;
mod delivery;
mod limit;
mod record;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flow::filter::Filters;
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogExporter as _;
use opentelemetry_sdk::logs::SdkLogRecord;
use serving::priority;
use tokio::sync::{mpsc, watch};

pub use choice::{Choice, ChoiceError};
pub use counts::LogCounts;

use crate::log::reader::{LogReader, New};
use crate::log::{FlowLog, ReaderKind};
use crate::metrics::otlp::{Collector, OtlpError};
use delivery::Delivery;
use limit::Limit;
use record::Records;

/// How often the log is read.
const INTERVAL: Duration = Duration::from_millis(500);
/// Records that wait for the collector at most: some 10 MB.
const QUEUE: usize = 4096;

/// Why flows don't become log records.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The exporter can't be.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The system has no thread.
    #[error("cannot start the thread that sends log records: {0}")]
    Thread(io::Error),
}

/// Sends flows as log records for as long as it lives.
#[derive(Debug)]
pub struct OtlpLogs {
    counts: Arc<LogCounts>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl OtlpLogs {
    /// Begins to send the chosen flows among those that come into the log from now on: so many records a second at most.
    ///
    /// # Errors
    /// If the variables of OpenTelemetry say what can't be.
    pub fn start(
        collector: &Collector,
        resource: &Resource,
        filters: Filters,
        per_second: u32,
        log: Arc<FlowLog>,
    ) -> Result<Self, LogsError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LogsError::Thread)?;
        let mut exporter = {
            let _inside = runtime.enter();
            collector.log_exporter()?
        };
        exporter.set_resource(resource);
        let counts = Arc::<LogCounts>::default();
        let (stop, stopped) = watch::channel(false);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let reader = Reader {
            reader: LogReader::new(log, ReaderKind::LogRecords),
            filters,
            limit: Limit::new(per_second, Instant::now()),
            records: Records::of(resource),
            queue,
            counts: Arc::clone(&counts),
        };
        let scope = InstrumentationScope::builder("parallax.flows").build();
        let delivery = Delivery::new(exporter, scope, Arc::clone(&counts));
        let thread = std::thread::Builder::new()
            .name("log records".to_owned())
            .spawn(move || {
                priority::lower();
                runtime.block_on(async move {
                    tokio::join!(reader.run(stopped.clone()), delivery.run(waiting, stopped));
                });
                // A name that is still looked up must not hold up the end.
                runtime.shutdown_background();
            })
            .map_err(LogsError::Thread)?;
        Ok(Self {
            counts,
            stop,
            thread: Some(thread),
        })
    }

    /// What became of flows.
    #[must_use]
    pub fn counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
    }
}

impl Drop for OtlpLogs {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends log records has panicked");
        }
    }
}

struct Reader {
    reader: LogReader,
    filters: Filters,
    limit: Limit,
    records: Records,
    queue: mpsc::Sender<SdkLogRecord>,
    counts: Arc<LogCounts>,
}

impl Reader {
    /// The queue ends with it.
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = tokio::time::timeout(INTERVAL, stop.wait_for(|stop| *stop)).await;
            for new in self.reader.read().await {
                self.take(&new);
            }
            if stopped.is_ok() {
                return;
            }
        }
    }

    fn take(&mut self, New { rows, missed }: &New) {
        self.counts.missed.fetch_add(*missed, Ordering::Relaxed);
        let now = Instant::now();
        for row in self.filters.matches(rows).set_indices() {
            if !self.limit.allows(record::is_noise(rows, row), now) {
                self.counts.limited.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            match self.queue.try_reserve() {
                Ok(place) => place.send(self.records.of_row(rows, row)),
                Err(_) => {
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
