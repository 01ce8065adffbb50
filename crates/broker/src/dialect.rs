//! The dialects of clients: what a packet is on the wire, for each of them.

use adapter::WireFault;
use engineio::{Data, Packet, PacketKind, PayloadEncoder, Revision, v09};
use serde::{Deserialize, Serialize};
use socketio::{Assembler, DecodeLimits, Incoming, ParseFault, Protocol, v09::Received};

use crate::body::PollBody;

/// What packets look like to one client, from its handshake to its end.
///
/// Inside the shard there is one form of everything: the text of Socket.IO packets with attachments beside it. What
/// comes in is brought into it (`shard/packets.rs`), what goes out is translated once for all clients of a dialect
/// (`encoded.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// JSON text, each attachment in a message of its own behind it.
    Json(Framing),
    /// MessagePack: one binary message for a packet, its attachments inside.
    MsgPack(Framing),
    /// Socket.IO 0.9: text alone, and no Engine.IO.
    V09,
}

/// The protocol below, which a request names by its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Engine.IO of this revision.
    Engine(Revision),
    /// Socket.IO 0.9.
    V09,
}

impl From<Revision> for Wire {
    fn from(revision: Revision) -> Self {
        Self::Engine(revision)
    }
}

/// How Engine.IO carries text and binary messages to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The revision it speaks, `EIO=`.
    pub revision: Revision,
    /// Whether it asked for text only (`b64=1`).
    pub base64_only: bool,
}

/// A packet, and what its protocol alone asks for.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) packet: Incoming<'a>,
    /// This id is to be acknowledged at once, whatever the packet comes to (0.9).
    pub(crate) acknowledge: Option<u64>,
}

impl<'a> From<Incoming<'a>> for Message<'a> {
    fn from(packet: Incoming<'a>) -> Self {
        Self { packet, acknowledge: None }
    }
}

/// Why a message of Engine.IO holds no packet of Socket.IO. Nothing is sent back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageFault {
    /// It is none of JSON's, or of 0.9's.
    #[error(transparent)]
    Json(#[from] ParseFault),
    /// It is none of MessagePack's.
    #[error(transparent)]
    MsgPack(#[from] WireFault),
    /// A client with another parser, probably.
    #[error("text where MessagePack is spoken: does the client use socket.io-msgpack-parser?")]
    NotMsgPack,
    /// Bytes of a client of 0.9.
    #[error("binary where only text is spoken")]
    Binary,
}

/// The parser of Socket.IO packets, which client and server have to agree on beforehand: nothing on the wire says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Parser {
    /// `socket.io-parser`, what clients use unless they are given another.
    #[default]
    Json,
    /// `socket.io-msgpack-parser`.
    MsgPack,
}

impl Dialect {
    /// The dialect of an Engine.IO client.
    pub const fn new(parser: Parser, framing: Framing) -> Self {
        match parser {
            Parser::Json => Self::Json(framing),
            Parser::MsgPack => Self::MsgPack(framing),
        }
    }

    /// The protocol below.
    pub const fn wire(self) -> Wire {
        match self {
            Self::Json(framing) | Self::MsgPack(framing) => Wire::Engine(framing.revision),
            Self::V09 => Wire::V09,
        }
    }

    /// The Socket.IO revision that goes with it.
    pub(crate) const fn protocol(self) -> Protocol {
        match self.wire() {
            Wire::Engine(Revision::V4) => Protocol::V5,
            Wire::Engine(Revision::V3) => Protocol::V4,
            Wire::V09 => Protocol::V1,
        }
    }

    /// Reads one message of Engine.IO, or one packet of 0.9; `None` if attachments are to follow, or it means nothing.
    ///
    /// # Errors
    /// [`MessageFault`], after which the client is closed.
    pub(crate) fn decode<'a>(
        self,
        assembler: &mut Assembler,
        message: &'a Data<'_>,
        limits: &DecodeLimits,
    ) -> Result<Option<Message<'a>>, MessageFault> {
        Ok(match (self, message) {
            (Self::Json(_), Data::Text(text)) => assembler.handle_text(text, limits)?.map(Message::from),
            (Self::Json(_), Data::Binary(bytes)) => {
                assembler.handle_binary(bytes, limits)?.map(Message::from)
            }
            (Self::MsgPack(_), Data::Binary(bytes)) => Some(adapter::parser::decode(bytes, limits)?.into()),
            (Self::MsgPack(_), Data::Text(_)) => return Err(MessageFault::NotMsgPack),
            (Self::V09, Data::Text(text)) => socketio::v09::decode(text, limits)?
                .map(|Received { packet, acknowledge }| Message { packet, acknowledge }),
            (Self::V09, Data::Binary(_)) => return Err(MessageFault::Binary),
        })
    }

    /// An empty answer to a poll.
    pub(crate) fn body(self) -> PollBody {
        match self {
            Self::Json(framing) => PollBody::Json(framing.payload()),
            Self::MsgPack(framing) => PollBody::MsgPack(framing.payload()),
            Self::V09 => PollBody::V09(v09::BodyEncoder::default()),
        }
    }
}

impl Framing {
    /// Revision 4, binary allowed: what every current client speaks.
    pub const V4: Self = Self { revision: Revision::V4, base64_only: false };
    /// Revision 3, binary allowed.
    pub const V3: Self = Self { revision: Revision::V3, base64_only: false };

    fn payload(self) -> PayloadEncoder {
        PayloadEncoder::new(self.revision, self.base64_only)
    }

    /// A message of bytes as one WebSocket message.
    pub(crate) fn binary(self, message: &[u8]) -> Data<'static> {
        let packet = Packet { kind: PacketKind::Message, data: Data::Binary(message.into()) };
        match packet.encode(self.revision, self.base64_only) {
            Data::Text(text) => Data::Text(text.into_owned().into()),
            Data::Binary(bytes) => Data::Binary(bytes.into_owned().into()),
        }
    }
}
