//! Limits of what one client may have or send: at the limit, one over, and far over.

use std::{io::Write, time::Instant};

use socket2::SockRef;

use crate::harness::{
    Frames, Gateway, Opcode, PATIENCE, Polling, Request, Response, WEBSOCKET, connect, message,
};

const OK: &str = r#"[{"status":"ok"}]"#;
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

fn error(message: &str) -> String {
    format!(r#"[{{"status":"error","message":"{message}"}}]"#)
}

/// Sends a binary event with so many attachments, without waiting for what becomes of it.
fn emit_attachments(client: &mut Frames, count: usize) {
    let placeholders: Vec<_> =
        (0..count).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
    let event = format!("45{count}-7[\"b\",{}]", placeholders.join(","));
    client.send(Opcode::TEXT, event.as_bytes());
    for _ in 0..count {
        client.send(Opcode::BINARY, b"x");
    }
}

#[test]
fn a_packet_may_have_as_many_attachments_as_allowed_and_one_more_closes() {
    for (keys, most) in [(&[][..], 10), (&["limits.attachments_per_packet=2"], 2)] {
        let gateway = Gateway::dev(keys);
        let mut neighbour = gateway.joined();
        let mut client = gateway.frames();
        client.join();
        emit_attachments(&mut client, most);
        assert_eq!(client.text(), format!("437{OK}"));
        client.send(Opcode::TEXT, format!("45{}-[\"b\"]", most + 1).as_bytes());
        client.assert_closed(None);
        gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "socket_packet")], 1.0);
        neighbour.assert_alive();
    }
}

#[test]
fn a_connection_joins_as_many_namespaces_as_allowed_and_thousands_more_are_refused() {
    let gateway = Gateway::dev(&[]);
    let mut neighbour = gateway.joined();
    let mut client = gateway.websocket();
    for number in 0..64 {
        client.join(&format!("/n{number}"));
    }
    let before = gateway.resident_bytes();
    for number in 64..5000 {
        client.send(&format!("40/n{number},"));
        assert_eq!(client.text(), format!("44/n{number},{{\"message\":\"Too many namespaces\"}}"));
    }
    gateway.expect_metric("roomcast_connects_refused_total", &[("cause", "too_many_namespaces")], 4936.0);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8_000_000, "{grown} bytes more");
    client.send("41/n5,");
    client.join("/n64");
    client.assert_alive();
    neighbour.assert_alive();
}

#[test]
fn a_namespace_may_have_a_name_of_so_many_bytes_and_with_one_more_does_not_exist() {
    let gateway = Gateway::dev(&["limits.namespace_name_bytes=9"]);
    let mut client = gateway.websocket();
    // The euro sign is three bytes.
    client.join("/12345€");
    for name in ["/123456€", &format!("/{}", "x".repeat(900_000))] {
        client.send(&format!("40{name},"));
        assert!(client.text() == format!("44{name},{{\"message\":\"Invalid namespace\"}}"));
    }
    gateway.expect_metric("roomcast_connects_refused_total", &[("cause", "unknown_namespace")], 2.0);
}

#[test]
fn a_room_may_have_a_name_of_so_many_bytes_and_no_more() {
    let gateway = Gateway::dev(&["limits.room_name_bytes=9"]);
    let mut client = gateway.joined();
    assert_eq!(client.ask(1, "[\"join\",\"123456€\"]"), OK);
    assert_eq!(client.ask(2, "[\"join\",\"1234567€\"]"), error("room not allowed"));
    // Escapes count as what they stand for.
    assert_eq!(client.ask(3, r#"["join","\u0031\u0032\u0033\u0034\u0035\u0036\u20ac"]"#), OK);
}

#[test]
fn a_socket_joins_as_many_rooms_as_allowed_and_thousands_more_are_refused() {
    let gateway = Gateway::dev(&[]);
    let mut neighbour = gateway.joined();
    let mut client = gateway.joined();
    for number in 0..1024 {
        assert_eq!(client.ask(number, &format!("[\"join\",\"r{number}\"]")), OK);
    }
    let before = gateway.resident_bytes();
    for number in 1024..5000 {
        assert_eq!(client.ask(number, &format!("[\"join\",\"r{number}\"]")), error("too many rooms"));
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8_000_000, "{grown} bytes more");
    gateway.expect_metric("roomcast_events_refused_total", &[], 3976.0);
    // One that it is in already is none more, and one that it leaves makes room.
    assert_eq!(client.ask(1, "[\"join\",\"r7\"]"), OK);
    assert_eq!(client.ask(2, "[\"leave\",\"r7\"]"), OK);
    assert_eq!(client.ask(3, "[\"join\",\"r1024\"]"), OK);
    assert_eq!(client.ask(4, "[\"join\",\"r1025\"]"), error("too many rooms"));
    neighbour.assert_alive();
}

#[test]
fn as_many_calls_wait_for_a_client_as_allowed_and_one_more_is_refused() {
    let gateway = Gateway::dev(&["limits.pending_calls_max=300"]);
    let mut publisher = gateway.publisher();
    let mut client = gateway.joined();
    let calls: Vec<_> = (0..300).map(|_| publisher.call(message(&[], "q", "[]"))).collect();
    let refused = publisher.try_call(message(&[], "q", "[]")).err().unwrap();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.message().contains("limits.pending_calls_max"), "{}", refused.message());
    // The client answers one twice and others with ids that nobody asked with; then all that it was asked.
    let asked: Vec<_> = (0..300).map(|_| client.text()).collect();
    let ids: Vec<_> = asked.iter().map(|text| text[2..].split('[').next().unwrap()).collect();
    client.send(&format!("43{}[]", ids[0]));
    client.send(&format!("43{}[]", ids[0]));
    client.send("4318446744073709551615[]");
    let deadline = Instant::now() + PATIENCE;
    while let Err(refused) = publisher.try_call(message(&[], "q", "[]")) {
        assert!(Instant::now() < deadline, "the place of a call that was answered stays taken: {refused}");
    }
    assert!(client.text().ends_with("[\"q\"]"));
    for id in &ids[1..] {
        client.send(&format!("43{id}[]"));
    }
    for call in calls {
        assert_eq!(publisher.called(call).0.len(), 1);
    }
    client.assert_alive();
}

/// An event whose data has so many arrays in each other.
fn nested(depth: usize) -> String {
    format!("427[\"n\",{}{}]", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn json_may_be_128_deep_and_no_deeper() {
    let gateway = Gateway::dev(&["engine.max_payload_bytes=1000000"]);
    let mut neighbour = gateway.joined();
    let mut client = gateway.frames();
    client.join();
    client.send(Opcode::TEXT, nested(128).as_bytes());
    assert_eq!(client.text(), format!("437{OK}"));
    let objects = format!("42[\"n\",{}1{}]", "{\"a\":".repeat(128), "}".repeat(128));
    let auth = format!("40/x,{}1{}", "{\"a\":".repeat(129), "}".repeat(129));
    let deep = [nested(129), nested(400_000), format!("42[\"n\",{}", "[".repeat(900_000)), objects, auth];
    for (count, packet) in (1_u8..).zip(deep) {
        let mut client = gateway.frames();
        client.join();
        client.send(Opcode::TEXT, packet.as_bytes());
        client.assert_closed(None);
        gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "socket_packet")], count.into());
        neighbour.assert_alive();
    }
}

#[test]
fn wide_json_is_taken_at_any_width_that_fits_its_message() {
    let gateway = Gateway::dev(&[]);
    let mut client = gateway.joined();
    let wide = format!("[\"n\",[{}0]]", "0,".repeat(400_000));
    let keys: Vec<_> = (0..60_000).map(|number| format!("\"k{number}\":{number}")).collect();
    for event in [wide, format!("[\"n\",{{{}}}]", keys.join(",")), format!("[\"n\",{}]", "9".repeat(900_000))]
    {
        assert_eq!(client.ask(1, &event), OK);
    }
}

#[test]
fn a_push_may_hold_1024_packets_and_no_more() {
    let gateway = Gateway::dev(&[]);
    let mut neighbour = gateway.joined();
    let session = Polling::joined(&gateway);
    let pongs = |count: usize| vec!["3"; count].join("\u{1e}");
    session.push(&pongs(1024));
    session.push("427[\"a\"]");
    assert_eq!(session.poll(), format!("437{OK}"));
    session.push(&pongs(1025));
    session.assert_unknown();
    gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "too_many_packets")], 1.0);
    neighbour.assert_alive();
}

/// The answer to a request whose head has exactly so many bytes.
fn with_head_of(gateway: &Gateway, request: Request, bytes: usize) -> Response {
    let bare = request.clone().header("X-Padding", "").bytes().len();
    let padded = request.header("X-Padding", &"x".repeat(bytes - bare));
    assert_eq!(padded.bytes().len(), bytes);
    gateway.http().send(&padded)
}

#[test]
fn a_request_head_may_have_32_kib_and_no_more_over_either_transport() {
    let gateway = Gateway::dev(&[]);
    let mut neighbour = gateway.joined();
    for (request, status) in [(Request::get(POLLING).close(), 200), (Request::upgrade(WEBSOCKET), 101)] {
        assert_eq!(with_head_of(&gateway, request.clone(), 32 * 1024 - 1).status, status);
        // One over, and far over.
        for bytes in [32 * 1024 + 1, 60_000] {
            assert_eq!(with_head_of(&gateway, request.clone(), bytes).status, 431, "{bytes}");
        }
    }
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "malformed_request")], 4.0);
    neighbour.assert_alive();
}

#[test]
fn a_request_may_have_100_headers_and_no_more() {
    let gateway = Gateway::dev(&[]);
    let with_headers = |request: Request, count: usize| {
        let own = request.bytes().windows(2).filter(|pair| pair == b"\r\n").count() - 2;
        (own..count).fold(request, |request, number| request.header(&format!("X-{number}"), "y"))
    };
    for (request, status) in [(Request::get(POLLING).close(), 200), (Request::upgrade(WEBSOCKET), 101)] {
        assert_eq!(gateway.http().send(&with_headers(request.clone(), 100)).status, status);
        assert_eq!(gateway.http().send(&with_headers(request, 101)).status, 431);
    }
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "malformed_request")], 2.0);
}

#[test]
fn an_answer_that_is_not_read_is_given_up_after_the_time_of_a_silent_session() {
    let keys =
        ["engine.ping_interval_ms=2000", "engine.ping_timeout_ms=1000", "limits.outbox_bytes=100000000"];
    let gateway = Gateway::dev(&keys);
    let session = Polling::joined(&gateway);
    let mut publisher = gateway.publisher();
    // More than the system's buffers take.
    let large = "x".repeat(900_000);
    for _ in 0..20 {
        publisher.publish(message(&[], "n", &format!("[\"{large}\"]")));
    }
    let mut poll = connect(gateway.client);
    SockRef::from(&poll).set_recv_buffer_size(4096).unwrap();
    poll.write_all(&Request::get(&session.target()).close().bytes()).unwrap();
    gateway.expect_metric("roomcast_slow_clients_closed_total", &[], 1.0);
    session.assert_unknown();
}
