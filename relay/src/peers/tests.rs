#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use flow::api::peer::peer_server::{Peer, PeerServer};
use flow::api::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest};
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn addresses(set: &PeerSet) -> Vec<String> {
    set.iter().map(|peer| peer.address.clone()).collect()
}

async fn wait_for(peers: &Peers, expected: &[&str]) {
    let mut changes = peers.subscribe();
    let found = changes.wait_for(|set| addresses(set) == expected);
    let found = tokio::time::timeout(PATIENCE, found).await.is_ok();
    let now = addresses(&peers.subscribe().borrow());
    assert!(found, "expected {expected:?}, there are {now:?}");
}

#[test]
fn every_form_of_a_source_is_understood_and_a_wrong_one_told_what_is_right() {
    let dns = |name: &str, port, tls| {
        PeerSource::Dns(DnsName {
            name: name.to_owned(),
            port,
            tls,
        })
    };
    let address = |address: &str| PeerAddress {
        address: address.to_owned(),
        ..PeerAddress::default()
    };
    for (text, expected) in [
        ("10.0.0.1:4244", PeerSource::Address(address("10.0.0.1:4244"))),
        ("tls://node-a:4244", PeerSource::Address(address("tls://node-a:4244"))),
        ("unix:///run/x.sock", PeerSource::Address(address("unix:///run/x.sock"))),
        ("dns:obs.svc:4244", dns("obs.svc", Some(4244), false)),
        ("dns:///obs.svc:4244", dns("obs.svc", Some(4244), false)),
        ("dns+tls:obs.svc:4244", dns("obs.svc", Some(4244), true)),
        ("srv:_grpc._tcp.obs.svc", dns("_grpc._tcp.obs.svc", None, false)),
        ("file:/etc/peers.yaml", PeerSource::File("/etc/peers.yaml".into())),
        (
            "notify:unix:///run/x.sock",
            PeerSource::Notify(address("unix:///run/x.sock")),
        ),
    ] {
        assert_eq!(PeerSource::from_str(text), Ok(expected), "{text}");
    }
    for (text, why) in [
        ("", "port is missing"),
        ("node-a", "port is missing"),
        ("node-a:x", "not a number"),
        ("dns:obs.svc", "the port is missing"),
        ("dns::1", "the name is missing"),
        ("dns:obs:99999", "no number up to 65535"),
        ("srv:", "the name is missing"),
        ("file:", "the path is missing"),
        ("notify:node", "port is missing"),
        ("http://node:1", "unknown scheme http"),
    ] {
        let error = PeerSource::from_str(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[tokio::test]
async fn no_source_is_an_error_that_says_what_there_could_be() {
    let error = Peers::start(Vec::new(), PeerOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("--peers HOST:PORT"), "{error}");
}

#[tokio::test]
async fn a_file_may_change_break_and_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.yaml");
    fs::write(&path, "peers: [b:1, {address: 'tls://a:1', name: node-a}]").unwrap();
    let sources = vec![
        PeerSource::File(path.clone()),
        "b:1".parse().unwrap(),
        "c:1".parse().unwrap(),
    ];
    let peers = Peers::start(sources, PeerOptions::default()).await.unwrap();
    wait_for(&peers, &["b:1", "c:1", "tls://a:1"]).await;
    fs::write(&path, "peers: [d:1]").unwrap();
    wait_for(&peers, &["b:1", "c:1", "d:1"]).await;
    fs::write(&path, "peers: [nonsense]").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    wait_for(&peers, &["b:1", "c:1", "d:1"]).await;
    // As Kubernetes does it: a link that is moved to another file.
    let (other, link) = (folder.path().join("other.yaml"), folder.path().join("link"));
    fs::write(&other, "peers: [e:1]").unwrap();
    symlink(&other, &link).unwrap();
    fs::rename(&link, &path).unwrap();
    wait_for(&peers, &["b:1", "c:1", "e:1"]).await;
}

#[tokio::test]
async fn a_wrong_file_is_told_with_its_place_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers.yaml");
    for (content, why) in [
        (None, "No such file"),
        (Some("peers: [nonsense]"), "`nonsense`"),
        (Some("peers: {a: b}"), "peers: a list of addresses"),
        (Some("nodes: []"), "peers: a list of addresses"),
    ] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let started = Peers::start(vec![PeerSource::File(path.clone())], PeerOptions::default()).await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains("peers.yaml") && error.contains(why), "{error}");
    }
}

/// Answers by what `state` says: 0 one address, 1 another one and an IPv6 one, 2 no such name, 3 not at all.
async fn dns_server(state: Arc<AtomicU8>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let query = question.queries[0].clone();
            let name: Name = query.name().clone();
            let now = state.load(Ordering::SeqCst);
            if now == 3 {
                continue;
            }
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.message_type = MessageType::Response;
            answer.add_query(query.clone());
            let data = match (query.query_type(), now) {
                (_, 2) => {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    None
                }
                (RecordType::SRV, _) => Some(RData::SRV(SRV::new(1, 1, 5000, Name::from_ascii("obs.test.").unwrap()))),
                (RecordType::A, 0) => Some(RData::A(A(Ipv4Addr::new(10, 0, 0, 1)))),
                (RecordType::A, _) => Some(RData::A(A(Ipv4Addr::new(10, 0, 0, 2)))),
                (RecordType::AAAA, 1) => Some(RData::AAAA(AAAA(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)))),
                _ => None,
            };
            if let Some(data) = data {
                answer.add_answer(Record::from_rdata(name, 1, data));
            }
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn addresses_of_names_are_peers_as_long_as_dns_has_them() {
    let state = Arc::new(AtomicU8::new(0));
    let options = PeerOptions {
        dns_server: Some(dns_server(Arc::clone(&state)).await),
        dns_interval: Duration::from_millis(200),
        ..PeerOptions::default()
    };
    let sources = vec![
        "dns:obs.test.:4244".parse().unwrap(),
        "srv:_grpc._tcp.obs.test.".parse().unwrap(),
    ];
    let peers = Peers::start(sources, options).await.unwrap();
    wait_for(&peers, &["10.0.0.1:4244", "10.0.0.1:5000"]).await;
    state.store(1, Ordering::SeqCst);
    wait_for(
        &peers,
        &["10.0.0.2:4244", "10.0.0.2:5000", "[fd00::9]:4244", "[fd00::9]:5000"],
    )
    .await;
    // A server that is away takes nothing away.
    state.store(3, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(peers.subscribe().borrow().len(), 4);
    state.store(2, Ordering::SeqCst);
    wait_for(&peers, &[]).await;
}

/// Tells of a peer, then of another one, takes the first one away, and ends.
struct Teller;

#[tonic::async_trait]
impl Peer for Teller {
    type NotifyStream = ReceiverStream<Result<ChangeNotification, Status>>;

    async fn notify(&self, _: Request<NotifyRequest>) -> Result<Response<Self::NotifyStream>, Status> {
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        for (name, kind) in [
            ("a", ChangeNotificationType::PeerAdded),
            ("b", ChangeNotificationType::PeerAdded),
            ("a", ChangeNotificationType::PeerDeleted),
        ] {
            let change = ChangeNotification {
                name: name.to_owned(),
                address: format!("{name}:4244"),
                r#type: kind.into(),
                tls: None,
            };
            sender.send(Ok(change)).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tokio::test]
async fn what_a_server_tells_of_are_peers_also_when_it_is_gone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(PeerServer::new(Teller));
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let sources = vec![format!("notify:{address}").parse().unwrap()];
    let peers = Peers::start(sources, PeerOptions::default()).await.unwrap();
    wait_for(&peers, &["b:4244"]).await;
    let named = peers.subscribe().borrow().first().cloned().unwrap();
    assert_eq!(named.name.as_deref(), Some("b"));
    server.abort();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        peers.subscribe().borrow().len(),
        1,
        "it is asked again, and the peers stay"
    );
}
