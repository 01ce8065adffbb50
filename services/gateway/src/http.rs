//! HTTP on the client port: long-polling, upgrades of kept-alive connections, the bundle and the demo page.
//!
//! A task per HTTP connection, on the thread of the shard that accepted it. A WebSocket leaves its task at the
//! upgrade, and nothing of HTTP stays with it. The cluster port is served by the same code.

mod answer;
pub(crate) mod cors;
mod demo;
mod forwarded;
mod polling;
mod upgraded;
mod v09;

use std::{
    cell::Cell,
    error::Error as _,
    io,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use admission::{Bucket, Place};
use engineio::{EngineConfig, HttpFault, Query, SessionId, Transport};
use http::{Method, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use self::answer::Answer;
use crate::{
    context::Context,
    inbox::{Ownership, Shards},
    peers::{self, Forwarder},
    stream::ClientStream,
    tasks::{HyperTimer, TaskSocket, timeout},
};

/// The answer to a connection over the limit.
pub(crate) const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";

/// Bytes of one request head.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Header lines of one request.
const HEADERS_MAX: usize = 100;

/// What answers the requests of one shard's HTTP connections.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) context: Rc<Context>,
    pub(crate) engine: EngineConfig,
    pub(crate) shards: Shards,
    /// The shard whose thread this is; it owns the sessions that begin here.
    pub(crate) number: u8,
    pub(crate) door: Door,
    /// Who is at the other end of the connection: the client, a proxy, or another gateway.
    pub(crate) peer: IpAddr,
    /// Its place among the connections of that address.
    pub(crate) place: Option<Place>,
    /// What is left of the requests that this connection may send.
    pub(crate) requests: Rc<Cell<Bucket>>,
}

/// Where a connection came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// At the port of the clients: requests for the sessions of other gateways are forwarded.
    Clients,
    /// At the cluster port: requests are signed, and never forwarded again.
    Peers,
}

/// Speaks HTTP on a stream, in a task of its own.
pub(crate) fn spawn(stream: ClientStream, service: Service) {
    let counted = Counted::new(&service.context);
    tokio::task::spawn_local(async move {
        serve(stream, service.clone(), service.context.request_timeout).await;
        drop(counted);
    });
}

/// Speaks HTTP with another gateway, in a task of its own, which has `place` for as long as it lasts.
pub(crate) fn spawn_peer(stream: ClientStream, service: Service, place: OwnedSemaphorePermit) {
    let counted = Counted::new(&service.context);
    tokio::task::spawn_local(async move {
        serve(stream, service, peers::IDLE_TIME).await;
        drop((counted, place));
    });
}

/// Speaks TLS and then HTTP on a stream, in a task of its own.
pub(crate) fn spawn_tls(stream: TaskSocket, service: Service) {
    let counted = Counted::new(&service.context);
    tokio::task::spawn_local(async move {
        if let Some(tls) = &service.context.tls {
            let patience = service.context.request_timeout;
            match timeout(patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let stream = ClientStream::tls(stream, service.context.stall_timeout);
                    serve(stream, service.clone(), patience).await;
                }
                Ok(Err(error)) => service.refuse_tls(error.to_string()),
                Err(_) => service.refuse_tls(format!("no handshake within {patience:?}")),
            }
        }
        drop(counted);
    });
}

/// Keeps an HTTP connection in the shard's count.
struct Counted(Rc<Context>);

impl Counted {
    fn new(context: &Rc<Context>) -> Self {
        context.counts().http.fetch_add(1, Ordering::Relaxed);
        Self(context.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counts().http.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(stream: ClientStream, service: Service, head_timeout: Duration) {
    let metrics = service.context.metrics.clone();
    let mut closing = service.context.closing.subscribe();
    let answered = Rc::new(Cell::new(false));
    let has_answered = answered.clone();
    let answer = service_fn(move |request| {
        let service = service.clone();
        has_answered.set(true);
        async move { service.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(HyperTimer)
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closing.wait_for(|closing| *closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // The same time ends a connection that is kept alive and idle, which is no offence.
    match ended {
        Err(error) if error.is_parse() || error.is_timeout() && !answered.get() => {
            metrics.request_refused(telemetry::Refusal::MalformedRequest);
        }
        Err(error) if has_stalled(&error) => metrics.slow_client_closed(),
        _ => {}
    }
}

/// Whether the client took nothing of an answer for too long.
fn has_stalled(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// Bytes of a request head, as it is usually written.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let line = request.method().as_str().len()
        + request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    let headers =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + "  HTTP/1.1\r\n\r\n".len() + headers.sum::<usize>()
}

/// Whether these headers ask for a WebSocket.
pub(crate) fn asks_for_websocket(upgrade: Option<&[u8]>, connection: Option<&[u8]>) -> bool {
    let has = |header: Option<&[u8]>, token: &str| {
        let words = header.unwrap_or_default().split(|byte| *byte == b',');
        words.into_iter().any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    has(upgrade, "websocket") && has(connection, "upgrade")
}

/// The connection is to be closed without an answer: its session ended by another request.
#[derive(Debug, thiserror::Error)]
#[error("the session of this request has ended")]
struct Cut;

/// What a request that is in order is for.
enum Wanted {
    /// A session of its own.
    Handshake,
    /// This session, of this shard.
    Session(SessionId, u8),
    /// A session of the gateway with this number.
    SessionOf(u16),
}

/// Who has answered a request.
enum Answered {
    /// We have, without what browsers are told about other origins.
    Here(Answer),
    /// The gateway that owns the session: nothing is to be added.
    ByOwner(Answer),
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Cut> {
        if !self.is_in_pace() {
            self.context.metrics.request_refused(telemetry::Refusal::RequestRate);
            telemetry::emit(&telemetry::PacketRateExceeded { address: self.peer.to_string() });
            return Ok(answer::too_many());
        }
        // The library's own limit is for what it buffers, which may be more than it needs.
        if head_bytes(&request) > HEAD_BYTES_MAX {
            self.context.metrics.request_refused(telemetry::Refusal::MalformedRequest);
            return Ok(answer::head_too_large());
        }
        if self.door == Door::Peers {
            match self.verify_peer(&request) {
                Ok(()) => self.context.metrics.peer_request(),
                Err(cause) => return Ok(self.refuse_peer(cause)),
            }
        }
        let header = |name| request.headers().get(name).map(http::HeaderValue::as_bytes);
        if asks_for_websocket(header(header::UPGRADE), header(header::CONNECTION)) {
            return Ok(self.upgrade(request).await);
        }
        let path = request.uri().path();
        if !self.context.client.serves(path) {
            return Ok(match demo::find(path).filter(|_| self.context.client.demo_page) {
                Some(file) => file.answer(request.method()),
                None => answer::not_found(),
            });
        }
        if let Some(file) = self.context.bundle.as_ref().and_then(|bundle| bundle.find(path)) {
            return Ok(answer::bundle_file(file, request.method(), request.headers()));
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let origin = origin.as_ref().and_then(|origin| origin.to_str().ok());
        let answered = match self.asked_09(&request) {
            Some(asked) => self.answer_09(request, asked).await?,
            None => self.engine_request(request).await?,
        };
        Ok(match answered {
            Answered::Here(mut answer) => {
                answer::add_headers(&mut answer, cors::headers(&self.context.client.cors, origin));
                answer
            }
            Answered::ByOwner(answer) => answer,
        })
    }

    /// Any request to the Engine.IO path but an upgrade.
    async fn engine_request(&self, request: Request<Incoming>) -> Result<Answered, Cut> {
        if let Some(answer) = self.preflight(&request) {
            return Ok(Answered::Here(answer));
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        Ok(Answered::Here(match self.check(&request, &query) {
            Ok(Wanted::Handshake) => self.open(&request, &query).await,
            Ok(Wanted::Session(sid, shard)) => self.session_request(request, &query, sid, shard).await?,
            Ok(Wanted::SessionOf(node)) => return Ok(self.forward(request, node).await),
            Err(fault) => self.refuse(fault),
        }))
    }

    /// The answer to what browsers ask before a request to another origin, where there is one.
    fn preflight(&self, request: &Request<Incoming>) -> Option<Answer> {
        let cors = &self.context.client.cors;
        (request.method() == Method::OPTIONS && !cors.origins.is_empty()).then(|| {
            let requested = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
            let requested = requested.and_then(|requested| requested.to_str().ok());
            answer::preflight(cors::preflight_headers(cors, requested))
        })
    }

    /// Whose session `sid` names, as far as this connection may know.
    fn owner_of(&self, sid: &str) -> Ownership {
        match self.shards.owner_of(sid) {
            Ownership::Node(_) if self.forwarder().is_none() => Ownership::Nobody,
            owner => owner,
        }
    }

    /// What forwards requests of this connection, if anything does.
    fn forwarder(&self) -> Option<&Forwarder> {
        match self.door {
            Door::Clients => self.context.forwarder.as_ref(),
            Door::Peers => None,
        }
    }

    /// The checks of the reference server, in its order; what the request is for.
    fn check(&self, request: &Request<Incoming>, query: &Query) -> Result<Wanted, HttpFault> {
        let transport = query.transport.filter(|transport| self.engine.allows(*transport));
        let transport = transport.ok_or(HttpFault::TransportUnknown)?;
        if let Some(sid) = &query.sid {
            return match (self.owner_of(sid), transport) {
                (Ownership::Nobody, _) => Err(HttpFault::SessionUnknown),
                (_, Transport::WebSocket) => Err(HttpFault::BadRequest),
                _ if self.is_of_foreign_page(request) => Err(HttpFault::Forbidden),
                (Ownership::Here(sid, shard), Transport::Polling) => Ok(Wanted::Session(sid, shard)),
                (Ownership::Node(node), Transport::Polling) => Ok(Wanted::SessionOf(node)),
            };
        }
        // Sessions begin where clients come in.
        if self.door == Door::Peers {
            return Err(HttpFault::BadRequest);
        }
        if request.method() != Method::GET {
            return Err(HttpFault::BadHandshakeMethod);
        }
        if transport == Transport::WebSocket {
            return Err(HttpFault::BadRequest);
        }
        if self.is_foreign(request) {
            return Err(HttpFault::Forbidden);
        }
        if query.revision == engineio::Revision::V3 && !self.engine.allow_eio3 {
            return Err(HttpFault::UnsupportedVersion);
        }
        Ok(Wanted::Handshake)
    }

    /// Whether a page that may have no session here asks for one.
    fn is_foreign(&self, request: &Request<Incoming>) -> bool {
        let origin = request.headers().get(header::ORIGIN);
        self.context.client.refuses_origin(origin.map(http::HeaderValue::as_bytes))
    }

    /// Whether a page that may have no session here means one that exists.
    fn is_of_foreign_page(&self, request: &Request<Incoming>) -> bool {
        let header = |name: &str| request.headers().get(name).map(http::HeaderValue::as_bytes);
        self.context.client.refuses_page(header)
    }

    fn refuse_tls(&self, error: String) {
        self.context.metrics.request_refused(telemetry::Refusal::Tls);
        telemetry::emit(&telemetry::TlsFailed { error });
    }

    fn refuse(&self, fault: HttpFault) -> Answer {
        self.context.metrics.request_refused(fault);
        answer::fault(fault)
    }

    /// Who has sent this request.
    fn client_of<B>(&self, request: &Request<B>) -> IpAddr {
        let forwarded_for = request.headers().get_all(peers::FORWARDED_FOR);
        // Collected, because it has to be walked from its end.
        let values: Vec<_> = forwarded_for.iter().map(http::HeaderValue::as_bytes).collect();
        self.context.client_of(self.peer, values)
    }

    /// Counts a request; false if its connection has sent too many. Those of proxies and gateways carry many clients.
    fn is_in_pace(&self) -> bool {
        let Some(rate) = &self.context.request_rate else { return true };
        if self.door == Door::Peers || self.context.is_proxy(self.peer) {
            return true;
        }
        let mut requests = self.requests.get();
        let in_pace = rate.take(&mut requests, Instant::now());
        self.requests.set(requests);
        in_pace
    }

    /// How long a request body may take.
    fn body_timeout(&self) -> Duration {
        self.context.request_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_asked_for_by_both_headers_in_any_case() {
        for (upgrade, connection, expected) in [
            (Some("websocket"), Some("Upgrade"), true),
            (Some("WebSocket"), Some("keep-alive, upgrade"), true),
            (Some("h2c"), Some("Upgrade"), false),
            (Some("websocket"), Some("keep-alive"), false),
            (None, Some("upgrade"), false),
        ] {
            let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
            assert_eq!(
                asks_for_websocket(bytes(upgrade), bytes(connection)),
                expected,
                "{upgrade:?} {connection:?}"
            );
        }
    }
}
