//! A client's connection, and what the server knows of its client for as long as it lives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A connection with its session.
#[derive(Debug)]
pub struct Connection<T, S> {
    io: T,
    session: S,
}

impl<T, S: Default> Connection<T, S> {
    /// A connection whose session has just begun.
    pub fn new(io: T) -> Self {
        Self {
            io,
            session: S::default(),
        }
    }
}

impl<T, S: Clone + Send + Sync + 'static> Connected for Connection<T, S> {
    type ConnectInfo = S;

    fn connect_info(&self) -> S {
        self.session.clone()
    }
}

impl<T: AsyncRead + Unpin, S: Unpin> AsyncRead for Connection<T, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin, S: Unpin> AsyncWrite for Connection<T, S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
