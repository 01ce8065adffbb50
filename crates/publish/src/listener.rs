//! Connections from their beginning: the port's, whichever version of HTTP they speak.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};

use crate::connection::{self, Services};
use crate::dispatch::Dispatch;
use crate::front::Certificates;
use crate::tls::Tls;

/// What every HTTP/2 connection begins with. Source: RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause after a connection could not be accepted, most often for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the connections of `listener` until `shutdown` is ready, and those that are there then to their end.
pub(crate) async fn serve<D: Dispatch>(
    listener: TcpListener,
    tls: Option<&Tls>,
    services: Arc<Services<D>>,
    shutdown: impl Future<Output = ()>,
) {
    // They end with this future if it is dropped.
    let mut connections = JoinSet::new();
    {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut incoming = Incoming::new(listener, tls);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = incoming.next() => match accepted {
                    Some(Accepted::Plain(io)) => drop(connections.spawn(serve_one(io, None, services.clone()))),
                    Some(Accepted::Tls(io)) => {
                        let certificates = io.get_ref().1.peer_certificates().map(Arc::from);
                        drop(connections.spawn(serve_one(*io, certificates, services.clone())));
                    }
                    None => break,
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

enum Accepted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where connections come from.
enum Incoming {
    Plain(TcpListener),
    Tls(tokio_stream::wrappers::ReceiverStream<io::Result<TlsStream<TcpStream>>>),
}

impl Incoming {
    fn new(listener: TcpListener, tls: Option<&Tls>) -> Self {
        match tls {
            Some(tls) => Self::Tls(tls.incoming(listener)),
            None => Self::Plain(listener),
        }
    }

    /// The next connection; `None` if there are no more.
    async fn next(&mut self) -> Option<Accepted> {
        loop {
            match self {
                Self::Plain(listener) => match listener.accept().await {
                    Ok((stream, _)) => {
                        // Answers are small and callers wait for them; without it they are only later.
                        stream.set_nodelay(true).ok();
                        return Some(Accepted::Plain(stream));
                    }
                    Err(error) => {
                        telemetry::emit(&telemetry::AcceptFailed { port: "grpc", error: error.to_string() });
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Self::Tls(incoming) => {
                    // What fails there is in the log.
                    if let Ok(stream) = incoming.next().await? {
                        return Some(Accepted::Tls(Box::new(stream)));
                    }
                }
            }
        }
    }
}

async fn serve_one<I, D>(mut io: I, certificates: Certificates, services: Arc<Services<D>>)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    D: Dispatch,
{
    let mut stopping = services.stopping.clone();
    let ahead = tokio::select! {
        ahead = beginning(&mut io) => ahead,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    // Whoever says nothing is gone.
    let Ok(ahead) = ahead else { return };
    let is_http2 = ahead == PREFACE;
    let io = Rewound { ahead, io };
    if is_http2 {
        return connection::serve(io, certificates, services).await;
    }
    let service = services.front.clone();
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(certificates.clone());
        service.clone().call(request)
    });
    let mut serving = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(io), service));
    // What is wrong with it is the other side's.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => serving.as_mut().graceful_shutdown(),
    }
    serving.await.ok();
}

/// Reads until it is clear whether this is HTTP/2, and gives what was read.
async fn beginning(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        let mut left = (&mut *io).take((PREFACE.len() - read.len()) as u64);
        if left.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read.len() == PREFACE.len() || !PREFACE.starts_with(&read) {
            return Ok(read.freeze());
        }
    }
}

/// A connection of which something was read.
struct Rewound<I> {
    ahead: Bytes,
    io: I,
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let bytes = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewound<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
