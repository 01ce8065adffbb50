//! The byte stream of a client while HTTP is spoken on it: plain or TLS, with what was read ahead in front.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::{socket::Socket, tasks::TaskSocket};

/// A client's stream under HTTP.
pub(crate) struct ClientStream {
    /// Bytes that were read before HTTP took over.
    ahead: Bytes,
    inner: Inner,
}

enum Inner {
    Plain(TaskSocket),
    Tls(Box<TlsStream<TaskSocket>>),
}

impl ClientStream {
    /// A plain stream, of which `ahead` has been read already.
    pub(crate) fn plain(stream: TcpStream, ahead: Bytes) -> io::Result<Self> {
        Ok(Self { ahead, inner: Inner::Plain(TaskSocket::new(stream)?) })
    }

    /// A TLS stream after its handshake.
    pub(crate) fn tls(stream: TlsStream<TaskSocket>) -> Self {
        Self { ahead: Bytes::new(), inner: Inner::Tls(Box::new(stream)) }
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
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
