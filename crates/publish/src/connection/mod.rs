//! One HTTP/2 connection: its calls, its heartbeat, its end.
//!
//! Below the services there is `h2` and nothing else: hyper's task for each request and tonic's stack of layers cost
//! a unary publish 27,000 of its 65,000 instructions. Calls are polled by the task of their connection, most of them
//! once: a publish that finds its places free is answered before the socket is looked at again.

mod calls;
mod deadline;
mod forward;
mod heartbeat;
mod passes;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use roomcast_proto::v1::publisher_server::PublisherServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tonic::codegen::http;

pub(crate) use calls::{head, open, refusal, trailers};

use self::calls::Rpc;
use self::heartbeat::Heartbeat;
use self::passes::{Passes, in_passes};
use crate::dispatch::Dispatch;
use crate::front::{Certificates, Door, Front};
use crate::guard::Guarded;
use crate::publishing::{Checked, CheckedBatch};
use crate::stream;

/// What a sender may have on its way to us, on one stream and on all of a connection, in bytes.
const WINDOW_BYTES: u32 = 1 << 20;
/// What we keep for a receiver that takes nothing, on one stream, in bytes.
const SEND_BUFFER_BYTES: usize = 400 * 1024;
/// The headers of one request, in bytes.
const HEADERS_BYTES: u32 = 16 * 1024;
/// Streams that were reset for what the other side did wrong on them; one more ends the connection.
const FAULTS_MAX: usize = 1024;

/// What serves every connection.
pub(crate) struct Services<D: Dispatch> {
    /// The rpcs that publish.
    pub(crate) publisher: Guarded<D>,
    /// In front of `publisher`.
    pub(crate) door: Option<Door>,
    /// All others, and HTTP with JSON.
    pub(crate) front: Front<PublisherServer<Guarded<D>>>,
    pub(crate) calls_max: u32,
    /// The bytes of one request.
    pub(crate) request_bytes_max: usize,
    /// True once the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves an HTTP/2 connection until its end, or until the server stops and all its calls are answered.
pub(crate) async fn serve<I, D>(io: I, certificates: Certificates, services: Arc<Services<D>>)
where
    I: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
{
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(services.calls_max)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADERS_BYTES)
        .max_local_error_reset_streams(Some(FAULTS_MAX));
    // Whoever does not speak HTTP/2 is gone.
    let Ok(connection) = builder.handshake::<_, Bytes>(io).await else { return };
    let passes = Arc::<Passes>::default();
    in_passes(passes.clone(), serve_calls(connection, certificates, services, &passes)).await;
}

async fn serve_calls<I, D>(
    mut connection: server::Connection<I, Bytes>,
    certificates: Certificates,
    services: Arc<Services<D>>,
    passes: &Passes,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
{
    let mut heartbeat = Heartbeat::new(connection.ping_pong());
    let mut stopping = services.stopping.clone();
    let mut stopped = Box::pin(async move { stopping.wait_for(|stopping| *stopping).await.is_ok() });
    let mut is_stopping = false;
    let mut calls = FuturesUnordered::<Call>::new();
    loop {
        passes.begin();
        tokio::select! {
            biased;
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let mut call = answer(services.clone(), certificates.clone(), request, respond);
                    if futures_util::poll!(&mut call).is_pending() {
                        calls.push(call);
                    }
                }
                // The calls of a connection end with it.
                Some(Err(_)) | None => return,
            },
            Some(()) = calls.next(), if !calls.is_empty() => {}
            () = heartbeat.missed() => {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                return;
            }
            _ = &mut stopped, if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// The future of one call.
fn answer<D: Dispatch>(
    services: Arc<Services<D>>,
    certificates: Certificates,
    mut request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Call {
    match Rpc::of(request.uri().path()) {
        Some(Rpc::Publish) => {
            Box::pin(calls::publish::<Checked, D>(services, certificates, request, respond))
        }
        Some(Rpc::PublishBatch) => {
            Box::pin(calls::publish::<CheckedBatch, D>(services, certificates, request, respond))
        }
        Some(Rpc::PublishStream) => {
            Box::pin(stream::publish_stream(services, certificates, request, respond))
        }
        None => {
            request.extensions_mut().insert(certificates);
            Box::pin(forward::forward(services.front.clone(), request, respond))
        }
    }
}
