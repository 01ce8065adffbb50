//! Messages to clients with which compression was agreed on.

use adapter::Delivery;
use broker::{Dialect, Framing, Opening, Parser, ShardConfig};
use websocket::{Decoder, Deflate, Inflater, Message};

use crate::harness::{Broker, Socket, V3, V4, config, publication};

const BYTES_MIN: u32 = 64;
const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn broker() -> Broker {
    Broker::new(ShardConfig { deflate_bytes_min: BYTES_MIN, ..config() })
}

fn agreed(offer: &str) -> Option<Deflate> {
    Some(Deflate::negotiate(offer).unwrap())
}

/// A client that has joined `/`, with which compression was agreed on.
fn connect(broker: &mut Broker, opening: Opening, offer: &str) -> Socket {
    let socket = broker.open(Opening { deflate: agreed(offer), ..opening.clone() });
    // Of revision 3 the server has joined it by itself.
    if opening.dialect == V4.dialect {
        broker.send(socket, "40");
    }
    written(broker, socket);
    socket
}

/// The bytes that the client got since the last look.
fn written(broker: &mut Broker, socket: Socket) -> Vec<u8> {
    std::mem::take(&mut broker.wire.link(socket.link).bytes)
}

/// What a client reads, marked frames inflated, as text.
fn read(frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = frames;
    while let [first, second, behind @ ..] = rest {
        let (length, behind) = match second {
            126 => (usize::from(u16::from_be_bytes([behind[0], behind[1]])), &behind[2..]),
            length => (usize::from(*length), behind),
        };
        let (payload, behind) = behind.split_at(length);
        // As if a client had sent it: with a mask of zeros.
        let head = &rest[..rest.len() - behind.len() - length];
        let mut frame = [head, &[0; 4], payload].concat();
        frame[1] |= 0x80;
        let mut inflater = Inflater::new();
        let step = Decoder::with_deflate().decode(&mut frame, 1 << 20, &mut inflater).unwrap();
        texts.push(match step.message.unwrap() {
            Message::Text(text) => text.into_owned(),
            Message::Binary(bytes) => format!("<{} bytes>", bytes.len()),
            other => format!("{other:?}"),
        });
        assert!(matches!(first, 0x81 | 0x82 | 0xc1 | 0xc2), "{first:x}");
        rest = behind;
    }
    texts
}

fn long() -> String {
    format!("[\"x\",\"{}\"]", "again and ".repeat(20))
}

#[test]
fn all_who_agreed_get_the_same_compressed_frame_and_the_others_none() {
    let mut broker = broker();
    let offers = [OFFER, "permessage-deflate; server_max_window_bits=9", OFFER];
    let agreed = offers.map(|offer| connect(&mut broker, V4, offer));
    let old = connect(&mut broker, V3, OFFER);
    let (plain, _) = broker.connect();
    broker.publish(&[], &long());
    let first = written(&mut broker, agreed[0]);
    assert_eq!(first[0], 0xc1);
    assert!(first.len() < 60, "{} bytes", first.len());
    assert_eq!(read(&first), [format!("42{}", long())]);
    for socket in [agreed[1], agreed[2], old] {
        assert_eq!(written(&mut broker, socket), first);
    }
    assert_eq!(broker.received(plain), [format!("42{}", long())]);
}

#[test]
fn short_messages_and_those_longer_than_a_clients_window_go_as_they_are() {
    let mut broker = broker();
    let socket = connect(&mut broker, V4, OFFER);
    let narrow = connect(&mut broker, V4, "permessage-deflate; server_max_window_bits=8");
    let text = |length: usize| format!("[\"{}\"]", "x".repeat(length - r#"[""]"#.len()));
    for (length, is_marked, is_marked_for_narrow) in [
        // With the `42` in front of it, and two or four bytes of header.
        (BYTES_MIN as usize - 5, false, false),
        (BYTES_MIN as usize - 2, true, true),
        (256 - 2 - 4, true, true),
        (256 - 2 - 4 + 1, true, false),
    ] {
        broker.publish(&[], &text(length));
        for (socket, is_marked) in [(socket, is_marked), (narrow, is_marked_for_narrow)] {
            let frames = written(&mut broker, socket);
            assert_eq!(frames[0] & 0x40 != 0, is_marked, "{length} bytes");
            assert_eq!(read(&frames), [format!("42{}", text(length))]);
        }
    }
}

#[test]
fn each_attachment_is_a_message_of_its_own() {
    let mut broker = broker();
    let socket = connect(&mut broker, V4, OFFER);
    let mut publication = publication(
        &[],
        r#"["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        Delivery::Reliable,
    );
    publication.broadcast.event.attachments = vec![vec![7; 500].into(), vec![1, 2, 3].into()];
    broker.shard.deliver(&broker::Publication::new(publication.broadcast));
    broker.turn();
    let frames = written(&mut broker, socket);
    assert!(frames.len() < 150, "{} bytes", frames.len());
    assert_eq!(read(&frames)[1..], ["<500 bytes>", "<3 bytes>"]);
}

#[test]
fn messagepack_is_compressed_in_its_own_form() {
    let mut broker = broker();
    let dialect = Dialect::new(Parser::MsgPack, Framing::V4);
    let socket = broker.open(Opening { dialect, deflate: agreed(OFFER), ..V4 });
    broker.send_binary(socket, b"\x82\xa4type\x00\xa3nsp\xa1/");
    written(&mut broker, socket);
    broker.publish(&[], &long());
    let frames = written(&mut broker, socket);
    assert_eq!(frames[0], 0xc2);
    assert!(frames.len() < 80, "{} bytes", frames.len());
}

#[test]
fn a_slow_client_gets_the_rest_of_the_same_frame() {
    let mut broker = broker();
    let (slow, other) = (connect(&mut broker, V4, OFFER), connect(&mut broker, V4, OFFER));
    broker.wire.link(slow.link).room = 10;
    broker.publish(&[], &long());
    broker.publish(&[], &long());
    let whole = written(&mut broker, other);
    for _ in 0..whole.len() / 10 + 1 {
        broker.wire.link(slow.link).room = 10;
        broker.shard.handle_writable(slow.key, slow.link);
        broker.turn();
    }
    assert_eq!(written(&mut broker, slow), whole);
}

#[test]
fn what_was_agreed_on_holds_for_the_websocket_of_an_upgrade() {
    for (deflate, first) in [(agreed(OFFER), 0xc1), (None, 0x81)] {
        let mut broker = broker();
        let polling = broker.connect_polling();
        let link = broker.new_link();
        let key = broker.shard.open_probe(&polling.sid, polling.wire, link, deflate, broker.now).unwrap();
        broker.publish(&[], &long());
        let poll = broker.poll(polling).unwrap();
        assert_eq!(broker.answer(poll), Some(format!("42{}", long())), "polling has its own compression");
        let socket = Socket { key, link };
        broker.send(socket, "2probe");
        broker.send(socket, "5");
        written(&mut broker, socket);
        broker.publish(&[], &long());
        assert_eq!(written(&mut broker, socket)[0], first);
    }
}

#[test]
fn the_answer_to_the_request_and_close_frames_are_no_messages() {
    let mut broker = broker();
    let link = broker.new_link();
    let greeting = "HTTP/1.1 101 Switching Protocols\r\n".repeat(10);
    let opening = Opening { deflate: agreed(OFFER), ..V4 };
    let key = broker.shard.open_websocket(link, opening, Some(greeting.clone().into()), broker.now);
    broker.turn();
    let socket = Socket { key, link };
    assert!(written(&mut broker, socket).starts_with(greeting.as_bytes()));
    broker.send(socket, "9");
    assert_eq!(written(&mut broker, socket), b"\x88\x00");
}
