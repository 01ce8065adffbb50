//! Frames as a broken or hostile client may send them; whoever else is on the shard does not notice.

use crate::harness::{Frame, Frames, Gateway, Http, Opcode, Request, WEBSOCKET, WebSocket, connect, masked};

/// A gateway with a joined client on the only shard, who is to be unharmed.
fn neighbourhood() -> (Gateway, WebSocket<std::net::TcpStream>) {
    let gateway = Gateway::dev(&["engine.max_payload_bytes=1000"]);
    let mut neighbour = gateway.joined();
    neighbour.join_room("room");
    (gateway, neighbour)
}

fn joined(gateway: &Gateway) -> Frames {
    let mut frames = gateway.frames();
    frames.join();
    frames
}

/// Sends `bytes` on a joined WebSocket, and asserts that it is closed with this code and that nobody else is.
fn refuses(gateway: &Gateway, neighbour: &mut WebSocket<std::net::TcpStream>, bytes: &[u8], code: u16) {
    let faults = gateway.metric("roomcast_peer_faults_total", &[("cause", "frame")]);
    let mut frames = joined(gateway);
    frames.write(bytes);
    frames.assert_closed(Some(code));
    neighbour.assert_alive();
    gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "frame")], faults + 1.0);
}

#[test]
fn frames_that_break_the_protocol_close_with_1002() {
    let (mut gateway, mut neighbour) = neighbourhood();
    let text = masked(0x81, b"42[\"a\"]");
    let start = masked(0x01, b"42[");
    let cases: &[(&str, Vec<u8>)] = &[
        ("without a mask", b"\x81\x02hi".to_vec()),
        ("reserved bit 1", masked(0xc1, b"4")),
        ("reserved bit 2", masked(0xa1, b"4")),
        ("reserved bit 3", masked(0x91, b"4")),
        ("a data opcode that is none", masked(0x83, b"4")),
        ("a control opcode that is none", masked(0x8b, b"")),
        ("a ping in fragments", masked(0x09, b"a")),
        ("a ping of 126 bytes", masked(0x89, &[b'a'; 126])),
        ("a close of 126 bytes", masked(0x88, &[b'a'; 126])),
        ("a continuation of nothing", masked(0x80, b"a")),
        ("a message within a message", [start.clone(), text.clone()].concat()),
        ("a close of 1 byte", masked(0x88, b"\x03")),
        ("good frames in front", [text, masked(0x83, b"")].concat()),
    ];
    for (name, bytes) in cases {
        eprintln!("{name}");
        refuses(&gateway, &mut neighbour, bytes, 1002);
    }
    gateway.assert_unharmed();
}

#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    let (mut gateway, mut neighbour) = neighbourhood();
    let cases: &[(&str, Vec<u8>)] = &[
        ("a byte that starts nothing", masked(0x81, b"42[\"\xff\"]")),
        ("a surrogate", masked(0x81, b"42[\"\xed\xa0\x80\"]")),
        ("an overlong slash", masked(0x81, b"42[\"\xc0\xaf\"]")),
        ("a cut character at the end", masked(0x81, b"42[\"\xe2\x82")),
        ("cut at the end of the last fragment", [masked(0x01, b"42[\"\xe2"), masked(0x80, b"\x82")].concat()),
        ("the reason of a close", masked(0x88, b"\x03\xe8\xff")),
    ];
    for (name, bytes) in cases {
        eprintln!("{name}");
        refuses(&gateway, &mut neighbour, bytes, 1007);
    }
    gateway.assert_unharmed();
}

#[test]
fn messages_over_the_limit_close_with_1009_before_they_have_come() {
    let (mut gateway, mut neighbour) = neighbourhood();
    let head_of = |length: u64| [b"\x81\xff".as_slice(), &length.to_be_bytes(), b"\x01\x02\x03\x04"].concat();
    let cases: &[(&str, Vec<u8>)] = &[
        ("a frame of 1001 bytes", masked(0x81, &[b'4'; 1001])),
        ("the head of a frame of 1 TiB", head_of(1 << 40)),
        ("fragments", [masked(0x01, &[b'4'; 600]), masked(0x00, &[b'4'; 401])].concat()),
        ("many empty fragments behind a full one", {
            let full = masked(0x01, &[b'4'; 1000]);
            [full, masked(0x00, b"").repeat(100), masked(0x00, b"x")].concat()
        }),
    ];
    for (name, bytes) in cases {
        eprintln!("{name}");
        refuses(&gateway, &mut neighbour, bytes, 1009);
    }
    gateway.assert_unharmed();
}

#[test]
fn a_request_and_its_first_frames_may_come_in_any_two_pieces() {
    let (mut gateway, mut neighbour) = neighbourhood();
    let request = Request::upgrade(WEBSOCKET).bytes();
    // A client that does not wait for the answer, as one behind a proxy may seem to.
    let stream = [request, masked(0x81, b"40"), masked(0x89, b"ping")].concat();
    let begun = (1..stream.len()).map(|split| {
        let (first, second) = stream.split_at(split);
        let mut http = Http::connect(gateway.client);
        http.write(first);
        (split, http, second)
    });
    let begun: Vec<_> = begun.collect();
    // What the only shard answers now it has read behind all the first pieces.
    neighbour.assert_alive();
    for (split, mut http, second) in begun {
        http.write(second);
        let answer = http.answer();
        assert_eq!(answer.status, 101, "split at {split}: {answer:?}");
        let mut frames = Frames::after(http);
        assert!(frames.text().starts_with("0{"), "split at {split}");
        assert!(frames.text().starts_with("40{\"sid\":\""), "split at {split}");
        assert_eq!(frames.frame(), Frame { opcode: Opcode::PONG, payload: b"ping".to_vec() });
    }
    neighbour.assert_alive();
    gateway.expect_metric("roomcast_peer_faults_total", &[], 0.0);
    gateway.assert_unharmed();
}

#[test]
fn close_frames_are_echoed_if_their_code_may_be_sent() {
    let (mut gateway, mut neighbour) = neighbourhood();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999_u16] {
        let mut frames = joined(&gateway);
        frames.send(Opcode::CLOSE, &[&code.to_be_bytes()[..], b"bye"].concat());
        frames.assert_closed(Some(code));
    }
    let mut frames = joined(&gateway);
    frames.send(Opcode::CLOSE, b"");
    frames.assert_closed(None);
    gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "frame")], 0.0);
    gateway.expect_metric("roomcast_connections_closed_total", &[("reason", "transport close")], 13.0);

    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535_u16] {
        eprintln!("{code}");
        refuses(&gateway, &mut neighbour, &masked(0x88, &code.to_be_bytes()), 1002);
    }
    gateway.assert_unharmed();
}

#[test]
fn fragments_are_put_together_and_control_frames_may_come_between() {
    let (gateway, mut neighbour) = neighbourhood();
    let mut frames = joined(&gateway);
    frames.send(Opcode::TEXT, b"420[\"join\",\"room\"]");
    assert_eq!(frames.text(), "430[{\"status\":\"ok\"}]");
    // The euro sign is cut by a frame and by a ping.
    frames.write(&masked(0x01, b"42[\"m\",\"\xe2\x82"));
    frames.send(Opcode::PING, b"ping");
    frames.write(&masked(0x00, b""));
    frames.write(&masked(0x80, b"\xac\"]"));
    assert_eq!(frames.frame(), Frame { opcode: Opcode::PONG, payload: b"ping".to_vec() });
    assert_eq!(neighbour.text(), "42[\"m\",\"€\"]");
    // Fragments of a binary message.
    frames.send(Opcode::TEXT, b"451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
    frames.write(&masked(Opcode::BINARY.0, b"\x00\xff"));
    frames.write(&masked(0x80 | Opcode::CONTINUATION.0, b"\x80"));
    assert_eq!(neighbour.text(), "451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(neighbour.binary(), b"\x00\xff\x80");
}

#[test]
fn pings_are_answered_with_their_payload_and_pongs_are_not() {
    let (gateway, _) = neighbourhood();
    let mut frames = joined(&gateway);
    frames.send(Opcode::PONG, b"unasked");
    for payload in [b"".as_slice(), b"abc", &[b'x'; 125]] {
        frames.send(Opcode::PING, payload);
        assert_eq!(frames.frame(), Frame { opcode: Opcode::PONG, payload: payload.to_vec() });
    }
    // Also on a WebSocket that has not taken over yet.
    let session = crate::harness::Polling::joined(&gateway);
    let mut probe = Frames::open(gateway.client, &session.upgrade_target());
    probe.send(Opcode::PING, b"abc");
    assert_eq!(probe.frame(), Frame { opcode: Opcode::PONG, payload: b"abc".to_vec() });
    probe.send(Opcode::CLOSE, &4000_u16.to_be_bytes());
    probe.assert_closed(Some(4000));
    session.push("420[\"join\",\"room\"]");
    assert_eq!(session.poll(), "430[{\"status\":\"ok\"}]");
}

#[test]
fn one_byte_at_a_time_is_a_session_like_any_other() {
    let (gateway, mut neighbour) = neighbourhood();
    let mut http = gateway.http();
    for byte in Request::upgrade(WEBSOCKET).bytes() {
        http.write(&[byte]);
    }
    assert_eq!(http.answer().status, 101);
    let mut frames = Frames::after(http);
    assert!(frames.text().starts_with("0{"));
    let sent = [
        masked(0x81, b"40"),
        masked(0x81, b"420[\"join\",\"room\"]"),
        masked(0x01, b"42[\"m\","),
        masked(0x89, b"p"),
        masked(0x80, "\"€\"]".as_bytes()),
    ];
    for byte in sent.concat() {
        frames.write(&[byte]);
    }
    assert!(frames.text().starts_with("40{"));
    assert_eq!(frames.text(), "430[{\"status\":\"ok\"}]");
    assert_eq!(frames.frame().opcode, Opcode::PONG);
    assert_eq!(neighbour.text(), "42[\"m\",\"€\"]");
}

#[test]
fn many_messages_in_one_segment_are_taken_in_order() {
    let (gateway, mut neighbour) = neighbourhood();
    let mut http = gateway.http();
    let mut bytes = Request::upgrade(WEBSOCKET).bytes();
    bytes.extend(masked(0x81, b"40"));
    bytes.extend(masked(0x81, b"42[\"join\",\"room\"]"));
    for number in 0..500 {
        bytes.extend(masked(0x81, format!("42[\"m\",{number}]").as_bytes()));
    }
    http.write(&bytes);
    for number in 0..500 {
        assert_eq!(neighbour.text(), format!("42[\"m\",{number}]"));
    }
}

#[test]
fn a_half_sent_frame_harms_nobody_and_ends_with_its_connection() {
    let (mut gateway, mut neighbour) = neighbourhood();
    let whole = masked(0x81, b"420[\"join\",\"room\"]");
    let mut halves: Vec<Frames> = (1..whole.len()).map(|_| joined(&gateway)).collect();
    for (cut, frames) in halves.iter_mut().enumerate() {
        frames.write(&whole[..=cut]);
    }
    neighbour.assert_alive();
    let rest = halves.split_off(halves.len() / 2);
    let count = halves.len();
    drop(halves);
    let closed = [("transport", "websocket"), ("reason", "transport close")];
    gateway.expect_metric(
        "roomcast_connections_closed_total",
        &closed,
        f64::from(u32::try_from(count).unwrap()),
    );
    for (index, mut frames) in rest.into_iter().enumerate() {
        frames.write(&whole[count + index + 1..]);
        assert_eq!(frames.text(), "430[{\"status\":\"ok\"}]");
    }
    neighbour.assert_alive();
    gateway.assert_unharmed();
}

#[test]
fn packets_that_are_none_close_with_an_empty_close_frame() {
    let (mut gateway, mut neighbour) = neighbourhood();
    let cases = [
        ("packet", "parse error", &["", "x", "9"][..]),
        ("heartbeat", "transport error", &["2", "2probe"]),
        (
            "socket_packet",
            "forced close",
            &["4", "49", "42[]", "42/x,[\"a\"]", "42[\"disconnect\"]", "40", "44{}"],
        ),
    ];
    for (cause, reason, packets) in cases {
        for (count, packet) in (1_u8..).zip(packets) {
            eprintln!("{packet:?}");
            let mut frames = joined(&gateway);
            frames.send(Opcode::TEXT, packet.as_bytes());
            frames.assert_closed(None);
            neighbour.assert_alive();
            gateway.expect_metric("roomcast_peer_faults_total", &[("cause", cause)], count.into());
            gateway.expect_metric("roomcast_connections_closed_total", &[("reason", reason)], count.into());
        }
    }
    gateway.assert_unharmed();
}

#[test]
fn an_end_of_stream_in_the_segment_of_the_last_frame_ends_the_session_at_once() {
    const MSG_MORE: i32 = 0x8000;
    let gateway = Gateway::dev(&[]);
    let mut client = WebSocket::open(connect(gateway.client), WEBSOCKET);
    assert!(client.text().starts_with("0{"));
    client.join("/");
    // Held back by the flag until the shutdown, so that frame and end arrive as one event.
    let stream = socket2::SockRef::from(&*client.stream());
    stream.send_with_flags(&masked(0x81, b"42[\"last\"]"), MSG_MORE).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    gateway.expect_metric("roomcast_connections_closed_total", &[("reason", "transport close")], 1.0);
}
