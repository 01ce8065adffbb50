//! Several packets in one text, and which of them a session lives by.

use std::borrow::Cow;

use crate::{BodyForm, Data, PACKETS_PER_BODY_MAX, Packet, PacketKind, PeerFault};

/// Stands on both sides of the length in front of each packet, if there are several.
const MARK: char = '\u{fffd}';
/// Digits that a length may have: no body needs more.
const LENGTH_DIGITS_MAX: usize = 10;

/// Decodes a polling body; `form` follows from the transport. Text data is borrowed where it can be.
///
/// # Errors
/// The iterator ends with the first fault; the packets before it are good. [`PeerFault::NotUtf8`],
/// [`PeerFault::MalformedForm`], [`PeerFault::MalformedLength`], [`PeerFault::TooManyPackets`] and
/// [`PeerFault::EmptyPacket`].
pub fn decode_body(form: BodyForm, body: &[u8]) -> Packets<'_> {
    let text = match form {
        BodyForm::Text => std::str::from_utf8(body).map(Cow::Borrowed).map_err(|_| PeerFault::NotUtf8),
        BodyForm::Form => form_text(body).map(Cow::Owned),
        BodyForm::Binary => Err(PeerFault::BinaryBody),
    };
    match text {
        Ok(text) => Packets::new(text),
        Err(fault) => Packets { fault: Some(fault), ..Packets::new(Cow::Borrowed("")) },
    }
}

/// Decodes one WebSocket message, which usually is one packet.
///
/// # Errors
/// As [`decode_body`].
pub fn decode_message(text: &str) -> Packets<'_> {
    Packets::new(Cow::Borrowed(text))
}

/// The text in the field `d` of a form, which is a JSON string.
fn form_text(body: &[u8]) -> Result<String, PeerFault> {
    let (_, json) =
        form_urlencoded::parse(body).find(|(name, _)| name == "d").ok_or(PeerFault::MalformedForm)?;
    serde_json::from_str(&json).map_err(|_| PeerFault::MalformedForm)
}

/// The packets of one body or message; see [`decode_body`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    text: Cow<'a, str>,
    offset: usize,
    packets_left: usize,
    fault: Option<PeerFault>,
}

impl<'a> Packets<'a> {
    fn new(text: Cow<'a, str>) -> Self {
        Self { text, offset: 0, packets_left: PACKETS_PER_BODY_MAX, fault: None }
    }

    /// Where the next packet stands.
    fn take(&mut self) -> Result<std::ops::Range<usize>, PeerFault> {
        self.packets_left = self.packets_left.checked_sub(1).ok_or(PeerFault::TooManyPackets)?;
        let rest = self.text.get(self.offset..).unwrap_or_default();
        let Some(counted) = rest.strip_prefix(MARK) else {
            // Only a whole body may come without a length.
            return if self.offset == 0 { Ok(0..self.text.len()) } else { Err(PeerFault::MalformedLength) };
        };
        let (length, packet) = counted.split_once(MARK).ok_or(PeerFault::MalformedLength)?;
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || length.len() > LENGTH_DIGITS_MAX {
            return Err(PeerFault::MalformedLength);
        }
        let units = length.parse().map_err(|_| PeerFault::MalformedLength)?;
        let bytes = bytes_of_units(packet, units).ok_or(PeerFault::MalformedLength)?;
        let start = self.text.len() - packet.len();
        Ok(start..start + bytes)
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PeerFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(fault) = self.fault.take() {
            self.offset = self.text.len();
            return Some(Err(fault));
        }
        if self.offset >= self.text.len() {
            return None;
        }
        let packet = match self.take() {
            Ok(range) => {
                self.offset = range.end;
                let text = match &self.text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
                    Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
                };
                packet(text)
            }
            Err(fault) => Err(fault),
        };
        if packet.is_err() {
            self.offset = self.text.len();
        }
        Some(packet)
    }
}

/// How many bytes of `text` so many UTF-16 code units are, the measure of JavaScript.
fn bytes_of_units(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(char.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// A packet as a session sees it: heartbeats, the end and nothing are its own, the rest is the data of a message, whole.
fn packet(text: Cow<'_, str>) -> Result<Packet<'_>, PeerFault> {
    let kind = match text.as_bytes() {
        [] => return Err(PeerFault::EmptyPacket),
        [b'2', b':', ..] => PacketKind::Pong,
        [b'8', b':', ..] => PacketKind::Noop,
        // Without an endpoint it is the whole session's.
        b"0::" | b"0:::" => PacketKind::Close,
        _ => PacketKind::Message,
    };
    Ok(Packet { kind, data: Data::Text(text) })
}

/// Collects packets into the body that answers a poll: one as it is, several with their lengths in front.
#[derive(Clone, Debug, Default)]
pub struct BodyEncoder {
    body: String,
    /// How many packets there are: the first has no length before there is a second.
    packets: usize,
}

impl BodyEncoder {
    /// Appends a packet.
    pub fn push(&mut self, packet: &str) {
        if self.packets == 1 {
            let first = std::mem::take(&mut self.body);
            self.push_counted(&first);
        }
        match self.packets {
            0 => self.body.push_str(packet),
            _ => self.push_counted(packet),
        }
        self.packets += 1;
    }

    fn push_counted(&mut self, packet: &str) {
        let units = packet.encode_utf16().count().to_string();
        self.body.reserve(packet.len() + units.len() + 2 * MARK.len_utf8());
        self.body.push(MARK);
        self.body.push_str(&units);
        self.body.push(MARK);
        self.body.push_str(packet);
    }

    /// The body.
    pub fn finish(self) -> String {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(packets: Packets<'_>) -> Result<Vec<String>, PeerFault> {
        let text = |packet: Packet<'_>| match packet.data {
            Data::Text(text) => text.into_owned(),
            Data::Binary(_) => panic!("binary"),
        };
        packets.map(|packet| packet.map(text)).collect()
    }

    fn body(packets: &[&str]) -> String {
        let mut body = BodyEncoder::default();
        packets.iter().for_each(|packet| body.push(packet));
        body.finish()
    }

    #[test]
    fn one_packet_stands_alone_and_several_are_counted_in_utf_16() {
        assert_eq!(body(&[]), "");
        assert_eq!(body(&["1::"]), "1::");
        assert_eq!(body(&["1::", "3:::😀\u{fffd}"]), "\u{fffd}3\u{fffd}1::\u{fffd}7\u{fffd}3:::😀\u{fffd}");
    }

    #[test]
    fn a_body_that_is_none_ends_with_its_fault() {
        let check = |text: &str, fault| assert_eq!(texts(decode_message(text)), Err(fault), "{text}");
        check("\u{fffd}", PeerFault::MalformedLength);
        check("\u{fffd}\u{fffd}8::", PeerFault::MalformedLength);
        check("\u{fffd}-1\u{fffd}8::", PeerFault::MalformedLength);
        check("\u{fffd}4\u{fffd}8::", PeerFault::MalformedLength);
        check("\u{fffd}2\u{fffd}8::", PeerFault::MalformedLength);
        check("\u{fffd}00000000003\u{fffd}8::", PeerFault::MalformedLength);
        check("\u{fffd}0\u{fffd}", PeerFault::EmptyPacket);
        // The half of a surrogate pair.
        check("\u{fffd}5\u{fffd}3:::😀", PeerFault::MalformedLength);
        let many = "\u{fffd}3\u{fffd}8::".repeat(PACKETS_PER_BODY_MAX + 1);
        check(&many, PeerFault::TooManyPackets);
        assert_eq!(texts(decode_message("")), Ok(Vec::new()));
        assert_eq!(texts(decode_body(BodyForm::Text, &[0xff])), Err(PeerFault::NotUtf8));
        for form in [&b"d=1"[..], b"d=", b"x=%22%22", b"d=%22"] {
            assert_eq!(texts(decode_body(BodyForm::Form, form)), Err(PeerFault::MalformedForm));
        }
    }

    #[test]
    fn a_form_holds_its_packets_as_a_json_string() {
        let packets = texts(decode_body(BodyForm::Form, b"d=%223%3A%3A%3Aa%5Cnb%2B%22"));
        assert_eq!(packets, Ok(vec!["3:::a\nb+".into()]));
    }

    #[test]
    fn a_session_knows_its_own_packets() {
        let check =
            |text, kind| assert_eq!(decode_message(text).next().unwrap().unwrap().kind, kind, "{text}");
        check("2::", PacketKind::Pong);
        check("8::", PacketKind::Noop);
        check("0::", PacketKind::Close);
        check("0::/chat", PacketKind::Message);
        check("3:::hi", PacketKind::Message);
        check("anything", PacketKind::Message);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(packets in prop::collection::vec("[a-zé😀\u{fffd}:0-9]{1,6}", 1..5)) {
            // One that begins with the mark is told from a counted one by its type, which every packet begins with.
            let packets: Vec<String> = packets.into_iter().map(|packet| format!("3{packet}")).collect();
            let borrowed: Vec<&str> = packets.iter().map(String::as_str).collect();
            prop_assert_eq!(texts(decode_message(&body(&borrowed))), Ok(packets));
        }

        #[test]
        fn no_text_panics(text: String, plausible in "(\u{fffd}|[0-9]|:|😀|a){0,12}") {
            decode_message(&text).for_each(drop);
            decode_message(&plausible).for_each(drop);
            decode_body(BodyForm::Form, plausible.as_bytes()).for_each(drop);
        }
    }
}
