//! Addresses to listen on.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::TcpIncoming;

/// A client that vanished without a word is noticed after this time and a few tries.
const KEEPALIVE: Duration = Duration::from_secs(30);
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
    Tcp(TcpIncoming),
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
    pub fn accepted(self) -> Accepted {
        match self {
            Self::Unix(listener, file) => Accepted::Unix(UnixListenerStream::new(listener), file),
            Self::Tcp(listener, _) => {
                let connections = TcpIncoming::from(listener)
                    .with_nodelay(Some(true))
                    .with_keepalive(Some(KEEPALIVE));
                Accepted::Tcp(connections)
            }
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
