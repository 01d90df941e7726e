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

use super::{Metrics, MetricsError};
use crate::serve::ended;

/// An address that metrics will be served at.
#[derive(Debug)]
pub struct Page(TcpListener);

impl Page {
    /// Takes the address, so that what is wrong with it is known before anything else starts.
    ///
    /// # Errors
    /// If it can't be listened on.
    pub async fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self(listener)),
            Err(source) => Err(MetricsError::Address { address, source }),
        }
    }

    /// Where it is; a port of 0 has become a real one.
    ///
    /// # Errors
    /// If the system doesn't tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `shutdown` becomes true.
    ///
    /// # Errors
    /// If the server can't go on.
    pub async fn serve(self, metrics: Metrics, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
        let metrics = Arc::new(metrics);
        let text = move || {
            let metrics = Arc::clone(&metrics);
            async move { ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics.text()) }
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
