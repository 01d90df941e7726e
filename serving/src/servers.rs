//! Servers on several addresses at once, which end together.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::transport::{Error, Server};

use crate::connection::Connection;
use crate::listen::{Accepted, Listen, ListenError, Listener, Protection};

/// How long clients may take to let go of their connections in the end. One that doesn't read, or never said anything,
/// would not do so by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Addresses that are listened on.
#[derive(Debug)]
pub struct Servers {
    listeners: Vec<Listener>,
    protection: Protection,
}

impl Servers {
    /// Takes the addresses, so that whatever is wrong with them is known before anything else starts.
    ///
    /// # Errors
    /// The first address that can't be listened on.
    pub async fn bind(addresses: &[Listen], protection: Protection) -> Result<Self, ListenError> {
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

    /// Serves until `shutdown` becomes true; streams end then, and a moment later the connections that are left. Requests
    /// of one connection share a session `S`, which they find among their extensions.
    ///
    /// # Errors
    /// If a server can't go on.
    pub async fn run<S>(self, routes: Routes, mut shutdown: watch::Receiver<bool>) -> Result<(), Error>
    where
        S: Clone + Default + Send + Sync + Unpin + 'static,
    {
        let mut servers = JoinSet::new();
        for listener in self.listeners {
            let mut shutdown = shutdown.clone();
            let ended = async move { ended(&mut shutdown).await };
            let router = Server::builder().add_routes(routes.clone());
            let accepted = listener.accepted(&self.protection);
            servers.spawn(async move {
                match accepted {
                    Accepted::Tcp(connections) => {
                        let connections = connections.map(|io| io.map(Connection::<_, S>::new));
                        router.serve_with_incoming_shutdown(connections, ended).await
                    }
                    Accepted::Unix(connections, guard) => {
                        let connections = connections.map(|io| io.map(Connection::<_, S>::new));
                        let result = router.serve_with_incoming_shutdown(connections, ended).await;
                        drop(guard);
                        result
                    }
                }
            });
        }
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
                    tracing::debug!("closing connections that clients did not let go");
                    servers.shutdown().await;
                    return Ok(());
                }
            }
        }
    }
}

/// Waits until the server ends. That the sender is gone is an end as well.
pub async fn ended(shutdown: &mut watch::Receiver<bool>) {
    let known = shutdown.wait_for(|ends| *ends).await.is_ok();
    tracing::trace!(known, "serving ends");
}
