//! The page that Prometheus reads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use serving::servers::ended;

use crate::providers::{MetricsError, Providers};

/// An address that metrics will be served at.
#[derive(Debug)]
pub struct Page(TcpListener, SocketAddr);

impl Page {
    /// Takes the address, so that what is wrong with it is known before anything else starts.
    ///
    /// # Errors
    /// If it can't be listened on.
    pub async fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self(listener, address))
        };
        bound.await.map_err(|why| MetricsError::Address { address, why })
    }

    /// Where it is. A port of 0 has become a real one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.1
    }

    /// Serves until `shutdown` becomes true.
    ///
    /// # Errors
    /// If the server can't go on.
    pub async fn serve(
        self,
        metrics: impl AsRef<Providers> + Send + Sync + 'static,
        mut shutdown: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let metrics = Arc::new(metrics);
        let text = move || {
            let metrics = Arc::clone(&metrics);
            async move { ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], (*metrics).as_ref().text()) }
        };
        let index = Html("<!doctype html><title>Parallax</title><a href=\"/metrics\">Metrics</a>");
        let routes = Router::new()
            .route("/metrics", get(text))
            .route("/", get(move || async move { index }));
        axum::serve(self.0, routes)
            .with_graceful_shutdown(async move { ended(&mut shutdown).await })
            .await
    }
}
