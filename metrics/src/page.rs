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

use serving::servers::ended;

use crate::accept::prefers_open_metrics;
use crate::open_metrics;
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
        let text = move |headers: HeaderMap| {
            let metrics = Arc::clone(&metrics);
            async move {
                let accepted = headers.get_all(ACCEPT).iter();
                let accepted: Vec<&str> = accepted.filter_map(|text| text.to_str().ok()).collect();
                let providers: &Providers = (*metrics).as_ref();
                let (format, text) = match prefers_open_metrics(&accepted.join(",")) {
                    true => (open_metrics::FORMAT, providers.open_metrics()),
                    false => (prometheus::TEXT_FORMAT, providers.text()),
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
