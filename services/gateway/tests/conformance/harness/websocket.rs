//! WebSocket clients: a well-behaved one, and one that writes and reads single frames by hand.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;
use tungstenite::{Message, protocol::CloseFrame};

use super::{Http, Request, Response, connect};

/// A WebSocket of an independent implementation, which checks what the server sends.
pub(crate) struct WebSocket<S>(tungstenite::WebSocket<S>);

impl<S: Read + Write> WebSocket<S> {
    /// Asks for a WebSocket on a fresh stream.
    pub(crate) fn open(stream: S, target: &str) -> Self {
        let request = format!("ws://gateway{target}");
        let opened = tungstenite::client(request, stream);
        Self(opened.unwrap_or_else(|error| panic!("no WebSocket for {target}: {error}")).0)
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        self.0.get_mut()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).unwrap();
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Message {
        self.0.read().unwrap()
    }

    /// The next message, which is text.
    pub(crate) fn text(&mut self) -> String {
        match self.message() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?} instead of text"),
        }
    }

    /// The next message, which is text; `None` if the connection has ended.
    pub(crate) fn try_text(&mut self) -> Option<String> {
        match self.0.read() {
            Ok(Message::Text(text)) => Some(text.to_string()),
            Ok(Message::Close(_)) | Err(_) => None,
            Ok(other) => panic!("{other:?} instead of text"),
        }
    }

    /// The next message, which is binary.
    pub(crate) fn binary(&mut self) -> Vec<u8> {
        match self.message() {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("{other:?} instead of binary"),
        }
    }

    /// Joins a namespace; the id of the socket.
    pub(crate) fn join(&mut self, namespace: &str) -> String {
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        self.send(&format!("40{prefix}"));
        let answer = self.text();
        let data = answer.strip_prefix(&format!("40{prefix}"));
        let data: Value = serde_json::from_str(data.unwrap_or_else(|| panic!("{answer}"))).unwrap();
        data["sid"].as_str().unwrap().into()
    }

    /// Emits an event of `/` and returns the arguments of its acknowledgement, as text.
    pub(crate) fn ask(&mut self, id: u64, event: &str) -> String {
        self.send(&format!("42{id}{event}"));
        let answer = self.text();
        answer.strip_prefix(&format!("43{id}")).unwrap_or_else(|| panic!("{answer}")).into()
    }

    /// Joins a room with the event that `--dev` allows.
    pub(crate) fn join_room(&mut self, room: &str) {
        assert_eq!(self.ask(0, &format!("[\"join\",{}]", Value::from(room))), r#"[{"status":"ok"}]"#);
    }

    /// The close frame that comes next, and then the end; `None` without a status code.
    pub(crate) fn closed(&mut self) -> Option<CloseFrame> {
        match self.message() {
            Message::Close(frame) => frame,
            other => panic!("{other:?} instead of a close frame"),
        }
    }

    /// Proves that the session lives: the server answers a WebSocket ping.
    pub(crate) fn assert_alive(&mut self) {
        self.0.send(Message::Ping("alive?".into())).unwrap();
        assert_eq!(self.message(), Message::Pong("alive?".into()));
    }
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opcode(pub(crate) u8);

impl Opcode {
    pub(crate) const CONTINUATION: Self = Self(0);
    pub(crate) const TEXT: Self = Self(1);
    pub(crate) const BINARY: Self = Self(2);
    pub(crate) const CLOSE: Self = Self(8);
    pub(crate) const PING: Self = Self(9);
    pub(crate) const PONG: Self = Self(10);
    /// A text message that is compressed, with the bit that says so.
    pub(crate) const COMPRESSED_TEXT: Self = Self(0x41);
}

/// One frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The status code of a close frame; `None` without one.
    pub(crate) fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, Opcode::CLOSE, "{self:?}");
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// A WebSocket whose frames are written and read by hand.
pub(crate) struct Frames {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// One frame of a client, masked with a key other than 0.
pub(crate) fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

impl Frames {
    /// Asks for a WebSocket; what the server sent behind its answer is kept.
    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::answered(address, &Request::upgrade(target)).0
    }

    /// Sends this request for a WebSocket; with it the answer, which is 101.
    pub(crate) fn answered(address: SocketAddr, request: &Request) -> (Self, Response) {
        let mut http = Http::over(connect(address));
        let answer = http.send(request);
        assert_eq!(answer.status, 101, "{answer:?}");
        (Self::after(http), answer)
    }

    /// Goes on where HTTP ended.
    pub(crate) fn after(http: Http) -> Self {
        let (stream, buffer) = http.into_parts();
        Self { stream, buffer }
    }

    /// Writes a whole frame of this kind.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.write(&masked(0x80 | opcode.0, payload));
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parse(&self.buffer) {
                self.buffer.drain(..length);
                return Some(frame);
            }
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no frame came: {error}"),
            }
        }
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> Frame {
        self.next().expect("the connection ended")
    }

    /// The next frame, which is text.
    pub(crate) fn text(&mut self) -> String {
        let frame = self.frame();
        assert_eq!(frame.opcode, Opcode::TEXT, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// Joins `/`.
    pub(crate) fn join(&mut self) {
        self.send(Opcode::TEXT, b"40");
        assert!(self.text().starts_with("40{\"sid\":\""));
    }

    /// Asserts that a close frame with this code comes, and then the end; `None` is a frame without a code.
    pub(crate) fn assert_closed(&mut self, code: Option<u16>) {
        assert_eq!(self.frame().close_code(), code);
        assert_eq!(self.next(), None);
    }
}

/// One whole frame of the server, and its length; none of them is masked or in fragments.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xb0, 0x80, "a fragment or a reserved bit");
    assert_eq!(second & 0x80, 0, "a masked frame of a server");
    let (length, rest) = match second {
        126 => rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?,
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).unwrap(), rest)
        }
        length => (usize::from(length), rest),
    };
    let payload = rest.get(..length)?.to_vec();
    let total = bytes.len() - rest.len() + length;
    Some((Frame { opcode: Opcode(first & 0x4f), payload }, total))
}
