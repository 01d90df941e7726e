//! Serving the cluster: the API that every observer has.

mod feed;
mod get_flows;
pub(crate) mod nodes;
mod observer;
mod peers;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use flow::api::FILE_DESCRIPTOR_SET;
use flow::api::peer::peer_server::PeerServer;
use serving::get_flows::ObserverFront;
use serving::listen::{Listen, ListenError, Protection};
use serving::servers::Servers;
use sql::engine::{Engine, Sources};
use sql::error::SqlError;
use sql::limits::Limits;
use sql::server::FlightSqlServer;
use sql::server::session::Session;
use tokio::sync::watch;
use tonic::service::Routes;

use crate::VERSION;
use crate::cluster::Cluster;
use feed::RelayFeeds;
use get_flows::ClusterAnswers;
use observer::ClusterService;
use peers::PeerService;

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

/// A server that has its addresses and can start.
#[derive(Debug)]
pub struct RelayServers(Servers);

impl RelayServers {
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

    /// Serves, queries within these limits, until `shutdown` becomes true; streams end then, and a moment later the connections that are left.
    ///
    /// # Errors
    /// If a server can't go on.
    pub async fn run(
        self,
        cluster: Arc<Cluster>,
        sql: Limits,
        shutdown: watch::Receiver<bool>,
    ) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health
            .set_service_status("observer.Observer", tonic_health::ServingStatus::Serving)
            .await;
        let reflection =
            || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
        let sources = Sources {
            cluster: Some(Arc::clone(&cluster) as _),
            ..Sources::default()
        };
        let feeds = RelayFeeds::new(Arc::clone(&cluster), shutdown.clone());
        let flight = FlightSqlServer::new(Arc::new(Engine::new(sources, sql)?), Arc::new(feeds), VERSION);
        let flight = flight.map_err(ServeError::Threads)?;
        let mut routes = Routes::builder();
        routes
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(ObserverFront::new(
                ClusterService::new(Arc::clone(&cluster)),
                ClusterAnswers::new(Arc::clone(&cluster), shutdown.clone()),
            ))
            .add_service(FlightServiceServer::new(flight))
            .add_service(PeerServer::new(PeerService::new(cluster, shutdown.clone())));
        Ok(self.0.run::<Session>(routes.routes(), shutdown).await?)
    }
}
