//! The flags of `parallax observe` that are not filters: how much, when, and how it looks.

use std::path::PathBuf;

use clap::ValueHint;

/// How many flows, and from when.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Selection {
    /// Show the newest N flows [default: 20, if nothing else selects]
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<u64>,

    /// Show the oldest N flows
    #[arg(long, value_name = "N")]
    pub(crate) first: Option<u64>,

    /// Show everything the server has
    #[arg(long)]
    pub(crate) all: bool,

    /// Keep showing new flows as they come
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Show flows since then: how long ago (5m, 1h30m), or a time (2026-01-02, 2026-01-02T15:04:05Z, "Jan  2 15:04:05.000")
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,

    /// Show flows until then; with --follow, stop then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,

    /// Read flows from this file (JSON lines, as -o json writes them) instead of a server; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input_file: Option<PathBuf>,
}

/// How the output looks.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct Formatting {
    /// compact, dict, json (or jsonpb) or table (or tab)
    #[arg(short, long, value_name = "FORMAT", default_value = "compact")]
    pub(crate) output: String,

    /// After each drop, say where in the kernel it happened, what its reason means and what to check; compact output
    /// only [default: true on a terminal]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) explain_drops: Option<bool>,

    /// Show the node that saw the flow
    #[arg(long)]
    pub(crate) print_node_name: bool,

    /// Show the policies that allowed or denied the flow
    #[arg(long)]
    pub(crate) print_policy_names: bool,

    /// Layout of times, which are UTC then: StampMilli, RFC3339, RFC3339Milli, RFC3339Micro, RFC3339Nano
    /// or RFC1123Z [default: StampMilli; local time on a terminal]
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) time_format: Option<String>,

    /// Show addresses, not names
    #[arg(long)]
    pub(crate) numeric: bool,

    /// Show names instead of addresses
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true")]
    pub(crate) ip_translation: Option<bool>,

    /// auto, always or never; auto is colour on a terminal unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: String,

    /// Ask for these fields only, with JSON output (time,verdict,source.namespace)
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    pub(crate) field_mask: Vec<String>,

    /// Ask only for the fields that are shown, where the output is not JSON
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true")]
    pub(crate) use_default_field_masks: Option<bool>,

    /// Print the filters as the configuration file would have them, and end
    #[arg(long)]
    pub(crate) print_raw_filters: bool,

    /// Don't report nodes that fail
    #[arg(short, long)]
    pub(crate) silent_errors: bool,
}
