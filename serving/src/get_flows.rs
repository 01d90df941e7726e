//! `GetFlows` on the wire.
//!
//! The generated server wants a message for each flow. This one stands before it and answers that one method with bytes
//! that are messages already, many at a time; everything else it hands on.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use flow::api::observer::observer_server::{Observer, ObserverServer, SERVICE_NAME};
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::Service;

const PATH: &str = "/observer.Observer/GetFlows";
const ENCODING: &str = "grpc-encoding";

/// Answers to `GetFlows`.
pub trait FlowAnswers: Clone + Send + Sync + 'static {
    /// Messages for a client as [`Frames`](crate::frames::Frames), made when its connection has room for them. An error
    /// ends the stream.
    ///
    /// # Errors
    /// What is wrong with the request.
    fn answer(&self, request: GetFlowsRequest) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status>;
}

/// The service `observer.Observer`.
#[derive(Debug)]
pub struct ObserverFront<O, A> {
    others: ObserverServer<O>,
    flows: A,
}

impl<O, A: Clone> Clone for ObserverFront<O, A> {
    fn clone(&self) -> Self {
        Self {
            others: self.others.clone(),
            flows: self.flows.clone(),
        }
    }
}

impl<O: Observer, A: FlowAnswers> ObserverFront<O, A> {
    /// `flows` answers `GetFlows`, and `others` all other methods.
    pub fn new(others: O, flows: A) -> Self {
        Self {
            others: ObserverServer::new(others),
            flows,
        }
    }
}

impl<O, A> NamedService for ObserverFront<O, A> {
    const NAME: &'static str = SERVICE_NAME;
}

impl<O: Observer, A: FlowAnswers> Service<Request<Body>> for ObserverFront<O, A> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return self.others.call(request);
        }
        let flows = self.flows.clone();
        Box::pin(async move {
            let answer = match read(request).await {
                Ok(request) => flows.answer(request),
                Err(status) => Err(status),
            };
            Ok(match answer {
                Ok(messages) => respond(messages),
                Err(status) => status.into_http(),
            })
        })
    }
}

/// The one message of the request.
async fn read(request: Request<Body>) -> Result<GetFlowsRequest, Status> {
    if let Some(encoding) = request
        .headers()
        .get(ENCODING)
        .filter(|encoding| *encoding != "identity")
    {
        return Err(Status::unimplemented(format!(
            "requests compressed with {encoding:?} are not read here; send them as they are"
        )));
    }
    let decoder = ProstCodec::<GetFlowsResponse, GetFlowsRequest>::default().decoder();
    Streaming::new_request(decoder, request.into_body(), None, None)
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("the request has no message"))
}

fn respond(messages: BoxStream<'static, Result<Bytes, Status>>) -> Response<Body> {
    // The messages, and then how it ended; nothing comes after an error.
    let frames = stream::unfold(Some(messages), async |messages| {
        let mut messages = messages?;
        Some(match messages.next().await {
            Some(Ok(bytes)) => (Frame::data(bytes), Some(messages)),
            Some(Err(status)) => (Frame::trailers(failed(&status)), None),
            None => (Frame::trailers(done()), None),
        })
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames.map(Ok::<Frame<Bytes>, Infallible>))));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// What comes after the last message.
fn done() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Ok as i32));
    trailers
}

/// What comes in place of further messages.
fn failed(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(error) = status.add_header(&mut trailers) {
        tracing::debug!("cannot tell a client why its stream ends: {error}");
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    trailers
}
