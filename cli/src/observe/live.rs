//! Flows from a server.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use flow::api::observer::get_flows_response::ResponseTypes;
use flow::api::observer::observer_client::ObserverClient;
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use futures::{FutureExt, StreamExt};
use tonic::{Code, Status, Streaming};

use super::filters::FilterLists;
use super::output::{Mask, Output};
use super::request::Window;
use crate::connect::{Server, refused};
use crate::settings::Settings;

/// How long after `--until` to wait for flows from before it, when following.
const GRACE: Duration = Duration::from_millis(500);

/// Asks the server for the flows of `window` and prints them until it has no more, or Ctrl-C.
pub(crate) async fn run(
    settings: &Settings,
    window: &Window,
    filters: &FilterLists,
    mask: Mask,
    mut output: Output,
) -> Result<()> {
    let server = Server::connect(settings).await?;
    let request = window.request(filters, mask.paths());
    tracing::debug!(?request, "asking for flows");
    let mut stream = match open(&server, request).await {
        Ok(stream) => stream,
        // A server that doesn't know a field of our default mask refuses all of it; then it sends every field.
        Err(status) if mask.is_default() && matches!(status.code(), Code::InvalidArgument | Code::Unknown) => {
            tracing::debug!(%status, "asking again without a field mask");
            let refuse = |status| refused(&server.target, &status);
            open(&server, window.request(filters, &[])).await.map_err(refuse)?
        }
        Err(status) => return Err(refused(&server.target, &status)),
    };
    let result = print_all(&mut stream, window, &mut output).await;
    output.finish()?;
    match result? {
        Ended::Asked => Ok(()),
        Ended::Server(None) if window.follow => {
            anyhow::bail!("{} ended the stream; it may be restarting", server.target)
        }
        Ended::Server(None) => Ok(()),
        Ended::Server(Some(status)) => Err(refused(&server.target, &status)),
    }
}

/// Opens the stream and waits for its first message, because servers check a request only then. The first message is
/// put back in front.
pub(crate) async fn open(server: &Server, request: GetFlowsRequest) -> Result<Peeked, Status> {
    let mut stream = ObserverClient::new(server.calls.clone())
        // A flow with every field is about 1 KiB; the limit is there against a broken server.
        .max_decoding_message_size(64 << 20)
        .get_flows(request)
        .await?
        .into_inner();
    let follow_quietly = tokio::time::timeout(Duration::from_millis(200), stream.next());
    match follow_quietly.await {
        Ok(Some(Err(status))) => Err(status),
        Ok(first) => Ok(Peeked {
            ended: first.is_none(),
            first: first.and_then(Result::ok),
            stream,
        }),
        Err(_) => Ok(Peeked {
            first: None,
            ended: false,
            stream,
        }),
    }
}

/// A stream with its first message taken out.
pub(crate) struct Peeked {
    first: Option<GetFlowsResponse>,
    ended: bool,
    stream: Streaming<GetFlowsResponse>,
}

impl Peeked {
    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<GetFlowsResponse, Status>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None if self.ended => None,
            None => self.stream.next().await,
        }
    }
}

enum Ended {
    /// By the user, or because `--until` was reached.
    Asked,
    /// By the server, with its error.
    Server(Option<Status>),
}

async fn print_all(stream: &mut Peeked, window: &Window, output: &mut Output) -> Result<Ended> {
    let until = async {
        match window.until.filter(|_| window.follow) {
            Some(until) => {
                let left = (until - Utc::now()).to_std().unwrap_or_default();
                tokio::time::sleep(left + GRACE).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::pin!(until);
    let ctrl_c = tokio::signal::ctrl_c();
    tokio::pin!(ctrl_c);
    loop {
        // Output is flushed when the server has nothing more for now: each flow at once when they are few, many at a
        // time when they are many.
        let next = match stream.next().now_or_never() {
            Some(next) => next,
            None => {
                output.flush()?;
                tokio::select! {
                    next = stream.next() => next,
                    () = &mut until => return Ok(Ended::Asked),
                    _ = &mut ctrl_c => return Ok(Ended::Asked),
                }
            }
        };
        match next {
            Some(Ok(response)) => {
                if window.follow && is_after(&response, window.until) {
                    return Ok(Ended::Asked);
                }
                output.response(&response)?;
            }
            Some(Err(status)) => return Ok(Ended::Server(Some(status))),
            None => return Ok(Ended::Server(None)),
        }
    }
}

/// Whether this flow is from after the end of the window: servers that ignore the end when they follow are held to it.
fn is_after(response: &GetFlowsResponse, until: Option<DateTime<Utc>>) -> bool {
    let flow = matches!(response.response_types, Some(ResponseTypes::Flow(_)));
    let time = response.time.as_ref().and_then(flow::api::Timestamp::to_date);
    flow && until.zip(time).is_some_and(|(until, time)| time > until)
}
