//! Clients that send too slowly, or do not read: each is closed in time, counted, and delays nobody.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use crate::harness::{Gateway, Http, PATIENCE, Polling, Request, WEBSOCKET, deaf, masked, message};

const TIMEOUT: &str = "limits.request_timeout_ms=300";
const MALFORMED: [(&str, &str); 1] = [("cause", "malformed_request")];
/// Bytes of one large event.
const LARGE: usize = 500_000;

/// Asserts that the server ends this connection without a word, and not before its time.
fn assert_ended(mut http: Http, since: Instant) {
    assert_eq!(String::from_utf8_lossy(&http.rest()), "");
    assert!(since.elapsed() >= Duration::from_millis(250), "{:?}", since.elapsed());
}

#[test]
fn a_connection_that_sends_nothing_is_closed_in_time() {
    let gateway = Gateway::dev(&[TIMEOUT]);
    let since = Instant::now();
    let silent: Vec<_> = (0..10).map(|_| gateway.http()).collect();
    silent.into_iter().for_each(|http| assert_ended(http, since));
    gateway.expect_metric("roomcast_requests_refused_total", &MALFORMED, 10.0);
}

#[test]
fn a_head_that_does_not_end_is_closed_in_time() {
    let gateway = Gateway::dev(&[TIMEOUT]);
    for request in [Request::get("/socket.io/?EIO=4&transport=polling"), Request::upgrade(WEBSOCKET)] {
        let bytes = request.bytes();
        let since = Instant::now();
        let mut http = gateway.http();
        http.write(&bytes[..bytes.len() - 2]);
        assert_ended(http, since);
    }
    gateway.expect_metric("roomcast_requests_refused_total", &MALFORMED, 2.0);
}

#[test]
fn a_head_that_comes_in_drops_gains_no_time() {
    let gateway = Gateway::dev(&[TIMEOUT]);
    let since = Instant::now();
    let mut drops = gateway.http();
    drops.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nX-Drops: ");
    drops.stream.set_nonblocking(true).unwrap();
    loop {
        assert!(since.elapsed() < PATIENCE, "every drop buys time");
        // Somebody else's request is the pause between the drops.
        assert_eq!(gateway.ops("/health/live").status, 200);
        let written = drops.stream.write(b"x");
        match drops.stream.read(&mut [0; 256]) {
            Ok(0) => break,
            Ok(_) => panic!("answered before the head has ended"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => drop(written.unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    assert!(since.elapsed() >= Duration::from_millis(250), "{:?}", since.elapsed());
    gateway.expect_metric("roomcast_requests_refused_total", &MALFORMED, 1.0);
}

#[test]
fn a_body_that_does_not_end_is_answered_and_ends_its_session() {
    let gateway = Gateway::dev(&[TIMEOUT]);
    let mut neighbour = gateway.joined();
    let session = Polling::joined(&gateway);
    let mut push = gateway.http();
    push.write(&Request::new("POST", &session.target()).header("Content-Length", "10").bytes());
    push.write(b"42");
    let answer = push.answer();
    assert_eq!((answer.status, answer.text().as_str()), (408, ""));
    assert_eq!(push.rest(), b"");
    session.assert_unknown();
    gateway.expect_metric("roomcast_requests_refused_total", &MALFORMED, 1.0);
    neighbour.assert_alive();
}

#[test]
fn an_idle_connection_is_closed_and_is_no_offence() {
    let gateway = Gateway::dev(&[TIMEOUT]);
    let mut http = gateway.http();
    let since = Instant::now();
    assert_eq!(http.send(&Request::get("/socket.io/?EIO=4&transport=polling")).status, 200);
    assert_ended(http, since);
    gateway.expect_metric("roomcast_requests_refused_total", &[], 0.0);
}

#[test]
fn a_waiting_poll_and_a_quiet_websocket_may_take_their_time() {
    let gateway = Gateway::dev(&[TIMEOUT]);
    let session = Polling::joined(&gateway);
    let mut poll = session.start_poll();
    let mut quiet = gateway.joined();
    // A connection that is closed for sending nothing proves that the time has passed.
    assert_ended(gateway.http(), Instant::now());
    gateway.publisher().publish(message(&[], "late", "[]"));
    assert_eq!(poll.answer().text(), "42[\"late\"]");
    assert_eq!(quiet.text(), "42[\"late\"]");
}

#[test]
fn heads_over_the_limit_and_noise_are_refused() {
    let gateway = Gateway::dev(&[]);
    let long = format!("GET /socket.io/?{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let cases: [(&str, &[u8]); 5] = [
        ("long", long.as_bytes()),
        ("many", many.as_bytes()),
        ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n"),
        ("no version", b"GET /\r\n\r\n"),
        ("two lengths", b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ];
    for (count, (name, bytes)) in (1_u8..).zip(cases) {
        let mut http = gateway.http();
        http.write(bytes);
        let rest = String::from_utf8_lossy(&http.rest()).into_owned();
        assert!(rest.starts_with("HTTP/1.1 4"), "{name}: {rest:?}");
        gateway.expect_metric("roomcast_requests_refused_total", &MALFORMED, count.into());
    }
}

#[test]
fn connections_over_the_limit_get_503_until_another_has_gone() {
    let gateway = Gateway::dev(&["limits.connections=3"]);
    let mut first = gateway.joined();
    let (_second, third) = (gateway.joined(), gateway.http());
    for request in [Request::get("/socket.io/?EIO=4&transport=polling"), Request::upgrade(WEBSOCKET)] {
        let answer = gateway.http().send(&request);
        assert_eq!((answer.status, answer.header("Retry-After").as_deref()), (503, Some("5")));
        assert_eq!(answer.header("Connection").as_deref(), Some("close"));
    }
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "connection_limit")], 2.0);
    gateway.log_line(|line| line["kind"] == "connection_limit_reached");
    first.assert_alive();
    drop(third);
    let deadline = Instant::now() + PATIENCE;
    while gateway.http().send(&Request::get("/socket.io/?EIO=4&transport=polling").close()).status != 200 {
        assert!(Instant::now() < deadline, "the place of a connection that has gone stays taken");
    }
}

#[test]
fn clients_that_never_read_are_closed_while_others_get_everything() {
    let mut gateway = Gateway::dev(&["limits.outbox_bytes=1000000"]);
    let mut publisher = gateway.publisher();
    let mut reader = gateway.joined();
    let poller = Polling::joined(&gateway);
    let _deaf: Vec<_> = (0..8).map(|_| deaf(&gateway)).collect();
    let silent = Polling::joined(&gateway);
    let before = gateway.resident_bytes();
    let payload = "x".repeat(LARGE);
    let mut sent = 0;
    while gateway.metric("roomcast_slow_clients_closed_total", &[]) < 8.5 {
        assert!(sent < 60, "{sent} events and not every deaf client is closed");
        let reach = publisher.publish(message(&[], "n", &format!("[{sent},\"{payload}\"]")));
        assert!(reach.sockets_written >= 2, "{reach:?}");
        let expected = format!("42[\"n\",{sent},\"{payload}\"]");
        assert!(reader.text() == expected, "event {sent}");
        assert!(poller.poll() == expected, "event {sent}");
        sent += 1;
    }
    silent.assert_unknown();
    let line = gateway.log_line(|line| line["kind"] == "slow_client_closed");
    assert!(line["queued_bytes"].as_u64().unwrap() <= 1_100_000, "{line}");
    gateway.expect_metric("roomcast_connections_closed_total", &[("reason", "transport error")], 9.0);
    // What waited for eight clients was one copy; the rest is room for buffers and the allocator.
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 24_000_000, "{grown} bytes more");
    reader.assert_alive();
    poller.push("420[\"a\"]");
    assert_eq!(poller.poll(), "430[{\"status\":\"ok\"}]");
    gateway.assert_unharmed();
}

#[test]
fn a_client_that_asks_and_never_reads_is_closed() {
    let gateway = Gateway::dev(&["limits.outbox_bytes=1000000", "limits.packets_per_second=0"]);
    let mut neighbour = gateway.joined();
    let mut deaf = deaf(&gateway);
    let pings = masked(0x89, &[b'x'; 125]).repeat(4000);
    let mut written = 0;
    while gateway.metric("roomcast_slow_clients_closed_total", &[]) < 0.5 {
        assert!(written < 100, "{written} times half a megabyte, and still it may ask");
        if deaf.stream().write_all(&pings).is_err() {
            break;
        }
        written += 1;
    }
    gateway.expect_metric("roomcast_slow_clients_closed_total", &[], 1.0);
    neighbour.assert_alive();
}

#[test]
fn volatile_events_spare_a_slow_client() {
    let gateway = Gateway::dev(&["limits.outbox_bytes=1000000"]);
    let mut publisher = gateway.publisher();
    let mut deaf = gateway.joined();
    let payload = "x".repeat(LARGE);
    let mut dropped = 0;
    for number in 0..60 {
        let mut event = message(&[], "v", &format!("[{number},\"{payload}\"]"));
        event.volatile = true;
        dropped += publisher.publish(event).sockets_dropped.unwrap_or_default().not_ready;
    }
    assert!(dropped > 0);
    gateway.expect_metric("roomcast_slow_clients_closed_total", &[], 0.0);
    publisher.publish(message(&[], "end", "[]"));
    let mut seen = 0;
    while deaf.text() != "42[\"end\"]" {
        seen += 1;
    }
    assert_eq!(seen + dropped, 60);
}
