//! The other side for tests: client frames made by hand, and an independent client, tungstenite.

use std::io::{self, Cursor, Read, Write};

use proptest::{collection::vec, prelude::*};
use tungstenite::{
    WebSocket,
    protocol::{
        Role,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use crate::Message;

/// A masked frame with the first byte `first` (FIN, reserved bits, opcode).
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let header = crate::frame_header(crate::Opcode::Binary, payload.len());
    let mut frame = header.as_bytes().to_vec();
    frame[0] = first;
    frame[1] |= 0x80;
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A masked frame whose payload is `message`, compressed as zlib does it, whether it gets shorter or not.
pub(crate) fn compressed_frame(first: u8, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(message.len() * 2 + 64);
    let mut compress = flate2::Compress::new(flate2::Compression::default(), false);
    compress.compress_vec(message, &mut payload, flate2::FlushCompress::Sync).expect("it has room");
    client_frame(first, payload.strip_suffix(&[0, 0, 0xff, 0xff]).expect("it was flushed"))
}

/// The payload of a frame of [`client_frame`]'s.
pub(crate) fn unmasked(frame: &[u8]) -> Vec<u8> {
    let header = match frame[1] & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    };
    let (head, payload) = frame.split_at(header);
    payload.iter().zip(head[header - 4..].iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// Frames of the server as if a client had sent them.
pub(crate) fn masked(mut frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, second, rest @ ..] = frames {
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => panic!("too long for a test"),
            length => (usize::from(*length), rest),
        };
        let (payload, rest) = rest.split_at(length);
        out.extend(client_frame(*first, payload));
        frames = rest;
    }
    out
}

/// What the independent client sends.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// A binary message in fragments with a ping after each but the last.
    Fragments(Vec<Vec<u8>>),
}

pub(crate) fn outgoing() -> impl Strategy<Value = Outgoing> {
    prop_oneof![
        ".{0,50}".prop_map(Outgoing::Text),
        // Every form of the length.
        prop_oneof![vec(any::<u8>(), 0..200), vec(any::<u8>(), 65_500..65_600)].prop_map(Outgoing::Binary),
        vec(any::<u8>(), 0..126).prop_map(Outgoing::Ping),
        vec(vec(any::<u8>(), 0..150), 2..5).prop_map(Outgoing::Fragments),
    ]
}

impl Outgoing {
    /// What a decoder should make of it.
    pub(crate) fn messages(&self) -> Vec<Message<'static>> {
        match self.clone() {
            Self::Text(text) => vec![Message::Text(text.into())],
            Self::Binary(bytes) => vec![Message::Binary(bytes.into())],
            Self::Ping(bytes) => vec![Message::Ping(bytes.into())],
            Self::Fragments(fragments) => {
                let mut messages = vec![Message::Ping(b"between".into()); fragments.len() - 1];
                messages.push(Message::Binary(fragments.concat().into()));
                messages
            }
        }
    }

    fn frames(&self) -> Vec<tungstenite::Message> {
        use tungstenite::Message;
        match self.clone() {
            Self::Text(text) => vec![Message::text(text)],
            Self::Binary(bytes) => vec![Message::binary(bytes)],
            Self::Ping(bytes) => vec![Message::Ping(bytes.into())],
            Self::Fragments(fragments) => {
                let last = fragments.len() - 1;
                let mut frames = Vec::new();
                for (index, fragment) in fragments.into_iter().enumerate() {
                    let kind = if index == 0 { Data::Binary } else { Data::Continue };
                    frames.push(Message::Frame(Frame::message(fragment, OpCode::Data(kind), index == last)));
                    if index != last {
                        frames.push(Message::Ping(b"between".as_slice().into()));
                    }
                }
                frames
            }
        }
    }
}

/// The bytes the independent client writes for `sent`, masked at random.
pub(crate) fn client_stream(sent: &[Outgoing]) -> Vec<u8> {
    let mut client = client(Vec::new());
    for message in sent.iter().flat_map(Outgoing::frames) {
        client.send(message).expect("a wire in memory takes everything");
    }
    client.get_ref().written.clone()
}

fn client(incoming: Vec<u8>) -> WebSocket<Wire> {
    let wire = Wire { incoming: Cursor::new(incoming), written: Vec::new() };
    WebSocket::from_raw_socket(wire, Role::Client, None)
}

/// A connection in memory.
struct Wire {
    incoming: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_independent_client_reads_our_frames() {
    use crate::{Opcode, close_frame, frame};

    for payload_len in [0, 125, 126, 65_535, 65_536] {
        let text = "é".repeat(payload_len / 2);
        let stream = [
            frame(Opcode::Text, text.as_bytes()),
            frame(Opcode::Binary, &vec![255; payload_len]),
            close_frame(Some(1009)),
        ];
        let mut client = client(stream.concat());
        assert_eq!(client.read().unwrap(), tungstenite::Message::text(text));
        assert_eq!(client.read().unwrap(), tungstenite::Message::binary(vec![255; payload_len]));
        let tungstenite::Message::Close(Some(close)) = client.read().unwrap() else { panic!("no close") };
        assert_eq!(u16::from(close.code), 1009);
    }
}
