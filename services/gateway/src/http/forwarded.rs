//! Requests that are for the session of another gateway, and those that other gateways send.

use std::{rc::Rc, time::SystemTime};

use admission::Place;
use bytes::Bytes;
use engineio::HttpFault;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, uri::PathAndQuery};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use telemetry::PeerRefusal;

use super::{
    Answered, Counted, Service,
    answer::{self, Answer, Body},
};
use crate::{
    context::Context,
    inbox::Purpose,
    peers::{self, FORWARDED_FOR, Failure, PEER, Signed},
    tasks::timeout,
    upgrade::Refused,
};

impl Service {
    /// Whether a gateway of this cluster has sent `request`.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn verify_peer(&self, request: &Request<Incoming>) -> Result<(), PeerRefusal> {
        // Without a forwarder there is no cluster, and no port for it.
        let forwarder = self.context.forwarder.as_ref().ok_or(PeerRefusal::Unsigned)?;
        let header = |name| request.headers().get(name);
        let signed = Signed {
            method: request.method().as_str(),
            target: request.uri().path_and_query().map_or("/", PathAndQuery::as_str),
            forwarded_for: header(FORWARDED_FOR).map(HeaderValue::as_bytes).unwrap_or_default(),
        };
        forwarder.key().verify(header(PEER), signed, SystemTime::now())
    }

    /// The answer to a request that no gateway of this cluster has sent.
    pub(super) fn refuse_peer(&self, cause: PeerRefusal) -> Answer {
        self.context.metrics.peer_request_refused(cause);
        telemetry::emit(&telemetry::PeerRequestRefused { cause, address: self.peer.to_string() });
        answer::empty(StatusCode::UNAUTHORIZED)
    }

    /// Asks node `node`, which owns the session, and passes its answer on.
    pub(super) async fn forward(&self, request: Request<Incoming>, node: u16) -> Answered {
        let (parts, body) = request.into_parts();
        // A push is read to its end here, where its client is: the owner would wait for the whole as well, and
        // a client that dawdles or sends too much is no matter between gateways.
        let body = match parts.method {
            Method::POST => match self.body(body).await {
                Ok(body) => body,
                Err(no_body) => return Answered::Here(self.no_body(&no_body)),
            },
            _ => Bytes::new(),
        };
        match self.ask_owner(node, &parts, body).await {
            Ok(answer) => Answered::ByOwner(passed_on(answer)),
            Err(failure) => Answered::Here(self.failed(failure.as_ref())),
        }
    }

    /// Asks node `node`, which owns the session, for a WebSocket, and passes the bytes of both sides on. `farewell` is
    /// for a client that is to be told by a WebSocket that there is no session.
    pub(super) async fn forward_upgrade(
        &self,
        mut request: Request<Incoming>,
        node: u16,
        farewell: Option<Bytes>,
    ) -> Answer {
        let client = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let mut answer = match self.ask_owner(node, &parts, Bytes::new()).await {
            Ok(answer) => answer,
            Err(Some(failure)) if failure.is_busy() => return answer::busy(),
            Err(_) => {
                return match farewell {
                    Some(greeting) => self.adopt(client, self.number, Purpose::Farewell, &greeting),
                    None => self.refuse_upgrade(Refused::Fault(HttpFault::SessionUnknown)),
                };
            }
        };
        let owner = hyper::upgrade::on(&mut answer);
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut answer = passed_on(answer);
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return answer;
        }
        tokio::task::spawn_local(pass_on(self.context.clone(), self.place.clone(), client, owner));
        let mut answer = passed_on(answer);
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        answer
    }

    /// The owner's answer; the error is `None` where nothing is ever forwarded.
    async fn ask_owner(
        &self,
        node: u16,
        parts: &http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, Option<Failure>> {
        let passing = Passing::new(&self.context);
        let forwarder = self.forwarder().ok_or(None)?;
        let answer = forwarder.ask(node, parts, body, self.peer).await;
        drop(passing);
        answer.map_err(Some)
    }

    /// The answer to a request whose owner gave none: its client is to begin anew.
    fn failed(&self, failure: Option<&Failure>) -> Answer {
        match failure {
            Some(failure) if failure.is_busy() => answer::busy(),
            _ => self.refuse(HttpFault::SessionUnknown),
        }
    }
}

/// The owner's answer for the client, without what was for us.
fn passed_on(answer: Response<Incoming>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    parts.headers = peers::end_to_end(&parts.headers);
    Answer::from_parts(parts, Body::Right(body))
}

/// Passes the bytes of a WebSocket on until it ends, or its turn comes while this gateway drains.
async fn pass_on(context: Rc<Context>, place: Option<Place>, client: OnUpgrade, owner: OnUpgrade) {
    let counted = Counted::new(&context);
    let passing = Passing::new(&context);
    if let (Ok(client), Ok(owner)) = (client.await, owner.await) {
        context.metrics.splice_began();
        tokio::select! {
            () = peers::splice(client, owner) => {}
            () = turn_to_leave(&context) => {}
        }
        context.metrics.splice_ended();
    }
    drop((passing, counted, place));
}

/// Comes at a moment of the drain that is drawn for each, so that clients leave evenly.
async fn turn_to_leave(context: &Context) {
    let mut draining = context.draining.subscribe();
    let until = draining.wait_for(Option::is_some).await.ok().and_then(|until| *until);
    if let Some(until) = until {
        let left = until.saturating_duration_since(std::time::Instant::now());
        timeout(left.mul_f64(rand::random_range(0.0..1.0)), std::future::pending::<()>()).await.ok();
    }
}

/// Keeps what passes through in the count that a drain waits for.
struct Passing(Rc<Context>);

impl Passing {
    fn new(context: &Rc<Context>) -> Self {
        context.passing.set(context.passing.get() + 1);
        Self(context.clone())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.passing.set(self.0.passing.get() - 1);
    }
}
