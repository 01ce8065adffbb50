//! The packet as it stands in one text message, before its attachments arrive.

/// The seven packet types, by their digit on the wire.
///
/// Source: Socket.IO protocol 5, packet encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// Joins a namespace, or says that it was joined.
    Connect = 0,
    /// Leaves a namespace.
    Disconnect = 1,
    /// An event without attachments.
    Event = 2,
    /// The answer to an event, without attachments.
    Ack = 3,
    /// A refused [`Self::Connect`]; revision 4 calls it ERROR.
    ConnectError = 4,
    /// An event whose attachments follow, one binary message each.
    BinaryEvent = 5,
    /// An answer whose attachments follow.
    BinaryAck = 6,
}

impl PacketKind {
    /// The type that `digit` names, if any.
    pub const fn from_digit(digit: char) -> Option<Self> {
        Some(match digit {
            '0' => Self::Connect,
            '1' => Self::Disconnect,
            '2' => Self::Event,
            '3' => Self::Ack,
            '4' => Self::ConnectError,
            '5' => Self::BinaryEvent,
            '6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// Its digit in ASCII, the first byte of the packet.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }

    /// Whether attachments are announced, and must follow.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }

    /// The type an application sees: whether there were attachments is a matter of the wire.
    pub const fn without_attachments(self) -> Self {
        match self {
            Self::BinaryEvent => Self::Event,
            Self::BinaryAck => Self::Ack,
            other => other,
        }
    }

    /// Its name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Disconnect => "DISCONNECT",
            Self::Event => "EVENT",
            Self::Ack => "ACK",
            Self::ConnectError => "CONNECT_ERROR",
            Self::BinaryEvent => "BINARY_EVENT",
            Self::BinaryAck => "BINARY_ACK",
        }
    }
}

/// The revision of Socket.IO a client speaks, which follows from its Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Revision 1, of Socket.IO 0.9, which has no Engine.IO below it.
    V1,
    /// Revision 4, on Engine.IO 3 (clients 1.x and 2.x).
    V4,
    /// Revision 5, on Engine.IO 4 (clients 3.x and 4.x).
    V5,
}

/// One packet, its text parts borrowed from the message it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The type, as sent.
    pub kind: PacketKind,
    /// The namespace with its slash, and with its query if the client sent one; `/` if absent.
    pub namespace: &'a str,
    /// The ack id: on an event, an answer is asked for; on an ack, the event it answers.
    pub id: Option<u64>,
    /// Binary messages that follow; 0 unless `kind` is binary.
    pub attachments: usize,
    /// JSON text, byte for byte as received, checked to be what `kind` may carry.
    pub data: Option<&'a str>,
}

/// What a peer may ask of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Attachments of one packet; one more is refused. Default 10, as current clients and servers.
    pub attachments_max: usize,
    /// Arrays and objects open at once in the data; one more is refused. Default 128; values over
    /// [`DEPTH_CEILING`](crate::DEPTH_CEILING) count as that.
    pub depth_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { attachments_max: 10, depth_max: 128 }
    }
}

/// Names of an application's events that a peer may not use: they are what clients and servers
/// tell their own application.
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The reserved event name that `name` is, if it is one.
pub fn reserved_event(name: &str) -> Option<&'static str> {
    RESERVED_EVENTS.into_iter().find(|reserved| *reserved == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_names_the_kind_that_writes_it() {
        for digit in '0'..='6' {
            let kind = PacketKind::from_digit(digit).unwrap();
            assert_eq!(char::from(kind.digit()), digit);
        }
        assert_eq!(PacketKind::from_digit('7'), None);
    }
}
