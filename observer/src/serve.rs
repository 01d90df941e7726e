//! Serving the log: the gRPC API on unix sockets and TCP.
//!
//! Each request has its own cursor into the log. Rows are looked at and encoded when its connection has room for them:
//! a client that doesn't read costs nothing and stops nobody else; what leaves the log meanwhile it is told as a
//! `LostEvent`. Clients that ask for the same thing get the same bytes.

mod capture_status;
mod feed;
mod flows;
mod namespaces;
mod observer;
mod peers;
mod query;
mod shared_rows;

use std::sync::Arc;
use std::time::Instant;

use arrow_flight::flight_service_server::FlightServiceServer;
use flow::api::FILE_DESCRIPTOR_SET;
use flow::api::peer::peer_server::PeerServer;
use parking_lot::RwLock;
use sql::engine::{Engine, Sources};
use sql::error::SqlError;
use sql::limits::Limits;
use sql::server::FlightSqlServer;
use sql::server::session::Session;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::capture::CaptureCounters;
use crate::config::version;
use crate::history::Progress;
use crate::interface::Interfaces;
use crate::live_flows::NodeFlows;
use crate::log::FlowLog;
use crate::metrics::flows::Overflows;
use feed::Feeds;
use flows::LogAnswers;
use observer::ObserverService;
use peers::PeerService;
use serving::get_flows::ObserverFront;
use serving::listen::{Listen, ListenError, Protection};
use serving::servers::{Servers, ended};

/// Why serving ended before it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The descriptors of the API can't be read.
    #[error("cannot offer reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Queries can't be answered.
    #[error("cannot set up SQL: {0}")]
    Sql(#[from] SqlError),
    /// The system has no threads.
    #[error("cannot start the threads of queries: {0}")]
    Threads(std::io::Error),
    /// A server ended.
    #[error("cannot go on serving: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// What the API tells about this node.
#[derive(Debug)]
pub struct NodeState {
    /// `cluster/node` or `node`.
    pub name: String,
    /// Version of this program.
    pub version: String,
    /// `kernel`, `kernel, drops only`, or `replay` with the file.
    pub mode: String,
    /// When the observer started.
    pub started: Instant,
    /// The flows.
    pub log: Arc<FlowLog>,
    /// What the capture has counted.
    pub counters: Arc<RwLock<CaptureCounters>>,
    /// The interfaces that are observed.
    pub interfaces: Arc<Interfaces>,
    /// Which packets are captured, as the user has said it.
    pub capture_filter: String,
    /// How far the history is, where there is one.
    pub history: Option<Arc<Progress>>,
    /// Which metrics of flows overflowed, where they are counted.
    pub overflows: Option<Overflows>,
    /// How much queries may take.
    pub sql: Limits,
}

/// A server that has its addresses and can start.
#[derive(Debug)]
pub struct ObserverServers(Servers);

impl ObserverServers {
    /// Takes the addresses, so that whatever is wrong with them is known before anything else starts.
    ///
    /// # Errors
    /// The first address that can't be listened on.
    pub async fn bind(addresses: &[Listen], protection: Protection) -> Result<Self, ServeError> {
        Ok(Self(Servers::bind(addresses, protection).await?))
    }

    /// Where it listens, as clients write it. A TCP port of 0 has become a real one.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.0.addresses()
    }

    /// Serves until `shutdown` becomes true; streams end then, and a moment later the connections that are left.
    ///
    /// # Errors
    /// If a server can't go on.
    pub async fn run(self, node: Arc<NodeState>, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
        let address = self.addresses().into_iter().next().unwrap_or_default();
        let (health, health_service) = tonic_health::server::health_reporter();
        health
            .set_service_status("observer.Observer", tonic_health::ServingStatus::Serving)
            .await;
        let reflection =
            || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
        let engine = Engine::new(
            Sources {
                live: Some(Arc::new(NodeFlows(Arc::clone(&node)))),
                history: node.history.as_ref().map(|history| history.store().clone()),
                cluster: None,
            },
            node.sql,
        )?;
        let feeds = Feeds::new(Arc::clone(&node), shutdown.clone());
        let flight = FlightSqlServer::new(Arc::new(engine), Arc::new(feeds), version()).map_err(ServeError::Threads)?;
        let mut routes = Routes::builder();
        routes
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(ObserverFront::new(
                ObserverService::new(Arc::clone(&node), address.clone(), shutdown.clone()),
                LogAnswers::new(Arc::clone(&node), shutdown.clone()),
            ))
            .add_service(FlightServiceServer::new(flight))
            .add_service(PeerServer::new(PeerService::new(node, address, shutdown.clone())));
        Ok(self.0.run::<Session>(routes.routes(), shutdown).await?)
    }
}

/// A stream that has no more items and ends with the server, as clients that follow expect.
pub(crate) fn open_until<T: Send + 'static>(
    mut shutdown: watch::Receiver<bool>,
) -> impl tokio_stream::Stream<Item = T> + Send {
    use tokio_stream::StreamExt as _;
    futures::FutureExt::into_stream(async move { ended(&mut shutdown).await }).filter_map(|()| None)
}
