//! Addresses to listen on.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::server::{Connected, TcpIncoming};

use crate::tls::{ServerTls, ServerTlsError, TlsFiles};

/// A client that vanished without a word is noticed after this time and a few tries.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Connections that greet at a time, and how long one may take for it.
const GREETING: usize = 256;
const GREETING_TIME: Duration = Duration::from_secs(5);
/// Who may connect to a unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// An address to listen on: `unix:///path`, or `host:port` as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err("the path is missing: unix:///run/parallax/observer.sock".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("tcp://").unwrap_or(text);
        address.parse().map(Self::Tcp).map_err(|_| {
            format!("`{text}` is no address to listen on: give unix:///path, or an address and a port (127.0.0.1:4244, [::1]:4244)")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp(address) => write!(formatter, "{address}"),
        }
    }
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error("another process{} is listening on {address}; stop it, or choose another address with --listen", process_id(*pid))]
    Taken {
        /// The address.
        address: String,
        /// Its process, where that is known.
        pid: Option<i32>,
    },
    /// There is a file that is no socket.
    #[error("{path} is there and is no socket; remove it, or choose another address with --listen")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Anybody on the way could read along.
    #[error(
        "{address} can be reached from elsewhere, and nothing there is encrypted: give --tls-cert-file and --tls-key-file (`parallax certs` makes some), or --insecure if the network is trusted"
    )]
    Plain {
        /// The address.
        address: String,
    },
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// The system refuses.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
}

fn process_id(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// An address that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket, and its file.
    Unix(UnixListener, SocketFile),
    /// A TCP port, and where it is.
    Tcp(TcpListener, SocketAddr),
}

/// Connections as they come.
pub enum Accepted {
    /// Of a unix socket, whose file goes with the second value.
    Unix(UnixListenerStream, SocketFile),
    /// Of a TCP port.
    Tcp(ReceiverStream<io::Result<Encrypted>>),
}

/// How TCP addresses are served.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// The certificates; without any, connections are plain.
    pub tls: Option<ServerTls>,
    /// Whether plain connections from elsewhere are wanted.
    pub insecure: bool,
}

impl Protection {
    /// How those addresses are to be served: within TLS where there are files for it.
    ///
    /// # Errors
    /// What is wrong with the files, or the first address that would be plain without being asked for.
    pub fn new(files: Option<TlsFiles>, insecure: bool, addresses: &[Listen]) -> Result<Self, ListenError> {
        let protection = Self {
            tls: files.map(ServerTls::new).transpose()?,
            insecure,
        };
        addresses.iter().try_for_each(|address| protection.check(address))?;
        Ok(protection)
    }

    /// Whether that address may be served so.
    ///
    /// # Errors
    /// If it would be plain, reachable from elsewhere, and nobody has asked for that.
    pub fn check(&self, address: &Listen) -> Result<(), ListenError> {
        match address {
            Listen::Tcp(tcp) if self.tls.is_none() && !self.insecure && !tcp.ip().is_loopback() => {
                Err(ListenError::Plain {
                    address: address.to_string(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// A TCP connection, encrypted where the server has certificates.
pub enum Encrypted {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Removes the socket's file in the end.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!("cannot remove {}: {error}", self.0.display());
        }
    }
}

impl Listener {
    /// Takes an address.
    ///
    /// # Errors
    /// If somebody else has it, or the system refuses.
    pub async fn bind(address: &Listen) -> Result<Self, ListenError> {
        let refused = |source| ListenError::Refused {
            address: address.to_string(),
            source,
        };
        match address {
            Listen::Unix(path) => {
                remove_stale(path)?;
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(refused)?;
                }
                let listener = UnixListener::bind(path).map_err(refused)?;
                let file = SocketFile(path.clone());
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
                Ok(Self::Unix(listener, file))
            }
            Listen::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp).await.map_err(|source| match source.kind() {
                    io::ErrorKind::AddrInUse => ListenError::Taken {
                        address: address.to_string(),
                        pid: None,
                    },
                    _ => refused(source),
                })?;
                let bound = listener.local_addr().map_err(refused)?;
                Ok(Self::Tcp(listener, bound))
            }
        }
    }

    /// Where it listens, as clients write it. A TCP port of 0 has become a real one.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Unix(_, file) => Listen::Unix(file.0.clone()).to_string(),
            Self::Tcp(_, address) => Listen::Tcp(*address).to_string(),
        }
    }

    /// The connections from now on.
    #[must_use]
    pub fn accepted(self, protection: &Protection) -> Accepted {
        match self {
            Self::Unix(listener, file) => Accepted::Unix(UnixListenerStream::new(listener), file),
            Self::Tcp(listener, _) => {
                let connections = TcpIncoming::from(listener)
                    .with_nodelay(Some(true))
                    .with_keepalive(Some(KEEPALIVE));
                let (sender, accepted) = mpsc::channel(1);
                tokio::spawn(accept(connections, protection.tls.clone(), sender));
                Accepted::Tcp(ReceiverStream::new(accepted))
            }
        }
    }
}

/// Takes connections as long as somebody serves them. One that greets slowly stops no other.
async fn accept(mut connections: TcpIncoming, tls: Option<ServerTls>, ready: mpsc::Sender<io::Result<Encrypted>>) {
    let greeting = Arc::new(Semaphore::new(GREETING));
    loop {
        let connection = tokio::select! {
            connection = connections.next() => connection,
            () = ready.closed() => return,
        };
        let stream = match (connection, &tls) {
            (None, _) => return,
            (Some(Ok(stream)), Some(tls)) => {
                let Ok(place) = Arc::clone(&greeting).acquire_owned().await else {
                    return;
                };
                let (acceptor, ready) = (tls.acceptor(), ready.clone());
                tokio::spawn(async move {
                    let from = stream
                        .peer_addr()
                        .map_or_else(|_| "somebody".to_owned(), |peer| peer.to_string());
                    match tokio::time::timeout(GREETING_TIME, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            // Serving may have ended meanwhile.
                            let _ = ready.send(Ok(Encrypted::Tls(Box::new(stream)))).await;
                        }
                        Ok(Err(error)) => tracing::warn!("no TLS with {from}: {error}"),
                        Err(_) => tracing::warn!("no TLS with {from}: nothing came within {GREETING_TIME:?}"),
                    }
                    drop(place);
                });
                continue;
            }
            (Some(stream), _) => stream.map(Encrypted::Plain),
        };
        if ready.send(stream).await.is_err() {
            return;
        }
    }
}

impl Connected for Encrypted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Encrypted {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// Removes the socket of a server that could not do so itself.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let address = || Listen::Unix(path.to_owned()).to_string();
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    let pid = match std::os::unix::net::UnixStream::connect(path) {
        Ok(connection) => getsockopt(&connection, PeerCredentials)
            .ok()
            .map(|credentials| credentials.pid()),
        // Only this means that nobody is there; one that is too busy to answer is there all the same.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return fs::remove_file(path).map_err(|source| ListenError::Refused {
                address: address(),
                source,
            });
        }
        Err(_) => None,
    };
    Err(ListenError::Taken {
        address: address(),
        pid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix:x.sock", "unix://x.sock"),
            ("127.0.0.1:4244", "127.0.0.1:4244"),
            ("tcp://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), written);
        }
        for text in ["", "unix:", "localhost", "127.0.0.1", "127.0.0.1:70000"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_taken_over_only_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let address = Listen::Unix(folder.path().join("deep/x.sock"));
        let listener = Listener::bind(&address).await.unwrap();
        let error = Listener::bind(&address).await.unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        let Listener::Unix(socket, file) = listener else {
            panic!("not a unix socket")
        };
        drop(socket);
        std::mem::forget(file);
        let again = Listener::bind(&address).await.unwrap();
        drop(again);
        assert!(
            !folder.path().join("deep/x.sock").exists(),
            "the file leaves with the listener"
        );

        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            Listener::bind(&Listen::Unix(file)).await,
            Err(ListenError::NotASocket { .. })
        ));
        let error = Listener::bind(&Listen::Unix("/proc/nonsense/x".into()))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("unix:///proc/nonsense/x"), "{error}");
    }
}
