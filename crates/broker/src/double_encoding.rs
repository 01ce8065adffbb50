//! Text that clients 1.x push over polling: they encode it to UTF-8 twice.
//!
//! socket.io-client up to 1.7 turns each packet into a string of UTF-8 bytes, one character per byte, which its
//! request then encodes once more: `é` arrives as `Ã©`. Later ones do not, and nothing in a request tells 1.4 to 1.7
//! from 2.x. What they push tells it sooner or later, as each can send texts that the other cannot.
//!
//! Source: engine.io-parser 1.1 to 1.3 (`utf8encode`) and 2.2; socket.io-parser 2.3 and 3.3 (the comma).

use std::borrow::Cow;

use engineio::{Data, Packet, PacketKind};

/// How often a client encodes the text of its polling bodies, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextEncoding {
    /// Once: nothing is to be undone.
    Once,
    /// It has not shown yet. What looks like an encoding is undone: genuine text that does so has no character above
    /// U+00FF, and each capital with an accent in front of a sign such as `»` or `©`, and nothing else.
    Unknown,
    /// Twice: it has shown to be 1.x.
    Twice,
}

impl TextEncoding {
    /// What the query of a handshake says of a client of revision 3.
    ///
    /// Up to 1.3 the cache buster `t` was a time and a counter, `1795227732773-0`; later it is one word. `guess` is
    /// [`EngineConfig::eio3_guess_encoding`](engineio::EngineConfig::eio3_guess_encoding).
    pub(crate) fn of_query(cache_buster: Option<&str>, guess: bool) -> Self {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_old = cache_buster
            .and_then(|text| text.split_once('-'))
            .is_some_and(|(time, count)| is_number(time) && is_number(count));
        match (is_old, guess) {
            (true, _) => Self::Twice,
            (false, true) => Self::Unknown,
            (false, false) => Self::Once,
        }
    }

    /// Undoes the second encoding of one packet of a text body, if there is one; learns from the packet.
    pub(crate) fn undo<'a>(&mut self, packet: Packet<'a>) -> Packet<'a> {
        let (PacketKind::Message, Data::Text(text)) = (packet.kind, &packet.data) else { return packet };
        if *self == Self::Unknown {
            *self = by_namespace(text);
        }
        if *self == Self::Once || text.is_ascii() {
            return packet;
        }
        match decoded(text) {
            Some(text) => Packet { data: Data::Text(Cow::Owned(text)), ..packet },
            None => {
                // No client 1.x can have sent this.
                *self = Self::Once;
                packet
            }
        }
    }
}

/// What a CONNECT or DISCONNECT of a namespace shows: 1.x leaves out the comma behind the name.
fn by_namespace(text: &str) -> TextEncoding {
    match text.as_bytes() {
        [b'0' | b'1', b'/', .., b','] => TextEncoding::Once,
        [b'0' | b'1', b'/', ..] => TextEncoding::Twice,
        _ => TextEncoding::Unknown,
    }
}

/// The text whose bytes are the characters of `text`; `None` if they are not all bytes, or no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str) -> Packet<'_> {
        Packet { kind: PacketKind::Message, data: Data::Text(text.into()) }
    }

    /// What 1.x makes of a text before its request encodes it.
    fn encoded(text: &str) -> String {
        text.bytes().map(char::from).collect()
    }

    #[test]
    fn only_the_cache_buster_of_1_3_and_older_is_two_numbers() {
        let check = |text, expected| assert_eq!(TextEncoding::of_query(text, true), expected, "{text:?}");
        check(Some("1795227732773-0"), TextEncoding::Twice);
        for other in [None, Some("Q7xnQJm"), Some("Q7xnQJm.1"), Some("1795227732773"), Some("-0"), Some("1-")]
        {
            check(other, TextEncoding::Unknown);
        }
        assert_eq!(TextEncoding::of_query(Some("Q7xnQJm"), false), TextEncoding::Once);
        assert_eq!(TextEncoding::of_query(Some("1-0"), false), TextEncoding::Twice);
    }

    #[test]
    fn text_that_no_client_1_can_send_is_proof_of_one_encoding() {
        for proof in [r#"2["€"]"#, r#"2["é"]"#, "0/chat,"] {
            let mut encoding = TextEncoding::Unknown;
            assert_eq!(encoding.undo(message(proof)), message(proof));
            assert_eq!(encoding, TextEncoding::Once, "{proof}");
            assert_eq!(encoding.undo(message("2[\"Ã©\"]")), message("2[\"Ã©\"]"), "after {proof}");
        }
    }

    #[test]
    fn ascii_shows_nothing_and_a_name_without_a_comma_shows_client_1() {
        let mut encoding = TextEncoding::Unknown;
        encoding.undo(message(r#"2["hello"]"#));
        assert_eq!(encoding, TextEncoding::Unknown);
        encoding.undo(message("0/chat?a=1,2"));
        assert_eq!(encoding, TextEncoding::Twice);
    }

    #[test]
    fn heartbeats_and_binary_are_left_alone() {
        let mut encoding = TextEncoding::Twice;
        for packet in [
            Packet { kind: PacketKind::Ping, data: Data::Text("Ã©".into()) },
            Packet { kind: PacketKind::Message, data: Data::Binary("Ã©".as_bytes().into()) },
        ] {
            assert_eq!(encoding.undo(packet.clone()), packet);
        }
    }

    proptest! {
        #[test]
        fn every_text_of_client_1_comes_back(texts in proptest::collection::vec(".{0,20}", 0..5)) {
            for mut encoding in [TextEncoding::Unknown, TextEncoding::Twice] {
                for text in &texts {
                    let packet = format!("2[\"{text}\"]");
                    let sent = encoded(&packet);
                    prop_assert_eq!(encoding.undo(message(&sent)), message(&packet));
                }
            }
        }

        #[test]
        fn text_with_a_character_beyond_bytes_is_never_touched(before: String, after: String, beyond in proptest::char::range('\u{100}', char::MAX)) {
            let packet = format!("2[\"{before}{beyond}{after}\"]");
            prop_assert_eq!(TextEncoding::Unknown.undo(message(&packet)), message(&packet));
        }
    }
}
