//! The request that opens a WebSocket: what it asks for, and its answer. No IO.

use std::fmt::Write as _;

use broker::{Opening, Wire};
use bytes::Bytes;
use engineio::{EngineConfig, HttpFault, Query, Revision, SessionId, Transport, v09};
use http::StatusCode;
use websocket::Deflate;

use crate::{config::ClientConfig, http::cors, inbox::Ownership};

/// An upgrade request, wherever it was read.
pub(crate) struct UpgradeRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// The first line of a header.
    pub(crate) header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// All lines of a header.
    pub(crate) lines: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
}

/// What is to be done with an upgrade request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// A session of its own; the bytes are the 101 answer.
    Open(Opening, Bytes),
    /// The upgrade of the polling session with this sid, on this shard, or the transport of one of 0.9.
    Probe { sid: SessionId, shard: u8, wire: Wire, deflate: Option<Deflate>, greeting: Bytes },
    /// The advice to begin anew, over a WebSocket of 0.9; the bytes are the 101 answer.
    Farewell(Bytes),
    /// For the gateway with this number, which owns the session. If that one gives no answer, a client of 0.9 gets the
    /// advice to begin anew, by this 101 answer: a refusal would leave it waiting for its transport.
    Elsewhere(u16, Option<Bytes>),
    /// Not for us.
    NotFound,
    /// No: the answer.
    Refuse(Refused),
}

/// An upgrade that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// By the error table.
    Fault(HttpFault),
    /// `Sec-WebSocket-Key` is missing.
    NoKey,
    /// A WebSocket version other than 13 and 8.
    Version,
    /// The client's address is at a limit.
    TooMany,
}

impl Refused {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the answer.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.message(),
            Self::NoKey => "Missing or invalid Sec-WebSocket-Key header",
            Self::Version => "Missing or invalid Sec-WebSocket-Version header",
            Self::TooMany => "Too many connections",
        }
    }

    /// The whole HTTP answer, after which the connection is closed.
    ///
    /// Source: Engine.IO reference, errors over HTTP: refusals of WebSockets.
    pub(crate) fn response(self) -> Bytes {
        let message = self.message();
        let status = self.status();
        let hint = match self {
            Self::Version => "Sec-WebSocket-Version: 13, 8\r\n",
            Self::TooMany => "Retry-After: 5\r\n",
            Self::Fault(_) | Self::NoKey => "",
        };
        let length = message.len();
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\n{hint}Content-type: text/html\r\nContent-Length: {length}\r\n\r\n{message}"
        )
        .into()
    }
}

/// Judges an upgrade request; `owner_of` checks a sid and names its owner.
pub(crate) fn judge(
    request: &UpgradeRequest<'_>,
    client: &ClientConfig,
    engine: &EngineConfig,
    owner_of: impl Fn(&str) -> Ownership,
) -> Verdict {
    let Some(below) = client.below(request.path) else { return Verdict::NotFound };
    if let Some(asked) = v09::Request::parse(below, request.query).filter(|_| engine.allow_socketio_09) {
        return judge_09(request, asked, client, engine, owner_of);
    }
    let fault = |fault| Verdict::Refuse(Refused::Fault(fault));
    let query = Query::parse(request.query);
    if query.transport.is_none_or(|transport| !engine.allows(transport)) {
        return fault(HttpFault::TransportUnknown);
    }
    let owner = query.sid.as_deref().map(owner_of);
    if owner == Some(Ownership::Nobody) {
        return fault(HttpFault::SessionUnknown);
    }
    if query.transport != Some(Transport::WebSocket) {
        return fault(HttpFault::BadRequest);
    }
    let is_foreign = match owner {
        Some(_) => client.refuses_page(request.header),
        None => client.refuses_origin((request.header)("origin")),
    };
    if is_foreign {
        return fault(HttpFault::Forbidden);
    }
    let probe = match owner {
        Some(Ownership::Here(sid, shard)) => Some((sid, shard)),
        // The rest is the owner's to judge.
        Some(Ownership::Node(node)) => return Verdict::Elsewhere(node, None),
        Some(Ownership::Nobody) | None => None,
    };
    if probe.is_none() && query.revision == Revision::V3 && !engine.allow_eio3 {
        return fault(HttpFault::UnsupportedVersion);
    }
    let deflate = client.websocket_compression.then(|| offered_deflate(request)).flatten();
    let greeting = match switching_protocols(request, client, deflate) {
        Ok(greeting) => greeting,
        Err(refused) => return Verdict::Refuse(refused),
    };
    match probe {
        Some((sid, shard)) => Verdict::Probe { sid, shard, wire: query.revision.into(), deflate, greeting },
        None => {
            let opening = Opening::new(client.parser, &query, request.query);
            Verdict::Open(Opening { deflate, ..opening }, greeting)
        }
    }
}

/// Judges the request for a WebSocket of Socket.IO 0.9.
fn judge_09(
    request: &UpgradeRequest<'_>,
    asked: v09::Request<'_>,
    client: &ClientConfig,
    engine: &EngineConfig,
    owner_of: impl Fn(&str) -> Ownership,
) -> Verdict {
    let fault = |fault| Verdict::Refuse(Refused::Fault(fault));
    let v09::Request::Transport { transport: Some(Transport::WebSocket), sid, .. } = asked else {
        return fault(HttpFault::TransportUnknown);
    };
    if !engine.allows(Transport::WebSocket) {
        return fault(HttpFault::TransportUnknown);
    }
    if client.refuses_page(request.header) {
        return fault(HttpFault::Forbidden);
    }
    let owner = owner_of(sid);
    let deflate = client.websocket_compression.then(|| offered_deflate(request)).flatten();
    match (switching_protocols(request, client, deflate), owner) {
        (Err(refused), _) => Verdict::Refuse(refused),
        (Ok(greeting), Ownership::Here(sid, shard)) => {
            Verdict::Probe { sid, shard, wire: Wire::V09, deflate, greeting }
        }
        (Ok(greeting), Ownership::Node(node)) => Verdict::Elsewhere(node, Some(greeting)),
        // What is written to it is not compressed, whatever was agreed on.
        (Ok(greeting), Ownership::Nobody) => Verdict::Farewell(greeting),
    }
}

/// What can be agreed on of the compression that the client offers. Its lines are one list.
///
/// Source: RFC 6455 section 9.1.
fn offered_deflate(request: &UpgradeRequest<'_>) -> Option<Deflate> {
    let lines = (request.lines)("sec-websocket-extensions");
    lines.into_iter().find_map(|offers| Deflate::negotiate(std::str::from_utf8(offers).ok()?))
}

/// The 101 answer.
fn switching_protocols(
    request: &UpgradeRequest<'_>,
    client: &ClientConfig,
    deflate: Option<Deflate>,
) -> Result<Bytes, Refused> {
    let header = |name| (request.header)(name).and_then(|value| std::str::from_utf8(value).ok());
    // A key is the base64 of 16 bytes.
    let key = header("sec-websocket-key").map(str::trim).filter(|key| key.len() == 24 && key.ends_with("=="));
    let key = key.ok_or(Refused::NoKey)?;
    if !matches!(header("sec-websocket-version").map(str::trim), Some("13" | "8")) {
        return Err(Refused::Version);
    }
    let mut answer = String::with_capacity(256);
    answer.push_str("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    answer.push_str("Sec-WebSocket-Accept: ");
    answer.push_str(&websocket::accept_key(key));
    answer.push_str("\r\n");
    // The first sub-protocol offered is chosen, as the reference server does.
    if let Some(protocol) = header("sec-websocket-protocol").and_then(|offered| offered.split(',').next()) {
        write!(answer, "Sec-WebSocket-Protocol: {}\r\n", protocol.trim()).expect("a String takes all text");
    }
    if let Some(deflate) = deflate {
        write!(answer, "Sec-WebSocket-Extensions: {}\r\n", deflate.answer())
            .expect("a String takes all text");
    }
    for (name, value) in cors::headers(&client.cors, header("origin")) {
        write!(answer, "{name}: {value}\r\n").expect("a String takes all text");
    }
    answer.push_str("\r\n");
    Ok(answer.into())
}

#[cfg(test)]
mod tests {
    use broker::{Dialect, Framing};

    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");

    fn verdict(target: &str, headers: &[(&'static str, &'static str)]) -> Verdict {
        let mut client = ClientConfig::default();
        client.cors.origins = vec!["https://good.example".into()];
        verdict_by(&client, target, headers)
    }

    fn verdict_by(client: &ClientConfig, target: &str, headers: &[(&'static str, &'static str)]) -> Verdict {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let find =
            |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1.as_bytes());
        let lines = |name: &str| {
            headers.iter().filter(|header| header.0 == name).map(|header| header.1.as_bytes()).collect()
        };
        let request = UpgradeRequest { path, query, header: &find, lines: &lines };
        judge(&request, client, &EngineConfig::default(), |sid| match sid {
            "foreign" => Ownership::Node(2),
            _ => Ownership::Nobody,
        })
    }

    fn refusal(target: &str, headers: &[(&'static str, &'static str)]) -> Option<Refused> {
        match verdict(target, headers) {
            Verdict::Refuse(refused) => Some(refused),
            _ => None,
        }
    }

    #[test]
    fn a_good_request_opens_a_session() {
        let verdict = verdict("/socket.io/?EIO=4&transport=websocket", &[KEY, VERSION]);
        let Verdict::Open(opening, greeting) = verdict else { panic!("{verdict:?}") };
        assert_eq!((opening.dialect, opening.token), (Dialect::Json(Framing::V4), None));
        let text = String::from_utf8(greeting.to_vec()).unwrap();
        // The accept key of RFC 6455, section 1.3.
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }

    #[test]
    fn the_first_subprotocol_is_chosen_and_an_allowed_origin_named() {
        let headers = [KEY, VERSION, ("sec-websocket-protocol", "a, b"), ("origin", "https://good.example")];
        let Verdict::Open(_, greeting) = verdict("/socket.io/?EIO=4&transport=websocket", &headers) else {
            panic!("refused")
        };
        let text = String::from_utf8(greeting.to_vec()).unwrap();
        assert!(text.contains("Sec-WebSocket-Protocol: a\r\n"), "{text}");
        assert!(text.to_ascii_lowercase().contains("access-control-allow-origin: https://good.example\r\n"));
    }

    #[test]
    fn compression_is_agreed_on_only_where_it_is_configured() {
        let headers =
            [KEY, VERSION, ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")];
        let answer = |client: &ClientConfig| {
            let Verdict::Open(opening, greeting) =
                verdict_by(client, "/socket.io/?EIO=4&transport=websocket", &headers)
            else {
                panic!("refused")
            };
            let text = String::from_utf8(greeting.to_vec()).unwrap();
            let agreed =
                text.contains("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover");
            assert_eq!(opening.deflate.is_some(), agreed, "{text}");
            agreed
        };
        assert!(!answer(&ClientConfig::default()));
        assert!(answer(&ClientConfig { websocket_compression: true, ..ClientConfig::default() }));
    }

    #[test]
    fn a_session_of_another_gateway_is_its_to_judge_unless_nobody_would_take_the_request() {
        let foreign = verdict("/socket.io/?EIO=4&transport=websocket&sid=foreign", &[]);
        assert!(matches!(foreign, Verdict::Elsewhere(2, None)), "{foreign:?}");
        // A page that may have no session may not have it here either.
        let evil = ("origin", "https://evil.example");
        assert_eq!(
            refusal("/socket.io/?EIO=4&transport=websocket&sid=foreign", &[KEY, VERSION, evil]),
            Some(Refused::Fault(HttpFault::Forbidden))
        );
        assert_eq!(
            refusal("/socket.io/?EIO=4&transport=polling&sid=foreign", &[KEY, VERSION]),
            Some(Refused::Fault(HttpFault::BadRequest))
        );
    }

    #[test]
    fn refusals_follow_the_error_table() {
        let fault = |fault| Some(Refused::Fault(fault));
        for (target, headers, expected) in [
            ("/socket.io/?EIO=4", &[KEY, VERSION][..], fault(HttpFault::TransportUnknown)),
            ("/socket.io/?EIO=4&transport=x", &[KEY, VERSION], fault(HttpFault::TransportUnknown)),
            ("/socket.io/?EIO=4&transport=polling", &[KEY, VERSION], fault(HttpFault::BadRequest)),
            (
                "/socket.io/?EIO=4&transport=websocket&sid=x",
                &[KEY, VERSION],
                fault(HttpFault::SessionUnknown),
            ),
            ("/socket.io/?EIO=3&transport=websocket", &[KEY, VERSION], fault(HttpFault::UnsupportedVersion)),
            ("/socket.io/?EIO=4&transport=websocket", &[VERSION], Some(Refused::NoKey)),
            ("/socket.io/?EIO=4&transport=websocket", &[KEY], Some(Refused::Version)),
            (
                "/socket.io/?EIO=4&transport=websocket",
                &[KEY, VERSION, ("origin", "https://evil.example")],
                fault(HttpFault::Forbidden),
            ),
        ] {
            assert_eq!(refusal(target, headers), expected, "{target}");
        }
        assert!(matches!(verdict("/other/?EIO=4", &[KEY, VERSION]), Verdict::NotFound));
    }
}
