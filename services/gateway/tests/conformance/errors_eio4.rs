//! Wrong and unusual requests of Engine.IO 4, with the answers that the reference server gave.
//!
//! Answers compare by status, reason, content type, `cache-control`, `Content-Length` where the reference
//! states it, and body; ids by their length. The application behind the captured server echoed events, as the
//! configuration here makes the gateway do.

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::{
    Frames, Gateway, Http, Opcode, Polling, Request, Response, Vectors, WEBSOCKET, field, masked, shape,
};

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
fn upgrades_that_the_reference_answers_oddly_are_refused_at_once() {
    let gateway = echo(&[]);
    for (target, status, body) in [
        ("/socket.io/?EIO=4&transport=polling", 400, "Bad request"),
        ("/socket.io/?EIO=3&transport=websocket", 400, "Unsupported protocol version"),
        ("/other/?EIO=4&transport=websocket", 404, "not found\n"),
        ("/socket.io?EIO=4&transport=websocket", 404, "not found\n"),
    ] {
        let answer = gateway.http().send(&Request::upgrade(target));
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{target}");
    }
    for target in ["/socket.io?EIO=4&transport=polling", "/other"] {
        assert_eq!(gateway.get(target).status, 404, "{target}");
    }
}

#[test]
fn the_bundle_has_the_headers_of_the_reference_server() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("socket.io.js"), "/*!\n * Socket.IO v4.8.4\n */").unwrap();
    let gateway = echo(&[&format!("client.bundle_dir={}", directory.path().display())]);
    let vectors = vectors();
    let case = vectors.case("client bundle");
    let answer = gateway.http().send(&Request::new("HEAD", "/socket.io/socket.io.js").close());
    assert_like(&answer, &case["response"], "client bundle");
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
fn a_second_websocket_of_a_session_is_accepted_and_closed() {
    let gateway = echo(&[]);
    let session = Polling::joined(&gateway);
    let mut probe = Frames::open(gateway.client, &session.upgrade_target());
    probe.send(Opcode::TEXT, b"2probe");
    assert_eq!(probe.text(), "3probe");
    Frames::open(gateway.client, &session.upgrade_target()).assert_closed(None);
    probe.send(Opcode::TEXT, b"5");
    probe.send(Opcode::TEXT, b"42[\"a\"]");
    assert_eq!(probe.text(), "42[\"a\"]");

    Frames::open(gateway.client, &session.upgrade_target()).assert_closed(None);
    let poll = session.send(&Request::get(&session.target()));
    let vectors = vectors();
    let case = vectors.case("websocket for a session that was already upgraded: 101 then closed");
    assert_like(&poll, &case["poll_on_it"], "poll");
    probe.send(Opcode::TEXT, b"42[\"b\"]");
    assert_eq!(probe.text(), "42[\"b\"]");
}

#[test]
fn a_probe_that_is_none_is_closed_and_polling_goes_on() {
    let gateway = echo(&[]);
    let session = Polling::open(&gateway);
    for packet in ["40", "3probe", "2", "x", ""] {
        let mut probe = Frames::open(gateway.client, &session.upgrade_target());
        probe.send(Opcode::TEXT, packet.as_bytes());
        // The close frame without a status is how the reference server ends it.
        probe.assert_closed(None);
    }
    session.push("40");
    assert_eq!(shape(&session.poll()), "40{\"sid\":\"<20 characters>\"}");
}

#[test]
fn an_upgrade_without_a_probe_is_accepted() {
    let gateway = echo(&[]);
    let session = Polling::open(&gateway);
    let mut websocket = Frames::open(gateway.client, &session.upgrade_target());
    // Both packets in one segment: what is behind the upgrade belongs to the session already.
    websocket.write(&[masked(0x81, b"5"), masked(0x81, b"40")].concat());
    assert_eq!(shape(&websocket.text()), "40{\"sid\":\"<20 characters>\"}");
    gateway.expect_metric("roomcast_upgrades_total", &[], 1.0);
}

#[test]
fn a_probe_releases_the_poll_with_a_noop() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("pending poll at probe time is released by a noop after up to 100 ms");
    let session = Polling::joined(&gateway);
    let mut poll = session.start_poll();
    let mut probe = Frames::open(gateway.client, &session.upgrade_target());
    probe.send(Opcode::TEXT, b"2probe");
    assert_eq!(probe.text(), "3probe");
    assert_like(&poll.answer(), &case["poll"], "poll");
    // A client that has not seen the pong polls again, and is released again.
    assert_eq!(session.poll(), "6");
}

#[test]
fn a_poll_that_waits_at_the_upgrade_is_closed() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("upgrade packet sent while a poll is still pending: the poll answer");
    let session = Polling::joined(&gateway);
    let mut poll = session.start_poll();
    session.push("42[\"a\"]");
    assert_eq!(poll.answer().text(), "42[\"a\"]");
    let mut poll = session.start_poll();
    let mut websocket = Frames::open(gateway.client, &session.upgrade_target());
    websocket.send(Opcode::TEXT, b"5");
    let answer = poll.answer();
    // A poll that comes behind the upgrade finds another transport.
    if answer.status == 200 {
        assert_like(&answer, &case["poll"], "poll");
    } else {
        answer.assert_error(3, "Bad request");
    }
    websocket.send(Opcode::TEXT, b"42[\"b\"]");
    assert_eq!(websocket.text(), "42[\"b\"]");
}

#[test]
fn an_upgrade_that_takes_too_long_is_closed_and_polling_goes_on() {
    let gateway = echo(&["engine.upgrade_timeout_ms=300"]);
    let session = Polling::joined(&gateway);
    let mut silent = Frames::open(gateway.client, &session.upgrade_target());
    silent.assert_closed(None);
    let mut probed = Frames::open(gateway.client, &session.upgrade_target());
    probed.send(Opcode::TEXT, b"2probe");
    assert_eq!(probed.text(), "3probe");
    probed.assert_closed(None);
    session.push("42[\"a\"]");
    assert_eq!(session.poll(), "42[\"a\"]");
}

#[test]
fn messages_of_the_largest_size_pass_and_one_byte_more_does_not() {
    let gateway = echo(&["engine.max_payload_bytes=100"]);
    let vectors = vectors();
    let large = |name: &str| vectors.case(&format!("maxHttpBufferSize=100: {name}")).clone();
    let answer = gateway.get("/socket.io/?EIO=4&transport=polling");
    assert_like(&answer, &large("handshake")["response"], "handshake");

    let session = Polling::open(&gateway);
    let case = large("POST of 101 bytes");
    assert_like(&session.try_push(&format!("4{}", "x".repeat(100))), &case["response"], "101 bytes");
    assert_like(&session.try_push("40"), &case["then_post_40"], "the session lives");
    assert_like(&session.send(&Request::get(&session.target())), &case["then_get"], "the session lives");
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "payload_too_large")], 1.0);

    let event = |length: usize| format!("42[\"{}\"]", "x".repeat(length - 6));
    let case = large("POST of exactly 100 bytes");
    assert_like(&session.try_push(&event(100)), &case["response"], "100 bytes");
    assert_eq!(session.poll(), event(100));

    let mut websocket = gateway.frames();
    websocket.join();
    websocket.send(Opcode::TEXT, event(100).as_bytes());
    assert_eq!(websocket.text(), event(100));
    websocket.send(Opcode::TEXT, event(101).as_bytes());
    websocket.assert_closed(Some(1009));
}

#[test]
fn a_body_without_a_length_is_measured_as_it_comes() {
    let gateway = echo(&["engine.max_payload_bytes=100"]);
    let session = Polling::open(&gateway);
    let chunked = |chunks: usize| {
        let mut http = gateway.http();
        http.write(&Request::new("POST", &session.target()).header("Transfer-Encoding", "chunked").bytes());
        for _ in 0..chunks {
            http.write(
                b"1e\r\n6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e6\x1e\r\n",
            );
        }
        http.write(b"1\r\n6\r\n0\r\n\r\n");
        http.answer().status
    };
    assert_eq!(chunked(3), 200);
    assert_eq!(chunked(4), 413);
    session.push("40");
}

#[test]
fn foreign_origins_are_forbidden_before_a_session_is_made() {
    let gateway = echo(&[r#"client.cors.origins=["https://app.example"]"#]);
    let vectors = vectors();
    let case = vectors.case("allowRequest refuses without a message");
    let handshake = Request::get("/socket.io/?EIO=4&transport=polling").close();
    let foreign = |request: &Request| request.clone().header("Origin", "https://evil.test");
    assert_like(&gateway.http().send(&foreign(&handshake)), &case["response"], "polling");
    let answer = gateway.http().send(&foreign(&Request::upgrade(WEBSOCKET)));
    assert_eq!((answer.status, answer.text()), (400, field(&case["websocket"], "rest").to_owned()));
    assert_eq!(gateway.metric("roomcast_connections_opened_total", &[]), 0.0);
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "forbidden")], 2.0);
    let own = handshake.header("Origin", "https://app.example");
    assert_eq!(gateway.http().send(&own).status, 200);
}

#[test]
fn transports_that_are_not_offered_are_unknown() {
    let vectors = vectors();
    let handshake = "/socket.io/?EIO=4&transport=polling";
    let gateway = echo(&[r#"engine.transports=["websocket"]"#]);
    let case = vectors.case("transports:[\"websocket\"]: polling refused");
    assert_like(&gateway.get(handshake), &case["response"], "polling");
    gateway.joined();

    let gateway = echo(&[r#"engine.transports=["polling"]"#]);
    let case = vectors
        .case("transports:[\"polling\"]: handshake (no upgrades) and websocket attempt (no upgrade handler)");
    assert_like(&gateway.get(handshake), &case["response"], "handshake");
    let session = Polling::joined(&gateway);
    for target in [WEBSOCKET.to_owned(), session.upgrade_target()] {
        let answer = gateway.http().send(&Request::upgrade(&target));
        assert_eq!((answer.status, answer.text().as_str()), (400, "Transport unknown"));
    }
}

#[test]
fn sessions_stay_on_polling_where_upgrades_are_off() {
    let gateway = echo(&["engine.allow_upgrades=false"]);
    let vectors = vectors();
    let case = vectors.case("allowUpgrades:false handshake");
    assert_like(&gateway.get("/socket.io/?EIO=4&transport=polling"), &case["response"], "handshake");
    let session = Polling::joined(&gateway);
    Frames::open(gateway.client, &session.upgrade_target()).assert_closed(None);
    session.push("42[\"a\"]");
    assert_eq!(session.poll(), "42[\"a\"]");
}

#[test]
fn another_path_serves_it_and_nothing_else() {
    let gateway = echo(&["client.path=/custom"]);
    let vectors = vectors();
    let case = vectors.case("addTrailingSlash:false, path:/custom");
    assert_like(&gateway.get("/custom/?EIO=4&transport=polling"), &case["with_slash"], "with a slash");
    for path in ["/custom", "/customx/", "/socket.io/"] {
        assert_eq!(gateway.get(&format!("{path}?EIO=4&transport=polling")).status, 404, "{path}");
    }
}

#[test]
fn a_session_that_joins_nothing_is_closed() {
    let gateway = echo(&["limits.connect_timeout_ms=200"]);
    let vectors = vectors();
    let case = vectors
        .case("connectTimeout 200 ms without CONNECT packet (polling): close packet on the pending poll");
    let session = Polling::open(&gateway);
    assert_like(&session.send(&Request::get(&session.target())), &case["response"], "poll");
    gateway.frames().assert_closed(None);
    for transport in ["polling", "websocket"] {
        let closed = [("transport", transport), ("reason", "forced close")];
        gateway.expect_metric("roomcast_connections_closed_total", &closed, 1.0);
    }
}

#[test]
fn a_client_that_answers_no_ping_is_closed() {
    let gateway = echo(&["engine.ping_interval_ms=150", "engine.ping_timeout_ms=150"]);
    let vectors = vectors();
    let case = vectors.case("same over polling: ping, then the next poll");
    let session = Polling::open(&gateway);
    for step in ["first", "second"] {
        assert_like(&session.send(&Request::get(&session.target())), &case[step], step);
    }
    let mut frames = gateway.frames();
    assert_eq!(frames.text(), "2");
    frames.assert_closed(None);
    let closed = [("reason", "ping timeout")];
    gateway.expect_metric("roomcast_connections_closed_total", &closed, 2.0);
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
