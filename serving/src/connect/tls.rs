//! Client TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::demand::Begun;

/// How to encrypt, as the `--tls-*` flags say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Accept whatever the server shows.
    pub allow_insecure: bool,
    /// Authorities to trust, files in PEM; none: those of the system.
    pub ca_files: Vec<String>,
    /// What we show, and its key: files in PEM.
    pub client: Option<(String, String)>,
    /// The name to expect in the server's certificate, where it is not the host's.
    pub server_name: Option<String>,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No authority is known.
    #[error(
        "no certificate authorities found on this system; install ca-certificates or name a file with --tls-ca-cert-files"
    )]
    NoAuthorities,
    /// A file can't be read.
    #[error("can't read certificates (PEM) from {file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: pem::Error,
    },
    /// A file has nothing in it.
    #[error("no certificate (PEM) in {0}")]
    Empty(String),
    /// A file has no key.
    #[error("no private key (PEM) in {file}: {source}")]
    NoKey {
        /// The file.
        file: String,
        /// Why.
        source: pem::Error,
    },
    /// A certificate is not one.
    #[error("{file} holds a certificate that can't be used: {source}")]
    Certificate {
        /// The file.
        file: String,
        /// Why.
        source: Error,
    },
    /// What we show and its key don't belong together.
    #[error("the client certificate and key don't fit together: {0}")]
    Client(Error),
    /// The name can't be one.
    #[error("`{0}` can't be the name in a certificate; give a DNS name or an address")]
    Name(String),
    /// TLS itself.
    #[error("TLS can't be set up: {0}")]
    Setup(Error),
}

/// How to encrypt a connection, and the name to expect in the server's certificate.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    asked: Arc<Asked>,
}

/// Notes whether a server has asked for a certificate, where there is none to show.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        // Only who may have one is asked which.
        true
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files. `host` is the server's, as the user wrote it.
    ///
    /// # Errors
    /// What is wrong with the files or the name.
    pub fn new(options: &TlsOptions, host: &str) -> Result<Self, TlsError> {
        let asked = Arc::new(Asked::default());
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = if options.allow_insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(roots(&options.ca_files)?)
        };
        let mut config = match &options.client {
            None => builder.with_client_cert_resolver(Arc::clone(&asked) as Arc<dyn ResolvesClientCert>),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let read = PrivateKeyDer::from_pem_file(key);
                let key = read.map_err(|source| TlsError::NoKey {
                    file: key.clone(),
                    source,
                })?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Client)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = options.server_name.as_deref().unwrap_or(host).to_owned();
        let server_name = ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: server_name,
            asked,
        })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<Begun<TlsStream<TcpStream>>> {
        let connected = self.connector.connect(self.name.clone(), stream).await;
        let connected = connected.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            match inner.and_then(explain) {
                Some(text) => io::Error::other(text),
                None => error,
            }
        })?;
        Begun::new(connected, self.asked.0.load(Ordering::Relaxed)).await
    }
}

/// What is wrong with the server's certificate, and what would be right.
fn explain(error: &Error) -> Option<String> {
    let Error::InvalidCertificate(why) = error else {
        return None;
    };
    Some(match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate is not valid any more ({why}); it needs a new one")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({why}); is a clock wrong?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name ({why}); --tls-server-name says which one to expect")
        }
        // Another authority that calls itself the same shows as a bad signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate was signed by an authority that is not known here; --tls-ca-cert-files names its file"
                .to_owned()
        }
        other => format!("its certificate is not valid: {other}"),
    })
}

fn roots(files: &[String]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if files.is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
    }
    for file in files {
        for certificate in certificates(file)? {
            store.add(certificate).map_err(|source| TlsError::Certificate {
                file: file.clone(),
                source,
            })?;
        }
    }
    Ok(store)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|source| TlsError::File {
        file: file.to_owned(),
        source,
    })?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(file.to_owned()));
    }
    Ok(certificates)
}

/// Accepts whatever the server shows, for `--tls-allow-insecure`. Signatures are still checked, so the server has at
/// least the key of what it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
