//! Socket.IO packets, as text and attachments in turn.

use socketio::{
    Assembler, DecodeLimits, Incoming, PacketKind, Protocol, decode, encode_ack, encode_connect,
    encode_event, event_json, event_name, first_argument, string_field,
};

use crate::program::text;

const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 10, depth_max: 128 };

/// Messages of one client, separated by 0x1e; one that begins with 0x00 is binary.
pub(crate) fn packet(bytes: &[u8]) {
    let mut assembler = Assembler::new();
    for message in bytes.split(|byte| *byte == 0x1e) {
        let text = text(message);
        let incoming = match message.split_first() {
            Some((0, binary)) => assembler.handle_binary(binary, &LIMITS),
            _ => assembler.handle_text(&text, &LIMITS),
        };
        if let Ok(Some(incoming)) = incoming {
            reads_back(&incoming);
        }
    }
}

fn reads_back(incoming: &Incoming<'_>) {
    let Incoming { kind, namespace, id, data, attachments } = incoming;
    assert!(attachments.len() <= LIMITS.attachments_max, "too many attachments");
    assert!(!kind.is_binary(), "attachments are a matter of the wire");
    // A namespace that has a comma in it is none, and one without a slash is not sent.
    assert!(namespace.starts_with('/') && !namespace.contains(','));
    let Some(data) = data else { return };
    let mut out = Vec::new();
    match kind {
        PacketKind::Event => {
            let _name = event_name(data);
            let _room = first_argument(data);
            encode_event(&mut out, namespace, *id, attachments.len(), data);
        }
        PacketKind::Ack => {
            let Some(id) = id else { return };
            encode_ack(&mut out, namespace, *id, attachments.len(), data);
        }
        PacketKind::Connect => {
            if let Some(token) = string_field(data, "token") {
                encode_connect(&mut out, Protocol::V5, namespace, &token);
                let written = text(&out);
                let read = decode(&written, &LIMITS).expect("what is written is a packet");
                let sid = read.data.and_then(|data| string_field(data, "sid"));
                assert_eq!(sid.as_deref(), Some(&*token));
            }
            return;
        }
        _ => return,
    }
    let written = text(&out);
    let read = decode(&written, &LIMITS).expect("what is written is a packet");
    assert_eq!((read.kind.without_attachments(), read.namespace, read.id), (*kind, &**namespace, *id));
    assert_eq!((read.attachments, read.data), (attachments.len(), Some(&**data)));
}

/// A packet in MessagePack, from a client with that parser: its JSON is that of a packet, and is written so that it is
/// read again.
pub(crate) fn msgpack(bytes: &[u8]) {
    let Ok(incoming) = adapter::parser::decode(bytes, &LIMITS) else { return };
    // An event of another name goes nowhere: the shard sees to that.
    let name = incoming.data.as_deref().and_then(event_name);
    if incoming.kind != PacketKind::Event
        || name.is_some_and(|name| socketio::reserved_event(&name).is_none())
    {
        reads_back(&incoming);
    }
    let packet = socketio::Packet {
        kind: incoming.kind,
        namespace: &incoming.namespace,
        id: incoming.id,
        attachments: incoming.attachments.len(),
        data: incoming.data.as_deref(),
    };
    if let Ok(written) = adapter::parser::encode(&packet, &incoming.attachments) {
        let read = adapter::parser::decode(&written, &LIMITS).expect("what is written is a packet");
        assert_eq!((read.kind, &read.namespace, read.id), (incoming.kind, &incoming.namespace, incoming.id));
        assert_eq!(read.attachments, incoming.attachments);
    }
}

/// What a back end publishes: the name up to the first line feed, then the arguments. The first byte says how many
/// attachments there are.
pub(crate) fn event(bytes: &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return };
    let text = text(rest);
    let (name, arguments) = text.split_once('\n').unwrap_or((&text, ""));
    let attachments = usize::from(count % 12);
    let mut json = bytes::BytesMut::new();
    if event_json(&mut json, name, arguments, attachments, &LIMITS).is_err() {
        return;
    }
    let json = crate::program::text(&json);
    let mut out = Vec::new();
    encode_event(&mut out, "/", None, attachments, &json);
    let written = crate::program::text(&out);
    let read = decode(&written, &LIMITS).expect("a client understands what is published");
    assert_eq!(read.data, Some(&*json));
    assert_eq!(event_name(&json).as_deref(), Some(name));
}
