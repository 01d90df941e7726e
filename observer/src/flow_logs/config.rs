//! The file that says which flow logs there are.
//!
//! ```yaml
//! flowLogs:
//!   - name: drops
//!     filePath: /var/log/parallax/drops.log     # or stdout
//!     fieldMask: [time, source, destination, verdict, detail]
//!     includeFilters: [{verdict: [DROPPED]}]
//!     excludeFilters: [{destination_port: ["22"]}]
//!     fileMaxSizeMb: 10
//!     fileMaxBackups: 5
//!     fileCompress: true
//!     fieldAggregate: [source, destination, verdict]
//!     aggregationInterval: 30s
//!     end: 2026-12-24T18:00:00Z
//! ```

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flow::api::flow::FlowFilter;
use flow::filter::Filters;
use flow::mask::FlowMask;
use serde::Deserialize;

use crate::settings_file::SettingsFileError;

/// Why there are no flow logs.
#[derive(Debug, thiserror::Error)]
pub enum FlowLogsError {
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] SettingsFileError),
    /// The system has no thread.
    #[error("cannot start the thread that writes flow logs: {0}")]
    Thread(io::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    flow_logs: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    file_path: PathBuf,
    #[serde(default)]
    field_mask: Vec<String>,
    #[serde(default)]
    include_filters: Vec<FlowFilter>,
    #[serde(default)]
    exclude_filters: Vec<FlowFilter>,
    #[serde(default = "ten")]
    file_max_size_mb: u64,
    #[serde(default = "five")]
    file_max_backups: usize,
    #[serde(default)]
    file_compress: bool,
    #[serde(default)]
    field_aggregate: Vec<String>,
    aggregation_interval: Option<String>,
    end: Option<String>,
}

fn ten() -> u64 {
    10
}

fn five() -> usize {
    5
}

/// A flow log as it is wanted.
#[derive(Clone, Debug)]
pub struct FlowLogConfig {
    /// Its name.
    pub name: String,
    /// Where it is; `stdout` is standard output.
    pub file_path: PathBuf,
    /// Flows that are in it.
    pub filters: Arc<Filters>,
    /// Fields that are in it; all if there is none.
    pub mask: Option<Arc<FlowMask>>,
    /// Bytes of a file, about.
    pub max_bytes: u64,
    /// Files that are kept besides the newest.
    pub backups: usize,
    /// Whether these are compressed (gzip).
    pub compress: bool,
    /// Fields that make flows the same line, and for how long they are counted before it is written.
    pub aggregation: Option<(Arc<FlowMask>, Duration)>,
    /// When it ends, nanoseconds since the Unix epoch.
    pub end_ns: Option<i64>,
    entry: Entry,
}

impl PartialEq for FlowLogConfig {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry
    }
}

impl FlowLogConfig {
    fn new(entry: Entry) -> Result<Self, String> {
        let wrong = |why: String| format!("flow log {}: {why}", entry.name);
        if entry.name.is_empty() || entry.file_path.as_os_str().is_empty() {
            return Err("each flow log needs a name and a filePath".to_owned());
        }
        let filters = Filters::compile(&entry.include_filters, &entry.exclude_filters);
        let mask = FlowMask::new(&entry.field_mask).map_err(|error| wrong(format!("fieldMask: {error}")))?;
        let end = entry
            .end
            .as_deref()
            .map(chrono::DateTime::parse_from_rfc3339)
            .transpose();
        let end = end.map_err(|_| wrong("end is no time: write 2026-12-24T18:00:00Z".to_owned()))?;
        let aggregated =
            FlowMask::new(&entry.field_aggregate).map_err(|error| wrong(format!("fieldAggregate: {error}")))?;
        let interval = entry.aggregation_interval.as_deref().map(humantime::parse_duration);
        let interval = interval
            .transpose()
            .map_err(|error| wrong(format!("aggregationInterval: {error}; write 30s or 5m")))?
            .filter(|interval| !interval.is_zero());
        let aggregation = match (aggregated, interval) {
            (Some(mask), Some(interval)) => Some((Arc::new(mask), interval)),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("fieldAggregate needs an aggregationInterval: 30s".to_owned())),
            (None, Some(_)) => {
                return Err(wrong(
                    "aggregationInterval needs the fields that make flows the same: fieldAggregate: [source, destination, verdict]"
                        .to_owned(),
                ));
            }
        };
        if entry.file_max_size_mb == 0 {
            return Err(wrong("fileMaxSizeMb must be 1 at least".to_owned()));
        }
        Ok(Self {
            name: entry.name.clone(),
            file_path: entry.file_path.clone(),
            filters: Arc::new(filters.map_err(|error| wrong(error.to_string()))?),
            mask: mask.map(Arc::new),
            max_bytes: entry.file_max_size_mb.saturating_mul(1 << 20),
            backups: entry.file_max_backups,
            compress: entry.file_compress,
            aggregation,
            end_ns: end.and_then(|end| end.timestamp_nanos_opt()),
            entry,
        })
    }
}

/// Reads flow logs from YAML.
pub(super) fn read(yaml: &str) -> Result<Vec<FlowLogConfig>, String> {
    let file: File = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let configs = file
        .flow_logs
        .into_iter()
        .map(FlowLogConfig::new)
        .collect::<Result<Vec<_>, _>>()?;
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for config in &configs {
        if !names.insert(&config.name) {
            return Err(format!(
                "there are two flow logs {}; give each a name of its own",
                config.name
            ));
        }
        if !paths.insert(&config.file_path) {
            return Err(format!(
                "two flow logs write {}; give each a file of its own",
                config.file_path.display()
            ));
        }
    }
    Ok(configs)
}
