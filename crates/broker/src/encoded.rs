//! A message encoded once per wire form and shared by every outbox that it is in.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, OnceLock},
};

use adapter::{Broadcast, Event};
use bytes::Bytes;
use engineio::{Data, Revision};
use socketio::Packet;
use websocket::{Deflate, Opcode, frame_header};

use crate::{
    body::PollBody,
    compression::Compressor,
    dialect::{Dialect, Framing},
};

/// Room kept in front of a message for its WebSocket header, which is known only when the message is.
const HEADER_BYTES_MAX: usize = 10;

/// What stands in front of an event's namespace and JSON, and between them: types, counts and the like.
const PREFIX_BYTES_USUAL: usize = 16;

/// What most packets of the protocols themselves need.
const PACKET_BYTES_USUAL: usize = 128;

/// One Engine.IO packet, or one Socket.IO message with its attachments, ready to be written to any client.
///
/// The WebSocket frames of JSON on revision 4 are made at once; they hold the text that polling payloads need too,
/// and are the same on revision 3 when nothing is binary. Every other form is a translation of that text, made when
/// first asked for, and then shared as well.
#[derive(Debug)]
pub struct Encoded {
    buffer: Vec<u8>,
    /// Where in `buffer` the frames begin, behind room that their first header did not need.
    start: usize,
    /// Where in `buffer` the text of the packet stands, type digit first; empty for raw bytes.
    text: Range<usize>,
    attachments: Vec<Bytes>,
    rare: OnceLock<Box<RareForms>>,
}

/// Forms that only some clients need.
#[derive(Debug, Default)]
struct RareForms {
    /// The frames of each [`RareForm`].
    frames: [OnceLock<Vec<u8>>; RareForm::COUNT],
    /// The same frames and, last, the usual ones, compressed.
    deflated: [OnceLock<Vec<u8>>; RareForm::COUNT + 1],
    /// The packet as MessagePack, which frames and payloads are made of.
    msgpack: OnceLock<Vec<u8>>,
    /// The text of the packet in ASCII, when it is not.
    ascii: OnceLock<String>,
    /// The packet as 0.9 has it.
    v09: OnceLock<String>,
}

/// The frames that differ from those of JSON on revision 4, by their place among the [`RareForms`].
#[derive(Clone, Copy, Debug)]
enum RareForm {
    /// Attachments behind the text, not as plain binary messages.
    Attachments(Framing),
    /// One message of MessagePack.
    MsgPack(Framing),
    /// One text of 0.9.
    V09,
}

impl RareForm {
    const COUNT: usize = 9;

    fn place(self) -> usize {
        let (parser, Framing { revision, base64_only }) = match self {
            Self::Attachments(framing) => (0, framing),
            Self::MsgPack(framing) => (1, framing),
            Self::V09 => return Self::COUNT - 1,
        };
        parser << 2 | usize::from(revision == Revision::V3) << 1 | usize::from(base64_only)
    }
}

impl Encoded {
    /// Encodes a packet of text; `write` appends it, type digit first, to the buffer it is given.
    pub fn packet(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::with_attachments(Vec::new(), PACKET_BYTES_USUAL, write)
    }

    /// Encodes a message with its binary parts; `write` appends the text, type digit first, of about `text_bytes`.
    fn with_attachments(
        attachments: Vec<Bytes>,
        text_bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        // Room that is too small is made larger, which takes 500 instructions.
        let frame_bytes = |attachment: &Bytes| HEADER_BYTES_MAX + attachment.len();
        let binary_bytes: usize = attachments.iter().map(frame_bytes).sum();
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MAX + text_bytes + binary_bytes);
        buffer.resize(HEADER_BYTES_MAX, 0);
        write(&mut buffer);
        let header = frame_header(Opcode::Text, buffer.len() - HEADER_BYTES_MAX);
        let header = header.as_bytes();
        let start = HEADER_BYTES_MAX - header.len();
        buffer[start..HEADER_BYTES_MAX].copy_from_slice(header);
        let text = HEADER_BYTES_MAX..buffer.len();
        for attachment in &attachments {
            put_frame(&mut buffer, Opcode::Binary, attachment);
        }
        Self { buffer, start, text, attachments, rare: OnceLock::new() }
    }

    /// Encodes the event of a broadcast for the clients of its namespace, who acknowledge `ack` if there is one.
    pub fn event(broadcast: &Broadcast, ack: Option<u64>) -> Self {
        let Event { json, attachments } = &broadcast.event;
        let text_bytes = json.len() + broadcast.namespace.as_str().len() + PREFIX_BYTES_USUAL;
        Self::with_attachments(attachments.clone(), text_bytes, |out| {
            out.push(b'4');
            let json = std::str::from_utf8(json).unwrap_or("[]");
            socketio::encode_event(out, broadcast.namespace.as_str(), ack, attachments.len(), json);
        })
    }

    /// Bytes that go to a WebSocket as they are: an HTTP answer, a control frame.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let buffer = bytes.into();
        Self { buffer, start: 0, text: 0..0, attachments: Vec::new(), rare: OnceLock::new() }
    }

    /// The bytes for a WebSocket.
    #[inline]
    pub fn frames(&self, dialect: Dialect) -> &[u8] {
        match dialect {
            Dialect::Json(_) if self.attachments.is_empty() => &self.buffer[self.start..],
            _ => self.rare_frames(dialect),
        }
    }

    fn rare_frames(&self, dialect: Dialect) -> &[u8] {
        let Some(form) = self.rare_form(dialect) else { return &self.buffer[self.start..] };
        self.rare().frames[form.place()].get_or_init(|| {
            let mut out = Vec::new();
            for message in self.messages(form) {
                match message {
                    Data::Text(text) => put_frame(&mut out, Opcode::Text, text.as_bytes()),
                    Data::Binary(bytes) => put_frame(&mut out, Opcode::Binary, &bytes),
                }
            }
            out
        })
    }

    fn rare_form(&self, dialect: Dialect) -> Option<RareForm> {
        match dialect {
            Dialect::Json(framing) if !self.attachments.is_empty() && framing != Framing::V4 => {
                Some(RareForm::Attachments(framing))
            }
            Dialect::MsgPack(framing) if self.is_message() => Some(RareForm::MsgPack(framing)),
            Dialect::V09 if !self.text.is_empty() => Some(RareForm::V09),
            Dialect::Json(_) | Dialect::MsgPack(_) | Dialect::V09 => None,
        }
    }

    /// The bytes for a WebSocket on which messages may be compressed.
    pub(crate) fn deflated(&self, dialect: Dialect, agreed: Deflate, compressor: &mut Compressor) -> &[u8] {
        let frames = self.frames(dialect);
        // Raw bytes are no messages.
        if self.text.is_empty() || !compressor.takes(frames, agreed) {
            return frames;
        }
        let place = self.rare_form(dialect).map_or(RareForm::COUNT, RareForm::place);
        self.rare().deflated[place].get_or_init(|| compressor.compress(frames))
    }

    /// The WebSocket messages of a rare form.
    fn messages(&self, form: RareForm) -> Vec<Data<'_>> {
        match form {
            RareForm::Attachments(framing) => {
                let text = Data::Text(Cow::Borrowed(self.text()));
                let attachments = self.attachments.iter().map(|attachment| framing.binary(attachment));
                std::iter::once(text).chain(attachments).collect()
            }
            RareForm::MsgPack(framing) => {
                self.msgpack().into_iter().map(|bytes| framing.binary(bytes)).collect()
            }
            RareForm::V09 => self.v09().into_iter().map(|text| Data::Text(text.into())).collect(),
        }
    }

    /// Adds the packet to the answer to a poll; raw bytes add nothing.
    pub(crate) fn add_to(&self, body: &mut PollBody) {
        if self.text.is_empty() {
            return;
        }
        match body {
            PollBody::MsgPack(payload) if self.is_message() => {
                self.msgpack().into_iter().for_each(|bytes| payload.push_binary(bytes));
            }
            PollBody::Json(payload) | PollBody::MsgPack(payload) => {
                payload.push_text(if payload.wants_ascii() { self.ascii() } else { self.text() });
                self.attachments.iter().for_each(|attachment| payload.push_binary(attachment));
            }
            PollBody::V09(body) => self.v09().into_iter().for_each(|text| body.push(text)),
        }
    }

    /// The text of the packet, type digit first.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.buffer[self.text.clone()]).unwrap_or_default()
    }

    /// The text of the packet, its JSON in ASCII.
    fn ascii(&self) -> &str {
        if self.text().is_ascii() {
            return self.text();
        }
        self.rare().ascii.get_or_init(|| {
            let (kind, packet) = self.text().split_at_checked(1).unwrap_or_default();
            format!("{kind}{}", socketio::ascii_json(packet))
        })
    }

    /// What the message counts against an outbox, in bytes.
    pub fn size(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether there is a Socket.IO packet in it, and not one of Engine.IO's own.
    fn is_message(&self) -> bool {
        self.text().starts_with('4')
    }

    /// The packet as 0.9 has it, with `None` as in [`Self::msgpack`].
    fn v09(&self) -> Option<&str> {
        let text = self.rare().v09.get_or_init(|| match self.text().split_at_checked(1) {
            Some(("4", packet)) => socketio::split(packet)
                .and_then(|packet| packet_of_v09(packet, &self.attachments))
                .unwrap_or_default(),
            Some(("2", _)) => "2::".into(),
            // To answer a poll, and to say no more. A client whose session has ended hears of it by its next poll.
            _ => "8::".into(),
        });
        (!text.is_empty()).then_some(text)
    }

    fn rare(&self) -> &RareForms {
        self.rare.get_or_init(Box::default)
    }

    /// The packet as MessagePack. `None` if it is no packet, which nothing makes: its clients then get nothing, where
    /// half a packet would end them.
    fn msgpack(&self) -> Option<&[u8]> {
        let bytes = self.rare().msgpack.get_or_init(|| {
            let packet = socketio::split(self.text().get(1..).unwrap_or_default());
            packet
                .and_then(|packet| adapter::parser::encode(&packet, &self.attachments).ok())
                .unwrap_or_default()
        });
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// `packet` for a client of 0.9, which has no binary: attachments are the arrays that servers of that time sent.
fn packet_of_v09(packet: Packet<'_>, attachments: &[Bytes]) -> Option<String> {
    let inlined = match packet.data {
        Some(data) if !attachments.is_empty() => Some(adapter::json_with_arrays(data, attachments).ok()?),
        _ => None,
    };
    let mut out = Vec::new();
    socketio::v09::encode(&mut out, &Packet { data: inlined.as_deref().or(packet.data), ..packet });
    String::from_utf8(out).ok()
}

/// A broadcast on its way to the sockets of every shard: what other nodes need, and what sockets get.
#[derive(Debug)]
pub struct Publication {
    /// Whom it is for, and its event.
    pub broadcast: Broadcast,
    /// The event as clients get it.
    pub encoded: Arc<Encoded>,
}

impl Publication {
    /// Encodes `broadcast` for all its recipients.
    #[inline]
    pub fn new(broadcast: Broadcast) -> Self {
        let encoded = Arc::new(Encoded::event(&broadcast, None));
        Self { broadcast, encoded }
    }

    /// The same for one that goes no further than to the sockets here: it keeps their form of the event alone. What is
    /// given back where it was taken costs a third of what is given back on another thread.
    pub fn for_sockets(broadcast: Broadcast) -> Self {
        let mut publication = Self::new(broadcast);
        publication.broadcast.event = Event { json: Bytes::new(), attachments: Vec::new() };
        publication
    }
}

fn put_frame(out: &mut Vec<u8>, opcode: Opcode, message: &[u8]) {
    out.extend_from_slice(frame_header(opcode, message.len()).as_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Dialect = Dialect::Json(Framing::V4);
    const V3: Dialect = Dialect::Json(Framing::V3);
    const V4_TEXT: Framing = Framing { base64_only: true, ..Framing::V4 };
    const V3_TEXT: Framing = Framing { base64_only: true, ..Framing::V3 };

    #[test]
    fn a_text_packet_has_one_form_for_all_websockets() {
        let ping = Encoded::packet(|out| out.push(b'2'));
        assert_eq!(ping.frames(V4), b"\x81\x012");
        assert_eq!(ping.frames(V3), b"\x81\x012");
        assert_eq!(ping.text(), "2");
    }

    #[test]
    fn attachments_take_the_form_of_each_dialect() {
        let part = Bytes::from_static(b"\x01\x02\x03");
        let message = Encoded::with_attachments(vec![part], 16, |out| out.extend_from_slice(b"451-[\"x\"]"));
        let head = b"\x81\x09451-[\"x\"]".as_slice();
        for (dialect, tail) in [
            (V4, b"\x82\x03\x01\x02\x03".as_slice()),
            (V3, b"\x82\x04\x04\x01\x02\x03"),
            (Dialect::Json(V4_TEXT), b"\x81\x05bAQID"),
            (Dialect::Json(V3_TEXT), b"\x81\x06b4AQID"),
        ] {
            assert_eq!(message.frames(dialect)[..], [head, tail].concat(), "{dialect:?}");
        }
    }

    #[test]
    fn long_texts_get_the_longer_headers() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let packet = Encoded::packet(|out| out.resize(out.len() + length, b'4'));
            assert_eq!(packet.size(), header + length);
            assert_eq!(packet.text().len(), length);
        }
    }

    #[test]
    fn a_payload_takes_text_and_attachments_but_no_raw_bytes() {
        let part = Bytes::from_static(b"\x01\x02\x03");
        let message = Encoded::with_attachments(vec![part], 16, |out| out.extend_from_slice(b"451-[\"x\"]"));
        let mut payload = V4.body();
        message.add_to(&mut payload);
        Encoded::raw(&b"\x88\x00"[..]).add_to(&mut payload);
        assert_eq!(payload.finish().0, b"451-[\"x\"]\x1ebAQID");
    }

    /// `{"type":2,"data":["x",<01 02 03>],"nsp":"/"}`.
    const PACKED: &[u8] = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1x\xc4\x03\x01\x02\x03";

    #[test]
    fn msgpack_is_one_message_with_its_attachments_inside() {
        let part = Bytes::from_static(b"\x01\x02\x03");
        let json = br#"451-["x",{"_placeholder":true,"num":0}]"#;
        let message = Encoded::with_attachments(vec![part], 16, |out| out.extend_from_slice(json));
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, PACKED);
        for (framing, frame) in [
            (Framing::V4, [b"\x82\x1a", PACKED].concat()),
            (Framing::V3, [b"\x82\x1b\x04", PACKED].concat()),
            (V4_TEXT, [b"\x81\x25b", base64.as_bytes()].concat()),
            (V3_TEXT, [b"\x81\x26b4", base64.as_bytes()].concat()),
        ] {
            assert_eq!(message.frames(Dialect::MsgPack(framing)), frame, "{framing:?}");
        }
        let mut payload = Dialect::MsgPack(Framing::V4).body();
        message.add_to(&mut payload);
        assert_eq!(payload.finish().0, [b"b", base64.as_bytes()].concat());
    }

    #[test]
    fn packets_of_engine_io_are_text_beside_msgpack() {
        let ping = Encoded::packet(|out| out.push(b'2'));
        assert_eq!(ping.frames(Dialect::MsgPack(Framing::V4)), b"\x81\x012");
        let close = Encoded::raw(&b"\x88\x00"[..]);
        assert_eq!(close.frames(Dialect::MsgPack(Framing::V3)), b"\x88\x00");
    }

    #[test]
    fn clients_of_0_9_get_one_text_with_arrays_for_bytes() {
        let part = Bytes::from_static(b"\x01\xff");
        let json = br#"451-/a,["x",{"_placeholder":true,"num":0}]"#;
        let message = Encoded::with_attachments(vec![part], 64, |out| out.extend_from_slice(json));
        let text = br#"5::/a:{"name":"x","args":[[1,255]]}"#;
        assert_eq!(message.frames(Dialect::V09), [&[0x81, text.len() as u8], &text[..]].concat());
        let packet = |text: &str| Encoded::packet(|out| out.extend_from_slice(text.as_bytes()));
        for (text, expected) in [("2", "2::"), ("6", "8::"), ("1", "8::"), ("40", "1::")] {
            let mut body = Dialect::V09.body();
            packet(text).add_to(&mut body);
            assert_eq!(body.finish().0, expected.as_bytes(), "{text}");
        }
        assert_eq!(Encoded::raw(&b"\x88\x00"[..]).frames(Dialect::V09), b"\x88\x00");
    }
}
