//! What a hostile client may send, line by line: the right answer, one session closed, counted by its cause, and another session
//! beside it unharmed. Frames are in `websocket_frames.rs`, limits in `limits.rs`, slowness in `slow.rs`.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Instant,
};

use crate::harness::{
    Frames, Gateway, Opcode, PATIENCE, Polling, Request, WEBSOCKET, WebSocket, connect, masked,
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A gateway and a client on its only shard, who is to notice nothing.
struct Neighbourhood {
    gateway: Gateway,
    neighbour: WebSocket<TcpStream>,
}

impl Neighbourhood {
    fn new(keys: &[&str]) -> Self {
        let gateway = Gateway::dev(keys);
        let mut neighbour = gateway.joined();
        neighbour.join_room("room");
        Self { gateway, neighbour }
    }

    /// Asserts that `act` moves this counter by one, and that the neighbour is well afterwards.
    fn counts_one(&mut self, metric: &str, cause: &str, act: impl FnOnce(&Gateway)) {
        let before = self.gateway.metric(metric, &[("cause", cause)]);
        act(&self.gateway);
        self.gateway.expect_metric(metric, &[("cause", cause)], before + 1.0);
        assert_eq!(self.neighbour.ask(1, "[\"a\"]"), "[{\"status\":\"ok\"}]");
        self.gateway.assert_unharmed();
    }

    fn refuses(&mut self, cause: &str, act: impl FnOnce(&Gateway)) {
        self.counts_one("roomcast_requests_refused_total", cause, act);
    }

    fn faults(&mut self, cause: &str, act: impl FnOnce(&Gateway)) {
        self.counts_one("roomcast_peer_faults_total", cause, act);
    }
}

#[test]
fn malformed_http_is_refused_with_a_4xx_and_its_connection_ends() {
    let mut all = Neighbourhood::new(&[]);
    let head = "Host: gateway\r\n";
    let cases: Vec<(&str, Vec<u8>)> = [
        ("no method", format!(" / HTTP/1.1\r\n{head}\r\n")),
        ("a method with a control character", format!("G\x01T / HTTP/1.1\r\n{head}\r\n")),
        ("HTTP/3", format!("GET / HTTP/3.0\r\n{head}\r\n")),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("a target with a blank", format!("GET /a b HTTP/1.1\r\n{head}\r\n")),
        ("a header without a colon", format!("GET / HTTP/1.1\r\n{head}nonsense\r\n\r\n")),
        ("a header name with a blank", format!("GET / HTTP/1.1\r\n{head}a b: c\r\n\r\n")),
        ("a header value with a null", format!("GET / HTTP/1.1\r\n{head}a: b\0c\r\n\r\n")),
        ("a header that is folded", format!("GET / HTTP/1.1\r\n{head}a: b\r\n c\r\n\r\n")),
        ("two lengths", format!("POST / HTTP/1.1\r\n{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("a length that is none", format!("POST / HTTP/1.1\r\n{head}Content-Length: x\r\n\r\n")),
        ("a negative length", format!("POST / HTTP/1.1\r\n{head}Content-Length: -1\r\n\r\n")),
        ("an unknown coding", format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding: rot13\r\n\r\n")),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into()),
        ("nothing but line ends", "\r\n".repeat(20_000)),
    ]
    .map(|(name, text)| (name, text.into_bytes()))
    .into();
    for (name, bytes) in cases {
        eprintln!("{name}");
        all.refuses("malformed_request", |gateway| {
            let mut http = gateway.http();
            http.write(&bytes);
            let rest = String::from_utf8_lossy(&http.rest()).into_owned();
            // Who speaks HTTP/2 would not understand an answer.
            assert!(
                rest.starts_with("HTTP/1.1 4") || name.contains("HTTP/2") && rest.is_empty(),
                "{name}: {rest:?}"
            );
        });
    }
}

#[test]
fn a_length_and_a_coding_at_once_smuggle_no_second_request() {
    let all = Neighbourhood::new(&[]);
    let session = Polling::joined(&all.gateway);
    let mut http = all.gateway.http();
    // Who believes the length sees a second request in the rest.
    let smuggled = "0\r\n\r\nGET /health HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let head = Request::new("POST", &session.target())
        .header("Content-Length", &smuggled.len().to_string())
        .header("Transfer-Encoding", "chunked");
    http.write(&[&head.bytes(), smuggled.as_bytes()].concat());
    let rest = String::from_utf8_lossy(&http.rest()).into_owned();
    assert!(rest.matches("HTTP/1.1 ").count() <= 2, "{rest}");
    assert!(
        !rest.contains("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nok\r\nHTTP"),
        "{rest}"
    );
}

#[test]
fn handshakes_that_are_none_are_refused_by_the_error_table() {
    let mut all = Neighbourhood::new(&["engine.allow_eio3=false"]);
    let refused: [(&str, Request, u16, &str); 9] = [
        ("transport_unknown", Request::get("/socket.io/?EIO=4"), 400, r#""code":0"#),
        ("transport_unknown", Request::get("/socket.io/?EIO=4&transport=carrier"), 400, r#""code":0"#),
        ("transport_unknown", Request::get("/socket.io/?%00=%ff&transport=%ff"), 400, r#""code":0"#),
        ("session_unknown", Request::get(&format!("{POLLING}&sid={}", "x".repeat(9000))), 400, r#""code":1"#),
        ("session_unknown", Request::post(&format!("{POLLING}&sid=%00%00"), "40"), 400, r#""code":1"#),
        ("bad_handshake_method", Request::post(POLLING, "40"), 400, r#""code":2"#),
        ("bad_handshake_method", Request::new("BREW", POLLING), 400, r#""code":2"#),
        ("bad_request", Request::get(WEBSOCKET), 400, r#""code":3"#),
        ("unsupported_version", Request::get("/socket.io/?EIO=3&transport=polling"), 400, r#""code":5"#),
    ];
    for (cause, request, status, body) in refused {
        all.refuses(cause, |gateway| {
            let answer = gateway.http().send(&request.clone().close());
            assert_eq!(answer.status, status, "{request:?}");
            assert!(answer.text().contains(body), "{request:?}: {answer:?}");
        });
    }
    for (cause, target, text) in [
        ("transport_unknown", "/socket.io/?EIO=4&transport=x".to_owned(), "Transport unknown"),
        ("session_unknown", format!("{WEBSOCKET}&sid={}", "x".repeat(20)), "Session ID unknown"),
        ("bad_request", POLLING.to_owned(), "Bad request"),
        (
            "unsupported_version",
            "/socket.io/?EIO=3&transport=websocket".to_owned(),
            "Unsupported protocol version",
        ),
    ] {
        all.refuses(cause, |gateway| {
            let answer = gateway.http().send(&Request::upgrade(&target));
            assert_eq!((answer.status, answer.text().as_str()), (400, text), "{target}");
        });
    }
}

#[test]
fn forged_sids_are_unknown_wherever_a_sid_may_stand() {
    let mut all = Neighbourhood::new(&[]);
    let session = Polling::joined(&all.gateway);
    let other = Polling::joined(&all.gateway);
    // Halves of two good ones, one of another process, and one that is too long.
    let mixed = format!("{}{}", &session.sid[..10], &other.sid[10..]);
    let foreign = Polling::open(&Gateway::dev(&[])).sid;
    for sid in
        [mixed, foreign, format!("{}A", session.sid), session.sid[..19].to_owned(), "../../etc/passwd".into()]
    {
        let target = format!("{POLLING}&sid={sid}");
        for request in [Request::get(&target), Request::post(&target, "1"), Request::new("DELETE", &target)] {
            all.refuses("session_unknown", |gateway| {
                gateway.http().send(&request.clone().close()).assert_error(1, "Session ID unknown");
            });
        }
        all.refuses("session_unknown", |gateway| {
            let answer = gateway.http().send(&Request::upgrade(&format!("{WEBSOCKET}&sid={sid}")));
            assert_eq!((answer.status, answer.text().as_str()), (400, "Session ID unknown"));
        });
    }
    for session in [session, other] {
        session.push("427[\"a\"]");
        assert_eq!(session.poll(), "437[{\"status\":\"ok\"}]");
    }
}

#[test]
fn payloads_that_are_none_end_their_session_alone() {
    let mut all = Neighbourhood::new(&[]);
    let text = "text/plain;charset=UTF-8";
    let cases: &[(&str, &str, &[u8], u16)] = &[
        ("packet", text, b"", 200),
        ("packet", text, b"\xff\xfe", 200),
        ("packet", text, b"4\xed\xa0\x80", 200),
        ("packet", text, b"x", 200),
        ("packet", text, b"9", 200),
        ("packet", text, b"\x1e", 200),
        ("packet", text, b"42[\"a\"]\x1e", 200),
        ("packet", text, b"42[\"a\"]\x1e\x1e42[\"a\"]", 200),
        ("packet", text, "\u{1f600}".as_bytes(), 200),
        ("packet", "application/octet-stream", b"\x00\x01\xff4", 400),
        ("heartbeat", text, b"2", 200),
        ("heartbeat", text, b"2probe", 200),
        ("socket_packet", text, b"4", 200),
        ("socket_packet", text, b"bAQID", 200),
    ];
    for (cause, content_type, body, status) in cases {
        eprintln!("{cause} {body:?}");
        all.faults(cause, |gateway| {
            let session = Polling::joined(gateway);
            let push = Request::post(&session.target(), *body).header("Content-Type", content_type);
            assert_eq!(session.send(&push).status, *status);
            let after = session.send(&Request::get(&session.target()));
            // A session that the server ends in order says so on its last poll.
            assert!(after.status == 400 || after.text() == "6\u{1e}1" || after.text() == "1", "{after:?}");
            session.assert_unknown();
        });
    }
}

#[test]
fn packets_that_are_none_close_their_session_alone() {
    let mut all = Neighbourhood::new(&[]);
    let huge = "1".repeat(30);
    let cases: Vec<String> = [
        // Types and counts.
        "4",
        "47",
        "4x",
        "4\u{1f600}",
        "45",
        "45[\"a\"]",
        "45-[\"a\"]",
        "450-[\"a\"]",
        "45x-[\"a\"]",
        "4511-[\"a\"]",
        "45-1-[\"a\"]",
        "461-{}",
        // Namespaces and ids.
        "42/never,[\"a\"]",
        "42/never",
        "421e3[\"a\"]",
        "42-1[\"a\"]",
        "42 1[\"a\"]",
        // Data.
        "42{}",
        "42\"a\"",
        "42[]",
        "42[null]",
        "42[{}]",
        "42[\"a\"",
        "42[\"a\"]]",
        "42[\"a\",]",
        "42[\"a\"] x",
        "42[\"a\",NaN]",
        "42[\"a\",01]",
        "42[\"a\",1.]",
        "42[\"a\",+1]",
        "42[\"a\",tru]",
        "42[\"a\",'b']",
        "42[\"a\",\"\n\"]",
        "42[\"a\",\"\\x\"]",
        "42[\"a\",\"\\u12\"]",
        "42[\"a\",{a:1}]",
        "42[\"a\",{\"a\"}]",
        "42[\"a\",{\"a\":1,}]",
        // Names and kinds that are the server's.
        "42[\"connect\"]",
        "42[\"disconnect\"]",
        "42[\"disconnecting\"]",
        "42[\"connect_error\"]",
        "42[\"newListener\"]",
        "42[\"removeListener\"]",
        "44{\"message\":\"x\"}",
        "40",
        "40[]",
        "40\"x\"",
    ]
    .map(str::to_owned)
    .into();
    let long = [format!("42{huge}[\"a\"]"), format!("45{huge}-[\"a\"]"), format!("43{huge}[]")];
    for packet in cases.into_iter().chain(long) {
        all.faults("socket_packet", |gateway| {
            let mut frames = gateway.frames();
            frames.join();
            frames.send(Opcode::TEXT, packet.as_bytes());
            // Answered only by a session that lives.
            frames.send(Opcode::PING, b"");
            frames.assert_closed(None);
        });
    }
}

#[test]
fn packets_that_mean_nothing_here_are_ignored_as_by_the_reference_server() {
    let all = Neighbourhood::new(&[]);
    let mut client = all.gateway.joined();
    for packet in ["41/never,", "43/never,1[]", "4318446744073709551615[]", "43[]", "42[1]", "42"] {
        client.send(packet);
        client.assert_alive();
    }
    all.gateway.expect_metric("roomcast_peer_faults_total", &[], 0.0);
}

#[test]
fn attachments_that_do_not_belong_close_their_session_alone() {
    let mut all = Neighbourhood::new(&[]);
    let text = |text: &str| masked(0x81, text.as_bytes());
    let binary = || masked(0x82, b"x");
    let placeholder = |num: &str| format!("451-[\"b\",{{\"_placeholder\":true,\"num\":{num}}}]");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("one that nobody announced", binary()),
        ("one too many", [text(&placeholder("0")), binary(), binary()].concat()),
        ("text in the place of one", [text(&placeholder("0")), text("42[\"a\"]")].concat()),
        ("a second header", [text(&placeholder("0")), text(&placeholder("0"))].concat()),
        ("a placeholder of one that does not come", [text(&placeholder("1")), binary()].concat()),
        ("a negative placeholder", [text(&placeholder("-1")), binary()].concat()),
        ("a placeholder that is no number", [text(&placeholder("\"0\"")), binary()].concat()),
        ("a placeholder of half", [text(&placeholder("0.5")), binary()].concat()),
        ("more announced than allowed", text("4511-[\"b\"]")),
        ("a number of them that fits no integer", text(&format!("45{}-[\"b\"]", "9".repeat(40)))),
    ];
    for (name, bytes) in cases {
        eprintln!("{name}");
        all.faults("socket_packet", |gateway| {
            let mut frames = gateway.frames();
            frames.join();
            frames.write(&bytes);
            loop {
                let frame = frames.frame();
                if frame.opcode == Opcode::CLOSE {
                    assert_eq!(frame.close_code(), None);
                    break;
                }
            }
        });
    }
    // Attachments that never come harm nobody: the session goes on with its heartbeat.
    let mut waiting = all.gateway.frames();
    waiting.join();
    waiting.write(&text(&placeholder("0")));
    waiting.send(Opcode::PING, b"");
    assert_eq!(waiting.frame().opcode, Opcode::PONG);
}

#[test]
fn a_frame_that_comes_in_drops_ends_with_the_heartbeat() {
    let mut all = Neighbourhood::new(&["engine.ping_interval_ms=200", "engine.ping_timeout_ms=300"]);
    let mut client = all.gateway.frames();
    client.join();
    // The head of a message that never ends; nothing else can be sent within it, so that no pong can.
    client.write(&masked(0x81, &[b'4'; 100_000])[..20]);
    client.stream.set_nonblocking(true).unwrap();
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < PATIENCE, "every drop buys time");
        // Somebody else's request is the pause between the drops.
        assert_eq!(all.gateway.ops("/health/live").status, 200);
        if client.stream.write(b"x").is_err() {
            break;
        }
        match client.stream.read(&mut [0; 256]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let closed = [("transport", "websocket"), ("reason", "ping timeout")];
    let ended = all.gateway.metric("roomcast_connections_closed_total", &closed);
    assert!(ended >= 1.0);
    // The neighbour has answered no ping either.
    all.neighbour = all.gateway.joined();
    all.neighbour.assert_alive();
}

#[test]
fn connections_that_never_connect_are_closed_in_time_and_counted() {
    let mut all = Neighbourhood::new(&["limits.connect_timeout_ms=300"]);
    let mut websockets: Vec<Frames> = (0..20).map(|_| all.gateway.frames()).collect();
    let sessions: Vec<Polling> = (0..20).map(|_| Polling::open(&all.gateway)).collect();
    // Refused ones do not count as joined, nor do packets that are no CONNECT.
    websockets[0].send(Opcode::PING, b"");
    assert_eq!(websockets[0].frame().opcode, Opcode::PONG);
    for websocket in &mut websockets {
        websocket.assert_closed(None);
    }
    for session in sessions {
        assert!(session.poll().ends_with('1'));
        session.assert_unknown();
    }
    all.gateway.expect_metric("roomcast_connections_closed_total", &[("reason", "forced close")], 40.0);
    assert_eq!(all.neighbour.ask(1, "[\"a\"]"), "[{\"status\":\"ok\"}]");
}

#[test]
fn sessions_that_are_opened_and_left_alone_are_forgotten() {
    let mut all = Neighbourhood::new(&["engine.ping_interval_ms=150", "engine.ping_timeout_ms=150"]);
    let opened: Vec<_> = (0..200).map(|_| Polling::open(&all.gateway)).collect();
    let closed = [("transport", "polling"), ("reason", "ping timeout")];
    all.gateway.expect_metric("roomcast_connections_closed_total", &closed, 200.0);
    opened[199].assert_unknown();
    all.gateway.expect_metric("roomcast_connections", &[("transport", "polling")], 0.0);
    all.neighbour = WebSocket::open(connect(all.gateway.client), WEBSOCKET);
    assert!(all.neighbour.text().starts_with("0{"));
}
