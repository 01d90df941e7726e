//! The page that Prometheus reads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::accept::prefers_open_metrics;
use super::{Metrics, MetricsError, open_metrics};
use serving::servers::ended;

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
    pub async fn serve(self, metrics: Metrics, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
        let metrics = Arc::new(metrics);
        let text = move |headers: HeaderMap| {
            let metrics = Arc::clone(&metrics);
            async move {
                let accepted: Vec<&str> = headers
                    .get_all(ACCEPT)
                    .iter()
                    .filter_map(|text| text.to_str().ok())
                    .collect();
                let (format, text) = match prefers_open_metrics(&accepted.join(",")) {
                    true => (open_metrics::FORMAT, metrics.open_metrics()),
                    false => (prometheus::TEXT_FORMAT, metrics.text()),
                };
                ([(CONTENT_TYPE, format), (VARY, "accept")], text)
            }
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
