//! Metrics of the flows: a thread that reads the log as any client does, and counts.
//!
//! It has a low priority, and nobody waits for it. What leaves the log before it was counted is a metric as well.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::metrics::config::{MetricConfig, read};
use ::metrics::flow_metrics::{FlowMetrics, Limits, Timed};
use ::metrics::open_metrics::Shown;
use flow::api::parallax::MetricOverflow;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use parking_lot::Mutex;
use serving::priority;
use tokio::sync::watch;

use crate::log::reader::{LogReader, New};
use crate::log::{FlowLog, ReaderKind};
use crate::settings_file::{SettingsFile, SettingsFileError};

/// How often flows are counted.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often series that nothing is added to are looked for, and the file.
const UPKEEP: Duration = Duration::from_secs(5);
/// Boundaries of histograms, seconds: those that Prometheus' clients have, and shorter ones for what happens in a node.
const BOUNDARIES: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Says of a series that it is of all that there was no place for, as OpenTelemetry's specification of metrics has it.
const OVERFLOW: &str = "otel.metric.overflow";

/// Which metrics there are.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// These.
    Fixed(Vec<MetricConfig>),
    /// Those of a file, which may change.
    File(PathBuf),
}

/// Why flows are not counted.
#[derive(Debug, thiserror::Error)]
pub enum FlowMeterError {
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] SettingsFileError),
    /// The system has no thread.
    #[error("cannot start the thread that counts flows: {0}")]
    Thread(io::Error),
}

/// Counts the flows of a log.
#[derive(Debug)]
pub struct FlowMeter {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    metrics: Mutex<FlowMetrics>,
    /// For each export the histograms by their names.
    histograms: Mutex<Vec<HashMap<&'static str, Histogram<f64>>>>,
    missed: AtomicU64,
}

/// Tells which metrics of flows had more series than they may.
#[derive(Clone, Debug)]
pub struct Overflows(Arc<Shared>);

impl Overflows {
    /// These metrics, for `ServerStatus`.
    pub(crate) fn list(&self) -> Vec<MetricOverflow> {
        let metrics = self.0.metrics.lock();
        let families = metrics.families().filter(|family| family.overflowed() > 0);
        let each = families.map(|family| MetricOverflow {
            metric: family.info().name.to_owned(),
            count: family.overflowed(),
            limit: family.limit() as u64,
        });
        each.collect()
    }
}

impl Shared {
    fn exemplars(&self) -> Shown {
        let metrics = self.metrics.lock();
        let mut shown = Shown::default();
        for family in metrics.families() {
            for (values, exemplar) in family.exemplars() {
                let labels = family.labels().iter().copied().zip(values.iter().map(|value| &**value));
                shown.add(&family.info(), labels, exemplar);
            }
        }
        shown
    }
}

impl FlowMeter {
    /// Begins to count what comes into the log from now on.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn start(wanted: Wanted, limits: Limits, log: Arc<FlowLog>) -> Result<Self, FlowMeterError> {
        let (configs, file) = match wanted {
            Wanted::Fixed(configs) => (configs, None),
            Wanted::File(path) => {
                let (file, configs) = SettingsFile::open("--metrics-config", path, configs)?;
                (configs, Some(file))
            }
        };
        let shared = Arc::new(Shared {
            metrics: Mutex::new(FlowMetrics::new(&configs, limits)),
            histograms: Mutex::default(),
            missed: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(FlowMeterError::Thread)?;
        let reader = Reader {
            log: LogReader::new(log, ReaderKind::Metrics),
            shared: Arc::clone(&shared),
            started: Instant::now(),
            file,
        };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                priority::lower();
                runtime.block_on(reader.run(stopped));
            })
            .map_err(FlowMeterError::Thread)?;
        Ok(Self {
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// Which of its metrics have overflowed, now and later.
    #[must_use]
    pub fn overflows(&self) -> Overflows {
        Overflows(Arc::clone(&self.shared))
    }

    /// Gives an export what there is, now and later.
    pub(super) fn register(&self, provider: &SdkMeterProvider) {
        let meter = provider.meter("parallax.flows");
        let mut histograms = HashMap::new();
        for info in FlowMetrics::known_families() {
            if info.is_histogram {
                let histogram = meter
                    .f64_histogram(info.name)
                    .with_unit(info.unit)
                    .with_description(info.help)
                    .with_boundaries(BOUNDARIES.to_vec())
                    .build();
                histograms.insert(info.name, histogram);
                continue;
            }
            let shared = Arc::clone(&self.shared);
            meter
                .u64_observable_counter(info.name)
                .with_unit(info.unit)
                .with_description(info.help)
                .with_callback(move |observer| {
                    let metrics = shared.metrics.lock();
                    let Some(family) = metrics.family(info.name) else {
                        return;
                    };
                    for (values, count) in family.series() {
                        let labels = family.labels().iter().zip(values);
                        let labels: Vec<KeyValue> = labels
                            .map(|(name, value)| KeyValue::new(*name, value.to_string()))
                            .collect();
                        observer.observe(count, &labels);
                    }
                    if family.overflow() > 0 {
                        observer.observe(family.overflow(), &[KeyValue::new(OVERFLOW, true)]);
                    }
                })
                .build();
        }
        self.shared.histograms.lock().push(histograms);
        self.register_own(provider);
    }

    /// Gives flows of traces that series have counted, now and later.
    pub(super) fn exemplars(&self) -> impl Fn() -> Shown + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.exemplars()
    }

    fn register_own(&self, provider: &SdkMeterProvider) {
        let meter = provider.meter("parallax");
        let of_each = |read: fn(&::metrics::series::Family) -> u64| {
            let shared = Arc::clone(&self.shared);
            move || {
                let metrics = shared.metrics.lock();
                let families = metrics.families().filter(|family| !family.info().is_histogram);
                let each = families.map(|family| (read(family), KeyValue::new("metric", family.info().name)));
                each.collect::<Vec<_>>()
            }
        };
        let series = of_each(|family| family.len() as u64);
        meter
            .u64_observable_gauge("parallax.metrics.series")
            .with_description("Series of a metric of flows.")
            .with_callback(move |observer| {
                series()
                    .into_iter()
                    .for_each(|(value, metric)| observer.observe(value, &[metric]));
            })
            .build();
        for (name, doc, read) in [
            (
                "parallax.metrics.overflowed",
                "How often a count went into the series of all that there was no place for.",
                of_each(::metrics::series::Family::overflowed),
            ),
            (
                "parallax.metrics.expired_series",
                "Series that were forgotten because nothing was added to them.",
                of_each(::metrics::series::Family::expired),
            ),
        ] {
            meter
                .u64_observable_counter(name)
                .with_description(doc)
                .with_callback(move |observer| {
                    read()
                        .into_iter()
                        .for_each(|(value, metric)| observer.observe(value, &[metric]));
                })
                .build();
        }
        let shared = Arc::clone(&self.shared);
        meter
            .u64_observable_counter("parallax.metrics.missed_flows")
            .with_unit("{flow}")
            .with_description("Flows that left the log before metrics counted them.")
            .with_callback(move |observer| observer.observe(shared.missed.load(Ordering::Relaxed), &[]))
            .build();
    }
}

impl Drop for FlowMeter {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that counts flows has panicked");
        }
    }
}

fn configs(yaml: &str) -> Result<Vec<MetricConfig>, String> {
    read(yaml).map_err(|error| error.to_string())
}

struct Reader {
    log: LogReader,
    shared: Arc<Shared>,
    started: Instant,
    file: Option<SettingsFile<Vec<MetricConfig>>>,
}

impl Reader {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut upkeep = Instant::now() + UPKEEP;
        loop {
            let stopped = tokio::time::timeout(INTERVAL, stop.wait_for(|stop| *stop)).await;
            self.count().await;
            if stopped.is_ok() {
                return;
            }
            if upkeep <= Instant::now() {
                upkeep = Instant::now() + UPKEEP;
                let now_s = self.started.elapsed().as_secs();
                self.shared.metrics.lock().expire(now_s);
                if let Some(file) = &mut self.file
                    && let Some(configs) = file.changed()
                {
                    tracing::info!(metrics = configs.len(), "--metrics-config has changed");
                    self.shared.metrics.lock().reconfigure(&configs);
                }
            }
        }
    }

    async fn count(&mut self) {
        let now_s = self.started.elapsed().as_secs();
        for New { rows, missed } in self.log.read().await {
            self.shared.missed.fetch_add(missed, Ordering::Relaxed);
            // Scrapes wait for a batch at most.
            let times = self.shared.metrics.lock().observe(&rows, now_s);
            self.record(&times);
        }
    }

    fn record(&self, times: &[Timed]) {
        let histograms = self.shared.histograms.lock();
        for timed in times {
            let labels = timed.labels.iter();
            let labels: Vec<KeyValue> = labels
                .map(|(name, value)| KeyValue::new(*name, value.to_string()))
                .collect();
            for histogram in histograms.iter().filter_map(|each| each.get(timed.family.name)) {
                histogram.record(timed.seconds, &labels);
            }
        }
    }
}
