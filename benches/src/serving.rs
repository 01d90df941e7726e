//! Clients of the API that count and nothing else.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use flow::api::observer::GetFlowsRequest;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use nix::sys::resource::{UsageWho, getrusage};
use prost::Message as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::{Service as _, ServiceExt as _, service_fn};

/// What stands before each message of gRPC: a flag and the length.
pub const PREFIX_BYTES: usize = 5;
/// Windows as wide as those of a client that wants everything at once.
const WINDOW_BYTES: u32 = 4 << 20;

/// CPU time of this process so far, user and system.
///
/// # Errors
/// What the system says.
pub fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_secs(value.tv_sec().unsigned_abs()) + Duration::from_micros(value.tv_usec().unsigned_abs())
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// A connection of its own to a server on a unix socket.
///
/// # Errors
/// If nobody listens there.
pub async fn channel(socket: &Path) -> anyhow::Result<Channel> {
    let path = socket.to_owned();
    Endpoint::from_static("http://bench")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector(service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .with_context(|| format!("cannot connect to {}", socket.display()))
}

/// Asks for flows; the answer is not decoded.
///
/// # Errors
/// If the server can't be reached or refuses.
pub async fn get_flows(channel: &mut Channel, request: &GetFlowsRequest) -> anyhow::Result<Body> {
    let mut message = vec![0; PREFIX_BYTES];
    request.encode(&mut message)?;
    let length = u32::try_from(message.len() - PREFIX_BYTES)?;
    message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    let request = http::Request::post("http://bench/observer.Observer/GetFlows")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from(message))))?;
    let response = channel.ready().await?.call(request).await?;
    let refused = response.headers().get("grpc-status");
    anyhow::ensure!(refused.is_none(), "the server refuses: {refused:?}");
    Ok(response.into_body())
}

/// What has come.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages, also those that have only begun.
    pub messages: u64,
    /// Bytes, what stands before messages included.
    pub bytes: u64,
    /// Bytes left of the message that comes now.
    left: usize,
    /// The beginning of what stands before the next one.
    prefix: Vec<u8>,
}

impl Received {
    /// Reads until there are `enough` messages, or no more.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn count(mut body: Body, enough: u64) -> anyhow::Result<Self> {
        let mut received = Self::default();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map_err(|status| anyhow::anyhow!("{status}"))?.data_ref() {
                received.take(data);
            }
            if received.messages >= enough && received.left == 0 {
                break;
            }
        }
        Ok(received)
    }

    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    fn take(&mut self, mut data: &[u8]) {
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                data = &data[skipped..];
                continue;
            }
            let missing = (PREFIX_BYTES - self.prefix.len()).min(data.len());
            self.prefix.extend_from_slice(&data[..missing]);
            data = &data[missing..];
            if let [_, length @ ..] = &self.prefix[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u32::from_be_bytes(length) as usize;
                self.messages += 1;
                self.prefix.clear();
            }
        }
    }
}

/// Reads that many bytes of a socket.
///
/// # Errors
/// If it ends before.
pub async fn follow_raw(mut stream: UnixStream, bytes: u64) -> anyhow::Result<Received> {
    let mut received = Received::default();
    let mut buffer = vec![0; 64 << 10];
    while received.bytes < bytes {
        let count = stream.read(&mut buffer).await?;
        anyhow::ensure!(count > 0, "the server has closed the socket");
        received.bytes += count as u64;
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::Received;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let mut stream = Vec::new();
        for length in [0_u32, 1, 300] {
            stream.push(0);
            stream.extend_from_slice(&length.to_be_bytes());
            stream.resize(stream.len() + length as usize, 9);
        }
        for cut in 1..=stream.len() {
            let mut received = Received::default();
            stream.chunks(cut).for_each(|part| received.take(part));
            assert_eq!((received.messages, received.left), (3, 0), "cut into {cut} bytes");
        }
    }
}
