//! TLS between a server and a client of this crate: who gets in, what the others are told, and new certificates while
//! the server runs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use flow::api::observer::observer_server::ObserverServer;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use serving::connect::{Target, Tls, TlsOptions, channel, reason};
use serving::listen::{Accepted, Listen, ListenError, Listener, Protection};
use serving::tls::{ServerTls, ServerTlsError, TlsFiles};
use tonic::transport::{Channel, Server};

#[path = "tls/service.rs"]
mod service;

const PATIENCE: Duration = Duration::from_secs(20);

struct Files {
    folder: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            folder,
            authority: Issuer::new(params, key),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A certificate and its key, valid until that year.
    fn make(&self, file: &str, names: &[&str], until: i32) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.authority).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("{file}.crt")), signed.pem()).unwrap();
    }

    fn of_server(&self, clients: bool) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.crt"),
            key: self.path("server.key"),
            client_authorities: clients.then(|| self.path("ca.crt")).into_iter().collect(),
        }
    }

    fn of_client(&self) -> TlsOptions {
        TlsOptions {
            ca_files: vec![self.text("ca.crt")],
            ..TlsOptions::default()
        }
    }
}

/// Serves until the test ends.
async fn serve(files: TlsFiles) -> SocketAddr {
    let protection = Protection {
        tls: Some(ServerTls::new(files).unwrap()),
        insecure: false,
    };
    let listener = Listener::bind(&"127.0.0.1:0".parse::<Listen>().unwrap()).await.unwrap();
    let address = listener.address().parse().unwrap();
    let Accepted::Tcp(connections) = listener.accepted(&protection) else {
        panic!("a TCP address")
    };
    tokio::spawn(
        Server::builder()
            .add_service(ObserverServer::new(service::Follows))
            .serve_with_incoming(connections),
    );
    address
}

async fn connect(address: SocketAddr, options: &TlsOptions) -> Result<Channel, String> {
    let target = Target::parse(&format!("tls://{address}"), false).unwrap();
    let tls = Tls::new(options, "127.0.0.1").map_err(|error| error.to_string())?;
    let connected = tokio::time::timeout(PATIENCE, channel(&target, Some(tls), |endpoint| endpoint))
        .await
        .unwrap();
    connected.map_err(|error| reason(&error))
}

async fn ask(address: SocketAddr, options: &TlsOptions) -> Result<(), String> {
    service::status(connect(address, options).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_trusted_is_told_why() {
    let files = Files::new();
    files.make("server", &["127.0.0.1"], 2099);
    let address = serve(files.of_server(false)).await;
    let trusting = files.of_client();
    ask(address, &trusting).await.unwrap();

    let stranger = Files::new();
    let error = ask(address, &stranger.of_client()).await.unwrap_err();
    assert!(
        error.contains("an authority that is not known here; --tls-ca-cert-files"),
        "{error}"
    );
    let other_name = TlsOptions {
        server_name: Some("relay.test".to_owned()),
        ..trusting.clone()
    };
    let error = ask(address, &other_name).await.unwrap_err();
    assert!(
        error.contains("for another name") && error.contains("--tls-server-name"),
        "{error}"
    );

    let old = Files::new();
    old.make("server", &["127.0.0.1"], 2021);
    let error = ask(serve(old.of_server(false)).await, &old.of_client())
        .await
        .unwrap_err();
    assert!(error.contains("not valid any more"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_where_that_is_asked_for() {
    let files = Files::new();
    files.make("server", &["127.0.0.1"], 2099);
    files.make("client", &["me"], 2099);
    let address = serve(files.of_server(true)).await;
    let error = ask(address, &files.of_client()).await.unwrap_err();
    assert!(error.contains("--tls-client-cert-file"), "{error}");
    let shown = TlsOptions {
        client: Some((files.text("client.crt"), files.text("client.key"))),
        ..files.of_client()
    };
    ask(address, &shown).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_count_and_open_streams_go_on() {
    let files = Files::new();
    files.make("server", &["127.0.0.1"], 2099);
    let address = serve(files.of_server(false)).await;
    let mut stream = service::follow(connect(address, &files.of_client()).await.unwrap()).await;
    assert!(service::next(&mut stream).await);

    // Files that are not right change nothing.
    fs::write(files.path("server.key"), "rubbish").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    ask(address, &files.of_client()).await.unwrap();

    files.make("server", &["relay.test"], 2099);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let error = ask(address, &files.of_client()).await.unwrap_err();
    assert!(error.contains("for another name"), "the new one is shown: {error}");
    let renamed = TlsOptions {
        server_name: Some("relay.test".to_owned()),
        ..files.of_client()
    };
    ask(address, &renamed).await.unwrap();
    assert!(service::next(&mut stream).await, "the stream from before goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_stops_nobody() {
    let files = Files::new();
    files.make("server", &["127.0.0.1"], 2099);
    let address = serve(files.of_server(false)).await;
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    ask(address, &files.of_client()).await.unwrap();
    let closed = tokio::task::spawn_blocking(move || {
        silent[0].set_read_timeout(Some(PATIENCE)).unwrap();
        silent[0].read(&mut [0; 8]).map_or(true, |read| read == 0)
    });
    assert!(closed.await.unwrap(), "it is let go after a while");
}

#[test]
fn wrong_files_are_named() {
    let files = Files::new();
    files.make("server", &["127.0.0.1"], 2099);
    files.make("other", &["127.0.0.1"], 2099);
    fs::write(files.path("empty"), "").unwrap();
    let with = |certificate: &str, key: &str| TlsFiles {
        certificate: files.path(certificate),
        key: files.path(key),
        client_authorities: Vec::new(),
    };
    for (wrong, why) in [
        (with("nonsense.crt", "server.key"), "nonsense.crt: no certificate (PEM)"),
        (with("empty", "server.key"), "empty: no certificate (PEM)"),
        (with("server.crt", "empty"), "empty: no private key (PEM)"),
        (with("server.crt", "other.key"), "do not belong together"),
    ] {
        let error: ServerTlsError = ServerTls::new(wrong).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn plain_connections_from_elsewhere_have_to_be_asked_for() {
    let plain = Protection::default();
    for address in ["127.0.0.1:1", "[::1]:1", "unix:///run/x.sock"] {
        plain.check(&address.parse().unwrap()).unwrap();
    }
    let everywhere: Listen = "0.0.0.0:4244".parse().unwrap();
    let error = plain.check(&everywhere).unwrap_err();
    assert!(matches!(error, ListenError::Plain { .. }));
    assert!(
        error.to_string().contains("--insecure") && error.to_string().contains("--tls-cert-file"),
        "{error}"
    );
    let asked_for = Protection {
        insecure: true,
        ..Protection::default()
    };
    asked_for.check(&everywhere).unwrap();
}
