//! The dialects of clients: what a packet is on the wire, for each of them.

use adapter::WireFault;
use engineio::{Data, Packet, PacketKind, PayloadEncoder, Revision};
use serde::{Deserialize, Serialize};
use socketio::{Assembler, DecodeLimits, Incoming, ParseFault, Protocol};

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
}

/// How Engine.IO carries text and binary messages to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The revision it speaks, `EIO=`.
    pub revision: Revision,
    /// Whether it asked for text only (`b64=1`).
    pub base64_only: bool,
}

/// Why a message of Engine.IO holds no packet of Socket.IO. Nothing is sent back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageFault {
    /// It is none of JSON's.
    #[error(transparent)]
    Json(#[from] ParseFault),
    /// It is none of MessagePack's.
    #[error(transparent)]
    MsgPack(#[from] WireFault),
    /// A client with another parser, probably.
    #[error("text where MessagePack is spoken: does the client use socket.io-msgpack-parser?")]
    NotMsgPack,
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

    /// How its Engine.IO carries messages.
    pub(crate) const fn framing(self) -> Framing {
        match self {
            Self::Json(framing) | Self::MsgPack(framing) => framing,
        }
    }

    /// The Socket.IO revision that goes with it.
    pub(crate) const fn protocol(self) -> Protocol {
        match self.framing().revision {
            Revision::V4 => Protocol::V5,
            Revision::V3 => Protocol::V4,
        }
    }

    /// Reads one message of Engine.IO; `None` if attachments are to follow.
    ///
    /// # Errors
    /// [`MessageFault`], after which the client is closed.
    pub(crate) fn decode<'a>(
        self,
        assembler: &mut Assembler,
        message: &'a Data<'_>,
        limits: &DecodeLimits,
    ) -> Result<Option<Incoming<'a>>, MessageFault> {
        Ok(match (self, message) {
            (Self::Json(_), Data::Text(text)) => assembler.handle_text(text, limits)?,
            (Self::Json(_), Data::Binary(bytes)) => assembler.handle_binary(bytes, limits)?,
            (Self::MsgPack(_), Data::Binary(bytes)) => Some(adapter::parser::decode(bytes, limits)?),
            (Self::MsgPack(_), Data::Text(_)) => return Err(MessageFault::NotMsgPack),
        })
    }

    /// An empty answer to a poll.
    pub(crate) fn payload(self) -> PayloadEncoder {
        let Framing { revision, base64_only } = self.framing();
        PayloadEncoder::new(revision, base64_only)
    }
}

impl Framing {
    /// Revision 4, binary allowed: what every current client speaks.
    pub const V4: Self = Self { revision: Revision::V4, base64_only: false };
    /// Revision 3, binary allowed.
    pub const V3: Self = Self { revision: Revision::V3, base64_only: false };

    /// A message of bytes as one WebSocket message.
    pub(crate) fn binary(self, message: &[u8]) -> Data<'static> {
        let packet = Packet { kind: PacketKind::Message, data: Data::Binary(message.into()) };
        match packet.encode(self.revision, self.base64_only) {
            Data::Text(text) => Data::Text(text.into_owned().into()),
            Data::Binary(bytes) => Data::Binary(bytes.into_owned().into()),
        }
    }
}
