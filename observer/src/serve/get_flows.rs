//! `GetFlows` on the wire.
//!
//! The generated server wants a message for each flow. This one stands before it and answers that one method with bytes
//! that are messages already, many at a time; everything else it hands on.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flow::api::observer::observer_server::{ObserverServer, SERVICE_NAME};
use flow::api::observer::{GetFlowsRequest, GetFlowsResponse};
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::NodeState;
use super::flows::FlowAnswer;
use super::observer::ObserverService;
use super::query::FlowQuery;
use super::shared_rows::SharedRows;

const PATH: &str = "/observer.Observer/GetFlows";
const ENCODING: &str = "grpc-encoding";

/// The service `observer.Observer`.
#[derive(Clone)]
pub(super) struct ObserverFront {
    flows: Flows,
    others: ObserverServer<ObserverService>,
}

#[derive(Clone, Debug)]
struct Flows {
    node: Arc<NodeState>,
    shared: Arc<SharedRows>,
    shutdown: watch::Receiver<bool>,
}

impl ObserverFront {
    pub(super) fn new(node: Arc<NodeState>, address: String, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            others: ObserverServer::new(ObserverService::new(Arc::clone(&node), address, shutdown.clone())),
            flows: Flows {
                node,
                shared: Arc::default(),
                shutdown,
            },
        }
    }
}

impl NamedService for ObserverFront {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for ObserverFront {
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
            let query = match read(request).await {
                Ok(request) => FlowQuery::new(&request),
                Err(status) => Err(status),
            };
            Ok(match query {
                Ok(query) => flows.answer(query),
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

impl Flows {
    fn answer(self, query: FlowQuery) -> Response<Body> {
        let Self {
            node,
            shared,
            mut shutdown,
        } = self;
        let flows = stream::once(FlowAnswer::start(
            query,
            Arc::clone(&node.log),
            node.name.clone(),
            shared,
        ))
        .flat_map(|answer| {
            stream::unfold(answer, async |mut answer| {
                let chunk = answer.next().await?;
                Some((chunk, answer))
            })
        })
        .map(Frame::data)
        // Also in the middle of an answer: a client that never reaches the end is no reason to stay.
        .take_until(async move { super::ended(&mut shutdown).await })
        .chain(stream::once(async { Frame::trailers(done()) }))
        .map(Ok::<Frame<Bytes>, Infallible>);
        let mut response = Response::new(Body::new(StreamBody::new(flows)));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

/// What comes after the last message.
fn done() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Ok as i32));
    trailers
}
