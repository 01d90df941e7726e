//! The way to a server: over TCP, TLS or a unix socket.

mod demand;
mod target;
mod tls;

use std::time::Duration;

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

pub use target::{Target, TargetError};
pub use tls::{Tls, TlsError, TlsOptions};

/// Silence of a server's machine after which it is asked for a sign of life, and how often.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address can't be used.
    #[error("`{0}` is no address of a server")]
    Address(String),
    /// The system, or the server, refuses.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Carries the reason through tonic.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failed(#[from] std::io::Error);

/// What bytes go in and come out of.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects. `adjust` sets what this client needs beside the address: windows, keep-alive, its name.
///
/// # Errors
/// What the system, TLS or HTTP/2 say; [`reason`] has it in one line.
pub async fn channel(
    target: &Target,
    tls: Option<Tls>,
    adjust: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, ConnectError> {
    let endpoint = adjust(endpoint(target)?);
    Ok(endpoint.connect_with_connector(connector(target, tls)).await?)
}

/// As [`channel`], which connects when it is needed, and again after that.
///
/// # Errors
/// If the address can't be used.
pub fn lazy_channel(
    target: &Target,
    tls: Option<Tls>,
    adjust: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, ConnectError> {
    Ok(adjust(endpoint(target)?).connect_with_connector_lazy(connector(target, tls)))
}

fn endpoint(target: &Target) -> Result<Endpoint, ConnectError> {
    let wrong = || ConnectError::Address(target.to_string());
    let scheme = if target.tls() { "https" } else { "http" };
    let origin: Uri = format!("{scheme}://{}", target.authority())
        .parse()
        .map_err(|_| wrong())?;
    // The connector below does TLS itself, because tonic's own can't accept a certificate it can't verify.
    Ok(Endpoint::from_shared(format!("http://{}", target.authority()))?
        .origin(origin)
        .user_agent(concat!("parallax/", env!("CARGO_PKG_VERSION")))?)
}

fn connector(
    target: &Target,
    tls: Option<Tls>,
) -> impl tower::Service<Uri, Response = TokioIo<Box<dyn Stream>>, Error = Failed, Future: Send> + Send + 'static + use<>
{
    let target = target.clone();
    tower::service_fn(move |_: Uri| {
        let (target, tls) = (target.clone(), tls.clone());
        async move { open(&target, &tls).await.map(TokioIo::new).map_err(Failed) }
    })
}

/// Opens a connection without speaking on it.
///
/// # Errors
/// What the system or TLS say.
pub async fn open(target: &Target, tls: &Option<Tls>) -> std::io::Result<Box<dyn Stream>> {
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
                Some(tls) => Ok(Box::new(tls.connect(stream).await?)),
            }
        }
    }
}

/// The innermost reason of an error; what is around it (transport error, tcp connect error) says nothing more.
#[must_use]
pub fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Why a call has failed: what the server said, or why it could not be asked.
#[must_use]
pub fn told(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => reason(source),
        None => status.message().to_owned(),
    }
}
