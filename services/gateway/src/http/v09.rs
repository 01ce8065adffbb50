//! Socket.IO 0.9 over HTTP: handshakes, polls and pushes below `/socket.io/1/`, where Engine.IO's clients never ask.

use broker::{Opening, Refusal, Wire};
use engineio::{
    BodyForm, HttpFault, Transport,
    v09::{self, NOT_HANDSHAKEN},
};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::{
    Answered, Cut, Door, Service,
    answer::{self, Answer},
};
use crate::inbox::{Command, Ownership};

/// A request as far as its URL says.
pub(super) struct Asked {
    below: String,
    query: String,
}

impl Asked {
    /// The index of a script that the answer has to be, digits and whatever else the client wrote.
    fn script(&self, key: &str) -> Option<String> {
        let value = form_urlencoded::parse(self.query.as_bytes()).find(|(name, _)| name == key)?.1;
        Some(value.into_owned())
    }
}

impl Service {
    /// What a request asks of this protocol, if it is spoken here.
    pub(super) fn asked_09(&self, request: &Request<Incoming>) -> Option<Asked> {
        let below = self.context.client.below(request.uri().path())?;
        let query = request.uri().query().unwrap_or_default();
        v09::Request::parse(below, query).filter(|_| self.engine.allow_socketio_09)?;
        Some(Asked { below: below.to_owned(), query: query.to_owned() })
    }

    /// Answers a request of this protocol.
    pub(super) async fn answer_09(&self, request: Request<Incoming>, asked: Asked) -> Result<Answered, Cut> {
        if let Some(answer) = self.preflight(&request) {
            return Ok(Answered::Here(answer));
        }
        let here = |answer| Ok(Answered::Here(answer));
        match v09::Request::parse(&asked.below, &asked.query) {
            Some(v09::Request::Handshake) => here(self.handshake_09(&request, &asked).await),
            // Its clients have no words for it once they have a session.
            Some(v09::Request::Disconnect { .. } | v09::Request::Transport { .. })
                if self.is_of_foreign_page(&request) =>
            {
                here(self.refuse(HttpFault::Forbidden))
            }
            Some(v09::Request::Disconnect { sid }) => match self.owner_of(sid) {
                Ownership::Here(sid, shard) => {
                    self.shards.inbox(shard).send(Command::Disconnect09(sid)).await.ok();
                    here(answer::empty(StatusCode::OK))
                }
                Ownership::Node(node) => Ok(self.forward(request, node).await),
                Ownership::Nobody => here(answer::empty(StatusCode::OK)),
            },
            Some(v09::Request::Transport { transport: Some(Transport::Polling), jsonp, sid })
                if self.engine.allows(Transport::Polling) =>
            {
                let script = jsonp.then(|| asked.script("i").unwrap_or_default());
                self.poll_09(request, sid, script).await
            }
            Some(v09::Request::UnknownVersion) | None => {
                here(answer::text_09(StatusCode::INTERNAL_SERVER_ERROR, "Protocol version not supported."))
            }
            Some(v09::Request::Transport { .. }) => {
                // As the reference does, which has no words for it either.
                self.context.metrics.request_refused(HttpFault::TransportUnknown);
                Err(Cut)
            }
        }
    }

    /// A handshake. What is refused has the words of the reference.
    async fn handshake_09(&self, request: &Request<Incoming>, asked: &Asked) -> Answer {
        let refuse = |status, words| match asked.script("jsonp") {
            Some(index) => script(&v09::refusal_script(&index, words)),
            None => answer::text_09(status, words),
        };
        // Sessions begin where clients come in.
        if self.door == Door::Peers || request.method() != Method::GET {
            return self.refuse(HttpFault::BadHandshakeMethod);
        }
        if self.is_foreign(request) {
            self.context.metrics.request_refused(HttpFault::Forbidden);
            return refuse(StatusCode::FORBIDDEN, "handshake bad origin");
        }
        match self.open_session(request, Opening::v09(&asked.query)).await {
            Ok(Some(line)) => match asked.script("jsonp") {
                Some(index) => script(&v09::wrap_jsonp(&index, &String::from_utf8_lossy(&line.body))),
                None => answer::text_09(StatusCode::OK, line.body),
            },
            Ok(None) => refuse(StatusCode::FORBIDDEN, "handshake unauthorized"),
            Err(refused) => refused,
        }
    }

    /// A poll or a push; `index` is that of the script that answers a poll of JSONP.
    async fn poll_09(
        &self,
        request: Request<Incoming>,
        sid: &str,
        index: Option<String>,
    ) -> Result<Answered, Cut> {
        let is_push = request.method() == Method::POST;
        let (sid, shard) = match self.owner_of(sid) {
            Ownership::Here(sid, shard) => (sid, shard),
            Ownership::Node(node) => {
                return Ok(match self.forward(request, node).await {
                    // Only we can answer in the words of its client.
                    Answered::Here(answer) if answer.status() == StatusCode::BAD_REQUEST && !is_push => {
                        Answered::Here(polled(NOT_HANDSHAKEN, index.as_deref()))
                    }
                    answered => answered,
                });
            }
            Ownership::Nobody => return Ok(Answered::Here(self.unknown_09(is_push, index.as_deref()))),
        };
        if is_push {
            let form = if index.is_some() { BodyForm::Form } else { BodyForm::Text };
            let pushed = self.take_push(request, Wire::V09, form, sid, shard, answer::pushed_09).await;
            return pushed.map(Answered::Here);
        }
        Ok(Answered::Here(match self.await_payload(Wire::V09, sid, shard).await {
            Ok(payload) => polled(&String::from_utf8_lossy(&payload.body), index.as_deref()),
            Err(Refusal::Fault(HttpFault::SessionUnknown)) => self.unknown_09(is_push, index.as_deref()),
            Err(refusal) => self.refused(refusal),
        }))
    }

    /// The answer for a session that is unknown. A push has no words for it: any status but 200 makes its client begin
    /// anew.
    fn unknown_09(&self, is_push: bool, index: Option<&str>) -> Answer {
        let refused = self.refuse(HttpFault::SessionUnknown);
        if is_push { refused } else { polled(NOT_HANDSHAKEN, index) }
    }
}

/// The answer to a poll.
fn polled(text: &str, index: Option<&str>) -> Answer {
    match index {
        Some(index) => script(&v09::wrap_jsonp(index, text)),
        None => answer::text_09(StatusCode::OK, text.to_owned()),
    }
}

fn script(text: &str) -> Answer {
    answer::script_09(text.to_owned())
}
