//! Shows the flows of an observer, as `parallax observe` does, and sums them up.

use std::collections::HashMap;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::Result;
use flow::api::flow::layer4::Protocol;
use flow::api::flow::{Flow, FlowFilter, FlowType};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetNodesRequest, ServerStatusRequest};
use flow::api::parallax::StageLoss;
use flow::api::relay::NodeState;
use flow::text::{Options, Printer, Zone};
use futures::StreamExt;

use super::pods::NETWORKS;
use super::summary::{Summary, is_drop, is_harmless};
use crate::connect::{Server, refused};
use crate::list::ListCommand;
use crate::settings::Settings;
use crate::sql::SqlArgs;
use crate::status::StatusArgs;

/// How long a relay may take to reach its nodes.
const CONNECTED: Duration = Duration::from_secs(20);
/// How many lines of packets that arrived, and how many of drops, are shown if it isn't on a terminal.
const PASSED_LINES: u32 = 46;
const DROP_LINES: u32 = 12;
/// How many of these may be about the same thing, so that there is room for every kind of traffic.
const PASSED_LINES_ALIKE: u32 = 1;
const DROP_LINES_ALIKE: u32 = 1;

fn settings(address: &str) -> Settings {
    Settings {
        server: Some(address.to_owned()),
        ..Settings::default()
    }
}

/// Shows the nodes of a relay, as `parallax list nodes` does, once it has reached all of them.
///
/// # Errors
/// If the relay can't be asked.
pub(super) async fn nodes(address: &str) -> Result<()> {
    let server = Server::connect(&settings(address)).await?;
    let mut client = ObserverClient::new(server.calls.clone());
    let connected = async {
        loop {
            let nodes = server.answer(client.get_nodes(GetNodesRequest {})).await?.nodes;
            if nodes.iter().all(|node| node.state() == NodeState::NodeConnected) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // A node that isn't there after that is shown so.
    if let Ok(asked) = tokio::time::timeout(CONNECTED, connected).await {
        asked?;
    }
    println!("$ parallax list nodes --server {address}");
    ListCommand::nodes().run(settings(address)).await?;
    println!();
    Ok(())
}

/// What is asked of all nodes in SQL.
const QUESTION: &str = "SELECT node, drop_reason, count(*) AS drops FROM drops WHERE NOT is_noise GROUP BY node, drop_reason \
                        ORDER BY drops DESC, node LIMIT 8";

/// Asks a server in SQL, as `parallax sql` does.
///
/// # Errors
/// If it can't be asked.
pub(super) async fn question(address: &str) -> Result<()> {
    println!("\n$ parallax sql --server {address} \"{QUESTION}\"");
    SqlArgs::of(QUESTION).run(settings(address)).await
}

/// Shows how a server is, as `parallax status` does.
///
/// # Errors
/// If it can't be asked.
pub(super) async fn status(address: &str) -> Result<()> {
    println!("\n$ parallax status --server {address}");
    StatusArgs::compact().run(settings(address)).await
}

/// Shows flows until `stop`, or until `limit` is over, then the summary. Without a limit every flow is shown, else
/// the first ones.
///
/// # Errors
/// If the observer can't be asked, or the output can't be written.
pub(super) async fn flows(address: &str, limit: Option<Duration>, stop: impl Future<Output = ()>) -> Result<()> {
    let terminal = stdout().is_terminal();
    let server = Server::connect(&settings(address)).await?;
    let refuse = |status| refused(&server.target, &status);
    let mut client = ObserverClient::new(server.calls.clone());
    let mut stream = client.get_flows(request()).await.map_err(refuse)?.into_inner();

    let options = Options {
        zone: if terminal { Zone::Local } else { Zone::Utc },
        color: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        ..Options::default()
    };
    let mut summary = Summary::new(options.color);
    let mut printer = Printer::new(stdout(), std::io::stderr(), options);
    let mut choice = Choice::default();
    let end = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end, stop);
    loop {
        let response = tokio::select! {
            biased;
            () = &mut stop => break,
            () = &mut end => break,
            response = stream.next() => response,
        };
        let Some(response) = response else { break };
        let response = response.map_err(refuse)?;
        let shown = match &response.response_types {
            Some(ResponseTypes::Flow(flow)) => {
                summary.add(flow);
                limit.is_none() || choice.shows(flow)
            }
            // Losses and the state of nodes are always worth a line.
            _ => true,
        };
        if shown {
            printer.print(&response)?;
            printer.flush()?;
        }
    }
    summary.write(stdout(), lost(&server).await.as_deref())
}

/// Chooses the lines to show where there is room for few: some of each kind.
#[derive(Default)]
struct Choice {
    passed: u32,
    dropped: u32,
    alike: HashMap<String, u32>,
}

impl Choice {
    fn shows(&mut self, flow: &Flow) -> bool {
        let dropped = is_drop(flow);
        if (dropped && is_harmless(flow)) || finds_neighbours(flow) || is_of_socket(flow) {
            return false;
        }
        let (lines, most, most_alike) = match dropped {
            true => (&mut self.dropped, DROP_LINES, DROP_LINES_ALIKE),
            false => (&mut self.passed, PASSED_LINES, PASSED_LINES_ALIKE),
        };
        let alike = self.alike.entry(kind(flow)).or_default();
        if *lines >= most || *alike >= most_alike {
            return false;
        }
        *lines += 1;
        *alike += 1;
        true
    }
}

/// Whether it isn't a packet, but what happened to a socket: one connection has many of these.
fn is_of_socket(flow: &Flow) -> bool {
    flow.r#type() == FlowType::Sock
}

/// Whether a packet belongs to IPv6's own housekeeping: neighbour discovery (RFC 4861), multicast listeners (RFC 3810).
fn finds_neighbours(flow: &Flow) -> bool {
    match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::IcmPv6(header)) => (130..=137).contains(&header.r#type) || header.r#type == 143,
        _ => false,
    }
}

/// What flows of one kind have in common: both ends in either order, protocol, service, question or answer, and the
/// reason of a drop. Where a packet was seen makes no difference: it is shown once.
fn kind(flow: &Flow) -> String {
    let (protocol, ports) = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => ("tcp", (tcp.source_port, tcp.destination_port)),
        Some(Protocol::Udp(udp)) => ("udp", (udp.source_port, udp.destination_port)),
        Some(Protocol::IcmPv4(_)) => ("icmp", (0, 0)),
        Some(Protocol::IcmPv6(_)) => ("icmpv6", (0, 0)),
        _ => ("other", (0, 0)),
    };
    let ip = flow.ip.clone().unwrap_or_default();
    let ends = (
        ip.source.clone().min(ip.destination.clone()),
        ip.source.max(ip.destination),
    );
    let reason = flow
        .detail
        .as_ref()
        .map_or("", |detail| detail.kernel_drop_reason.as_str());
    let message = flow.l7.is_some();
    let reply = flow.is_reply.as_ref().is_some_and(|reply| reply.value);
    format!(
        "{protocol} {} {} {} {reason} {message} {reply}",
        ports.0.min(ports.1),
        ends.0,
        ends.1
    )
}

/// Every flow of the playground, from the oldest.
fn request() -> GetFlowsRequest {
    let networks: Vec<String> = NETWORKS.map(str::to_owned).into();
    let from = FlowFilter {
        source_ip: networks.clone(),
        ..FlowFilter::default()
    };
    let to = FlowFilter {
        destination_ip: networks,
        ..FlowFilter::default()
    };
    GetFlowsRequest {
        follow: true,
        since: Some(flow::api::Timestamp::default()),
        whitelist: vec![from, to],
        ..GetFlowsRequest::default()
    }
}

/// What was lost at each stage; nothing if the observer doesn't say.
async fn lost(server: &Server) -> Option<Vec<StageLoss>> {
    let mut client = ObserverClient::new(server.calls.clone());
    let status = server
        .answer(client.server_status(ServerStatusRequest::default()))
        .await
        .ok()?;
    Some(status.capture?.lost)
}
