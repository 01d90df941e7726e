//! Client TLS, from the `--tls-*` settings.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::settings::Settings;
use crate::usage::UsageError;

/// Builds the connector and the name to expect in the server's certificate.
pub(crate) fn connector(settings: &Settings, host: &str) -> Result<(TlsConnector, ServerName<'static>)> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS can't be set up")?;
    let builder = if settings.tls_allow_insecure == Some(true) {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(&settings.tls_ca_cert_files)?)
    };
    let mut config = match (&settings.tls_client_cert_file, &settings.tls_client_key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("no private key (PEM) in {key}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .context("the client certificate and key don't fit together")?
        }
        _ => {
            return Err(UsageError(
                "--tls-client-cert-file and --tls-client-key-file go together; give both".to_owned(),
            )
            .into());
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = settings.tls_server_name.as_deref().unwrap_or(host).to_owned();
    let server_name = ServerName::try_from(name.clone())
        .map_err(|_| UsageError::value(&name, "--tls-server-name", "give a DNS name or an address"))?;
    Ok((TlsConnector::from(Arc::new(config)), server_name))
}

fn roots(files: &[String]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    if files.is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        anyhow::ensure!(
            !store.is_empty(),
            "no certificate authorities found on this system; install ca-certificates or name a file with --tls-ca-cert-files"
        );
    }
    for file in files {
        for certificate in certificates(file)? {
            store
                .add(certificate)
                .with_context(|| format!("{file} holds a certificate that can't be used"))?;
        }
    }
    Ok(store)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("can't read certificates (PEM) from {file}"))?;
    anyhow::ensure!(!certificates.is_empty(), "no certificate (PEM) in {file}");
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
