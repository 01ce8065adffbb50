//! What options of the server change: sizes, transports, origins, path and times.

use super::{assert_like, echo, vectors};
use crate::harness::{Opcode, Polling, Request, WEBSOCKET, field};

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
fn a_session_is_no_other_origins_either() {
    let gateway = echo(&[r#"client.cors.origins=["https://app.example"]"#, "engine.allow_eio3=true"]);
    let session = Polling::joined(&gateway);
    let from = |origin: &str, request: Request| {
        gateway.http().send(&request.header("Origin", origin).header("Connection", "close"))
    };
    let push = || Request::post(&session.target(), "42[\"a\"]");
    for (step, request) in [
        ("push", push()),
        ("poll", Request::get(&session.target())),
        ("push of JSONP", Request::post(&format!("{}&j=0", session.target()), "d=42")),
    ] {
        let refused = from("https://evil.test", request);
        assert_eq!(refused.status, 403, "{step}");
        refused.assert_error(4, "Forbidden");
    }
    let upgrade = || Request::upgrade(&session.upgrade_target());
    let refused = gateway.http().send(&upgrade().header("Origin", "https://evil.test"));
    assert_eq!((refused.status, refused.text().as_str()), (400, "Forbidden"));
    // On a connection that has spoken HTTP before, too.
    let mut http = gateway.http();
    assert_eq!(http.send(&Request::get("/nowhere")).status, 404);
    let refused = http.send(&upgrade().header("Origin", "https://evil.test"));
    assert_eq!((refused.status, refused.text().as_str()), (400, "Forbidden"));
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "forbidden")], 5.0);

    // The session has seen nothing of it: its own page goes on.
    // It is listed, or that of this server: a browser names the latter with pushes and WebSockets only.
    for origin in ["https://app.example", "https://gateway"] {
        assert_eq!(from(origin, push()).status, 200, "{origin}");
        assert_eq!(session.poll(), "42[\"a\"]");
    }
    assert_eq!(gateway.http().send(&upgrade().header("Origin", "https://gateway")).status, 101);
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
