//! Serving the cluster: the API that every observer has.

mod feed;
mod get_flows;
mod nodes;
mod observer;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use flow::api::FILE_DESCRIPTOR_SET;
use flow::api::peer::peer_server::PeerServer;
use serving::get_flows::ObserverFront;
use serving::listen::{Accepted, Listen, ListenError, Listener, Protection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::cluster::Cluster;
use feed::RelayFeeds;
use get_flows::ClusterAnswers;
use observer::ClusterService;
use peers::PeerService;

/// How long clients may take to let go of their connections in the end.
const GRACE: Duration = Duration::from_secs(1);

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
pub struct RelayServers {
    listeners: Vec<Listener>,
    protection: Protection,
}

impl RelayServers {
    /// Takes the addresses, so that whatever is wrong with them is known before anything else starts.
    ///
    /// # Errors
    /// The first address that can't be listened on.
    pub async fn bind(addresses: &[Listen], protection: Protection) -> Result<Self, ServeError> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.push(Listener::bind(address).await?);
        }
        Ok(Self { listeners, protection })
    }

    /// Where it listens, as clients write it. A TCP port of 0 has become a real one.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
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
        let routes = routes.routes();
        let mut servers = JoinSet::new();
        for listener in self.listeners {
            let mut shutdown = shutdown.clone();
            let ended = async move { ended(&mut shutdown).await };
            let router = Server::builder().add_routes(routes.clone());
            let accepted = listener.accepted(&self.protection);
            servers.spawn(async move {
                match accepted {
                    Accepted::Tcp(connections) => router.serve_with_incoming_shutdown(connections, ended).await,
                    Accepted::Unix(connections, guard) => {
                        let result = router.serve_with_incoming_shutdown(connections, ended).await;
                        drop(guard);
                        result
                    }
                }
            });
        }
        let mut shutdown = shutdown;
        let out_of_patience = async {
            ended(&mut shutdown).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(out_of_patience);
        loop {
            tokio::select! {
                served = servers.join_next() => match served {
                    Some(Ok(result)) => result?,
                    Some(Err(error)) => tracing::error!("a server failed: {error}"),
                    None => return Ok(()),
                },
                () = &mut out_of_patience => {
                    servers.shutdown().await;
                    return Ok(());
                }
            }
        }
    }
}

/// Waits until the server ends. That the sender is gone is an end as well.
async fn ended(shutdown: &mut watch::Receiver<bool>) {
    let known = shutdown.wait_for(|ends| *ends).await.is_ok();
    tracing::trace!(known, "serving ends");
}
