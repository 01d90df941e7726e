//! Metrics for a collector of OpenTelemetry, by OTLP over gRPC or HTTP.
//!
//! The way there is that of all connections of this program, so that certificates are told what is wrong with them; what
//! is sent, and the variables `OTEL_EXPORTER_OTLP_…` for headers, time-outs and compression, are OpenTelemetry's own crate.
//! Sums go on while a collector is away: what it gets next has everything. Nothing waits for it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use serving::connect::{ConnectError, Target, Tls, TlsError, TlsOptions, lazy_channel, open};
use tokio::runtime::Handle;

/// File (PEM) of the authorities to trust: the specification's name, which the crate leaves to us.
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, usually on port 4317.
    #[default]
    Grpc,
    /// Protobuf over HTTP, usually on port 4318.
    Http,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::Http),
            _ => Err("write grpc or http/protobuf".to_owned()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        })
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// It is no address.
    #[error("--otlp-endpoint: `{endpoint}` is no address of a collector: write http://HOST:4317, or https://HOST:4317")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` says something else.
    #[error("{OTEL_EXPORTER_OTLP_PROTOCOL} is `{protocol}`: {why}")]
    Protocol {
        /// What was given.
        protocol: String,
        /// What would be right.
        why: String,
    },
    /// The certificates can't be used.
    #[error("--otlp-endpoint: {0}")]
    Tls(#[from] TlsError),
    /// The connection can't be prepared.
    #[error("--otlp-endpoint: {0}")]
    Connect(#[from] ConnectError),
    /// The exporter can't be.
    #[error("--otlp-endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Where metrics are sent.
#[derive(Clone, Debug)]
pub struct Collector {
    endpoint: Uri,
    target: Target,
    tls: Option<Tls>,
    protocol: Protocol,
}

impl Collector {
    /// The collector of the settings, or else of OpenTelemetry's variables; `None` if neither names one.
    ///
    /// # Errors
    /// What is wrong with its address or certificates.
    pub fn new(endpoint: Option<&str>, protocol: Option<Protocol>) -> Result<Option<Self>, OtlpError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let given = endpoint.map(str::to_owned);
        let for_all = || given.clone().or_else(|| variable(OTEL_EXPORTER_OTLP_ENDPOINT));
        let (text, is_whole) = match (&given, variable(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT)) {
            (None, Some(own)) => (own, true),
            _ => match for_all() {
                Some(text) => (text, false),
                None => return Ok(None),
            },
        };
        let protocol = match (protocol, variable(OTEL_EXPORTER_OTLP_PROTOCOL)) {
            (Some(protocol), _) => protocol,
            (None, Some(protocol)) => protocol.parse().map_err(|why| OtlpError::Protocol { protocol, why })?,
            (None, None) => Protocol::default(),
        };
        Self::at(&text, is_whole, protocol, variable(CERTIFICATE)).map(Some)
    }

    /// `is_whole`: the address has the path for metrics already.
    fn at(text: &str, is_whole: bool, protocol: Protocol, authorities: Option<String>) -> Result<Self, OtlpError> {
        let wrong = || OtlpError::Endpoint {
            endpoint: text.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (encrypted, usual_port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(usual_port));
        let target = Target::parse(&authority, encrypted).map_err(|_| wrong())?;
        let options = TlsOptions {
            ca_files: authorities.into_iter().collect(),
            ..TlsOptions::default()
        };
        let tls = encrypted
            .then(|| Tls::new(&options, host.trim_matches(['[', ']'])))
            .transpose()?;
        let endpoint = match protocol {
            Protocol::Http if !is_whole => {
                let whole = format!("{}/v1/metrics", text.trim_end_matches('/'));
                whole.parse().map_err(|_| wrong())?
            }
            _ => uri,
        };
        Ok(Self {
            endpoint,
            target,
            tls,
            protocol,
        })
    }

    /// What sends, and how it goes. Nothing is connected yet.
    ///
    /// # Errors
    /// If the variables of OpenTelemetry say what can't be.
    pub(crate) fn exporter(&self) -> Result<(Counted, Arc<Exports>), OtlpError> {
        let exporter = match self.protocol {
            Protocol::Grpc => {
                let channel = lazy_channel(&self.target, self.tls.clone(), |endpoint| endpoint)?;
                MetricExporter::builder().with_tonic().with_channel(channel).build()?
            }
            Protocol::Http => {
                let client = Client {
                    collector: self.clone(),
                    runtime: Handle::current(),
                };
                MetricExporter::builder()
                    .with_http()
                    .with_endpoint(self.endpoint.to_string())
                    .with_http_client(client)
                    .build()?
            }
        };
        let exports = Arc::<Exports>::default();
        Ok((
            Counted {
                exporter,
                exports: Arc::clone(&exports),
            },
            exports,
        ))
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.endpoint, self.protocol)
    }
}

/// How often metrics were sent, and how often that failed.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    pub(crate) sent: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// Sends, and counts how it goes.
#[derive(Debug)]
pub(crate) struct Counted {
    exporter: MetricExporter,
    exports: Arc<Exports>,
}

impl PushMetricExporter for Counted {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let done = self.exporter.export(metrics).await;
        match &done {
            Ok(()) => {
                self.exports.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                // Every one would be too many lines: the metric has the number.
                if self.exports.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!("metrics don't reach the collector, and are sent again later: {error}");
                }
            }
        }
        done
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Sends a request over HTTP: a connection for each, of which there is one a minute.
#[derive(Debug)]
struct Client {
    collector: Collector,
    /// The SDK sends from a thread of its own.
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.collector.clone(), request));
        sent.await?
    }
}

async fn send(collector: Collector, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let stream = open(&collector.target, &collector.tls).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(http::header::HOST, authority.as_str().parse()?);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse()?;
    let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_collectors_are_read() {
        let at = |text, protocol| Collector::at(text, false, protocol, None);
        for (text, protocol, shown) in [
            ("http://c:4317", Protocol::Grpc, "http://c:4317/ (grpc)"),
            (
                "http://c:4318",
                Protocol::Http,
                "http://c:4318/v1/metrics (http/protobuf)",
            ),
            (
                "http://[::1]:4318/",
                Protocol::Http,
                "http://[::1]:4318/v1/metrics (http/protobuf)",
            ),
            (
                "http://c:4318/otlp/",
                Protocol::Http,
                "http://c:4318/otlp/v1/metrics (http/protobuf)",
            ),
        ] {
            assert_eq!(at(text, protocol).unwrap().to_string(), shown);
        }
        let whole = Collector::at("http://c:4318/mine", true, Protocol::Http, None).unwrap();
        assert_eq!(whole.endpoint.path(), "/mine");
        assert!(at("https://c", Protocol::Grpc).unwrap().tls.is_some());
        for wrong in ["", "c:4317", "ftp://c:1", "http://", "unix:///x"] {
            let error = at(wrong, Protocol::Grpc).unwrap_err().to_string();
            assert!(
                error.contains("is no address of a collector: write http://HOST:4317"),
                "{error}"
            );
        }
        assert!("thrift".parse::<Protocol>().is_err());
    }
}
