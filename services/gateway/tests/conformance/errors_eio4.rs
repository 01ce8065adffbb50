//! Wrong and unusual requests of Engine.IO 4, with the answers that the reference server gave.
//!
//! Answers compare by status, reason, content type, `cache-control`, `Content-Length` where the reference
//! states it, and body; ids by their length. The application behind the captured server echoed events, as the
//! configuration here makes the gateway do.

mod options;
mod upgrade;

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::{Frames, Gateway, Http, Polling, Request, Response, Vectors, WEBSOCKET, field, shape};

/// Every namespace open, and every event sent back to its sender.
const ECHO: &str = r#"
[[namespaces]]
name = "*"
events = [{ event = "*", action = "relay-to-all", include_sender = true, acknowledge = false }]
"#;

/// Where the gateway answers otherwise on purpose; each has a test of what it answers instead.
const DEVIATIONS: &[(&str, &str)] = &[
    ("path without trailing slash (falls through to the application)", "there is no application: 404"),
    ("other path", "there is no application: 404"),
    ("ws upgrade request with transport=polling", "refused at once, not accepted and closed"),
    ("ws EIO=3 not allowed", "refused before the 101, not behind it"),
    ("ws other path", "404 at once, not silence for a second"),
    ("ws path without slash", "404 at once, not silence for a second"),
    (
        "GET polling on a session whose transport is websocket",
        "a plain GET for it is refused, not left hanging",
    ),
    (
        "transports:[\"polling\"]: handshake (no upgrades) and websocket attempt (no upgrade handler)",
        "the upgrade gets the answer of other refused upgrades",
    ),
    ("allowRequest refuses with a message (polling)", "no hook; refused origins are `Forbidden`"),
    ("addTrailingSlash:false, path:/custom", "no such option: a path always has its slash"),
    ("log of server-side events over this whole file (order only)", "about the application of the capture"),
];

/// Cases with a test of their own below, beside [`DEVIATIONS`].
const BY_HAND: &[&str] = &[
    "client bundle",
    "overlapping poll: second GET while first pending",
    "overlapping POST: second POST while body of the first is incomplete",
    "client aborts a pending poll (TCP closed): session is closed with transport error",
    "client POSTs close packet while a GET is pending",
    "packets after a close packet in one payload: 1 then 40",
    "ws invalid Origin header bytes",
    "polling, Origin with invalid bytes (0x01)",
    "polling, Origin containing byte 0xe9 (allowed)",
    "second websocket for a session that is already upgrading: accepted with 101 then closed",
    "websocket for a session that was already upgraded: 101 then closed",
    "upgrade attempt that sends a message packet instead of the probe: websocket closed, polling session survives",
    "upgrade packet without probe is accepted",
    "pending poll at probe time is released by a noop after up to 100 ms",
    "upgrade packet sent while a poll is still pending: the poll answer",
    "upgradeTimeout 300 ms passes without probe",
    "maxHttpBufferSize=100: handshake",
    "maxHttpBufferSize=100: POST of 101 bytes",
    "maxHttpBufferSize=100: POST of exactly 100 bytes",
    "maxHttpBufferSize=100: websocket message of 101 bytes",
    "allowRequest refuses without a message",
    "transports:[\"websocket\"]: polling refused",
    "allowUpgrades:false handshake",
    "connectTimeout 200 ms without CONNECT packet (polling): close packet on the pending poll",
    "connectTimeout 200 ms without CONNECT packet (websocket)",
    "EIO4 pingInterval 150, pingTimeout 150, client never answers (websocket)",
    "same over polling: ping, then the next poll",
];

fn vectors() -> Vectors {
    Vectors::read("errors-eio4.json")
}

fn echo(keys: &[&str]) -> Gateway {
    Gateway::with_config(ECHO, keys)
}

/// Compares an answer with a captured one.
fn assert_like(answer: &Response, expected: &Value, name: &str) {
    assert_eq!(answer.status, expected["status"], "{name}: {answer:?}");
    assert_eq!(answer.reason, field(expected, "reason"), "{name}");
    let captured = |header: &str| {
        let headers = expected["headers"].as_object().unwrap();
        let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
        found.map(|(_, value)| value.as_str().unwrap().to_owned())
    };
    for header in ["Content-Type", "cache-control", "X-XSS-Protection", "ETag"] {
        assert_eq!(answer.header(header), captured(header), "{name}: {header} of {answer:?}");
    }
    if let Some(length) = captured("Content-Length") {
        assert_eq!(answer.header("Content-Length"), Some(length), "{name}");
    }
    assert_eq!(shape(&answer.text()), shape(field(expected, "body")), "{name}");
}

/// Gives each sid of the capture a session of its own here.
#[derive(Default)]
struct Sids(HashMap<String, String>);

impl Sids {
    /// `target` with the sid of a live session in place of the captured one.
    fn translate(&mut self, target: &str, gateway: &Gateway) -> String {
        let Some((before, sid)) = target.split_once("&sid=").filter(|(_, sid)| sid.len() == 20) else {
            return target.into();
        };
        let own = self.0.entry(sid.into()).or_insert_with(|| Polling::open(gateway).sid);
        format!("{before}&sid={own}")
    }
}

#[test]
fn every_case_is_compared_or_listed_with_a_reason() {
    let vectors = vectors();
    for case in vectors.list("cases") {
        let name = field(case, "name");
        let deviates = DEVIATIONS.iter().any(|(other, _)| *other == name);
        let replayed = case["request"].is_object() || case["upgrade_request"].is_string();
        assert!(deviates || replayed || BY_HAND.contains(&name), "{name} is neither compared nor listed");
    }
    for name in DEVIATIONS.iter().map(|(name, _)| name).chain(BY_HAND) {
        vectors.case(name);
    }
}

#[test]
fn requests_are_answered_as_by_the_reference_server() {
    let gateway = echo(&[]);
    let mut sids = Sids::default();
    for case in vectors().list("cases").iter().filter(|case| case["request"].is_object()) {
        let (name, asked) = (field(case, "name"), &case["request"]);
        if name == "client bundle" || DEVIATIONS.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let target = sids.translate(field(asked, "path"), &gateway);
        let mut request = Request::new(asked["method"].as_str().unwrap_or("GET"), &target).close();
        for (name, value) in asked["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        if let Some(body) = asked["body"].as_str() {
            request = request.body(body);
        }
        assert_like(&gateway.http().send(&request), &case["response"], name);
    }
}

#[test]
fn upgrades_are_answered_as_by_the_reference_server() {
    let gateway = echo(&[]);
    let mut sids = Sids::default();
    for case in vectors().list("cases").iter().filter(|case| case["upgrade_request"].is_string()) {
        let name = field(case, "name");
        if BY_HAND.contains(&name) || DEVIATIONS.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let mut request = Request::upgrade(&sids.translate(field(case, "upgrade_request"), &gateway));
        for (name, value) in case["extra_headers"].as_object().unwrap() {
            request = request.without(name);
            if let Some(value) = value.as_str() {
                request = request.header(name, value);
            }
        }
        let mut http = gateway.http();
        let answer = http.send(&request);
        let head = case["response"]["raw_head"].as_array().unwrap();
        let lines: Vec<_> = head.iter().map(|line| line.as_str().unwrap()).collect();
        assert_eq!(format!("HTTP/1.1 {} {}", answer.status, answer.reason), lines[0], "{name}");
        for line in &lines[1..] {
            let (header, value) = line.split_once(": ").unwrap();
            assert_eq!(answer.header(header).as_deref(), Some(value), "{name}: {answer:?}");
        }
        if answer.status == 101 {
            assert_eq!(answer.header("Sec-WebSocket-Extensions"), None, "{name}");
            let open = Frames::after(http).text();
            let captured = field(&case["response"]["rest"], "base64");
            let captured = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, captured).unwrap();
            assert_eq!(shape(&open).as_bytes(), shape(&String::from_utf8_lossy(&captured[2..])).as_bytes());
        } else {
            assert_eq!(answer.text(), field(&case["response"], "rest"), "{name}");
            assert_eq!(http.rest(), b"", "{name}: the connection ends");
        }
    }
}

#[test]
fn origins_with_control_characters_are_malformed_and_other_bytes_are_not() {
    let gateway = echo(&[]);
    let with_origin = |request: Request, origin: &[u8]| {
        let bytes = request.header("Origin", "ORIGIN").bytes();
        let at = bytes.windows(6).position(|window| window == b"ORIGIN").unwrap();
        let mut http = gateway.http();
        http.write(&[&bytes[..at], origin, &bytes[at + 6..]].concat());
        http.answer()
    };
    let handshake = || Request::get("/socket.io/?EIO=4&transport=polling").close();
    let answer = with_origin(handshake(), b"http://a\x01b");
    assert_eq!((answer.status, answer.text().as_str()), (400, ""));
    let answer = with_origin(Request::upgrade(WEBSOCKET), b"http://a\x01b");
    assert_eq!((answer.status, answer.text().as_str()), (400, ""));
    assert_eq!(with_origin(handshake(), b"http://a\xe9b").status, 200);
}

#[test]
fn a_second_poll_ends_the_session_and_releases_the_first() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("overlapping poll: second GET while first pending");
    let session = Polling::joined(&gateway);
    let mut first = session.start_poll();
    // The first poll waits once the server has counted its packet, and nothing else tells: so ask until then.
    let second = loop {
        let answer = session.send(&Request::get(&session.target()));
        if answer.status != 200 {
            break answer;
        }
    };
    assert_like(&first.answer(), &case["first_get"], "first poll");
    assert_like(&second, &case["second_get"], "second poll");
    assert_like(&session.send(&Request::get(&session.target())), &case["then"], "then");
    gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "overlap")], 1.0);
}

#[test]
fn a_second_push_ends_the_session_and_cuts_the_first() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("overlapping POST: second POST while body of the first is incomplete");
    let session = Polling::joined(&gateway);
    let mut first = gateway.http();
    first.write(&Request::new("POST", &session.target()).header("Content-Length", "2").bytes());
    // A push that is refused as an overlap proves that the first one has begun.
    let second = loop {
        let answer = session.try_push("6");
        if answer.status != 200 {
            break answer;
        }
    };
    assert_like(&second, &case["second_post"], "second push");
    assert_like(&session.send(&Request::get(&session.target())), &case["then"], "then");
    // The reference server resets it; here it ends without an answer.
    assert_eq!(first.rest(), b"");
}

#[test]
fn a_poll_that_is_given_up_ends_the_session() {
    let gateway = echo(&[]);
    let session = Polling::joined(&gateway);
    let mut poll = session.start_poll();
    // The event comes back to the poll that waits: so the next one waits in its place.
    session.push("42[\"a\"]");
    assert_eq!(poll.answer().text(), "42[\"a\"]");
    drop(session.start_poll());
    let closed = [("transport", "polling"), ("reason", "transport error")];
    gateway.expect_metric("roomcast_connections_closed_total", &closed, 1.0);
    session.assert_unknown();
}

#[test]
fn a_push_that_is_cut_ends_the_session() {
    let gateway = echo(&[]);
    let session = Polling::joined(&gateway);
    let mut push = gateway.http();
    push.write(&Request::new("POST", &session.target()).header("Content-Length", "10").bytes());
    push.write(b"42[");
    drop(push);
    let closed = [("transport", "polling"), ("reason", "transport error")];
    gateway.expect_metric("roomcast_connections_closed_total", &closed, 1.0);
    session.assert_unknown();
}

#[test]
fn a_close_packet_releases_the_poll_with_a_noop() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("client POSTs close packet while a GET is pending");
    let session = Polling::joined(&gateway);
    session.push("42[\"a\"]");
    assert_eq!(session.poll(), "42[\"a\"]");
    let mut poll = session.start_poll();
    session.push("42[\"b\"]");
    assert_eq!(poll.answer().text(), "42[\"b\"]");
    let mut poll = session.start_poll();
    // Whether the poll or the close comes first is a race that either answer ends well.
    assert_like(&session.try_push("1"), &case["post"], "push");
    let answer = poll.answer();
    if answer.status == 200 {
        assert_like(&answer, &case["pending_get"], "poll");
    } else {
        answer.assert_error(1, "Session ID unknown");
    }
    assert_like(&session.send(&Request::get(&session.target())), &case["then_get"], "then");
}

#[test]
fn packets_behind_a_close_packet_are_ignored() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("packets after a close packet in one payload: 1 then 40");
    let session = Polling::open(&gateway);
    assert_like(&session.try_push("1\u{1e}40"), &case["post"], "push");
    session.assert_unknown();
    let closed = [("transport", "polling"), ("reason", "transport close")];
    gateway.expect_metric("roomcast_connections_closed_total", &closed, 1.0);
}

#[test]
fn polling_requests_of_a_websocket_session_are_bad_requests() {
    let gateway = echo(&[]);
    let mut frames = Frames::open(gateway.client, WEBSOCKET);
    let open: Value = serde_json::from_str(&frames.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    for transport in ["polling", "websocket"] {
        let target = format!("/socket.io/?EIO=4&transport={transport}&sid={sid}");
        gateway.get(&target).assert_error(3, "Bad request");
    }
    frames.join();
}

#[test]
fn requests_of_one_connection_are_answered_in_order_also_when_they_come_in_pieces() {
    let gateway = echo(&[]);
    let session = Polling::joined(&gateway);
    let mut http: Http = gateway.http();
    let push = Request::post(&session.target(), "42[\"a\"]").bytes();
    let poll = Request::get(&session.target()).bytes();
    for byte in &push {
        http.write(&[*byte]);
    }
    assert_eq!(http.answer().text(), "ok");
    // Two requests in one segment.
    http.write(&[push, poll].concat());
    assert_eq!(http.answer().text(), "ok");
    assert_eq!(http.answer().text(), "42[\"a\"]\u{1e}42[\"a\"]");
    // The connection is good for an upgrade as well.
    let answer = http.send(&Request::upgrade(WEBSOCKET));
    assert_eq!(answer.status, 101);
    assert!(Frames::after(http).text().starts_with("0{"));
}
