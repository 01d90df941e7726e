//! Shows the flows of an observer, as `parallax observe` does, and sums them up.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::Result;
use flow::api::flow::FlowFilter;
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, ServerStatusRequest};
use flow::api::parallax::StageLoss;
use flow::text::{Options, Printer, Zone};
use futures::StreamExt;

use super::pods::NETWORKS;
use super::summary::{Summary, is_drop};
use crate::connect::{Server, refused};
use crate::settings::Settings;

/// How many lines of packets that arrived, and how many of drops, are shown if it isn't on a terminal.
const PASSED_LINES: u32 = 28;
const DROP_LINES: u32 = 12;

/// Shows flows until `stop`, or until `limit` is over, then the summary. Without a limit every flow is shown, else
/// the first ones.
///
/// # Errors
/// If the observer can't be asked, or the output can't be written.
pub(super) async fn flows(address: &str, limit: Option<Duration>, stop: impl Future<Output = ()>) -> Result<()> {
    let terminal = stdout().is_terminal();
    let settings = Settings {
        server: Some(address.to_owned()),
        ..Settings::default()
    };
    let server = Server::connect(&settings).await?;
    let refuse = |status| refused(&server.target, &status);
    let mut client = ObserverClient::new(server.calls.clone());
    let mut stream = client.get_flows(request()).await.map_err(refuse)?.into_inner();

    let options = Options {
        zone: if terminal { Zone::Local } else { Zone::Utc },
        color: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        ..Options::default()
    };
    let mut printer = Printer::new(stdout(), std::io::stderr(), options);
    let mut summary = Summary::default();
    let (mut passed, mut dropped) = (0, 0);
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
                let (lines, most) = if is_drop(flow) {
                    (&mut dropped, DROP_LINES)
                } else {
                    (&mut passed, PASSED_LINES)
                };
                *lines += 1;
                limit.is_none() || *lines <= most
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
