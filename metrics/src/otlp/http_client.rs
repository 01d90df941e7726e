//! Requests over HTTP: a connection for each, of which there are few.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use serving::connect::{open, reason};
use tokio::runtime::Handle;

use super::collector::Collector;

/// A collector that takes so long has failed. The crate's own limit ends only the repetitions.
const LIMIT: Duration = Duration::from_secs(30);

/// Sends requests to a collector.
#[derive(Debug)]
pub(super) struct Client {
    collector: Collector,
    /// The SDK sends from a thread of its own.
    runtime: Handle,
    /// Why the last request failed: the crate says no more than that the network did.
    problem: Mutex<Option<String>>,
}

impl Client {
    /// Sends in the runtime that it is made in.
    pub(super) fn new(collector: Collector) -> Self {
        Self {
            collector,
            runtime: Handle::current(),
            problem: Mutex::default(),
        }
    }

    /// Tells a problem once.
    fn tell(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let problem = sent.as_ref().err().map(|error| reason(&**error));
        let mut before = self.problem.lock();
        if let Some(problem) = problem.as_ref().filter(|_| *before != problem) {
            tracing::warn!("{}: {problem}", self.collector);
        }
        *before = problem;
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let collector = self.collector.clone();
        let sent = async move { tokio::time::timeout(LIMIT, send(collector, request)).await? };
        let sent = self.runtime.spawn(sent).await?;
        self.tell(&sent);
        sent
    }
}

async fn send(collector: Collector, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let stream = open(collector.target(), collector.tls()).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(http::header::HOST, authority.as_str().parse()?);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse()?;
    let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}
