//! The connection to a server: over TCP, TLS or a unix socket.

pub(crate) mod target;
mod tls;

use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use target::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::observe::time::parse_duration;
use crate::settings::Settings;
use crate::usage::UsageError;

/// Silence of a server's machine after which it is asked for a sign of life, and how often.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A channel that adds what the settings ask for to each call.
pub(crate) type Calls = InterceptedService<Channel, BasicAuth>;

/// A server that answered.
#[derive(Clone)]
pub(crate) struct Server {
    /// Where it is.
    pub(crate) target: Target,
    /// How to call it.
    pub(crate) calls: Calls,
    /// How long to wait for an answer to a unary call.
    pub(crate) request_timeout: Duration,
}

impl Server {
    /// Connects. The error says what was tried and how to start a server.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self> {
        let settings = settings.clone().or(Settings::defaults());
        let address = settings.server.clone().unwrap_or_default();
        let target = Target::parse(&address, settings.tls == Some(true))?;
        let timeout = duration("--timeout", settings.timeout.as_deref())?;
        let request_timeout = duration("--request-timeout", settings.request_timeout.as_deref())?;
        let auth = BasicAuth::new(&settings, &target)?;
        let tls = match &target {
            Target::Tcp { host, tls: true, .. } => Some(tls::connector(&settings, host)?),
            Target::Tcp { .. } | Target::Unix(_) => None,
        };
        tracing::debug!(%target, ?timeout, "connecting");
        let channel = tokio::time::timeout(timeout, channel(&target, tls))
            .await
            .unwrap_or_else(|_| {
                Err(anyhow::anyhow!(
                    "no answer within {}",
                    humantime::format_duration(timeout)
                ))
            })
            .map_err(|error| unreachable(&target, &error))?;
        Ok(Self {
            target,
            calls: InterceptedService::new(channel, auth),
            request_timeout,
        })
    }

    /// Waits for the answer to a unary call, within the request timeout.
    pub(crate) async fn answer<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T> {
        let answer = tokio::time::timeout(self.request_timeout, call).await.map_err(|_| {
            let limit = humantime::format_duration(self.request_timeout);
            anyhow::anyhow!(
                "{} did not answer within {limit}; --request-timeout gives it longer",
                self.target
            )
        })?;
        Ok(answer.map_err(|status| refused(&self.target, &status))?.into_inner())
    }
}

fn duration(flag: &str, text: Option<&str>) -> Result<Duration, UsageError> {
    let text = text.unwrap_or_default();
    parse_duration(text)
        .and_then(|duration| duration.to_std().ok())
        .ok_or_else(|| UsageError::value(text, flag, "give a duration such as 500ms, 5s or 1m"))
}

async fn channel(target: &Target, tls: Option<Tls>) -> Result<Channel> {
    let scheme = if target.tls() { "https" } else { "http" };
    let origin: Uri = format!("{scheme}://{}", target.authority())
        .parse()
        .context("not an address")?;
    // The connector below does TLS itself, because tonic's own can't accept a certificate it can't verify.
    let endpoint = Endpoint::from_shared(format!("http://{}", target.authority()))?
        .origin(origin)
        .user_agent(concat!("parallax/", env!("CARGO_PKG_VERSION")))?;
    let target = target.clone();
    let connect = tower::service_fn(move |_: Uri| {
        let (target, tls) = (target.clone(), tls.clone());
        async move { open(&target, tls).await.map(TokioIo::new).map_err(Failed) }
    });
    Ok(endpoint.connect_with_connector(connect).await?)
}

/// How to encrypt a connection, and the name to expect in the server's certificate.
type Tls = (TlsConnector, ServerName<'static>);

/// Carries the reason through tonic, which wants a `std::error::Error`.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Failed(anyhow::Error);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(target: &Target, tls: Option<Tls>) -> Result<Box<dyn Stream>> {
    match target {
        Target::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        Target::Tcp { host, port, .. } => {
            let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            // Without it, a server that vanished (cable, suspended machine) would look like a quiet network forever.
            // Pings of HTTP/2 would do it too, but other servers close connections that send more than one in minutes.
            let keepalive = TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE)
                .with_retries(3);
            SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
            match tls {
                None => Ok(Box::new(stream)),
                Some((connector, name)) => Ok(Box::new(connector.connect(name, stream).await?)),
            }
        }
    }
}

/// Adds `authorization: Basic …` to calls, if the settings have a user and a password.
#[derive(Clone)]
pub(crate) struct BasicAuth(Option<MetadataValue<Ascii>>);

impl BasicAuth {
    fn new(settings: &Settings, target: &Target) -> Result<Self, UsageError> {
        let (user, password) = match (&settings.basic_auth_username, &settings.basic_auth_password) {
            (None, None) => return Ok(Self(None)),
            (Some(user), Some(password)) => (user, password),
            _ => {
                return Err(UsageError(
                    "--basic-auth-username and --basic-auth-password go together; give both".to_owned(),
                ));
            }
        };
        if !target.tls() {
            return Err(UsageError(
                "basic authentication needs TLS, or anybody on the way could read the password; add --tls".to_owned(),
            ));
        }
        let token = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:{password}"));
        let value = MetadataValue::try_from(format!("Basic {token}")).map_err(|error| UsageError(error.to_string()))?;
        Ok(Self(Some(value)))
    }
}

impl Interceptor for BasicAuth {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn unreachable(target: &Target, error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "no server at {target}: {}; start one on this machine with `sudo parallax-observer`, or name one with --server",
        root_cause(error)
    )
}

/// The innermost reason; what is around it (transport error, tcp connect error) says nothing more.
fn root_cause(error: &anyhow::Error) -> String {
    let text = error.root_cause().to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A call that the server answered with an error.
pub(crate) fn refused(target: &Target, status: &Status) -> anyhow::Error {
    use tonic::Code;
    let message = status.message();
    match status.code() {
        Code::InvalidArgument => UsageError(format!("{target} refused the request: {message}")).into(),
        Code::Unimplemented => anyhow::anyhow!(
            "{target} doesn't offer this: {}",
            if message.is_empty() { "not implemented" } else { message }
        ),
        Code::Unknown => anyhow::anyhow!("{target}: {message}"),
        Code::Unavailable => anyhow::anyhow!("lost the connection to {target}: {message}"),
        code => anyhow::anyhow!(
            "{target}: {} ({code:?})",
            if message.is_empty() {
                code.description()
            } else {
                message
            }
        ),
    }
}
