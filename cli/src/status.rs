//! `parallax status`: whether a server is well, and what it has lost.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{ServerStatusRequest, ServerStatusResponse};
use flow::api::parallax::CaptureStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::connect::Server;
use crate::list::{age, fill, grouped, table};
use crate::settings::Settings;

/// The service whose health is asked for.
const SERVICE: &str = "observer.Observer";

/// `parallax status`.
#[derive(Args)]
#[command(after_help = "Examples:
  parallax status
  parallax status --server tls://relay.example.com:443 -o json

Ends with status 1 if the server can't be reached or isn't well.")]
pub(crate) struct StatusArgs {
    /// Form of the output
    #[arg(short, long, value_enum, ignore_case = true, default_value = "compact")]
    output: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Compact,
    Dict,
    Table,
    #[value(alias = "jsonpb")]
    Json,
}

impl StatusArgs {
    /// `parallax status`.
    pub(crate) fn compact() -> Self {
        Self { output: Form::Compact }
    }

    /// Asks the server and prints what it says.
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        let server = Server::connect(&settings).await?;
        let check = HealthCheckRequest {
            service: SERVICE.to_owned(),
        };
        let health = server
            .answer(HealthClient::new(server.calls.clone()).check(check))
            .await
            .context("the health check failed")?;
        let healthy = health.status() == ServingStatus::Serving;
        let health = if healthy { "Ok" } else { health.status().as_str_name() };
        let mut out = String::new();
        if self.output == Form::Compact {
            writeln!(out, "Healthcheck (via {}): {health}", server.target)?;
        }
        if healthy {
            let status = server
                .answer(ObserverClient::new(server.calls.clone()).server_status(ServerStatusRequest {}))
                .await?;
            match self.output {
                Form::Compact => compact(&mut out, &status)?,
                Form::Dict => dict(&mut out, &status)?,
                Form::Table => out.push_str(&table(&rows(&status))),
                Form::Json => writeln!(out, "{}", serde_json::to_string(&status)?)?,
            }
        }
        std::io::stdout().write_all(out.as_bytes())?;
        anyhow::ensure!(healthy, "{} is not well: {SERVICE} is {health}", server.target);
        Ok(())
    }
}

fn compact(out: &mut String, status: &ServerStatusResponse) -> Result<()> {
    writeln!(
        out,
        "Current/Max Flows: {}/{}",
        grouped(status.num_flows),
        fill(status.num_flows, status.max_flows)
    )?;
    writeln!(out, "Flows/s: {}", rate(status))?;
    if let (Some(connected), Some(unavailable)) = (&status.num_connected_nodes, &status.num_unavailable_nodes) {
        writeln!(
            out,
            "Connected Nodes: {}/{}",
            connected.value,
            connected.value + unavailable.value
        )?;
        if unavailable.value > 0 {
            writeln!(out, "Unavailable Nodes: {}", unavailable.value)?;
            for node in &status.unavailable_nodes {
                writeln!(out, "  - {node}")?;
            }
        }
    }
    let Some(capture) = &status.capture else { return Ok(()) };
    // Neither a replay nor a capture of drops has interfaces.
    if capture.interfaces.is_empty() && capture.mode != "kernel" {
        writeln!(out, "Capture: {}", capture.mode)?;
    } else {
        writeln!(out, "Capture: {} on {}", capture.mode, interfaces(capture))?;
    }
    if let Some(filter) = filter(capture) {
        writeln!(out, "Filter: {filter}")?;
    }
    writeln!(
        out,
        "Packets: {} seen{}, {} not IP, {} malformed; drops seen: {}; connections: {}",
        grouped(capture.packets_seen),
        counted(capture),
        grouped(capture.not_ip),
        grouped(capture.malformed),
        grouped(capture.drops_seen),
        grouped(capture.connections),
    )?;
    writeln!(out, "Log: {}{}", log(capture), history(capture))?;
    if let Some(history) = kept(capture) {
        writeln!(out, "History: {history}")?;
    }
    if let Some(overflowed) = overflowed(capture) {
        writeln!(out, "Metrics: {overflowed}")?;
    }
    writeln!(out, "Lost Events: {}", lost(capture))?;
    Ok(())
}

fn interfaces(capture: &CaptureStatus) -> String {
    match capture.interfaces.as_slice() {
        [] => "no interface".to_owned(),
        names => names.join(", "),
    }
}

/// Which packets are captured, and how many others there were.
fn filter(capture: &CaptureStatus) -> Option<String> {
    let (filter, filtered) = (&capture.capture_filter, capture.filtered);
    (!filter.is_empty()).then(|| format!("{filter} ({} left out)", grouped(filtered)))
}

/// How many packets the kernel has only added to the totals of their connections.
fn counted(capture: &CaptureStatus) -> String {
    match capture.aggregated {
        0 => String::new(),
        aggregated => format!(" ({} in totals of their connections)", grouped(aggregated)),
    }
}

fn log(capture: &CaptureStatus) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (used, budget) = (capture.log_bytes, capture.log_budget_bytes);
    let share = if budget == 0 {
        0.0
    } else {
        used as f64 * 100.0 / budget as f64
    };
    format!(
        "{:.1}/{:.1} MiB ({share:.2}%), {} flows evicted",
        mib(used),
        mib(budget),
        grouped(capture.flows_evicted)
    )
}

/// How far back the log reaches.
fn history(capture: &CaptureStatus) -> String {
    let dates = capture.oldest_flow.as_ref().and_then(|time| time.to_date());
    let newest = capture.newest_flow.as_ref().and_then(|time| time.to_date());
    let span = dates
        .zip(newest)
        .and_then(|(oldest, newest)| (newest - oldest).to_std().ok());
    span.map(|span| format!(", spanning {}", age(span))).unwrap_or_default()
}

/// What is in files, and why nothing is written, should that be so.
fn kept(capture: &CaptureStatus) -> Option<String> {
    let history = capture.history.as_ref()?;
    let kept = format!(
        "{}: {} flows of this run written; {} files, {:.1} MiB",
        history.location,
        grouped(history.flows),
        grouped(history.files),
        history.bytes as f64 / f64::from(1 << 20)
    );
    Some(match history.problem.as_str() {
        "" => kept,
        problem => format!("PAUSED, {problem} ({kept})"),
    })
}

/// Metrics of flows that had more series than they may.
fn overflowed(capture: &CaptureStatus) -> Option<String> {
    let metrics = capture.metrics_overflowed.iter().map(|overflow| {
        let (metric, count, limit) = (&overflow.metric, overflow.count, overflow.limit);
        format!(
            "{metric} (more than {} series, {} counts in one of all others)",
            grouped(limit),
            grouped(count)
        )
    });
    let metrics: Vec<_> = metrics.collect();
    (!metrics.is_empty()).then(|| {
        format!(
            "OVERFLOWED, choose labels that differ less or raise --metrics-series: {}",
            metrics.join(", ")
        )
    })
}

/// Losses by stage, summed over CPUs.
fn lost(capture: &CaptureStatus) -> String {
    let mut stages: Vec<(&str, u64)> = Vec::new();
    for loss in &capture.lost {
        match stages.iter_mut().find(|(stage, _)| *stage == loss.stage) {
            Some((_, count)) => *count += loss.count,
            None => stages.push((&loss.stage, loss.count)),
        }
    }
    let total: u64 = stages.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return "none".to_owned();
    }
    let parts: Vec<_> = stages
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(stage, count)| format!("{stage} {}", grouped(*count)))
        .collect();
    format!("{} ({})", grouped(total), parts.join(", "))
}

/// Flows a second over the last minute; servers that don't say so get the mean of their life.
fn rate(status: &ServerStatusResponse) -> String {
    let uptime = std::time::Duration::from_nanos(status.uptime_ns).as_secs_f64();
    if status.flows_rate > 0.0 || uptime == 0.0 {
        format!("{:.2}", status.flows_rate)
    } else {
        format!("{:.2}", status.seen_flows as f64 / uptime)
    }
}

fn fields(status: &ServerStatusResponse) -> Vec<(&'static str, String)> {
    let count = |value: &Option<_>| value.as_ref().map_or("N/A".to_owned(), |value: &u32| value.to_string());
    let mut fields = vec![
        ("NUM FLOWS", grouped(status.num_flows)),
        ("MAX FLOWS", grouped(status.max_flows)),
        ("SEEN FLOWS", grouped(status.seen_flows)),
        ("FLOWS PER SECOND", rate(status)),
        ("UPTIME", age(std::time::Duration::from_nanos(status.uptime_ns))),
        (
            "NUM CONNECTED NODES",
            count(&status.num_connected_nodes.as_ref().map(|count| count.value)),
        ),
        (
            "NUM UNAVAILABLE NODES",
            count(&status.num_unavailable_nodes.as_ref().map(|count| count.value)),
        ),
        ("VERSION", status.version.clone()),
    ];
    if let Some(capture) = &status.capture {
        fields.extend([
            ("CAPTURE", capture.mode.clone()),
            ("INTERFACES", interfaces(capture)),
            ("FILTER", filter(capture).unwrap_or_else(|| "none".to_owned())),
            ("LOG", log(capture)),
            ("HISTORY", kept(capture).unwrap_or_else(|| "none".to_owned())),
            (
                "METRICS",
                overflowed(capture).unwrap_or_else(|| "within limits".to_owned()),
            ),
            ("LOST EVENTS", lost(capture)),
        ]);
    }
    fields
}

fn dict(out: &mut String, status: &ServerStatusResponse) -> Result<()> {
    let fields = fields(status);
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in fields {
        writeln!(out, "{name:>width$}: {value}")?;
    }
    Ok(())
}

fn rows(status: &ServerStatusResponse) -> Vec<Vec<String>> {
    let (names, values): (Vec<_>, Vec<_>) = fields(status)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .unzip();
    vec![names, values]
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::api::parallax::{MetricOverflow, StageLoss};

    #[test]
    fn losses_are_summed_by_stage() {
        let loss = |stage: &str, cpu, count| StageLoss {
            stage: stage.to_owned(),
            cpu,
            count,
            source: String::new(),
        };
        let capture = CaptureStatus {
            lost: vec![
                loss("kernel ring", Some(0), 1000),
                loss("kernel ring", Some(1), 500),
                loss("client", None, 0),
            ],
            ..Default::default()
        };
        assert_eq!(lost(&capture), "1,500 (kernel ring 1,500)");
        assert_eq!(lost(&CaptureStatus::default()), "none");
    }

    #[test]
    fn the_filter_of_a_capture_is_told_with_what_it_left_out() {
        let status = ServerStatusResponse {
            capture: Some(CaptureStatus {
                mode: "kernel, drops only".to_owned(),
                capture_filter: "tcp port 443".to_owned(),
                filtered: 12_345,
                packets_seen: 7000,
                aggregated: 6500,
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut out = String::new();
        compact(&mut out, &status).expect("writes to a string");
        assert!(
            out.contains("Capture: kernel, drops only\nFilter: tcp port 443 (12,345 left out)\nPackets: 7,000 seen (6,500 in totals of their connections)"),
            "{out}"
        );
    }

    #[test]
    fn metrics_that_overflowed_are_told_with_what_to_do() {
        let mut capture = CaptureStatus::default();
        let text = |capture: &CaptureStatus| {
            let status = ServerStatusResponse {
                capture: Some(capture.clone()),
                ..Default::default()
            };
            let mut out = String::new();
            compact(&mut out, &status).expect("writes to a string");
            out
        };
        assert!(!text(&capture).contains("Metrics"));
        capture.metrics_overflowed = vec![MetricOverflow {
            metric: "hubble_drop".to_owned(),
            count: 1234,
            limit: 10_000,
        }];
        let out = text(&capture);
        assert!(
            out.contains(
                "\nMetrics: OVERFLOWED, choose labels that differ less or raise --metrics-series: \
                 hubble_drop (more than 10,000 series, 1,234 counts in one of all others)\n"
            ),
            "{out}"
        );
    }

    #[test]
    fn a_relay_names_the_nodes_it_cannot_reach() {
        let status = ServerStatusResponse {
            num_flows: 4095,
            max_flows: 4095,
            flows_rate: 12.34,
            num_connected_nodes: Some(3.into()),
            num_unavailable_nodes: Some(1.into()),
            unavailable_nodes: vec!["c1/node-b".to_owned()],
            ..Default::default()
        };
        let mut out = String::new();
        compact(&mut out, &status).expect("writes to a string");
        assert_eq!(
            out,
            "Current/Max Flows: 4,095/4,095 (100.00%)\nFlows/s: 12.34\nConnected Nodes: 3/4\n\
             Unavailable Nodes: 1\n  - c1/node-b\n"
        );
    }
}
