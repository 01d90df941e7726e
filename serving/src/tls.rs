//! TLS of servers: certificates from files, which may change while the server runs.
//!
//! Files are looked at again for a new connection, at most once a second: new certificates count from then on, streams
//! that are open go on. A new file that is not right leaves the certificates as they were.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The files of a server, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities whose certificates clients must show; none: clients show nothing.
    pub client_authorities: Vec<PathBuf>,
}

/// Why files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file can't be read, or has something else in it.
    #[error("{path}: no {what} (PEM) can be read from it: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The files don't belong together.
    #[error("{certificate} and {key} do not belong together: {why}")]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// The authorities for clients can't be used.
    #[error("the authorities for clients can't be used: {0}")]
    Authorities(String),
    /// TLS itself.
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}

/// The certificates of a server, as its files have them now.
#[derive(Clone, Debug)]
pub struct ServerTls {
    files: Arc<TlsFiles>,
    now: Arc<Mutex<Now>>,
}

struct Now {
    config: Arc<ServerConfig>,
    marks: Vec<Mark>,
    looked: Instant,
}

impl std::fmt::Debug for Now {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Now")
            .field("marks", &self.marks)
            .finish_non_exhaustive()
    }
}

/// What tells that a file is another one.
type Mark = Option<(SystemTime, u64)>;

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(files: TlsFiles) -> Result<Self, ServerTlsError> {
        let marks = marks(&files);
        let config = read(&files)?;
        Ok(Self {
            files: Arc::new(files),
            now: Arc::new(Mutex::new(Now {
                config,
                marks,
                looked: Instant::now(),
            })),
        })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut now = self.now.lock();
        if now.looked.elapsed() >= INTERVAL {
            now.looked = Instant::now();
            let marks = marks(&self.files);
            if marks != now.marks {
                now.marks = marks;
                match read(&self.files) {
                    Ok(config) => {
                        tracing::info!("new certificates from {}", self.files.certificate.display());
                        now.config = config;
                    }
                    Err(error) => tracing::error!("{error}; the certificates from before stay"),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&now.config))
    }
}

fn marks(files: &TlsFiles) -> Vec<Mark> {
    let all = [&files.certificate, &files.key]
        .into_iter()
        .chain(&files.client_authorities);
    all.map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
    .collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let wrong = |why: String| ServerTlsError::File {
        path: path.to_owned(),
        what: "certificate",
        why,
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = read.map_err(|error| wrong(error.to_string()))?;
    if all.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    Ok(all)
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServerTlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| ServerTlsError::File {
        path: files.key.clone(),
        what: "private key",
        why: error.to_string(),
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerTlsError::Setup(error.to_string()))?;
    let builder = if files.client_authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for path in &files.client_authorities {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| ServerTlsError::Authorities(format!("{}: {error}", path.display())))?;
            }
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| ServerTlsError::Authorities(error.to_string()))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| ServerTlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why: error.to_string(),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
