//! Where metrics and log records are sent.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use serving::connect::{ConnectError, Target, Tls, TlsError, TlsOptions, lazy_channel};

use super::http_client::Client;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// A variable of this signal alone (OpenTelemetry specification, "OpenTelemetry Protocol Exporter").
    fn own(self, what: &str) -> Option<Given> {
        Given::read(format!("OTEL_EXPORTER_OTLP_{}_{what}", self.name()))
    }

    /// The same, or else that of all signals.
    fn any(self, what: &str) -> Option<Given> {
        let of_all = || Given::read(format!("OTEL_EXPORTER_OTLP_{what}"));
        self.own(what).or_else(of_all)
    }

    /// Its path over HTTP (OTLP specification, "OTLP/HTTP Request").
    fn path(self) -> &'static str {
        match self {
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }
}

/// What a variable says.
struct Given {
    name: String,
    value: String,
}

impl Given {
    fn read(name: String) -> Option<Self> {
        let value = std::env::var(&name).ok().filter(|value| !value.is_empty())?;
        Some(Self { name, value })
    }
}

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
    /// A variable says something else.
    #[error("{name} is `{protocol}`: {why}")]
    Protocol {
        /// The variable.
        name: String,
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

/// Where a signal is sent.
#[derive(Clone, Debug)]
pub struct Collector {
    endpoint: Uri,
    target: Target,
    tls: Option<Tls>,
    protocol: Protocol,
}

impl Collector {
    /// The collector that the settings, or else OpenTelemetry's variables, name for a signal; `None` if neither names one.
    ///
    /// # Errors
    /// What is wrong with its address or certificates.
    pub fn new(signal: Signal, endpoint: Option<&str>, protocol: Option<Protocol>) -> Result<Option<Self>, OtlpError> {
        let given = endpoint.map(|text| (text.to_owned(), false));
        let own = || signal.own("ENDPOINT").map(|given| (given.value, true));
        let of_all = || signal.any("ENDPOINT").map(|given| (given.value, false));
        let Some((text, is_whole)) = given.or_else(own).or_else(of_all) else {
            return Ok(None);
        };
        let protocol = match (protocol, signal.any("PROTOCOL")) {
            (Some(protocol), _) => protocol,
            (None, Some(Given { name, value })) => value.parse().map_err(|why| OtlpError::Protocol {
                name,
                protocol: value,
                why,
            })?,
            (None, None) => Protocol::default(),
        };
        let authorities = signal.any("CERTIFICATE").map(|given| given.value);
        Self::at(signal, &text, is_whole, protocol, authorities).map(Some)
    }

    /// `is_whole`: the address has the signal's path already.
    fn at(
        signal: Signal,
        text: &str,
        is_whole: bool,
        protocol: Protocol,
        authorities: Option<String>,
    ) -> Result<Self, OtlpError> {
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
                let whole = format!("{}/{}", text.trim_end_matches('/'), signal.path());
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

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn tls(&self) -> &Option<Tls> {
        &self.tls
    }

    /// What sends metrics. Nothing is connected yet; it will be in the runtime that this is called in.
    ///
    /// # Errors
    /// If the variables of OpenTelemetry say what can't be.
    pub(super) fn metric_exporter(&self) -> Result<MetricExporter, OtlpError> {
        Ok(match self.protocol {
            Protocol::Grpc => MetricExporter::builder()
                .with_tonic()
                .with_channel(self.channel()?)
                .build()?,
            Protocol::Http => MetricExporter::builder()
                .with_http()
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(self.endpoint.to_string())
                .with_http_client(Client::new(self.clone()))
                .build()?,
        })
    }

    /// What sends log records. Nothing is connected yet; it will be in the runtime that this is called in.
    ///
    /// # Errors
    /// If the variables of OpenTelemetry say what can't be.
    pub fn log_exporter(&self) -> Result<LogExporter, OtlpError> {
        Ok(match self.protocol {
            Protocol::Grpc => LogExporter::builder()
                .with_tonic()
                .with_channel(self.channel()?)
                .build()?,
            Protocol::Http => LogExporter::builder()
                .with_http()
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(self.endpoint.to_string())
                .with_http_client(Client::new(self.clone()))
                .build()?,
        })
    }

    fn channel(&self) -> Result<tonic::transport::Channel, OtlpError> {
        Ok(lazy_channel(&self.target, self.tls.clone(), |endpoint| endpoint)?)
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.endpoint, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_collectors_are_read() {
        let at = |text, protocol| Collector::at(Signal::Metrics, text, false, protocol, None);
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
        let whole = Collector::at(Signal::Logs, "http://c:4318/mine", true, Protocol::Http, None).unwrap();
        assert_eq!(whole.endpoint.path(), "/mine");
        let logs = Collector::at(Signal::Logs, "http://c:4318", false, Protocol::Http, None).unwrap();
        assert_eq!(logs.endpoint.path(), "/v1/logs");
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
