//! One Engine.IO packet: its type and its data, as one WebSocket message or one entry of a payload.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{PeerFault, Revision, lenient_base64};

/// The type of a packet, on the wire one digit (in binary frames of revision 3 one byte of that value).
///
/// Source: Engine.IO protocol, packet types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// The handshake, server to client.
    Open = 0,
    /// The end of a polling session, either way.
    Close,
    /// A heartbeat (revision 4: from the server, 3: from the client), or `2probe` on an upgrade.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Data of the layer above, text or binary.
    Message,
    /// The end of an upgrade, client to server.
    Upgrade,
    /// Nothing; releases a poll.
    Noop,
}

impl PacketKind {
    /// The digit that stands in front of a text packet, `0` to `6`.
    pub const fn digit(self) -> char {
        (b'0' + self as u8) as char
    }

    /// The type that `digit` stands for; `None` for anything but `0` to `6`.
    pub const fn from_digit(digit: char) -> Option<Self> {
        Some(match digit {
            '0' => Self::Open,
            '1' => Self::Close,
            '2' => Self::Ping,
            '3' => Self::Pong,
            '4' => Self::Message,
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            _ => return None,
        })
    }
}

/// The data of a packet; also a whole packet on the wire, as a text or a binary WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Text, possibly empty.
    Text(Cow<'a, str>),
    /// Bytes, possibly none.
    Binary(Cow<'a, [u8]>),
}

/// One packet, borrowing from the bytes it was decoded from where it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The type.
    pub kind: PacketKind,
    /// What follows the type.
    pub data: Data<'a>,
}

impl<'a> Packet<'a> {
    /// Decodes a text WebSocket message or one text packet of a payload: `4hello`, or with binary data
    /// `bAQID` (revision 4, always a message) and `b4AQID` (revision 3).
    ///
    /// Base64 is read as Node reads it: both alphabets, padding or none, other characters skipped.
    ///
    /// # Errors
    /// [`PeerFault::EmptyPacket`] if there is no type, [`PeerFault::UnknownPacketType`] if it is none of `0` to `6`.
    ///
    /// Source: Engine.IO protocol 4 and 3, packet encoding.
    pub fn decode_text(revision: Revision, text: &'a str) -> Result<Self, PeerFault> {
        let (first, rest) = split_first(text)?;
        if first != 'b' {
            return Ok(Self { kind: kind(first)?, data: Data::Text(Cow::Borrowed(rest)) });
        }
        let (kind, base64) = match revision {
            Revision::V4 => (PacketKind::Message, rest),
            Revision::V3 => {
                let (digit, base64) = split_first(rest)?;
                (kind(digit)?, base64)
            }
        };
        Ok(Self { kind, data: Data::Binary(Cow::Owned(lenient_base64::decode(base64))) })
    }

    /// Decodes a binary WebSocket message or one binary packet of a revision 3 payload.
    ///
    /// On revision 4 the whole frame is the data of a message; on revision 3 its first byte is the type, 0 to 6.
    /// `Ok(None)` is an empty frame on revision 3, which the reference server ignores.
    ///
    /// # Errors
    /// [`PeerFault::UnknownPacketType`] with the first byte as a character (revision 3 only).
    ///
    /// Source: Engine.IO protocol 4 and 3, packet encoding.
    pub fn decode_binary(revision: Revision, frame: &'a [u8]) -> Result<Option<Self>, PeerFault> {
        let (kind, bytes) = match (revision, frame) {
            (Revision::V4, _) => (PacketKind::Message, frame),
            (Revision::V3, []) => return Ok(None),
            (Revision::V3, [first, rest @ ..]) => {
                let digit = char::from_digit((*first).into(), 10);
                let kind = digit.and_then(PacketKind::from_digit);
                (kind.ok_or(PeerFault::UnknownPacketType(char::from(*first)))?, rest)
            }
        };
        Ok(Some(Self { kind, data: Data::Binary(Cow::Borrowed(bytes)) }))
    }

    /// Encodes this packet as one WebSocket message; the inverse of the two decoders.
    ///
    /// `base64_only` says that the client asked for text alone (`b64=1`). Binary data of revision 4 has no
    /// type on the wire: it arrives as a message whatever its kind is here.
    pub fn encode(&self, revision: Revision, base64_only: bool) -> Data<'_> {
        match (&self.data, revision) {
            (Data::Text(text), _) => Data::Text(format!("{}{text}", self.kind.digit()).into()),
            (Data::Binary(bytes), _) if base64_only => {
                let mut text = String::from("b");
                if revision == Revision::V3 {
                    text.push(self.kind.digit());
                }
                BASE64_STANDARD.encode_string(bytes, &mut text);
                Data::Text(text.into())
            }
            (Data::Binary(bytes), Revision::V4) => Data::Binary(Cow::Borrowed(bytes)),
            (Data::Binary(bytes), Revision::V3) => {
                Data::Binary([&[self.kind as u8], bytes.as_ref()].concat().into())
            }
        }
    }

    /// This packet with data of its own.
    pub fn into_owned(self) -> Packet<'static> {
        let data = match self.data {
            Data::Text(text) => Data::Text(Cow::Owned(text.into_owned())),
            Data::Binary(bytes) => Data::Binary(Cow::Owned(bytes.into_owned())),
        };
        Packet { kind: self.kind, data }
    }
}

fn split_first(text: &str) -> Result<(char, &str), PeerFault> {
    let mut chars = text.chars();
    let first = chars.next().ok_or(PeerFault::EmptyPacket)?;
    Ok((first, chars.as_str()))
}

fn kind(digit: char) -> Result<PacketKind, PeerFault> {
    PacketKind::from_digit(digit).ok_or(PeerFault::UnknownPacketType(digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary::{packet, revision};

    #[test]
    fn digits_and_kinds_are_inverse() {
        for digit in '\0'..='\u{ff}' {
            let kind = PacketKind::from_digit(digit);
            assert_eq!(kind.is_some(), ('0'..='6').contains(&digit), "{digit:?}");
            assert!(kind.is_none_or(|kind| kind.digit() == digit));
        }
    }

    #[test]
    fn a_text_packet_is_borrowed_from_its_input() {
        let packet = Packet::decode_text(Revision::V4, "4hello").unwrap();
        assert!(matches!(packet.data, Data::Text(Cow::Borrowed("hello"))));
    }

    #[test]
    fn an_unknown_type_is_named_in_the_fault() {
        let text = |revision, text| Packet::decode_text(revision, text).unwrap_err();
        assert_eq!(text(Revision::V4, "€4"), PeerFault::UnknownPacketType('€'));
        assert_eq!(text(Revision::V3, "b7AQID"), PeerFault::UnknownPacketType('7'));
        let binary = |frame: &'static [u8]| Packet::decode_binary(Revision::V3, frame).unwrap_err();
        // The type of a binary frame is the number, not its digit.
        assert_eq!(binary(b"4"), PeerFault::UnknownPacketType('4'));
        assert_eq!(binary(&[7]), PeerFault::UnknownPacketType('\u{7}'));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(packet in packet(), revision in revision(), base64_only: bool) {
            let kind = packet.kind;
            let decoded = match packet.encode(revision, base64_only) {
                Data::Text(text) => Packet::decode_text(revision, &text).map(|p| Some(p.into_owned())),
                Data::Binary(frame) => Packet::decode_binary(revision, &frame).map(|p| p.map(Packet::into_owned)),
            };
            let decoded = decoded.unwrap().unwrap();
            prop_assert_eq!(&decoded.data, &packet.data);
            let typeless = revision == Revision::V4 && matches!(packet.data, Data::Binary(_));
            prop_assert_eq!(decoded.kind, if typeless { PacketKind::Message } else { kind });
        }

        #[test]
        fn a_packet_is_refused_for_its_type_alone(text in "[0-9b]{0,2}\\PC{0,5}", frame: Vec<u8>) {
            let typed = |text: &str| text.starts_with(|first| PacketKind::from_digit(first).is_some());
            let v4 = typed(&text) || text.starts_with('b');
            prop_assert_eq!(Packet::decode_text(Revision::V4, &text).is_ok(), v4);
            let v3 = typed(text.strip_prefix('b').unwrap_or(&text));
            prop_assert_eq!(Packet::decode_text(Revision::V3, &text).is_ok(), v3);
            prop_assert!(Packet::decode_binary(Revision::V4, &frame).is_ok());
            let v3 = frame.first().is_none_or(|&first| first <= 6);
            prop_assert_eq!(Packet::decode_binary(Revision::V3, &frame).is_ok(), v3);
        }
    }
}
