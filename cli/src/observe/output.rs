//! Where flows go: to stdout as text or JSON, flushed when nothing more is there for now.

use std::io::{BufWriter, Stdout, Write};

use anyhow::Result;
use flow::api::observer::GetFlowsResponse;
use flow::text::{Format, Options, Printer, TimeFormat, Zone};

use super::flags::Formatting;
use crate::usage::{UsageError, nearest};

/// Everything that text output prints, as paths of a flow. Wider than what Hubble asks for by default, which leaves out
/// some of what its compact output would print.
const SHOWN: [&str; 32] = [
    "time",
    "verdict",
    "auth_type",
    "ethernet",
    "IP",
    "l4",
    "l7",
    "source.identity",
    "source.namespace",
    "source.pod_name",
    "destination.identity",
    "destination.namespace",
    "destination.pod_name",
    "source_names",
    "destination_names",
    "source_service",
    "destination_service",
    "Type",
    "node_name",
    "event_type",
    "is_reply",
    "traffic_direction",
    "trace_observation_point",
    "policy_match_type",
    "drop_reason_desc",
    "debug_capture_point",
    "sock_xlate_point",
    "ip_trace_id",
    "egress_allowed_by",
    "ingress_allowed_by",
    "egress_denied_by",
    "ingress_denied_by",
];

/// Further paths of the default mask: deprecated in the API, but the summary still comes from it; and our own.
const ALSO_SHOWN: [&str; 3] = ["Summary", "drop_reason", "detail"];

/// Which fields of flows to ask the server for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All.
    None,
    /// What the output prints.
    Default(Vec<String>),
    /// What somebody typed.
    Given(Vec<String>),
}

impl Mask {
    /// The paths; empty for all fields.
    pub(crate) fn paths(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::Default(paths) | Self::Given(paths) => paths,
        }
    }

    /// Whether nobody asked for this mask.
    pub(crate) fn is_default(&self) -> bool {
        matches!(self, Self::Default(_))
    }
}

/// The output of a run.
pub(crate) struct Output {
    json: bool,
    printer: Printer<BufWriter<Stdout>, Box<dyn Write + Send>>,
}

impl Output {
    /// Checks the flags. `terminal`: stdout is one; `local`: times are shown in local time.
    pub(crate) fn new(
        formatting: &Formatting,
        terminal: bool,
        local: bool,
        debug: bool,
        follow: bool,
    ) -> Result<Self, UsageError> {
        let format = format(&formatting.output)?;
        if format == Format::Table && follow {
            return Err(UsageError(
                "table output needs all flows before it can print, so it cannot be combined with --follow".to_owned(),
            ));
        }
        let options = Options {
            format,
            time_format: time_format(formatting.time_format.as_deref())?,
            zone: if local { Zone::Local } else { Zone::Utc },
            print_node_name: formatting.print_node_name,
            print_policy_names: formatting.print_policy_names,
            ip_translation: formatting.ip_translation != Some(false) && !formatting.numeric,
            color: color(&formatting.color, terminal)?,
            symbols: terminal,
            explain_drops: formatting.explain_drops.unwrap_or(terminal),
            all_node_status: debug,
            bare_json: bare_json(),
        };
        let out = BufWriter::with_capacity(1 << 16, std::io::stdout());
        let nodes: Box<dyn Write + Send> = if formatting.silent_errors {
            Box::new(std::io::sink())
        } else {
            Box::new(std::io::stderr())
        };
        Ok(Self {
            json: format == Format::Json,
            printer: Printer::new(out, nodes, options),
        })
    }

    /// The fields to ask for.
    pub(crate) fn mask(&self, formatting: &Formatting) -> Result<Mask, UsageError> {
        match (formatting.field_mask.is_empty(), self.json) {
            (false, true) => Ok(Mask::Given(formatting.field_mask.clone())),
            (false, false) => Err(UsageError("--field-mask goes with JSON output; add -o json".to_owned())),
            (true, false) if formatting.use_default_field_masks != Some(false) => Ok(Mask::Default(
                SHOWN.iter().chain(&ALSO_SHOWN).map(ToString::to_string).collect(),
            )),
            (true, _) => Ok(Mask::None),
        }
    }

    /// Prints a flow or a loss to stdout, and the state of nodes to stderr.
    pub(crate) fn response(&mut self, response: &GetFlowsResponse) -> Result<()> {
        Ok(self.printer.print(response)?)
    }

    /// Hands on what was printed so far.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.printer.flush()?)
    }

    /// Ends the output: tables are printed now.
    pub(crate) fn finish(self) -> Result<()> {
        let (mut out, _) = self.printer.finish()?;
        Ok(out.flush()?)
    }
}

/// The form of output.
pub(crate) fn format(typed: &str) -> Result<Format, UsageError> {
    match typed.to_ascii_lowercase().as_str() {
        "compact" => Ok(Format::Compact),
        "dict" => Ok(Format::Dict),
        "tab" | "table" => Ok(Format::Table),
        "json" | "jsonpb" => Ok(Format::Json),
        other => {
            let all = ["compact", "dict", "json", "jsonpb", "table", "tab"];
            let hint = nearest(other, all)
                .map(|near| format!("did you mean {near}? "))
                .unwrap_or_default();
            let why = format!("unknown output format: {hint}allowed: {}", all.join(", "));
            Err(UsageError::value(typed, "-o, --output", why))
        }
    }
}

/// The layout of times.
pub(crate) fn time_format(typed: Option<&str>) -> Result<TimeFormat, UsageError> {
    let Some(typed) = typed else {
        return Ok(TimeFormat::default());
    };
    typed
        .parse::<TimeFormat>()
        .map_err(|error| UsageError::value(typed, "--time-format", error))
}

/// Whether to use colours. `NO_COLOR`: <https://no-color.org>.
fn color(typed: &str, terminal: bool) -> Result<bool, UsageError> {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match typed.to_ascii_lowercase().as_str() {
        "always" => Ok(true),
        "never" => Ok(false),
        "auto" => Ok(terminal && !forbidden && std::env::var_os("TERM").is_none_or(|term| term != "dumb")),
        _ => Err(UsageError::value(typed, "--color", "allowed: auto, always, never")),
    }
}

/// Whether scripts from before the API's JSON rely on flows without their response (`PARALLAX_COMPAT`, a list).
fn bare_json() -> bool {
    let compat = std::env::var("PARALLAX_COMPAT").unwrap_or_default();
    compat.split(',').any(|word| word.trim() == "legacy-json-output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_default_mask_has_only_fields_of_a_flow() {
        for path in SHOWN.iter().chain(&ALSO_SHOWN) {
            let nested = path.rsplit('.').fold(Value::Null, |inner, name| json!({ name: inner }));
            assert_eq!(flow::api::unknown_field(".flow.Flow", &nested), None, "{path}");
        }
    }
}
