//! Asks the gateway that owns a session what a client has asked here.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    request::Parts, uri::PathAndQuery,
};
use http_body_util::Full;
use hyper::body::Incoming;
use telemetry::{ForwardFailure, ForwardedRequest, ShardMetrics};

use crate::{http::asks_for_websocket, tasks::timeout};

use super::{
    Directory, PEER, PeerKey, Signed,
    pool::{NoConnection, Pool},
};

/// How long the owner may take to answer anything but a poll, which it may hold.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of the client and of proxies before us, joined by commas.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What forwards the requests of one shard; never leaves its thread.
pub(crate) struct Forwarder {
    directory: Directory,
    key: PeerKey,
    /// This gateway.
    node: u16,
    /// How long the owner may hold a poll: it answers each within its heartbeat.
    poll_timeout: Duration,
    pool: Pool,
    metrics: Rc<ShardMetrics>,
}

/// Why there is no answer of the owner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no gateway with this number is known")]
    UnknownNode,
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
    #[error("the connection ended before the answer: {0}")]
    Broken(hyper::Error),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("it answered 401: is node.secret_file the same, and do the clocks agree?")]
    Unauthorized,
}

impl Failure {
    fn cause(&self) -> ForwardFailure {
        match self {
            Self::UnknownNode => ForwardFailure::UnknownNode,
            Self::NoConnection(NoConnection::Busy) => ForwardFailure::Busy,
            Self::NoConnection(_) => ForwardFailure::Unreachable,
            Self::Broken(_) => ForwardFailure::Broken,
            Self::Late(_) => ForwardFailure::Late,
            Self::Unauthorized => ForwardFailure::Unauthorized,
        }
    }

    /// Whether the owner may well be there, and the client should try again.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::NoConnection(NoConnection::Busy))
    }
}

impl Forwarder {
    /// Forwards to the gateways of `directory`. `heartbeat` is the longest time that a client may hear nothing.
    pub(crate) fn new(
        directory: Directory,
        key: PeerKey,
        node: u16,
        heartbeat: Duration,
        metrics: Rc<ShardMetrics>,
    ) -> Self {
        let poll_timeout = heartbeat + ANSWER_TIMEOUT;
        Self { directory, key, node, poll_timeout, pool: Pool::default(), metrics }
    }

    /// What requests between gateways are signed with.
    pub(crate) fn key(&self) -> &PeerKey {
        &self.key
    }

    /// Asks node `node` what the request `parts` with `body` of `client` asks; the body of the answer is still to
    /// be read. What fails is counted and told.
    ///
    /// # Errors
    /// [`Failure`], after which nobody knows whether the owner has seen the request.
    pub(crate) async fn ask(
        &self,
        node: u16,
        parts: &Parts,
        body: Bytes,
        client: IpAddr,
    ) -> Result<Response<Incoming>, Failure> {
        let kind = kind(parts);
        self.metrics.forwarded(kind);
        let started = Instant::now();
        let answered = self.try_ask(node, kind, parts, body, client).await;
        match &answered {
            Ok(_) if kind != ForwardedRequest::Poll => self.metrics.forward_answered(started.elapsed()),
            Ok(_) => {}
            Err(failure) => {
                let cause = failure.cause();
                self.metrics.forward_failed(cause);
                telemetry::emit(&telemetry::ForwardFailed { node, cause, error: failure.to_string() });
            }
        }
        answered
    }

    async fn try_ask(
        &self,
        node: u16,
        kind: ForwardedRequest,
        parts: &Parts,
        body: Bytes,
        client: IpAddr,
    ) -> Result<Response<Incoming>, Failure> {
        let peer = self.directory.find(node).ok_or(Failure::UnknownNode)?;
        let patience = if kind == ForwardedRequest::Poll { self.poll_timeout } else { ANSWER_TIMEOUT };
        let request = self.request(kind, parts, body, client);
        let exchange = self.exchange(peer.address, kind, request);
        let answer = timeout(patience, exchange).await.map_err(|_| Failure::Late(patience))??;
        // A gateway answers no client so.
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(Failure::Unauthorized);
        }
        Ok(answer)
    }

    async fn exchange(
        &self,
        address: SocketAddr,
        kind: ForwardedRequest,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        loop {
            let mut leased = self.pool.lease(address).await?;
            match leased.sender.try_send_request(request).await {
                Ok(answer) => {
                    if kind != ForwardedRequest::Upgrade || answer.status() != StatusCode::SWITCHING_PROTOCOLS
                    {
                        self.pool.give_back(address, leased.sender);
                    }
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    // It was closed while it was idle, and nothing of the request has been written.
                    Some(unsent) if leased.used => request = unsent,
                    _ => return Err(Failure::Broken(error.into_error())),
                },
            }
        }
    }

    /// The request as the owner gets it: all that is the client's, and our signature.
    fn request(
        &self,
        kind: ForwardedRequest,
        parts: &Parts,
        body: Bytes,
        client: IpAddr,
    ) -> Request<Full<Bytes>> {
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut headers = end_to_end(&parts.headers);
        // The body is whole, and its length known.
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::EXPECT);
        if kind == ForwardedRequest::Upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        let forwarded_for = forwarded_for(&parts.headers, client);
        let signed = Signed {
            method: parts.method.as_str(),
            target,
            forwarded_for: forwarded_for.as_ref().map(HeaderValue::as_bytes).unwrap_or_default(),
        };
        headers.insert(PEER, self.key.sign(signed, self.node, SystemTime::now()));
        if let Some(value) = forwarded_for {
            headers.insert(FORWARDED_FOR, value);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = parts.method.clone();
        // A target that was one stays one.
        *request.uri_mut() = Uri::try_from(target).unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        request
    }
}

fn kind(parts: &Parts) -> ForwardedRequest {
    let header = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
    match parts.method {
        _ if asks_for_websocket(header(header::UPGRADE), header(header::CONNECTION)) => {
            ForwardedRequest::Upgrade
        }
        Method::GET => ForwardedRequest::Poll,
        Method::POST => ForwardedRequest::Push,
        _ => ForwardedRequest::Other,
    }
}

/// The headers that are for the other end, and not for the next hop.
///
/// Source: RFC 9110, section 7.6.1.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 8] = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
    ];
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let mut kept = headers.clone();
    for name in HOP_BY_HOP.iter().chain(&named) {
        kept.remove(name);
    }
    kept
}

/// The clients' addresses that proxies have told, and behind them the one that we see.
fn forwarded_for(headers: &HeaderMap, client: IpAddr) -> Option<HeaderValue> {
    let told = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).map(<[u8]>::to_vec);
    let seen = client.to_canonical().to_string().into_bytes();
    let all: Vec<Vec<u8>> = told.chain([seen]).collect();
    HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_for_one_hop_is_not_passed_on() {
        let kept = end_to_end(&headers(&[
            ("host", "gateway"),
            ("connection", "keep-alive, X-Secret"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
        ]));
        assert_eq!(kept, headers(&[("host", "gateway"), ("cookie", "a=b"), ("cookie", "c=d")]));
    }

    #[test]
    fn the_client_comes_behind_those_that_proxies_told_of() {
        let client = IpAddr::from([10, 0, 0, 9]);
        let told = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 3.3.3.3")]);
        for (headers, client, expected) in [
            (headers(&[]), client, Some("10.0.0.9")),
            (told, client, Some("1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9")),
            (headers(&[]), "::ffff:10.0.0.9".parse().unwrap(), Some("10.0.0.9")),
        ] {
            assert_eq!(forwarded_for(&headers, client), expected.map(HeaderValue::from_static));
        }
    }
}
