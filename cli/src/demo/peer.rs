//! What runs inside a pod: this program again, in the pod's network namespace, until its standard input ends. That
//! happens when the demo ends, however it ends.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::dns;
use super::pods::{API, DNS, MISROUTED, NOWHERE, OUTSIDE_V4, OUTSIDE_V6, Role, WEB};

/// Time between two rounds of calls.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a call may take; what is dropped silently never answers. The first packet to a neighbour waits for its
/// address to be found, which takes IPv6 some 300 ms.
const PATIENCE: Duration = Duration::from_millis(700);

const HTTP: u16 = 80;
/// Behind a rule that drops, in the pod `web`.
const FILTERED: u16 = 5432;
/// Nobody listens there.
const CLOSED: u16 = 81;
const CLOSED_UDP: u16 = 9999;

/// Plays a role until standard input ends.
///
/// # Errors
/// If a server's port can't be had.
pub(super) async fn run(role: Role) -> Result<()> {
    tokio::select! {
        result = play(role) => result,
        () = end_of_input() => Ok(()),
    }
}

async fn end_of_input() {
    let mut rest = [0; 64];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

async fn play(role: Role) -> Result<()> {
    match role {
        Role::Web | Role::Outside => serve_http().await,
        Role::Api => tokio::try_join!(serve_http(), forever(call_web)).map(drop),
        Role::Client => forever(call_everybody).await,
        Role::Dns => dns::serve().await,
        Role::Gateway => pending().await,
    }
}

async fn forever<F: Future<Output = ()>>(round: impl Fn() -> F) -> Result<()> {
    // The servers need a moment to be there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    loop {
        round().await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Answers each connection once, over IPv4 and IPv6.
async fn serve_http() -> Result<()> {
    let listener = TcpListener::bind(("::", HTTP)).await.context("cannot listen")?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(tokio::time::timeout(PATIENCE, reply(stream)));
    }
}

async fn reply(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 512];
    let _ = stream.read(&mut request).await?;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n")
        .await
}

async fn call_web() {
    get(WEB.v4, HTTP).await;
    get(WEB.v6, HTTP).await;
}

/// Working and broken calls in turns, so that the first lines of the demo show both. What a call meets is not looked
/// at: that is what the observer is for.
async fn call_everybody() {
    get(WEB.v4, HTTP).await;
    // 1: a firewall's rule.
    get(WEB.v4, FILTERED).await;
    let _ = dns::ask((DNS.v4, 53).into(), "web.demo.test.", RecordType::A).await;
    // 2: nobody listens.
    get(WEB.v4, CLOSED).await;
    ping(WEB.v4, &[]).await;
    // 3: the gateway has no route.
    get(NOWHERE, HTTP).await;
    let _ = dns::ask((DNS.v6, 53).into(), "web.demo.test.", RecordType::AAAA).await;
    // 4: nobody listens, on UDP.
    let _ = datagram("0.0.0.0:0", (WEB.v4, CLOSED_UDP)).await;
    ping(WEB.v6, &[]).await;
    // 5: a sender's address to which the receiver has another route.
    let _ = datagram((MISROUTED, 0), (API.v4, HTTP)).await;
    let _ = dns::ask((DNS.v4, 53).into(), "nobody.demo.test.", RecordType::A).await;
    // 6: too big for the way to the outside, and not to be cut.
    ping(OUTSIDE_V4, &["-M", "do", "-s", "1450"]).await;
    get(OUTSIDE_V4, HTTP).await;
    get(OUTSIDE_V6, HTTP).await;
    get(API.v6, HTTP).await;
    get(WEB.v6, CLOSED).await;
}

async fn get(address: impl Into<IpAddr>, port: u16) {
    let address = SocketAddr::new(address.into(), port);
    let call = async {
        let mut stream = TcpStream::connect(address).await?;
        let traceparent = traceparent(SystemTime::now());
        let request = format!("GET / HTTP/1.1\r\nHost: demo.test\r\ntraceparent: {traceparent}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    let _ = tokio::time::timeout(PATIENCE, call).await;
}

/// A trace for each request, as instrumented programs send it: W3C Trace Context, section 3.2.
fn traceparent(now: SystemTime) -> String {
    // Ids of zeros are invalid.
    let id = now
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_nanos().max(1));
    let span = (id & u128::from(u64::MAX)) | 1;
    format!("00-{id:032x}-{span:016x}-01")
}

async fn datagram(from: impl tokio::net::ToSocketAddrs, to: impl Into<SocketAddr>) -> std::io::Result<()> {
    let socket = UdpSocket::bind(from).await?;
    socket.send_to(b"hello", to.into()).await.map(drop)
}

/// One echo request. Without `ping` on the machine there is none, and the rest goes on.
async fn ping(address: impl Into<IpAddr>, more: &[&str]) {
    let child = tokio::process::Command::new("ping")
        .args(["-q", "-n", "-c", "1", "-W", "1", "-w", "1"])
        .args(more)
        .arg(address.into().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let _ = tokio::time::timeout(PATIENCE, child).await;
}
