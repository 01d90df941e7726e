//! A client's connection, and what the server knows of its client for as long as it lives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use sql::coverage::Coverage;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Request;
use tonic::transport::server::Connected;

/// What is remembered of the client at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Session(Arc<Mutex<Option<Coverage>>>);

impl Session {
    /// The session of a request; an empty one where there is no connection.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// How complete the previous answer was.
    pub(super) fn previous(&self) -> Option<Coverage> {
        self.0.lock().clone()
    }

    /// Remembers how complete an answer is, if the next question can be about that.
    pub(super) fn answered(&self, sql: &str, coverage: &Coverage) {
        if Coverage::is_of(sql) {
            *self.0.lock() = Some(coverage.clone());
        }
    }
}

/// A connection with its session.
#[derive(Debug)]
pub(super) struct Connection<T> {
    io: T,
    session: Session,
}

impl<T> Connection<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            session: Session::default(),
        }
    }
}

impl<T> Connected for Connection<T> {
    type ConnectInfo = Session;

    fn connect_info(&self) -> Session {
        self.session.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
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
