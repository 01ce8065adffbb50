//! permessage-deflate with the real process: what is agreed on, what is compressed, and what broken clients get.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::harness::{
    Cluster, Frames, Gateway, Opcode, Polling, Request, Response, WEBSOCKET, masked, message,
};

const ON: &str = "client.websocket_compression=true";
const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn extensions(answer: &Response) -> Option<String> {
    answer.header("Sec-WebSocket-Extensions")
}

fn open(gateway: &Gateway, offer: &str) -> (Frames, Option<String>) {
    let request = Request::upgrade(WEBSOCKET).header("Sec-WebSocket-Extensions", offer);
    let (mut frames, answer) = Frames::answered(gateway.client, &request);
    assert!(frames.text().starts_with("0{"), "the open packet is short");
    (frames, extensions(&answer))
}

/// A client that has joined `/` and agreed on compression.
fn joined(gateway: &Gateway) -> Frames {
    let (mut frames, agreed) = open(gateway, OFFER);
    assert_eq!(agreed.as_deref(), Some(AGREED));
    frames.join();
    frames
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(message.len() + 1000);
    Compress::new(Compression::default(), false)
        .compress_vec(message, &mut payload, FlushCompress::Sync)
        .unwrap();
    payload.strip_suffix(&TAIL).unwrap().to_vec()
}

fn inflated(payload: &[u8]) -> String {
    let mut message = Vec::with_capacity(1 << 20);
    let whole = [payload, &TAIL].concat();
    Decompress::new(false).decompress_vec(&whole, &mut message, FlushDecompress::Sync).unwrap();
    String::from_utf8(message).unwrap()
}

fn long(text: &str) -> String {
    text.repeat(2000 / text.len())
}

#[test]
fn nothing_is_agreed_on_unless_it_is_configured() {
    let gateway = Gateway::dev(&[]);
    let (mut frames, agreed) = open(&gateway, OFFER);
    assert_eq!(agreed, None);
    frames.write(&masked(0xc1, &deflated(b"40")));
    frames.assert_closed(Some(1002));
}

#[test]
fn what_is_agreed_on_follows_the_offer() {
    let gateway = Gateway::dev(&[ON]);
    for (offer, expected) in [
        (OFFER, Some(AGREED.to_owned())),
        (
            "permessage-deflate; server_max_window_bits=10",
            Some(format!("{AGREED}; server_max_window_bits=10")),
        ),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-bzip2", None),
        ("permessage-deflate; unheard_of, permessage-deflate", Some(AGREED.to_owned())),
    ] {
        assert_eq!(open(&gateway, offer).1, expected, "{offer}");
    }
}

#[test]
fn offers_on_several_lines_are_one_list() {
    let gateway = Gateway::dev(&[ON]);
    let lines = |first: &str, second: &str| {
        let name = "Sec-WebSocket-Extensions";
        let request = Request::upgrade(WEBSOCKET).header(name, first).header(name, second);
        let at_once = extensions(&gateway.http().send(&request));
        // On a connection that has spoken HTTP before, another parser reads them.
        let mut http = gateway.http();
        assert_eq!(http.send(&Request::get("/nowhere")).status, 404);
        assert_eq!(extensions(&http.send(&request)), at_once);
        at_once
    };
    assert_eq!(lines("permessage-bzip2", OFFER).as_deref(), Some(AGREED));
    assert_eq!(lines("permessage-deflate; unheard_of", "x, permessage-deflate").as_deref(), Some(AGREED));
    assert_eq!(lines("permessage-bzip2", "permessage-deflate; unheard_of"), None);
}

#[test]
fn messages_are_compressed_in_both_directions_and_each_by_itself() {
    let gateway = Gateway::dev(&[ON]);
    let mut frames = joined(&gateway);
    frames.send(Opcode::TEXT, b"420[\"join\",\"room\"]");
    assert_eq!(frames.text(), "430[{\"status\":\"ok\"}]");
    let mut other = gateway.joined();
    other.join_room("room");
    let event = format!("42[\"m\",\"{}\"]", long("h\u{e9}\u{20ac}\u{1f600}"));
    for _ in 0..3 {
        // Two fragments, the second not marked.
        let payload = deflated(event.as_bytes());
        let (first, second) = payload.split_at(payload.len() / 2);
        frames.write(&masked(0x41, first));
        frames.write(&masked(0x80, second));
        assert_eq!(other.text(), event);
        other.send(&event);
        let frame = frames.frame();
        assert_eq!(frame.opcode, Opcode::COMPRESSED_TEXT);
        assert!(frame.payload.len() < event.len() / 10);
        assert_eq!(inflated(&frame.payload), event);
    }
    // Short ones are left alone.
    other.send("42[\"m\"]");
    assert_eq!(frames.text(), "42[\"m\"]");
}

#[test]
fn a_message_of_exactly_the_threshold_is_compressed() {
    let gateway = Gateway::dev(&[ON, "client.websocket_compression_min_bytes=200"]);
    let mut frames = joined(&gateway);
    frames.send(Opcode::TEXT, b"420[\"join\",\"room\"]");
    assert_eq!(frames.text(), "430[{\"status\":\"ok\"}]");
    let mut publisher = gateway.publisher();
    let text = |length: usize| "x".repeat(length - r#"42["m",""]"#.len());
    publisher.publish(message(&["room"], "m", &format!("[\"{}\"]", text(199))));
    assert_eq!(frames.text(), format!("42[\"m\",\"{}\"]", text(199)));
    publisher.publish(message(&["room"], "m", &format!("[\"{}\"]", text(200))));
    let frame = frames.frame();
    assert_eq!(frame.opcode, Opcode::COMPRESSED_TEXT);
    assert_eq!(inflated(&frame.payload), format!("42[\"m\",\"{}\"]", text(200)));
}

#[test]
fn broken_compression_closes_one_client_with_the_right_code() {
    let mut gateway = Gateway::dev(&[ON, "engine.max_payload_bytes=1000"]);
    let mut neighbour = joined(&gateway);
    for (name, bytes, code) in [
        ("bytes that are not DEFLATE", masked(0xc1, &[0xff; 20]), 1007),
        ("text that is not UTF-8", masked(0xc1, &deflated(b"42[\"\xff\"]")), 1007),
        ("one byte over the limit when inflated", masked(0xc1, &deflated(&[b'4'; 1001])), 1009),
        ("a frame over the limit as it comes", masked(0xc1, &[0; 2000]), 1009),
        ("the mark on a continuation", [masked(0x41, b"\x00"), masked(0xc0, b"\x00")].concat(), 1002),
        ("the mark on a ping", masked(0xc9, b""), 1002),
        ("the mark on a close", masked(0xc8, b""), 1002),
        ("another reserved bit", masked(0xa1, b""), 1002),
    ] {
        eprintln!("{name}");
        let faults = gateway.metric("roomcast_peer_faults_total", &[("cause", "frame")]);
        let mut frames = joined(&gateway);
        frames.write(&bytes);
        frames.assert_closed(Some(code));
        gateway.expect_metric("roomcast_peer_faults_total", &[("cause", "frame")], faults + 1.0);
        neighbour.send(Opcode::PING, b"alive?");
        assert_eq!(neighbour.frame().opcode, Opcode::PONG);
    }
    let mut frames = joined(&gateway);
    let longest = [b"42[\"".as_slice(), &[b'x'; 1000 - 7], b"\"]"].concat();
    frames.write(&masked(0xc1, &deflated(&longest)));
    frames.send(Opcode::PING, b"alive?");
    assert_eq!(frames.frame().opcode, Opcode::PONG);
    gateway.assert_unharmed();
}

#[test]
fn a_bomb_of_a_gigabyte_closes_with_1009_and_costs_little_memory() {
    let mut gateway = Gateway::dev(&[ON, "engine.max_payload_bytes=1200000"]);
    // Each block stands for a megabyte of zeros.
    let block = [deflated(&vec![0; 1 << 20]), TAIL.to_vec()].concat();
    let bomb = masked(0xc2, &block.repeat(1 << 10));
    assert!(bomb.len() < 1_200_000, "{}", bomb.len());
    drop(joined(&gateway));
    let before = gateway.resident_bytes();
    for _ in 0..5 {
        let mut frames = joined(&gateway);
        frames.write(&bomb);
        frames.assert_closed(Some(1009));
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    gateway.assert_unharmed();
}

#[test]
fn an_upgrade_agrees_too_also_by_way_of_another_gateway() {
    let cluster = Cluster::dev(2, &[ON]);
    for door in [0, 1] {
        let session = Polling::joined(&cluster[0]);
        let request = Request::upgrade(&session.upgrade_target()).header("Sec-WebSocket-Extensions", OFFER);
        let (mut frames, answer) = Frames::answered(cluster[door].client, &request);
        assert_eq!(extensions(&answer).as_deref(), Some(AGREED));
        frames.send(Opcode::TEXT, b"2probe");
        assert_eq!(frames.text(), "3probe");
        frames.send(Opcode::TEXT, b"5");
        frames.write(&masked(0xc1, &deflated(b"420[\"join\",\"room\"]")));
        assert_eq!(frames.text(), "430[{\"status\":\"ok\"}]");
        let text = long("again ");
        cluster[0].publisher().publish(message(&["room"], "m", &format!("[\"{text}\"]")));
        let frame = frames.frame();
        assert_eq!(frame.opcode, Opcode::COMPRESSED_TEXT);
        assert_eq!(inflated(&frame.payload), format!("42[\"m\",\"{text}\"]"));
    }
}
