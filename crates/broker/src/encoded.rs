//! A message encoded once per wire form and shared by every outbox that it is in.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use adapter::{Broadcast, Event};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use engineio::{PayloadEncoder, Revision};
use websocket::{Opcode, frame_header};

/// Room kept in front of a message for its WebSocket header, which is known only when the message is.
const HEADER_BYTES_MAX: usize = 10;

/// What most packets of the protocols themselves need.
const PACKET_BYTES_USUAL: usize = 128;

/// One Engine.IO packet, or one Socket.IO message with its attachments, ready to be written to any client.
///
/// The WebSocket frames of revision 4 are made at once; they hold the text that polling payloads need too,
/// and are the same on revision 3 when nothing is binary. The rare other forms are made when first asked
/// for, and then shared as well.
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

/// Forms that only some clients need, and only of messages with attachments.
#[derive(Debug, Default)]
struct RareForms {
    v3: OnceLock<Vec<u8>>,
    base64: [OnceLock<Vec<u8>>; 2],
}

/// How one client is to be written to over WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The Engine.IO revision it speaks.
    pub revision: Revision,
    /// Whether it asked for text only (`b64=1`).
    pub base64_only: bool,
}

impl Encoded {
    /// Encodes a packet of text; `write` appends it, type digit first, to the buffer it is given.
    pub fn packet(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::with_attachments(Vec::new(), write)
    }

    /// Encodes a message with its binary parts; `write` appends the text, type digit first.
    pub fn with_attachments(attachments: Vec<Bytes>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(PACKET_BYTES_USUAL);
        buffer.resize(HEADER_BYTES_MAX, 0);
        write(&mut buffer);
        let header = frame_header(Opcode::Text, buffer.len() - HEADER_BYTES_MAX);
        let header = header.as_bytes();
        let start = HEADER_BYTES_MAX - header.len();
        buffer[start..HEADER_BYTES_MAX].copy_from_slice(header);
        let text = HEADER_BYTES_MAX..buffer.len();
        for attachment in &attachments {
            put_frame(&mut buffer, Opcode::Binary, &[attachment]);
        }
        Self { buffer, start, text, attachments, rare: OnceLock::new() }
    }

    /// Encodes the event of a broadcast for the clients of its namespace, who acknowledge `ack` if there is one.
    pub fn event(broadcast: &Broadcast, ack: Option<u64>) -> Self {
        let Event { json, attachments } = &broadcast.event;
        Self::with_attachments(attachments.clone(), |out| {
            out.reserve(json.len() + broadcast.namespace.as_str().len() + 16);
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
        if self.attachments.is_empty() {
            return &self.buffer[self.start..];
        }
        self.frames_with_attachments(dialect)
    }

    fn frames_with_attachments(&self, dialect: Dialect) -> &[u8] {
        let rare = || self.rare.get_or_init(Box::default);
        match dialect {
            Dialect { revision: Revision::V4, base64_only: false } => &self.buffer[self.start..],
            Dialect { revision: Revision::V3, base64_only: false } => rare().v3.get_or_init(|| {
                self.frames_with(|out, part| put_frame(out, Opcode::Binary, &[b"\x04", part]))
            }),
            Dialect { revision, base64_only: true } => {
                let (form, prefix) = match revision {
                    Revision::V4 => (&rare().base64[0], "b"),
                    Revision::V3 => (&rare().base64[1], "b4"),
                };
                form.get_or_init(|| {
                    self.frames_with(|out, part| {
                        let text = STANDARD.encode(part);
                        put_frame(out, Opcode::Text, &[prefix.as_bytes(), text.as_bytes()]);
                    })
                })
            }
        }
    }

    /// Adds the packet to a polling payload; raw bytes add nothing.
    pub fn add_to_payload(&self, payload: &mut PayloadEncoder) {
        if self.text.is_empty() {
            return;
        }
        payload.push_text(self.text());
        for attachment in &self.attachments {
            payload.push_binary(attachment);
        }
    }

    /// The text of the packet, type digit first.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.buffer[self.text.clone()]).unwrap_or_default()
    }

    /// What the message counts against an outbox, in bytes.
    pub fn size(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn frames_with(&self, put: impl Fn(&mut Vec<u8>, &Bytes)) -> Vec<u8> {
        let mut out = self.buffer[self.start..self.text.end].to_vec();
        self.attachments.iter().for_each(|attachment| put(&mut out, attachment));
        out
    }
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
    pub fn new(broadcast: Broadcast) -> Self {
        let encoded = Arc::new(Encoded::event(&broadcast, None));
        Self { broadcast, encoded }
    }
}

fn put_frame(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]]) {
    out.extend_from_slice(frame_header(opcode, parts.iter().map(|part| part.len()).sum()).as_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Dialect = Dialect { revision: Revision::V4, base64_only: false };
    const V3: Dialect = Dialect { revision: Revision::V3, base64_only: false };

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
        let message = Encoded::with_attachments(vec![part], |out| out.extend_from_slice(b"451-[\"x\"]"));
        let head = b"\x81\x09451-[\"x\"]".as_slice();
        for (dialect, tail) in [
            (V4, b"\x82\x03\x01\x02\x03".as_slice()),
            (V3, b"\x82\x04\x04\x01\x02\x03"),
            (Dialect { base64_only: true, ..V4 }, b"\x81\x05bAQID"),
            (Dialect { base64_only: true, ..V3 }, b"\x81\x06b4AQID"),
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
        let message = Encoded::with_attachments(vec![part], |out| out.extend_from_slice(b"451-[\"x\"]"));
        let mut payload = PayloadEncoder::new(Revision::V4, false);
        message.add_to_payload(&mut payload);
        Encoded::raw(&b"\x88\x00"[..]).add_to_payload(&mut payload);
        assert_eq!(payload.finish().0, b"451-[\"x\"]\x1ebAQID");
    }
}
