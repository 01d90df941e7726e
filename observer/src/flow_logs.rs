//! Flow logs: flows as lines of JSON in files that are rotated, chosen by filters, with as many fields as are wanted.
//!
//! A file says which there are (`--flow-logs`), in the form that Hubble's dynamic exporters have, and may change while the
//! observer runs. A thread of low priority reads the log as any client does; what it comes too late for is told in the
//! files themselves, as a client of the API is told of it.

mod aggregation;
mod config;
mod rotation;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flow::api::Timestamp;
use flow::api::flow::{LostEvent, LostEventSource};
use flow::api::observer::GetFlowsResponse;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::batch::FlowBatch;
use flow::clock::wall_ns;
use parking_lot::Mutex;
use serving::priority;
use tokio::sync::watch;

pub use config::{FlowLogConfig, FlowLogsError};

use crate::log::reader::LogReader;
use crate::log::{FlowLog, ReaderKind};
use crate::settings_file::SettingsFile;
use aggregation::{Aggregation, Line};
use rotation::Rotated;

/// How often files are written.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the file that says which there are is looked at.
const UPKEEP: Duration = Duration::from_secs(5);

/// What was written, and what could not be.
#[derive(Debug, Default)]
pub struct Counts {
    /// Flows in files.
    pub written: AtomicU64,
    /// Flows that could not be written.
    pub failed: AtomicU64,
}

/// Counts by the names of flow logs, also of those that are over.
pub type AllCounts = Arc<Mutex<BTreeMap<String, Arc<Counts>>>>;

/// Flow logs that are written. They end with the value.
#[derive(Debug)]
pub struct FlowLogs {
    counts: AllCounts,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl FlowLogs {
    /// Begins to write what comes into the log from now on.
    ///
    /// # Errors
    /// What is wrong with the file that says which there are.
    pub fn start(path: PathBuf, node: String, log: Arc<FlowLog>) -> Result<Self, FlowLogsError> {
        let (file, configs) = SettingsFile::open("--flow-logs", path, config::read)?;
        let counts = AllCounts::default();
        let mut writer = Writer {
            reader: LogReader::new(log, ReaderKind::FlowLogs),
            file,
            node,
            logs: Vec::new(),
            counts: Arc::clone(&counts),
        };
        writer.reconfigure(configs);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(FlowLogsError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("flow logs".to_owned())
            .spawn(move || {
                priority::lower();
                runtime.block_on(writer.run(stopped));
            })
            .map_err(FlowLogsError::Thread)?;
        Ok(Self {
            counts,
            stop,
            thread: Some(thread),
        })
    }

    /// What was written.
    #[must_use]
    pub fn counts(&self) -> AllCounts {
        Arc::clone(&self.counts)
    }
}

impl Drop for FlowLogs {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes flow logs has panicked");
        }
    }
}

struct Writer {
    reader: LogReader,
    file: SettingsFile<Vec<FlowLogConfig>>,
    node: String,
    logs: Vec<Log>,
    counts: AllCounts,
}

struct Log {
    config: FlowLogConfig,
    file: Rotated,
    aggregation: Option<Aggregation>,
    counts: Arc<Counts>,
    /// Whether the last attempt failed, so that it is told once.
    fails: bool,
}

impl Writer {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut upkeep = Instant::now() + UPKEEP;
        loop {
            let stopped = tokio::time::timeout(INTERVAL, stop.wait_for(|stop| *stop)).await;
            for new in self.reader.read().await {
                for log in &mut self.logs {
                    log.write(&self.node, &new.rows, new.missed);
                }
            }
            self.logs.iter_mut().for_each(Log::flush);
            if stopped.is_ok() {
                self.logs.iter_mut().for_each(Log::end);
                return;
            }
            if upkeep <= Instant::now() {
                upkeep = Instant::now() + UPKEEP;
                if let Some(configs) = self.file.changed() {
                    tracing::info!(logs = configs.len(), "--flow-logs has changed");
                    self.reconfigure(configs);
                }
            }
        }
    }

    /// Those that are as before go on in their files.
    fn reconfigure(&mut self, configs: Vec<FlowLogConfig>) {
        let mut before = std::mem::take(&mut self.logs);
        for config in configs {
            let same = before.iter().position(|log| log.config == config);
            self.logs.push(match same {
                Some(place) => before.swap_remove(place),
                None => {
                    let counts = Arc::clone(self.counts.lock().entry(config.name.clone()).or_default());
                    Log::new(config, counts)
                }
            });
        }
        before.iter_mut().for_each(Log::end);
    }
}

impl Log {
    fn new(config: FlowLogConfig, counts: Arc<Counts>) -> Self {
        let aggregation = config.aggregation.clone();
        Self {
            file: Rotated::new(&config),
            aggregation: aggregation.map(|(mask, interval)| Aggregation::new(mask, interval, Instant::now())),
            config,
            counts,
            fails: false,
        }
    }

    fn write(&mut self, node: &str, batch: &FlowBatch, missed: u64) {
        let now_ns = wall_ns();
        if self.config.end_ns.is_some_and(|end_ns| end_ns <= now_ns) {
            return;
        }
        if missed > 0 {
            let lost = LostEvent {
                source: LostEventSource::HubbleRingBuffer.into(),
                num_events_lost: missed,
                ..LostEvent::default()
            };
            let told = GetFlowsResponse {
                node_name: node.to_owned(),
                time: Some(Timestamp::from_nanos(now_ns)),
                response_types: Some(ResponseTypes::LostEvents(lost)),
            };
            self.line(&told, 0);
        }
        for row in self.config.filters.matches(batch).set_indices() {
            let mut response = batch.to_response(row);
            if let Some(aggregation) = &mut self.aggregation {
                aggregation.add(&response);
                let lines = aggregation.due(Instant::now());
                self.aggregated(lines);
                continue;
            }
            if let (Some(mask), Some(ResponseTypes::Flow(flow))) = (&self.config.mask, &mut response.response_types) {
                *flow = mask.apply(flow);
            }
            self.line(&response, 1);
        }
    }

    fn line(&mut self, response: &GetFlowsResponse, flows: u64) {
        let mut line = serde_json::to_vec(response).expect("invariant: an answer of the API has a JSON form");
        line.push(b'\n');
        match self.file.write(&line) {
            Ok(()) => {
                self.counts.written.fetch_add(flows, Ordering::Relaxed);
                self.fails = false;
            }
            Err(error) => {
                self.counts.failed.fetch_add(flows, Ordering::Relaxed);
                self.tell(&error);
            }
        }
    }

    fn aggregated(&mut self, lines: Vec<Line>) {
        for line in lines {
            let (flows, response) = line.told();
            self.line(&response, flows);
        }
    }

    /// Writes what was only counted so far.
    fn end(&mut self) {
        let lines = self.aggregation.as_mut().map(Aggregation::all).unwrap_or_default();
        self.aggregated(lines);
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(aggregation) = &mut self.aggregation {
            let lines = aggregation.due(Instant::now());
            self.aggregated(lines);
        }
        if let Err(error) = self.file.flush() {
            self.tell(&error);
        }
    }

    fn tell(&mut self, error: &std::io::Error) {
        if !self.fails {
            let (name, path) = (&self.config.name, self.config.file_path.display());
            tracing::warn!("flow log {name}: cannot write {path}: {error}; it is tried again");
            self.fails = true;
        }
    }
}

#[cfg(test)]
mod tests;
