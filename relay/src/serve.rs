//! Serving the cluster: the API that every observer has.

mod feed;
mod get_flows;
mod nodes;
mod observer;
mod peers;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use flow::api::FILE_DESCRIPTOR_SET;
use flow::api::peer::peer_server::PeerServer;
use serving::get_flows::ObserverFront;
use serving::listen::{Listen, ListenError, Protection};
use serving::servers::Servers;
use tokio::sync::watch;
use tonic::service::Routes;

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

    /// Serves until `shutdown` becomes true; streams end then, and a moment later the connections that are left.
    ///
    /// # Errors
    /// If a server can't go on.
    pub async fn run(self, cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health
            .set_service_status("observer.Observer", tonic_health::ServingStatus::Serving)
            .await;
        let reflection =
            || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
        let mut routes = Routes::builder();
        routes
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(ObserverFront::new(
                ClusterService::new(Arc::clone(&cluster)),
                ClusterAnswers::new(Arc::clone(&cluster), shutdown.clone()),
            ))
            .add_service(FlightServiceServer::new(RelayFeeds::new(
                Arc::clone(&cluster),
                shutdown.clone(),
            )))
            .add_service(PeerServer::new(PeerService::new(cluster, shutdown.clone())));
        Ok(self.0.run::<()>(routes.routes(), shutdown).await?)
    }
}
