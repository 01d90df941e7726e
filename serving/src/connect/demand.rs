//! A TLS connection whose server has asked for a certificate that the client doesn't have.
//!
//! A server that insists says so after the handshake, and closes (RFC 8446, section 4.4.2.4); one that doesn't begins to
//! speak: HTTP/2 servers send their settings first. So the first bytes tell, and are handed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// A server that says nothing for so long is taken for one that waits for the client.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection of which some bytes have been read.
#[derive(Debug)]
pub(super) struct Begun<T> {
    io: T,
    first: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Begun<T> {
    /// The connection as it is, or, where the server has asked in vain, once it is known whether it goes on.
    pub(super) async fn new(mut io: T, asked_in_vain: bool) -> io::Result<Self> {
        let mut first = Vec::new();
        if asked_in_vain {
            let read = tokio::time::timeout(PATIENCE, io.read_buf(&mut first)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                return Err(io::Error::other(
                    "it wants a certificate of its clients; give --tls-client-cert-file and --tls-client-key-file",
                ));
            }
        }
        Ok(Self { io, first })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Begun<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..count]);
        self.first.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Begun<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
