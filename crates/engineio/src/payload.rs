//! Long-polling bodies: 0x1e-joined on revision 4, length-prefixed on revision 3. This half decodes.

use std::{borrow::Cow, ops::Range, str};

use crate::{PACKETS_PER_BODY_MAX, Packet, PeerFault, Revision, jsonp};

/// Stands between the packets of a revision 4 body.
pub(crate) const SEPARATOR: char = '\u{1e}';

/// How many digits the length of a packet may have on revision 3; one more and the body is malformed.
/// Ten hold any 32-bit length, and no body is longer than that.
const LENGTH_DIGITS_MAX: usize = 10;

/// How a polling body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyForm {
    /// `text/plain`: UTF-8.
    Text,
    /// `application/octet-stream`: the binary framing of revision 3.
    Binary,
    /// `application/x-www-form-urlencoded`: text in the field `d`, as JSONP clients push it.
    Form,
}

/// Decodes one polling body into its packets, oldest first, one per step of the iterator.
///
/// `form` follows from the request's content type. Text data is borrowed from `body`, except on
/// [`BodyForm::Form`]. A form without `d` holds no packet and is no fault, as on the reference server.
///
/// # Errors
/// The iterator ends with the first fault; the packets before it are good.
/// [`PeerFault::NotUtf8`] for a text body (as a whole) or a text packet of a binary one,
/// [`PeerFault::BinaryBody`] for a binary body on revision 4, [`PeerFault::MalformedLength`] on revision 3,
/// [`PeerFault::TooManyPackets`] after [`PACKETS_PER_BODY_MAX`] packets, and what [`Packet::decode_text`] and
/// [`Packet::decode_binary`] find in a packet.
///
/// Source: Engine.IO protocol 4 and 3, HTTP long-polling; JSONP from engine.io 6.6.
pub fn decode_body(revision: Revision, form: BodyForm, body: &[u8]) -> Packets<'_> {
    let rest = match (form, revision) {
        (BodyForm::Text, _) => match str::from_utf8(body) {
            Ok(text) => Rest::of_text(revision, Cow::Borrowed(text)),
            Err(_) => Rest::Fault(PeerFault::NotUtf8),
        },
        (BodyForm::Form, _) => match jsonp::form_payload(body) {
            Some(text) => Rest::of_text(revision, Cow::Owned(text)),
            None => Rest::Nothing,
        },
        (BodyForm::Binary, Revision::V3) => Rest::Framed(body),
        (BodyForm::Binary, Revision::V4) => Rest::Fault(PeerFault::BinaryBody),
    };
    Packets { revision, rest, packets_left: PACKETS_PER_BODY_MAX }
}

/// The packets of one body; see [`decode_body`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    revision: Revision,
    rest: Rest<'a>,
    packets_left: usize,
}

/// What is left of the body.
#[derive(Clone, Debug)]
enum Rest<'a> {
    /// Text and the offset of the next packet in it.
    Text(Cow<'a, str>, usize),
    /// The binary framing of revision 3.
    Framed(&'a [u8]),
    Fault(PeerFault),
    Nothing,
}

impl<'a> Rest<'a> {
    fn of_text(revision: Revision, text: Cow<'a, str>) -> Self {
        match revision {
            // On revision 4 this is one empty packet, which is found to be one; here it is no packet at all.
            Revision::V3 if text.is_empty() => Self::Fault(PeerFault::MalformedLength),
            _ => Self::Text(text, 0),
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PeerFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Text(text, offset) => self.next_text(text, offset),
            Rest::Framed(rest) => self.next_framed(rest),
            Rest::Fault(fault) => Err(fault),
            Rest::Nothing => Ok(None),
        };
        if matches!(next, Ok(Some(_))) {
            let Some(left) = self.packets_left.checked_sub(1) else {
                self.rest = Rest::Nothing;
                return Some(Err(PeerFault::TooManyPackets));
            };
            self.packets_left = left;
        }
        next.transpose()
    }
}

impl<'a> Packets<'a> {
    fn next_text(&mut self, text: Cow<'a, str>, offset: usize) -> Result<Option<Packet<'a>>, PeerFault> {
        let found = match self.revision {
            Revision::V4 => separated_packet(&text, offset),
            Revision::V3 => counted_packet(&text, offset)?,
        };
        let Some(TextPacket { range, next }) = found else { return Ok(None) };
        let packet = match &text {
            Cow::Borrowed(text) => Packet::decode_text(self.revision, text.get(range).unwrap_or_default())?,
            Cow::Owned(text) => {
                Packet::decode_text(self.revision, text.get(range).unwrap_or_default())?.into_owned()
            }
        };
        if let Some(offset) = next {
            self.rest = Rest::Text(text, offset);
        }
        Ok(Some(packet))
    }

    fn next_framed(&mut self, mut rest: &'a [u8]) -> Result<Option<Packet<'a>>, PeerFault> {
        while let Some(frame) = Framed::parse(rest)? {
            rest = frame.rest;
            let packet = if frame.is_text {
                let text = str::from_utf8(frame.packet).map_err(|_| PeerFault::NotUtf8)?;
                Some(Packet::decode_text(self.revision, text)?)
            } else {
                Packet::decode_binary(self.revision, frame.packet)?
            };
            if packet.is_some() {
                self.rest = Rest::Framed(rest);
                return Ok(packet);
            }
        }
        Ok(None)
    }
}

/// Where a packet lies in a text body, and where the next one starts if there is one.
struct TextPacket {
    range: Range<usize>,
    next: Option<usize>,
}

fn separated_packet(text: &str, offset: usize) -> Option<TextPacket> {
    let rest = text.get(offset..)?;
    Some(match rest.find(SEPARATOR) {
        Some(length) => {
            let end = offset + length;
            TextPacket { range: offset..end, next: Some(end + SEPARATOR.len_utf8()) }
        }
        None => TextPacket { range: offset..text.len(), next: None },
    })
}

/// Finds the packet `<length>:<packet>` at `offset`; `None` at the end of `text`.
fn counted_packet(text: &str, mut offset: usize) -> Result<Option<TextPacket>, PeerFault> {
    while let Some(rest) = text.get(offset..).filter(|rest| !rest.is_empty()) {
        // The colon of a good length is near; looking no further keeps a body of digits linear.
        let colon = rest.bytes().take(LENGTH_DIGITS_MAX + 1).position(|byte| byte == b':');
        let digits = colon.and_then(|colon| rest.get(..colon)).ok_or(PeerFault::MalformedLength)?;
        let units = decimal(digits.bytes().map(|digit| digit.wrapping_sub(b'0')))?;
        let start = offset + digits.len() + 1;
        let packet = text.get(start..).unwrap_or_default();
        let end = start + utf16_prefix_bytes(packet, units).ok_or(PeerFault::MalformedLength)?;
        if end > start {
            return Ok(Some(TextPacket { range: start..end, next: Some(end) }));
        }
        // `0:` is how the reference server writes a payload without packets; it skips it anywhere.
        offset = end;
    }
    Ok(None)
}

/// How many bytes of `text` its first `units` UTF-16 code units are; `None` if it has fewer or a character
/// would be cut.
fn utf16_prefix_bytes(text: &str, units: usize) -> Option<usize> {
    // Clients 2.x count a length in UTF-16 code units, not bytes: an emoji is 2.
    let mut left = units;
    let mut bytes = 0;
    for char in text.chars() {
        if left == 0 {
            break;
        }
        left = left.checked_sub(char.len_utf16())?;
        bytes += char.len_utf8();
    }
    (left == 0).then_some(bytes)
}

/// One packet of a binary body, `<00 text | else binary><digits, one byte 0 to 9 each><ff><packet>`, and what
/// follows it.
struct Framed<'a> {
    is_text: bool,
    packet: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Framed<'a> {
    fn parse(body: &'a [u8]) -> Result<Option<Self>, PeerFault> {
        let [marker, rest @ ..] = body else { return Ok(None) };
        let end = rest.iter().take(LENGTH_DIGITS_MAX + 1).position(|&byte| byte == 0xff);
        let (digits, rest) =
            end.and_then(|end| rest.split_at_checked(end)).ok_or(PeerFault::MalformedLength)?;
        let length = decimal(digits.iter().copied())?;
        let (packet, rest) =
            rest.get(1..).and_then(|rest| rest.split_at_checked(length)).ok_or(PeerFault::MalformedLength)?;
        Ok(Some(Self { is_text: *marker == 0, packet, rest }))
    }
}

/// The number that `digits`, most significant first, stand for.
fn decimal(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, PeerFault> {
    if digits.len() == 0 {
        return Err(PeerFault::MalformedLength);
    }
    let mut digits = digits;
    digits
        .try_fold(0_usize, |number, digit| match digit {
            0..=9 => number.checked_mul(10)?.checked_add(digit.into()),
            _ => None,
        })
        .ok_or(PeerFault::MalformedLength)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Data, PacketKind, arbitrary::revision};

    fn decode(revision: Revision, form: BodyForm, body: &[u8]) -> Vec<Result<Packet<'_>, PeerFault>> {
        decode_body(revision, form, body).collect()
    }

    fn message(text: &str) -> Packet<'_> {
        Packet { kind: PacketKind::Message, data: Data::Text(text.into()) }
    }

    #[test]
    fn text_packets_are_borrowed_from_a_text_body() {
        let first = decode_body(Revision::V4, BodyForm::Text, "4a\u{1e}4b".as_bytes()).next();
        assert!(matches!(first, Some(Ok(Packet { data: Data::Text(Cow::Borrowed("a")), .. }))));
    }

    #[test]
    fn binary_bodies_are_refused_on_revision_4() {
        assert_eq!(decode(Revision::V4, BodyForm::Binary, b"4a"), [Err(PeerFault::BinaryBody)]);
    }

    #[test]
    fn one_packet_too_many_ends_the_body() {
        for (revision, one, joint) in [(Revision::V4, "4", "\u{1e}"), (Revision::V3, "1:4", "")] {
            let full = vec![one; PACKETS_PER_BODY_MAX].join(joint);
            let packets = decode(revision, BodyForm::Text, full.as_bytes());
            assert_eq!(packets.len(), PACKETS_PER_BODY_MAX);
            assert!(packets.iter().all(Result::is_ok));

            let over = [full, one.into(), one.into()].join(joint);
            let packets = decode(revision, BodyForm::Text, over.as_bytes());
            assert_eq!(packets.len(), PACKETS_PER_BODY_MAX + 1);
            assert_eq!(packets.last(), Some(&Err(PeerFault::TooManyPackets)));
        }
    }

    #[test]
    fn malformed_lengths_and_text_are_told_apart() {
        let check = |form, body: &[u8], fault| {
            assert_eq!(decode(Revision::V3, form, body), [Err(fault)], "{}", body.escape_ascii());
        };
        check(BodyForm::Text, b":4", PeerFault::MalformedLength);
        check(BodyForm::Text, b"6", PeerFault::MalformedLength);
        check(BodyForm::Text, b"00000000001:4", PeerFault::MalformedLength);
        check(BodyForm::Text, b"9999999999:4", PeerFault::MalformedLength);
        check(BodyForm::Text, b"2:4\xff", PeerFault::NotUtf8);
        check(BodyForm::Binary, b"\x00\x01", PeerFault::MalformedLength);
        check(BodyForm::Binary, b"\x00\xff4", PeerFault::MalformedLength);
        check(BodyForm::Binary, b"\x00\x0a\xff4", PeerFault::MalformedLength);
        check(
            BodyForm::Binary,
            b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff4",
            PeerFault::MalformedLength,
        );
        check(BodyForm::Binary, b"\x00\x02\xff4\xff", PeerFault::NotUtf8);
        check(BodyForm::Binary, b"\x00\x00\xff", PeerFault::EmptyPacket);
        check(BodyForm::Binary, b"\x01\x02\xff\x09\x01", PeerFault::UnknownPacketType('\t'));
    }

    #[test]
    fn empty_binary_packets_are_skipped() {
        let body = b"\x01\x00\xff\x00\x02\xff4a\x01\x00\xff";
        assert_eq!(decode(Revision::V3, BodyForm::Binary, body), [Ok(message("a"))]);
    }

    #[test]
    fn a_form_carries_its_payload_in_d() {
        let check = |revision, body: &[u8], packets: &[Packet<'_>]| {
            let decoded: Result<Vec<_>, _> = decode_body(revision, BodyForm::Form, body).collect();
            assert_eq!(decoded.as_deref(), Ok(packets));
        };
        check(Revision::V3, b"d=14%3A42%5B%22x%22%2C%22a%5C%5Cnb%22%5D", &[message(r#"2["x","a\nb"]"#)]);
        check(Revision::V3, b"d=2%3A4a3%3A4%F0%9F%98%80", &[message("a"), message("😀")]);
        check(Revision::V4, b"d=40", &[message("0")]);
        check(Revision::V3, b"x=1", &[]);
        check(Revision::V3, b"", &[]);
    }

    proptest! {
        #[test]
        fn no_body_panics(body: Vec<u8>, revision in revision()) {
            for form in [BodyForm::Text, BodyForm::Binary, BodyForm::Form] {
                decode_body(revision, form, &body).for_each(drop);
            }
        }

        #[test]
        fn no_body_of_plausible_bytes_panics(body in "[0-9:b\u{1e}4é😀=%\\\\n]{0,30}", revision in revision()) {
            for form in [BodyForm::Text, BodyForm::Form] {
                decode_body(revision, form, body.as_bytes()).for_each(drop);
            }
        }

        #[test]
        fn no_framed_body_panics(body in proptest::collection::vec(prop_oneof![0_u8..10, Just(255)], 0..30)) {
            decode_body(Revision::V3, BodyForm::Binary, &body).for_each(drop);
        }
    }
}
