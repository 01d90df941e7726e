//! Flows from a server.

use anyhow::Result;
use flow::api::observer::GetFlowsResponse;
use futures::FutureExt as _;

use crate::connect::{Server, refused};
use crate::observe::filters::FilterLists;
use crate::observe::live::{Peeked, open};
use crate::observe::request::Window;
use crate::settings::Settings;

/// Flows that are handed on together.
const CHUNK: usize = 4096;

/// The answer of a server.
pub(super) struct ServerFlows {
    server: Server,
    stream: Peeked,
    follow: bool,
}

impl ServerFlows {
    /// Asks for the flows of `window`, with every field.
    pub(super) async fn open(settings: &Settings, window: &Window, filters: &FilterLists) -> Result<Self> {
        let server = Server::connect(settings).await?;
        let opened = open(&server, window.request(filters, &[])).await;
        let stream = opened.map_err(|status| refused(&server.target, &status))?;
        Ok(Self {
            server,
            stream,
            follow: window.follow,
        })
    }

    /// Those that are there without waiting, at least one; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<GetFlowsResponse>>> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK {
            let next = match self.stream.next().now_or_never() {
                Some(next) => next,
                None if chunk.is_empty() => self.stream.next().await,
                None => break,
            };
            match next {
                Some(answer) => chunk.push(answer.map_err(|status| refused(&self.server.target, &status))?),
                None if chunk.is_empty() => {
                    anyhow::ensure!(
                        !self.follow,
                        "{} ended the stream; it may be restarting",
                        self.server.target
                    );
                    return Ok(None);
                }
                None => break,
            }
        }
        Ok(Some(chunk))
    }
}
