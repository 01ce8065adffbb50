//! A session over HTTP long-polling, each request on a connection of its own.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Gateway, Http, Request, Response};

/// A session of Engine.IO 4 over long-polling.
#[derive(Clone, Debug)]
pub(crate) struct Polling {
    address: SocketAddr,
    pub(crate) sid: String,
    /// What the open packet says.
    pub(crate) open: Value,
}

impl Polling {
    /// Opens a session.
    pub(crate) fn open(gateway: &Gateway) -> Self {
        Self::open_by(gateway, &Request::get("/socket.io/?EIO=4&transport=polling"))
    }

    /// Opens a session by a request of the caller's.
    pub(crate) fn open_by(gateway: &Gateway, request: &Request) -> Self {
        let answer = gateway.http().send(request);
        assert_eq!(answer.status, 200, "{answer:?}");
        let open: Value = serde_json::from_str(answer.text().strip_prefix('0').unwrap()).unwrap();
        Self { address: gateway.client, sid: open["sid"].as_str().unwrap().into(), open }
    }

    /// Opens a session and joins `/`.
    pub(crate) fn joined(gateway: &Gateway) -> Self {
        let session = Self::open(gateway);
        session.push("40");
        assert!(session.poll().starts_with("40{\"sid\":\""));
        session
    }

    /// The same session, asked for at another gateway.
    pub(crate) fn over(&self, gateway: &Gateway) -> Self {
        Self { address: gateway.client, ..self.clone() }
    }

    /// The target of this session's requests.
    pub(crate) fn target(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    /// The target of this session's upgrade.
    pub(crate) fn upgrade_target(&self) -> String {
        format!("{}&sid={}", super::WEBSOCKET, self.sid)
    }

    /// Polls and returns the payload.
    pub(crate) fn poll(&self) -> String {
        let answer = self.start_poll().answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }

    /// Sends a poll without waiting for its answer.
    pub(crate) fn start_poll(&self) -> Http {
        let mut http = Http::connect(self.address);
        http.write(&Request::get(&self.target()).close().bytes());
        http
    }

    /// Pushes a payload that is answered with `ok`.
    pub(crate) fn push(&self, payload: &str) {
        let answer = self.try_push(payload);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{answer:?}");
    }

    /// Pushes a payload, whatever the answer.
    pub(crate) fn try_push(&self, payload: &str) -> Response {
        self.send(&Request::post(&self.target(), payload).header("Content-Type", "text/plain;charset=UTF-8"))
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&self, request: &Request) -> Response {
        Http::connect(self.address).send(&request.clone().close())
    }

    /// Asserts that the server has forgotten this session.
    pub(crate) fn assert_unknown(&self) {
        self.send(&Request::get(&self.target())).assert_error(1, "Session ID unknown");
    }
}
