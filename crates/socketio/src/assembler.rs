//! Messages in, packets out: a packet with attachments is complete once they have all arrived.

use std::borrow::Cow;

use bytes::Bytes;

use crate::decode::decode;
use crate::error::ParseFault;
use crate::packet::{DecodeLimits, Packet, PacketKind};

/// Puts the packets of one client together with their attachments.
///
/// ```text
///           text without attachments → packet        binary, more missing
///            ┌───┐                                     ┌───┐
///            ▼   │        text with attachments        ▼   │
///           idle ────────────────────────────────────▶ pending
///            ▲               binary, the last → packet   │
///            └───────────────────────────────────────────┘
/// ```
///
/// Any fault leads back to idle; the caller closes the connection. What is held while pending is at
/// most one packet and its announced attachments, each bounded by the size of an Engine.IO message.
/// An idle assembler is one pointer, since there is one for every connection.
#[derive(Debug, Default)]
pub struct Assembler {
    pending: Option<Box<Pending>>,
}

/// A packet as the application sees it, with its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The type; a BINARY_EVENT is an [`Event`](PacketKind::Event), a BINARY_ACK an [`Ack`](PacketKind::Ack).
    pub kind: PacketKind,
    /// As in [`Packet::namespace`].
    pub namespace: Cow<'a, str>,
    /// As in [`Packet::id`].
    pub id: Option<u64>,
    /// As in [`Packet::data`].
    pub data: Option<Cow<'a, str>>,
    /// In order; `{"_placeholder":true,"num":n}` in `data` stands for number n.
    pub attachments: Vec<Bytes>,
}

#[derive(Debug)]
struct Pending {
    packet: Incoming<'static>,
    missing: usize,
}

impl Assembler {
    /// An idle assembler.
    pub const fn new() -> Self {
        Self { pending: None }
    }

    /// Takes a text message; `Ok(None)` if attachments are to follow.
    ///
    /// # Errors
    /// Those of [`decode`]; [`ParseFault::AttachmentsMissing`] if attachments of the last packet are.
    pub fn handle_text<'a>(
        &mut self,
        text: &'a str,
        limits: &DecodeLimits,
    ) -> Result<Option<Incoming<'a>>, ParseFault> {
        if let Some(pending) = self.pending.take() {
            return Err(ParseFault::AttachmentsMissing { missing: pending.missing });
        }
        let packet = decode(text, limits)?;
        if packet.attachments > 0 {
            self.pending = Some(Box::new(Pending::new(&packet)));
            return Ok(None);
        }
        Ok(Some(Incoming {
            kind: packet.kind,
            namespace: Cow::Borrowed(packet.namespace),
            id: packet.id,
            data: packet.data.map(Cow::Borrowed),
            attachments: Vec::new(),
        }))
    }

    /// Takes a binary message, which is copied; `Ok(None)` if more are to follow.
    ///
    /// # Errors
    /// [`ParseFault::UnexpectedBinary`] if no packet has announced it; [`ParseFault::TooManyAttachments`]
    /// if `limits` have been lowered below what the packet announced.
    pub fn handle_binary(
        &mut self,
        bytes: &[u8],
        limits: &DecodeLimits,
    ) -> Result<Option<Incoming<'static>>, ParseFault> {
        let mut pending = self.pending.take().ok_or(ParseFault::UnexpectedBinary)?;
        if pending.packet.attachments.len() >= limits.attachments_max {
            return Err(ParseFault::TooManyAttachments { max: limits.attachments_max });
        }
        pending.packet.attachments.push(Bytes::copy_from_slice(bytes));
        pending.missing -= 1;
        if pending.missing > 0 {
            self.pending = Some(pending);
            return Ok(None);
        }
        Ok(Some(pending.packet))
    }
}

impl Pending {
    fn new(packet: &Packet<'_>) -> Self {
        let packet_owned = Incoming {
            kind: packet.kind.without_attachments(),
            namespace: Cow::Owned(packet.namespace.to_owned()),
            id: packet.id,
            data: packet.data.map(|data| Cow::Owned(data.to_owned())),
            attachments: Vec::with_capacity(packet.attachments),
        };
        Self { packet: packet_owned, missing: packet.attachments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 10, depth_max: 128 };

    #[test]
    fn an_idle_assembler_is_one_pointer() {
        assert!(size_of::<Assembler>() <= 16);
    }

    #[test]
    fn a_text_packet_is_borrowed_and_complete_at_once() {
        let incoming = Assembler::new().handle_text("2/a,7[\"x\"]", &LIMITS).unwrap().unwrap();
        assert!(matches!(incoming.namespace, Cow::Borrowed("/a")));
        assert!(matches!(incoming.data, Some(Cow::Borrowed("[\"x\"]"))));
        assert_eq!((incoming.kind, incoming.id), (PacketKind::Event, Some(7)));
    }

    #[test]
    fn a_binary_packet_is_delivered_with_its_last_attachment() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.handle_text("62-/a,7[\"x\"]", &LIMITS), Ok(None));
        assert_eq!(assembler.handle_binary(&[1, 2], &LIMITS), Ok(None));
        let incoming = assembler.handle_binary(&[], &LIMITS).unwrap().unwrap();
        assert_eq!((incoming.kind, incoming.namespace.as_ref()), (PacketKind::Ack, "/a"));
        assert_eq!(incoming.attachments, [Bytes::from_static(&[1, 2]), Bytes::new()]);
        assert!(assembler.handle_text("2", &LIMITS).unwrap().is_some(), "idle again");
    }

    #[test]
    fn messages_out_of_turn_are_faults_and_lead_back_to_idle() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.handle_binary(&[1], &LIMITS), Err(ParseFault::UnexpectedBinary));
        assert_eq!(assembler.handle_text("52-[\"x\"]", &LIMITS), Ok(None));
        assert_eq!(assembler.handle_text("2", &LIMITS), Err(ParseFault::AttachmentsMissing { missing: 2 }));
        assert_eq!(assembler.handle_binary(&[1], &LIMITS), Err(ParseFault::UnexpectedBinary));
    }

    #[test]
    fn attachments_over_a_lowered_limit_are_a_fault() {
        let mut assembler = Assembler::new();
        assert_eq!(assembler.handle_text("52-[\"x\"]", &LIMITS), Ok(None));
        let lowered = DecodeLimits { attachments_max: 1, ..LIMITS };
        assert_eq!(assembler.handle_binary(&[1], &lowered), Ok(None));
        assert_eq!(assembler.handle_binary(&[1], &lowered), Err(ParseFault::TooManyAttachments { max: 1 }));
    }
}
