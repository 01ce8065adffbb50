//! Long-polling: handshakes, polls and pushes, each handed to the shard that owns the session.

use std::time::Instant;

use broker::{Opening, Payload, Refusal, Wire};
use bytes::Bytes;
use engineio::{BodyForm, HttpFault, Query, SessionId, wrap_jsonp};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::{
    Cut, Service,
    answer::{self, Answer},
};
use crate::{
    inbox::{Command, NotOpened, PushPermit, Shards},
    tasks::timeout,
};

/// Why the body of a push could not be had.
pub(super) enum NoBody {
    TooLarge,
    TooSlow,
    Cut,
}

impl Service {
    /// Opens a polling session on this shard.
    pub(super) async fn open(&self, request: &Request<Incoming>, query: &Query) -> Answer {
        let opening =
            Opening::new(self.context.client.parser, query, request.uri().query().unwrap_or_default());
        match self.open_session(request, opening).await {
            Ok(Some(payload)) => self.payload(payload, query, request.headers()),
            // Who may not be anywhere is told so by packets.
            Ok(None) => answer::busy(),
            Err(refused) => refused,
        }
    }

    /// Opens a polling session of either protocol on this shard; `Ok(None)` if its client may not be in any namespace.
    ///
    /// # Errors
    /// The answer, when there is no room for it.
    pub(super) async fn open_session(
        &self,
        request: &Request<Incoming>,
        mut opening: Opening,
    ) -> Result<Option<Payload>, Answer> {
        let client = self.client_of(request);
        opening.place =
            self.context.place_of_session(client, Instant::now()).map_err(|_| answer::too_many())?;
        opening.handshake = Some(self.handshake_of(request, client));
        match self.shards.ask(self.number, |reply| Command::OpenPolling(opening, reply)).await {
            Some(Ok(payload)) => Ok(Some(payload)),
            Some(Err(NotOpened::Unauthorized)) => Ok(None),
            Some(Err(NotOpened::Refused(cause))) => {
                self.context.metrics.request_refused(cause);
                Err(answer::busy())
            }
            None => Err(answer::busy()),
        }
    }

    /// A poll or a push of a session that is said to be on `shard`.
    pub(super) async fn session_request(
        &self,
        request: Request<Incoming>,
        query: &Query,
        sid: SessionId,
        shard: u8,
    ) -> Result<Answer, Cut> {
        Ok(match *request.method() {
            Method::GET => self.poll(&request, query, sid, shard).await,
            Method::POST => return self.push(request, query, sid, shard).await,
            // The reference server has no better word for it.
            _ => match self.check_session(query, sid, shard).await {
                Ok(()) => answer::empty(StatusCode::INTERNAL_SERVER_ERROR),
                Err(refusal) => self.refused(refusal),
            },
        })
    }

    async fn check_session(&self, query: &Query, sid: SessionId, shard: u8) -> Result<(), Refusal> {
        let wire = query.revision.into();
        let asked = self.shards.ask(shard, |reply| Command::CheckUpgrade { sid, wire, reply }).await;
        asked.unwrap_or(Err(Refusal::Fault(HttpFault::SessionUnknown)))
    }

    async fn poll(&self, request: &Request<Incoming>, query: &Query, sid: SessionId, shard: u8) -> Answer {
        match self.await_payload(query.revision.into(), sid, shard).await {
            Ok(payload) => self.payload(payload, query, request.headers()),
            Err(refusal) => self.refused(refusal),
        }
    }

    /// Waits for what the shard has for a poll.
    pub(super) async fn await_payload(
        &self,
        wire: Wire,
        sid: SessionId,
        shard: u8,
    ) -> Result<Payload, Refusal> {
        // When the client goes away while it waits, this future is dropped, and the guard tells the shard.
        let guard = PollGuard { shards: &self.shards, sid, shard, answered: false };
        let asked = self.shards.ask(shard, |reply| Command::Poll { sid, wire, reply }).await;
        guard.answered();
        asked.unwrap_or(Err(Refusal::Fault(HttpFault::SessionUnknown)))
    }

    async fn push(
        &self,
        request: Request<Incoming>,
        query: &Query,
        sid: SessionId,
        shard: u8,
    ) -> Result<Answer, Cut> {
        let form = body_form(query, request.headers());
        self.take_push(request, query.revision.into(), form, sid, shard, answer::pushed).await
    }

    /// Reads the body of a push, and hands it to its shard; `pushed` makes the answer when all went well.
    pub(super) async fn take_push(
        &self,
        request: Request<Incoming>,
        wire: Wire,
        form: BodyForm,
        sid: SessionId,
        shard: u8,
        pushed: fn() -> Answer,
    ) -> Result<Answer, Cut> {
        let started = self.shards.ask(shard, |reply| Command::PushStarted { sid, wire, reply }).await;
        let PushPermit { key, cut } = match started {
            Some(Ok(permit)) => permit,
            Some(Err(refusal)) => return Ok(self.refused(refusal)),
            None => return Ok(self.refuse(HttpFault::SessionUnknown)),
        };
        let mut guard = PushGuard { shards: &self.shards, key: Some(key), shard };
        let body = tokio::select! {
            body = self.body(request.into_body()) => body,
            _ = cut => {
                guard.key = None;
                return Err(Cut);
            }
        };
        let body = match body {
            Ok(body) => body,
            Err(no_body) => {
                guard.key = None;
                let cut = !matches!(no_body, NoBody::TooLarge);
                self.shards.inbox(shard).send(Command::PushFailed { key, cut }).await.ok();
                return Ok(self.no_body(&no_body));
            }
        };
        guard.key = None;
        Ok(match self.shards.ask(shard, |reply| Command::Push { key, form, body, reply }).await {
            Some(Ok(())) => pushed(),
            Some(Err(refusal)) => self.refused(refusal),
            None => self.refuse(HttpFault::SessionUnknown),
        })
    }

    /// The whole body of a push, within its limits of size and time.
    pub(super) async fn body(&self, body: Incoming) -> Result<Bytes, NoBody> {
        let limit = self.engine.max_payload_bytes as usize;
        // What is announced as too large is not waited for.
        if body.size_hint().lower() > limit as u64 {
            return Err(NoBody::TooLarge);
        }
        match timeout(self.body_timeout(), Limited::new(body, limit).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(NoBody::TooLarge),
            Ok(Err(_)) => Err(NoBody::Cut),
            Err(_) => Err(NoBody::TooSlow),
        }
    }

    /// The answer to a push whose body could not be had.
    pub(super) fn no_body(&self, no_body: &NoBody) -> Answer {
        match no_body {
            NoBody::TooLarge => {
                self.context.metrics.request_refused(telemetry::Refusal::PayloadTooLarge);
                answer::empty(StatusCode::PAYLOAD_TOO_LARGE)
            }
            NoBody::TooSlow => {
                self.context.metrics.request_refused(telemetry::Refusal::MalformedRequest);
                answer::empty(StatusCode::REQUEST_TIMEOUT)
            }
            NoBody::Cut => answer::empty(StatusCode::BAD_REQUEST),
        }
    }

    fn payload(&self, payload: Payload, query: &Query, request: &HeaderMap) -> Answer {
        let compress = self.context.client.http_compression;
        match &query.jsonp {
            Some(index) => {
                let script = wrap_jsonp(index, &String::from_utf8_lossy(&payload.body));
                answer::script(script, request, compress)
            }
            None => answer::payload(payload.form, payload.body, request, compress),
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Answer {
        match refusal {
            Refusal::Fault(fault) => self.refuse(fault),
            Refusal::TooFast => answer::too_many(),
            Refusal::Offence | Refusal::Busy => answer::empty(StatusCode::BAD_REQUEST),
        }
    }
}

/// How the body of a push is to be read. The content type decides, not the session.
fn body_form(query: &Query, headers: &HeaderMap) -> BodyForm {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    match content_type {
        _ if query.jsonp.is_some() => BodyForm::Form,
        Some(b"application/octet-stream") => BodyForm::Binary,
        _ => BodyForm::Text,
    }
}

/// Tells the shard when a poll is given up.
struct PollGuard<'a> {
    shards: &'a Shards,
    sid: SessionId,
    shard: u8,
    answered: bool,
}

impl PollGuard<'_> {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        if !self.answered {
            // If the inbox is full the session ends a little later, when its next packet finds nobody.
            self.shards.inbox(self.shard).try_send(Command::PollLost(self.sid)).ok();
        }
    }
}

/// Tells the shard when a push is cut while its body is still coming.
struct PushGuard<'a> {
    shards: &'a Shards,
    key: Option<broker::ConnectionKey>,
    shard: u8,
}

impl Drop for PushGuard<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shards.inbox(self.shard).try_send(Command::PushFailed { key, cut: true }).ok();
        }
    }
}
