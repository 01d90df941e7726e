//! `parallax observe agent-events` and `debug-events`: what Cilium's agents tell besides flows.

use std::io::Write;

use anyhow::Result;
use chrono::{DateTime, Utc};
use flow::api::Timestamp;
use flow::api::flow::{AgentEvent, DebugEvent};
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
};
use flow::text::{Format, TimeFormat, Zone};
use serde::Serialize;
use tonic::Streaming;

use super::flags::Formatting;
use super::output::{format, time_format};
use super::request::Window;
use crate::connect::{Server, refused};
use crate::list::table;
use crate::settings::Settings;
use crate::usage::UsageError;

/// Events shown when no flag says how many.
const DEFAULT_LAST: u64 = 20;

/// How events are printed.
struct Look {
    format: Format,
    time_format: TimeFormat,
    zone: Zone,
    node_names: bool,
}

/// An event: its JSON form and its fields, the first of which is the time.
trait Event: Serialize {
    /// Names of the fields, in the order of [`Event::values`].
    const NAMES: &'static [&'static str];
    fn time(&self) -> Option<&Timestamp>;
    fn node(&self) -> &str;
    fn values(&self) -> Vec<String>;
    fn compact(&self) -> String;
}

/// Prints events of the agent, or of the data path, until the server has no more, or Ctrl-C.
pub(crate) async fn run(
    agent: bool,
    settings: &Settings,
    window: &Window,
    formatting: &Formatting,
    local: bool,
) -> Result<()> {
    let look = Look {
        format: format(&formatting.output)?,
        time_format: time_format(formatting.time_format.as_deref())?,
        zone: if local { Zone::Local } else { Zone::Utc },
        node_names: formatting.print_node_name,
    };
    if look.format == Format::Table && window.follow {
        let why = "table output needs all events before it can print, so it cannot be combined with --follow";
        return Err(UsageError(why.to_owned()).into());
    }
    let server = Server::connect(settings).await?;
    let mut client = ObserverClient::new(server.calls.clone());
    let number = if window.number == 0 {
        DEFAULT_LAST
    } else {
        window.number
    };
    let (first, follow) = (window.first, window.follow);
    let wire = |time: Option<DateTime<Utc>>| time.map(Timestamp::from);
    let (since, until) = (wire(window.since), wire(window.until));
    let refuse = |status| refused(&server.target, &status);
    if agent {
        let request = GetAgentEventsRequest {
            number,
            first,
            follow,
            since,
            until,
        };
        let stream = client.get_agent_events(request).await.map_err(refuse)?.into_inner();
        print_all(&server, stream, &look, follow).await
    } else {
        let request = GetDebugEventsRequest {
            number,
            first,
            follow,
            since,
            until,
        };
        let stream = client.get_debug_events(request).await.map_err(refuse)?.into_inner();
        print_all(&server, stream, &look, follow).await
    }
}

async fn print_all<E: Event>(server: &Server, mut stream: Streaming<E>, look: &Look, follow: bool) -> Result<()> {
    let mut rows = Vec::new();
    let mut out = std::io::stdout();
    let mut printed = 0_u64;
    loop {
        let event = tokio::select! {
            event = stream.message() => event.map_err(|status| refused(&server.target, &status))?,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(event) = event else {
            anyhow::ensure!(!follow, "{} ended the stream; it may be restarting", server.target);
            break;
        };
        let time = look.time_format.text(event.time(), look.zone);
        match look.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&event)?)?,
            Format::Compact if look.node_names => writeln!(out, "{time} [{}]: {}", event.node(), event.compact())?,
            Format::Compact => writeln!(out, "{time}: {}", event.compact())?,
            Format::Dict => {
                let separator = if printed > 0 { "------------\n" } else { "" };
                write!(out, "{separator}{}", dict(look, time, &event))?;
            }
            Format::Table => rows.push(row(look, time, &event)),
        }
        printed += 1;
    }
    if !rows.is_empty() {
        let mut all = vec![names::<E>(look).into_iter().map(str::to_owned).collect()];
        all.append(&mut rows);
        out.write_all(table(&all).as_bytes())?;
    }
    Ok(())
}

fn names<E: Event>(look: &Look) -> Vec<&'static str> {
    let node = look.node_names.then_some("NODE");
    ["TIMESTAMP"]
        .into_iter()
        .chain(node)
        .chain(E::NAMES.iter().copied())
        .collect()
}

fn row<E: Event>(look: &Look, time: String, event: &E) -> Vec<String> {
    let node = look.node_names.then(|| event.node().to_owned());
    [time].into_iter().chain(node).chain(event.values()).collect()
}

fn dict<E: Event>(look: &Look, time: String, event: &E) -> String {
    let names = names::<E>(look);
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let fields = names.iter().zip(row(look, time, event));
    fields
        .map(|(name, value)| format!("{name:>width$}: {value}\n"))
        .collect()
}

impl Event for GetAgentEventsResponse {
    const NAMES: &'static [&'static str] = &["TYPE", "DETAILS"];

    fn time(&self) -> Option<&Timestamp> {
        self.time.as_ref()
    }

    fn node(&self) -> &str {
        &self.node_name
    }

    fn values(&self) -> Vec<String> {
        let event = self.agent_event.clone().unwrap_or_default();
        vec![event.r#type().as_str_name().to_owned(), details(&event)]
    }

    fn compact(&self) -> String {
        let values = self.values();
        format!("{} ({})", values[0], values[1])
    }
}

/// What the event says, as JSON: its kinds have nothing in common.
fn details(event: &AgentEvent) -> String {
    match serde_json::to_value(event) {
        Ok(serde_json::Value::Object(mut fields)) => {
            fields.remove("type");
            fields
                .into_iter()
                .next()
                .map(|(_, notification)| notification.to_string())
                .unwrap_or_default()
        }
        _ => String::new(),
    }
}

impl Event for GetDebugEventsResponse {
    const NAMES: &'static [&'static str] = &["FROM", "TYPE", "CPU/MARK", "MESSAGE"];

    fn time(&self) -> Option<&Timestamp> {
        self.time.as_ref()
    }

    fn node(&self) -> &str {
        &self.node_name
    }

    fn values(&self) -> Vec<String> {
        let event = self.debug_event.clone().unwrap_or_default();
        let place = format!("{}/{}", cpu(&event), mark(&event));
        vec![
            from(&event),
            event.r#type().as_str_name().to_owned(),
            place,
            event.message,
        ]
    }

    fn compact(&self) -> String {
        let event = self.debug_event.clone().unwrap_or_default();
        let kind = event.r#type().as_str_name();
        format!(
            "{} {kind} MARK: {} CPU: {} ({})",
            from(&event),
            mark(&event),
            cpu(&event),
            event.message
        )
    }
}

fn from(event: &DebugEvent) -> String {
    match &event.source {
        None => "N/A".to_owned(),
        Some(source) if !source.pod_name.is_empty() => format!("{}/{}", source.namespace, source.pod_name),
        Some(source) => format!("ID:{}", source.id),
    }
}

fn mark(event: &DebugEvent) -> String {
    event
        .hash
        .as_ref()
        .map_or("N/A".to_owned(), |hash| format!("{:#x}", hash.value))
}

fn cpu(event: &DebugEvent) -> String {
    event
        .cpu
        .as_ref()
        .map_or("N/A".to_owned(), |cpu| format!("{:02}", cpu.value))
}
