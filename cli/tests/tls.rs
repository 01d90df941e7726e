//! Runs the real program against a TLS server in this process.

use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tonic::transport::server::Connected;

/// A TLS connection, in the form that tonic serves.
struct Accepted(tokio_rustls::server::TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A server whose certificate is for the name `relay.test`, and the file of the authority that signed it.
struct TlsServer {
    port: u16,
    dir: tempfile::TempDir,
    /// The `authorization` of each call.
    authorizations: mpsc::Receiver<Option<String>>,
    _runtime: tokio::runtime::Runtime,
}

impl TlsServer {
    fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["relay.test".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &authority).expect("signed");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("writable");

        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the key fits");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (seen, authorizations) = mpsc::channel();
        runtime.spawn(async move {
            let (connections, incoming) = tokio::sync::mpsc::channel(4);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = connections.send(Ok::<_, std::io::Error>(Accepted(stream))).await;
                    }
                }
            });
            let (health, service) = tonic_health::server::health_reporter();
            // Unwell, so that the program asks for nothing but the health.
            health
                .set_service_status("observer.Observer", tonic_health::ServingStatus::NotServing)
                .await;
            let service =
                tonic::service::interceptor::InterceptedService::new(service, move |request: tonic::Request<()>| {
                    let value = request.metadata().get("authorization");
                    let _ = seen.send(value.and_then(|value| value.to_str().ok()).map(str::to_owned));
                    Ok(request)
                });
            let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
        });
        Self {
            port,
            dir,
            authorizations,
            _runtime: runtime,
        }
    }

    fn status(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_parallax"))
            .env_clear()
            .env("HOME", "/nonexistent")
            .args(["status", "--server", &format!("tls://127.0.0.1:{}", self.port)])
            .args(args)
            .output()
            .expect("the program runs")
    }

    fn authority(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_server_is_trusted_for_its_authority_and_name() {
    let server = TlsServer::start();
    let authority = server.authority();
    let output = server.status(&["--tls-ca-cert-files", &authority, "--tls-server-name", "relay.test"]);
    let answered = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        answered.contains("NOT_SERVING"),
        "the server was reached: {answered}{}",
        stderr(&output)
    );
    assert_eq!(output.status.code(), Some(1), "an unwell server is a failure");

    let other_name = server.status(&["--tls-ca-cert-files", &authority]);
    assert!(stderr(&other_name).contains("certificate"), "{}", stderr(&other_name));
    let missing = server.status(&["--tls-ca-cert-files", "/nonexistent.pem"]);
    assert!(stderr(&missing).contains("/nonexistent.pem"), "{}", stderr(&missing));
    assert!(missing.stdout.is_empty() && other_name.stdout.is_empty());
}

#[test]
fn an_unknown_authority_is_accepted_only_on_request() {
    let server = TlsServer::start();
    let insecure = server.status(&["--tls-allow-insecure"]);
    assert!(
        String::from_utf8_lossy(&insecure.stdout).contains("NOT_SERVING"),
        "{}",
        stderr(&insecure)
    );
    let own_authority = TlsServer::start().authority();
    let other = server.status(&["--tls-ca-cert-files", &own_authority, "--tls-server-name", "relay.test"]);
    assert!(!String::from_utf8_lossy(&other.stdout).contains("NOT_SERVING"));
}

#[test]
fn user_and_password_go_with_each_call_and_only_over_tls() {
    let server = TlsServer::start();
    let auth = ["--basic-auth-username", "ann", "--basic-auth-password", "s3cret"];
    server.status(&[&["--tls-allow-insecure"], &auth[..]].concat());
    let seen = server
        .authorizations
        .recv_timeout(std::time::Duration::from_secs(5))
        .expect("a call came");
    assert_eq!(seen.as_deref(), Some("Basic YW5uOnMzY3JldA=="));

    let plain = Command::new(env!("CARGO_BIN_EXE_parallax"))
        .args(["status", "--server", "127.0.0.1:1"])
        .args(auth)
        .output()
        .expect("the program runs");
    assert_eq!(plain.status.code(), Some(2));
    assert!(stderr(&plain).contains("needs TLS"), "{}", stderr(&plain));
    let half = server.status(&["--tls-client-cert-file", "x.pem"]);
    assert_eq!(half.status.code(), Some(2), "{}", stderr(&half));
}
