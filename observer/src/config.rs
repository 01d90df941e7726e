//! What the observer can be told: by flags, by environment (`PARALLAX_OBSERVER_…`) and by a file (`--config`), the first
//! of these that says something. One structure serves all three.

mod http;
mod metrics;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use serde::Serialize;
use serde_json::Value;

use crate::aggregation::Aggregation;
use crate::capture_filter::CaptureFilter;
use crate::probes::RingKind;
use crate::silence::SilenceWait;
use serving::listen::{Listen, ListenError, Protection};
use serving::tls::TlsFiles;

pub use http::HttpHeads;
pub use metrics::MetricsSettings;

const EXAMPLES: &str = "\
Examples:
  sudo parallax-observer                                  observe every interface but lo
  sudo parallax-observer --interface 'veth*' --interface '!veth-mgmt*'
  sudo parallax-observer --endpoints names.yaml --memory 1GiB
  sudo parallax-observer --capture 'tcp port 443 and net 10.0.0.0/8'
  sudo parallax-observer --drops-only --capture 'not port 22'
  parallax-observer --replay capture.pcapng --listen unix:///tmp/replay.sock

Then: parallax observe --follow";

/// Observes the packets and the drops of this machine, and serves them to `parallax` and other clients.
#[derive(Debug, Parser, Serialize)]
#[command(name = "parallax-observer", version = version(), after_help = EXAMPLES, max_term_width = 100)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,

    /// Read settings from this file: YAML, with the names of the flags
    #[arg(long, value_name = "FILE", env = "PARALLAX_OBSERVER_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Print the settings in effect as a file for --config, and end
    #[arg(long)]
    #[serde(skip)]
    print_config: bool,

    /// Print the completions for a shell, and end
    #[arg(long, value_name = "SHELL")]
    #[serde(skip)]
    completions: Option<clap_complete::Shell>,
}

/// The settings.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Listen on this address: unix:///path, or address:port. Others than loopback only if asked for here
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PARALLAX_OBSERVER_LISTEN",
        value_delimiter = ',',
        default_values = ["unix:///run/parallax/observer.sock", "127.0.0.1:4244"]
    )]
    #[serde(serialize_with = "texts")]
    pub listen: Vec<Listen>,

    /// File (PEM) of the certificate for TCP addresses, with those between it and the authority; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "PARALLAX_OBSERVER_TLS_CERT_FILE",
        requires = "tls_key_file"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_file: Option<PathBuf>,

    /// File (PEM) of its key
    #[arg(
        long,
        value_name = "FILE",
        env = "PARALLAX_OBSERVER_TLS_KEY_FILE",
        requires = "tls_cert_file"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,

    /// Files (PEM) of authorities: clients must show a certificate that one of them has signed
    #[arg(
        long,
        value_name = "FILE,…",
        env = "PARALLAX_OBSERVER_TLS_CLIENT_CA_FILES",
        value_delimiter = ',',
        requires = "tls_cert_file"
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_client_ca_files: Vec<PathBuf>,

    /// Listen without TLS also on addresses that can be reached from elsewhere
    #[arg(
        long,
        env = "PARALLAX_OBSERVER_INSECURE",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "true|false"
    )]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,

    /// Observe interfaces of this name; * and ? are wildcards, ! excludes; lo only by its name [default: all but lo]
    #[arg(
        long,
        value_name = "PATTERN",
        env = "PARALLAX_OBSERVER_INTERFACE",
        value_delimiter = ','
    )]
    pub interface: Vec<String>,

    /// Capture only packets and drops that this filter accepts, in the kernel: 'tcp port 443 and net 10.0.0.0/8'. A part
    /// of tcpdump's language; docs/capture-filter.md explains it
    #[arg(
        long,
        value_name = "FILTER",
        env = "PARALLAX_OBSERVER_CAPTURE",
        default_value = "",
        hide_default_value = true
    )]
    #[serde(serialize_with = "filter_text", skip_serializing_if = "CaptureFilter::is_empty")]
    pub capture: CaptureFilter,

    /// Capture only drops, of all interfaces: no program is attached to any of them
    #[arg(
        long,
        env = "PARALLAX_OBSERVER_DROPS_ONLY",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "true|false",
        conflicts_with = "replay"
    )]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drops_only: bool,

    /// Names for addresses: a YAML file, read again when it changes
    #[arg(long, value_name = "FILE", env = "PARALLAX_OBSERVER_ENDPOINTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<PathBuf>,

    /// Name of this node, cluster/node or node [default: the host's name]
    #[arg(long, value_name = "NAME", env = "PARALLAX_OBSERVER_NODE_NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,

    /// Memory for flows; the oldest go when it is used up
    #[arg(
        long,
        value_name = "SIZE",
        env = "PARALLAX_OBSERVER_MEMORY",
        default_value = "256MiB"
    )]
    #[serde(serialize_with = "text")]
    pub memory: ByteSize,

    /// Connections to remember, for telling requests from replies; the most silent ones go
    #[arg(long, value_name = "NUMBER", env = "PARALLAX_OBSERVER_CONNECTIONS", default_value_t = 65_536,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=16_777_216))]
    pub connections: usize,

    /// Report a request (TCP SYN, UDP to a well-known port, DNS query) that got no answer for so long; 0 or off: don't
    #[arg(
        long,
        value_name = "DURATION",
        env = "PARALLAX_OBSERVER_SILENCE",
        default_value = "3s"
    )]
    #[serde(serialize_with = "silence_text")]
    pub silence: SilenceWait,

    /// Read the heads of HTTP/1.x messages in clear: method, host and path without query, version, status, and the ids of
    /// traceparent
    #[arg(long, value_name = "on|off", env = "PARALLAX_OBSERVER_HTTP", default_value = "on")]
    pub http: HttpHeads,

    /// Way out of the kernel: memory shared with the programs, perf rings, or a BPF ring buffer
    #[arg(long, value_name = "KIND", env = "PARALLAX_OBSERVER_RING", default_value = "shared")]
    pub ring: RingKind,

    /// Size of a ring, for each CPU unless it is the BPF ring buffer; a power of two
    #[arg(
        long,
        value_name = "SIZE",
        env = "PARALLAX_OBSERVER_RING_SIZE",
        default_value = "4MiB"
    )]
    #[serde(serialize_with = "text")]
    pub ring_size: ByteSize,

    /// What the kernel counts in place of sending it: nothing, or further packets of known connections
    #[arg(
        long,
        value_name = "LEVEL",
        env = "PARALLAX_OBSERVER_AGGREGATION",
        default_value = "medium"
    )]
    pub aggregation: Aggregation,

    /// Connections, in each direction at each interface, whose packets can be counted at a time; further ones are sent
    #[arg(long, value_name = "NUMBER", env = "PARALLAX_OBSERVER_AGGREGATION_FLOWS", default_value_t = 65_536,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=16_777_216))]
    pub aggregation_flows: usize,

    /// Who gets metrics, and which.
    #[command(flatten)]
    #[serde(flatten)]
    pub metrics: MetricsSettings,

    /// Write flows as lines of JSON to the files that this file (YAML) names; read again when it changes. docs/export.md
    /// explains it
    #[arg(long, value_name = "FILE", env = "PARALLAX_OBSERVER_FLOW_LOGS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_logs: Option<PathBuf>,

    /// Keep flows in Parquet files: a folder, or a URL such as s3://bucket/path. docs/history.md explains it
    #[arg(long, value_name = "PLACE", env = "PARALLAX_OBSERVER_HISTORY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,

    /// Size of this node's history; the oldest files go when it is more
    #[arg(
        long,
        value_name = "SIZE",
        env = "PARALLAX_OBSERVER_HISTORY_SIZE",
        default_value = "10GiB"
    )]
    #[serde(serialize_with = "text")]
    pub history_size: ByteSize,

    /// Age at which flows leave the history: 30days [default: any]
    #[arg(
        long,
        value_name = "AGE",
        env = "PARALLAX_OBSERVER_HISTORY_AGE",
        value_parser = humantime::parse_duration
    )]
    #[serde(serialize_with = "age_text", skip_serializing_if = "Option::is_none")]
    pub history_age: Option<std::time::Duration>,

    /// Memory that all SQL queries together may take
    #[arg(
        long,
        value_name = "SIZE",
        env = "PARALLAX_OBSERVER_SQL_MEMORY",
        default_value = "512MiB"
    )]
    #[serde(serialize_with = "text")]
    pub sql_memory: ByteSize,

    /// Rows that the answer to an SQL query may have
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PARALLAX_OBSERVER_SQL_ROWS",
        default_value_t = 10_000_000
    )]
    pub sql_rows: u64,

    /// Time that an SQL query may take
    #[arg(
        long,
        value_name = "DURATION",
        env = "PARALLAX_OBSERVER_SQL_TIME",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    #[serde(serialize_with = "duration_text")]
    pub sql_time: std::time::Duration,

    /// SQL queries that may run at once
    #[arg(long, value_name = "NUMBER", env = "PARALLAX_OBSERVER_SQL_QUERIES", default_value_t = 4,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub sql_queries: usize,

    /// Replay this file in place of the kernel: pcap, pcapng, or flows as JSON lines
    #[arg(long, value_name = "FILE", env = "PARALLAX_OBSERVER_REPLAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace, or a filter (observer=debug)
    #[arg(long, value_name = "LEVEL", env = "PARALLAX_OBSERVER_LOG", default_value = "info")]
    pub log: String,
}

fn text<S: serde::Serializer>(value: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&value.display().iec())
}

fn duration_text<S: serde::Serializer>(value: &std::time::Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}

fn age_text<S: serde::Serializer>(value: &Option<std::time::Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(value.unwrap_or_default()))
}

fn filter_text<S: serde::Serializer>(value: &CaptureFilter, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn silence_text<S: serde::Serializer>(value: &SilenceWait, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn texts<S: serde::Serializer>(values: &[Listen], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

impl Settings {
    /// How TCP addresses are served.
    ///
    /// # Errors
    /// What is wrong with the certificates' files, or the first address that would be plain without being asked for.
    pub fn protection(&self) -> Result<Protection, ListenError> {
        let files = self.tls_cert_file.clone().zip(self.tls_key_file.clone());
        let files = files.map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_authorities: self.tls_client_ca_files.clone(),
        });
        Protection::new(files, self.insecure, &self.listen)
    }

    /// How much SQL queries may take.
    #[must_use]
    pub fn sql_limits(&self) -> sql::limits::Limits {
        sql::limits::Limits {
            memory_bytes: usize::try_from(self.sql_memory.as_u64()).unwrap_or(usize::MAX),
            rows: self.sql_rows,
            time: self.sql_time,
            queries: self.sql_queries,
            ..sql::limits::Limits::default()
        }
    }
}

/// Version with commit.
#[must_use]
pub fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("PARALLAX_COMMIT"), ")")
}

impl Config {
    /// The command with all its flags, for completions.
    #[must_use]
    pub fn command() -> Command {
        <Self as CommandFactory>::command()
    }

    /// The shell that completions are asked for.
    #[must_use]
    pub fn completions(&self) -> Option<clap_complete::Shell> {
        self.completions
    }

    /// Whether the settings are to be printed.
    #[must_use]
    pub fn prints_config(&self) -> bool {
        self.print_config
    }

    /// The settings as a file for `--config`.
    ///
    /// # Errors
    /// If they can't be written as YAML.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(self)
    }

    /// The settings.
    #[must_use]
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// Settings from these arguments, the environment and the file.
    ///
    /// # Errors
    /// A usage error to print, with the exit code that goes with it. `--help` and `--version` are among these.
    pub fn from_arguments(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(&arguments)?;
        let config = Self::from_arg_matches(&matches)?;
        let Some(path) = &config.config else { return Ok(config) };
        let fail = |reason: String| {
            Self::command().error(
                clap::error::ErrorKind::InvalidValue,
                format!("{}: {reason}", path.display()),
            )
        };
        let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let file: Value = serde_saphyr::from_str(&text).map_err(|error| fail(error.to_string()))?;
        let mut all = arguments;
        all.extend(file_arguments(&file, &matches).map_err(fail)?);
        let matches = Self::command().try_get_matches_from(all)?;
        Self::from_arg_matches(&matches)
    }
}

/// What the file says, as flags, save what was said by flags or environment.
fn file_arguments(file: &Value, given: &ArgMatches) -> Result<Vec<OsString>, String> {
    let settings = match file {
        Value::Null => return Ok(Vec::new()),
        Value::Object(settings) => settings,
        _ => return Err("it must be a list of settings, as `memory: 1GiB`".to_owned()),
    };
    let command = Config::command();
    let known: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !["config", "print_config", "completions", "help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    let mut arguments = Vec::new();
    for (name, value) in settings {
        let Some(arg) = known.iter().find(|arg| arg.get_long() == Some(name)) else {
            let names: Vec<&str> = known.iter().filter_map(|arg| arg.get_long()).collect();
            return Err(format!("there is no setting `{name}`; there are: {}", names.join(", ")));
        };
        let source = given.value_source(arg.get_id().as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            one => vec![one],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                _ => {
                    return Err(format!(
                        "`{name}` must be text, a number, true or false, or a list of these"
                    ));
                }
            };
            arguments.push(format!("--{name}={text}").into());
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests;
