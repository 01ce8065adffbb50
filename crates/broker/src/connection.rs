//! One Engine.IO session with all that it needs here: transport, outbox, and the sockets it has connected.

use std::{sync::Arc, time::Instant};

use admission::{Bucket, Place};
use engineio::{Data, Packet, PacketKind, SessionId, Transport};
use rooms::SocketKey;
use smallvec::SmallVec;
use socketio::{Assembler, Protocol};
use websocket::Deflate;

use crate::{
    dialect::Dialect,
    double_encoding::TextEncoding,
    encoded::Encoded,
    handshake::HandshakeRecord,
    io::{LinkId, PollId},
    outbox::Outbox,
    session::Session,
    wheel::Tick,
};

/// One client connection. Idle it owns nothing on the heap but the request it began with.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) session: Session,
    pub(crate) sid: SessionId,
    pub(crate) generation: u32,
    pub(crate) handshake: Option<HandshakeRecord>,
    pub(crate) dialect: Dialect,
    /// What was agreed on for its WebSocket, if messages may be compressed there.
    pub(crate) deflate: Option<Deflate>,
    /// Its place among the sessions of its client's address, given back when it is forgotten.
    #[expect(dead_code, reason = "its drop gives the place back")]
    pub(crate) place: Option<Place>,
    /// What is left of the packets that it may send.
    pub(crate) packets: Bucket,
    /// How it encodes what it pushes over polling.
    pub(crate) pushed_text: TextEncoding,
    pub(crate) outbox: Outbox,
    pub(crate) assembler: Assembler,
    pub(crate) sockets: SmallVec<[SocketRef; 1]>,
    /// The WebSocket in force, once there is one.
    pub(crate) link: Option<LinkId>,
    /// A WebSocket beside polling.
    pub(crate) probe: Option<LinkId>,
    /// The poll that waits.
    pub(crate) poll: Option<PollId>,
    /// Closed if no namespace has been joined by then.
    pub(crate) connect_by: Option<Instant>,
    /// The closing WebSocket is cut off if it has not taken everything by then.
    pub(crate) closing_by: Option<Instant>,
    pub(crate) armed: Option<Tick>,
    pub(crate) held: Option<Box<Held>>,
    /// Whether it is on the dirty list.
    pub(crate) dirty: bool,
    /// Whether the WebSocket has not taken all it was offered.
    pub(crate) blocked: bool,
    /// Whether a namespace has been left: its late packets are then no offence.
    pub(crate) has_left: bool,
}

/// A socket of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketRef {
    pub(crate) namespace: u32,
    pub(crate) socket: SocketKey,
}

/// What waits until the rooms that a packet caused are in force.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Confirmations still to come.
    pub(crate) awaited: u32,
    /// The answer to the packet.
    pub(crate) answer: Option<Arc<Encoded>>,
    /// Packets that came behind it.
    pub(crate) packets: Vec<OwnedPacket>,
    pub(crate) packet_bytes: usize,
}

/// A packet taken out of its buffer.
#[derive(Debug)]
pub(crate) struct OwnedPacket {
    pub(crate) kind: PacketKind,
    pub(crate) data: OwnedData,
}

#[derive(Debug)]
pub(crate) enum OwnedData {
    Text(String),
    Binary(Vec<u8>),
}

impl Connection {
    /// The Socket.IO revision that goes with the session's.
    pub(crate) fn protocol(&self) -> Protocol {
        self.dialect.protocol()
    }

    /// Whether a volatile message sent now would leave at once.
    pub(crate) fn is_ready(&self) -> bool {
        match self.session.transport() {
            Transport::WebSocket => !self.blocked,
            Transport::Polling => self.poll.is_some(),
        }
    }

    /// When something has to happen next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.closing_by {
            Some(at) => Some(at),
            None => self.session.poll_timeout().into_iter().chain(self.connect_by).min(),
        }
    }
}

impl OwnedPacket {
    pub(crate) fn new(packet: Packet<'_>) -> Self {
        let data = match packet.data {
            Data::Text(text) => OwnedData::Text(text.into_owned()),
            Data::Binary(bytes) => OwnedData::Binary(bytes.into_owned()),
        };
        Self { kind: packet.kind, data }
    }

    pub(crate) fn as_packet(&self) -> Packet<'_> {
        let data = match &self.data {
            OwnedData::Text(text) => Data::Text(text.as_str().into()),
            OwnedData::Binary(bytes) => Data::Binary(bytes.as_slice().into()),
        };
        Packet { kind: self.kind, data }
    }

    pub(crate) fn size(&self) -> usize {
        match &self.data {
            OwnedData::Text(text) => text.len(),
            OwnedData::Binary(bytes) => bytes.len(),
        }
    }
}
