//! `parallax list`: nodes and namespaces.

use std::io::Write;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetNamespacesRequest, GetNodesRequest, Namespace, Node};
use flow::api::relay::NodeState;

pub(crate) use top::units::grouped;

use crate::connect::Server;
use crate::settings::Settings;

/// `parallax list …`.
#[derive(Subcommand)]
pub(crate) enum ListCommand {
    /// List the nodes that the server knows
    #[command(
        alias = "node",
        after_help = "Examples:\n  parallax list nodes\n  parallax list nodes -o wide"
    )]
    Nodes(ListArgs),
    /// List the namespaces that were seen in flows
    #[command(aliases = ["namespace", "ns"], after_help = "Examples:\n  parallax list namespaces -o json")]
    Namespaces(ListArgs),
}

/// Flags of all lists.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Form of the list
    #[arg(short, long, value_enum, ignore_case = true, default_value = "table")]
    output: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Wide,
    Json,
}

impl ListCommand {
    /// `parallax list nodes`.
    pub(crate) fn nodes() -> Self {
        Self::Nodes(ListArgs { output: Form::Table })
    }

    /// Asks the server and prints the list.
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        let server = Server::connect(&settings).await?;
        let mut client = ObserverClient::new(server.calls.clone());
        let mut out = Vec::new();
        match self {
            Self::Nodes(args) => {
                let nodes = server.answer(client.get_nodes(GetNodesRequest {})).await?.nodes;
                match args.output {
                    Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(&nodes)?)?,
                    form => write!(out, "{}", table(&node_rows(&nodes, form == Form::Wide)))?,
                }
            }
            Self::Namespaces(args) => {
                let namespaces = server
                    .answer(client.get_namespaces(GetNamespacesRequest {}))
                    .await?
                    .namespaces;
                match args.output {
                    Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(&namespaces)?)?,
                    form => write!(out, "{}", table(&namespace_rows(&namespaces, form == Form::Wide)))?,
                }
            }
        }
        Ok(std::io::stdout().write_all(&out)?)
    }
}

fn node_rows(nodes: &[Node], wide: bool) -> Vec<Vec<String>> {
    let mut head = vec!["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"];
    if wide {
        head.extend(["VERSION", "ADDRESS", "TLS"]);
    }
    // Other servers don't tell.
    let details = wide && nodes.iter().any(|node| node.detail.is_some());
    if details {
        head.extend(["LOST", "LATE", "SKEW", "PROBLEM"]);
    }
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    for node in nodes {
        let state = match NodeState::try_from(node.state) {
            Ok(NodeState::NodeConnected) => "Connected",
            Ok(NodeState::NodeUnavailable) => "Unavailable",
            Ok(NodeState::NodeGone) => "Gone",
            Ok(NodeState::NodeError) => "Error",
            Ok(NodeState::UnknownNodeState) | Err(_) => "Unknown",
        };
        let uptime = std::time::Duration::from_nanos(node.uptime_ns);
        let seconds = uptime.as_secs_f64();
        let rate = if seconds > 0.0 {
            format!("{:.2}", node.seen_flows as f64 / seconds)
        } else {
            "N/A".to_owned()
        };
        let mut row = vec![
            node.name.clone(),
            state.to_owned(),
            age(uptime),
            rate,
            format!("{}/{}", grouped(node.num_flows), fill(node.num_flows, node.max_flows)),
        ];
        if wide {
            row.extend([
                node.version.clone(),
                node.address.clone(),
                if node.tls.as_ref().is_some_and(|tls| tls.enabled) {
                    "Enabled"
                } else {
                    "Disabled"
                }
                .to_owned(),
            ]);
        }
        if details {
            let detail = node.detail.clone().unwrap_or_default();
            let problem = if detail.problem.is_empty() {
                "none".to_owned()
            } else {
                detail.problem.clone()
            };
            row.extend([
                grouped(detail.lost),
                grouped(detail.late),
                skew(detail.skew_ns),
                problem,
            ]);
        }
        rows.push(row);
    }
    rows
}

/// How far a clock is before that of the server: less than what a question takes says nothing.
fn skew(skew_ns: i64) -> String {
    const NOTHING_NS: u64 = 5_000_000;
    let size = skew_ns.unsigned_abs();
    if size < NOTHING_NS {
        return "none".to_owned();
    }
    let rounded = std::time::Duration::from_millis(size / 1_000_000);
    let text = humantime::format_duration(rounded).to_string();
    let text = text.split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!("{}{text}", if skew_ns < 0 { "-" } else { "+" })
}

fn namespace_rows(namespaces: &[Namespace], wide: bool) -> Vec<Vec<String>> {
    let row = |namespace: &str, cluster: &str| {
        let mut row = vec![namespace.to_owned()];
        if wide {
            row.push(cluster.to_owned());
        }
        row
    };
    let mut rows = vec![row("NAMESPACE", "CLUSTER")];
    rows.extend(
        namespaces
            .iter()
            .map(|namespace| row(&namespace.namespace, &namespace.cluster)),
    );
    rows
}

/// "4,095 (100.00%)": a limit and how much of it is used.
pub(crate) fn fill(used: u64, limit: u64) -> String {
    if limit == 0 {
        return grouped(limit);
    }
    format!("{} ({:.2}%)", grouped(limit), used as f64 * 100.0 / limit as f64)
}

/// A duration in its two largest units.
pub(crate) fn age(age: std::time::Duration) -> String {
    let text = humantime::format_duration(std::time::Duration::from_secs(age.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Columns padded to equal width, three spaces apart.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut writer = tabwriter::TabWriter::new(Vec::new()).padding(3);
    for row in rows {
        // Writing to a Vec cannot fail.
        let _ = writeln!(writer, "{}", row.join("\t"));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(4095), "4,095");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn what_a_relay_knows_of_a_node_is_told() {
        let node = Node {
            name: "c1/a".to_owned(),
            state: NodeState::NodeUnavailable as i32,
            detail: Some(flow::api::parallax::NodeDetail {
                lost: 1234,
                late: 5,
                skew_ns: -600_123_000_000,
                problem: "connection refused".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let text = table(&node_rows(&[node], true));
        let cells: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("   ").map(str::trim).collect())
            .collect();
        let ends = |cells: &[&str], end: &[&str]| {
            cells
                .iter()
                .copied()
                .filter(|cell| !cell.is_empty())
                .collect::<Vec<_>>()
                .ends_with(end)
        };
        assert!(ends(&cells[0], &["LOST", "LATE", "SKEW", "PROBLEM"]), "{text}");
        assert!(
            ends(&cells[1], &["1,234", "5", "-10m 123ms", "connection refused"]),
            "{text}"
        );
        assert_eq!(
            (skew(4_000_000), skew(1_500_000_000)),
            ("none".to_owned(), "+1s 500ms".to_owned())
        );
    }

    #[test]
    fn a_node_is_a_row() {
        let node = Node {
            name: "default/vm".to_owned(),
            state: NodeState::NodeConnected as i32,
            uptime_ns: 120_000_000_000,
            num_flows: 50,
            max_flows: 100,
            seen_flows: 240,
            ..Default::default()
        };
        let text = table(&node_rows(&[node], true));
        assert_eq!(
            text,
            "NAME         STATUS      AGE   FLOWS/S   CURRENT/MAX-FLOWS   VERSION   ADDRESS   TLS\n\
             default/vm   Connected   2m    2.00      50/100 (50.00%)                         Disabled\n"
        );
    }
}
