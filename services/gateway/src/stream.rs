//! The byte stream of a client while HTTP is spoken on it: plain or TLS, with what was read ahead in front.

use std::{
    io,
    net::TcpStream as StdTcpStream,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::socket::Socket;

/// A client's stream under HTTP.
pub(crate) struct ClientStream {
    /// Bytes that were read before HTTP took over.
    ahead: Bytes,
    inner: Inner,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientStream {
    /// A plain stream, of which `ahead` has been read already.
    pub(crate) fn plain(stream: StdTcpStream, ahead: Bytes) -> io::Result<Self> {
        Ok(Self { ahead, inner: Inner::Plain(TcpStream::from_std(stream)?) })
    }

    /// A TLS stream after its handshake.
    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { ahead: Bytes::new(), inner: Inner::Tls(Box::new(stream)) }
    }

    /// Leaves HTTP behind: the bare socket for a shard, and bytes read ahead.
    pub(crate) fn into_socket(self) -> io::Result<(Socket, Bytes)> {
        let socket = match self.inner {
            Inner::Plain(stream) => Socket::plain(stream.into_std()?),
            Inner::Tls(stream) => {
                let (stream, session) = stream.into_inner();
                Socket::tls(stream.into_std()?, session)
            }
        };
        Ok((socket, self.ahead))
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
