//! Bytes into packets and back, for messages of 128 bytes.

use std::hint::black_box;

use adapter::{Broadcast, Delivery, Event, Flags, Targets, Uid, classic};
use bytes::Bytes;
use engineio::{BodyForm, Revision};
use socketio::{DecodeLimits, NamespaceName, RoomName};
use websocket::{Decoder, Inflater, frame_header};

use crate::{Bench, Counted};

pub(crate) const BENCHES: [Bench; 6] = [
    ("websocket_decode", websocket_decode),
    ("socketio_decode_event", socketio_decode_event),
    ("socketio_encode_event", socketio_encode_event),
    ("engineio_decode_body_of_16", engineio_decode_body),
    ("adapter_decode_broadcast", adapter_decode_broadcast),
    ("adapter_encode_broadcast", adapter_encode_broadcast),
];

/// Units of one run, so that what surrounds them does not count.
const MESSAGES: u32 = 100;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The JSON text of an event, 128 bytes long.
pub(crate) fn event() -> String {
    let start = r#"["m","r0","#;
    let filler = 128 - start.len() - 3;
    format!("{start}\"{:.<filler$}\"]", "")
}

fn websocket_decode() -> Counted {
    let text = format!("42{}", event());
    let mut frame = frame_header(websocket::Opcode::Text, text.len()).as_bytes().to_vec();
    // A client masks: the bit in the second byte, and the key behind the length.
    frame[1] |= 0x80;
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    let mut scratch = frame.clone();
    let (mut decoder, mut inflater) = (Decoder::new(), Inflater::new());
    Counted::new(MESSAGES, move || {
        for _ in 0..MESSAGES {
            scratch.copy_from_slice(&frame);
            let step = decoder.decode(&mut scratch, 1_000_000, &mut inflater).expect("the frame is right");
            assert!(black_box(step).message.is_some(), "the frame is whole");
        }
    })
}

fn socketio_decode_event() -> Counted {
    let text = format!("2{}", event());
    let limits = DecodeLimits::default();
    Counted::new(MESSAGES, move || {
        for _ in 0..MESSAGES {
            black_box(socketio::decode(black_box(&text), &limits)).expect("the packet is right");
        }
    })
}

fn socketio_encode_event() -> Counted {
    let (namespace, json) = (NamespaceName::main(), event());
    let mut out = Vec::with_capacity(200);
    Counted::new(MESSAGES, move || {
        for _ in 0..MESSAGES {
            out.clear();
            socketio::encode_event(&mut out, namespace.as_str(), None, 0, black_box(&json));
            black_box(&out);
        }
    })
}

fn engineio_decode_body() -> Counted {
    let packets: Vec<String> = (0..16).map(|_| format!("42{}", event())).collect();
    let body = packets.join("\u{1e}");
    Counted::new(16, move || {
        let packets = engineio::decode_body(Revision::V4, BodyForm::Text, black_box(body.as_bytes()));
        assert_eq!(packets.map(|packet| black_box(packet).is_ok()).filter(|ok| *ok).count(), 16);
    })
}

/// An event of 128 bytes for one room.
pub(crate) fn broadcast() -> Broadcast {
    Broadcast {
        namespace: NamespaceName::main(),
        targets: Targets { rooms: vec![RoomName::new("r0")], except: Vec::new() },
        delivery: Delivery::Reliable,
        event: Event { json: Bytes::from(event()), attachments: Vec::new() },
    }
}

fn adapter_decode_broadcast() -> Counted {
    let message = classic::encode_broadcast(&Uid::new("abc123"), &broadcast(), &Flags::default())
        .expect("the event is right");
    let limits = DecodeLimits::default();
    Counted::new(MESSAGES, move || {
        for _ in 0..MESSAGES {
            black_box(classic::decode_broadcast(black_box(&message), &limits)).expect("the message is right");
        }
    })
}

fn adapter_encode_broadcast() -> Counted {
    let (uid, broadcast) = (Uid::new("abc123"), broadcast());
    Counted::new(MESSAGES, move || {
        for _ in 0..MESSAGES {
            let message = classic::encode_broadcast(&uid, black_box(&broadcast), &Flags::default());
            black_box(message).expect("the event is right");
        }
    })
}
