//! The byte stream of a client while HTTP is spoken on it: plain or TLS, with what was read ahead in front.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::{
    socket::Socket,
    tasks::{Alarm, TaskSocket},
};

/// A client's stream under HTTP.
pub(crate) struct ClientStream {
    /// Bytes that were read before HTTP took over.
    ahead: Bytes,
    inner: Inner,
    /// How long the other side may take nothing of what is written.
    patience: Duration,
    /// The end of that time, while it takes nothing.
    stalled: Option<Alarm>,
}

enum Inner {
    Plain(TaskSocket),
    Tls(Box<TlsStream<TaskSocket>>),
}

impl ClientStream {
    /// A plain stream, of which `ahead` has been read already. Writing fails once the other side has taken nothing for
    /// `patience`.
    pub(crate) fn plain(stream: TcpStream, ahead: Bytes, patience: Duration) -> io::Result<Self> {
        Ok(Self { ahead, inner: Inner::Plain(TaskSocket::new(stream)?), patience, stalled: None })
    }

    /// A TLS stream after its handshake; `patience` as there.
    pub(crate) fn tls(stream: TlsStream<TaskSocket>, patience: Duration) -> Self {
        Self { ahead: Bytes::new(), inner: Inner::Tls(Box::new(stream)), patience, stalled: None }
    }

    /// Gives a write up that has waited for too long: whoever reads nothing would keep its answer in memory for ever.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let alarm = self.stalled.get_or_insert_with(|| Alarm::at(Instant::now() + patience));
        Pin::new(alarm).poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Leaves HTTP behind: the bare socket for a shard, and bytes read ahead.
    pub(crate) fn into_socket(self) -> (Socket, Bytes) {
        let socket = match self.inner {
            Inner::Plain(stream) => Socket::Plain(stream.into_stream()),
            Inner::Tls(stream) => {
                let (stream, session) = stream.into_inner();
                Socket::tls(stream.into_stream(), session)
            }
        };
        (socket, self.ahead)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.has_remaining() {
            let taken = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(taken));
            return Poll::Ready(Ok(()));
        }
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.watch(cx, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.watch(cx, written)
    }
}
