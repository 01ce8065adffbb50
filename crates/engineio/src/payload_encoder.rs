//! Long-polling bodies, the half that encodes: packets collected for the answer to one poll.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{BodyForm, PacketKind, Revision, payload::SEPARATOR};

/// Collects packets into the body of one answer.
///
/// Revision 4 joins them by U+001E. Revision 3 counts them: in its binary form if the client takes binary, whether
/// there is any or not, else as text. Clients 1.3 in browsers take a text answer for an error and ask again at once.
///
/// Source: Engine.IO protocol 4 and 3, HTTP long-polling; engine.io 1.x for the choice of the form.
#[derive(Clone, Debug)]
pub struct PayloadEncoder {
    revision: Revision,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Text(String),
    /// The binary form of revision 3.
    Framed(Vec<u8>),
}

impl PayloadEncoder {
    /// Starts an empty body. `base64_only` is [`Query::base64`](crate::Query::base64) of the transport's
    /// first request; it makes no difference on revision 4, whose bodies are text always.
    pub fn new(revision: Revision, base64_only: bool) -> Self {
        let body = match (revision, base64_only) {
            (Revision::V3, false) => Body::Framed(Vec::new()),
            _ => Body::Text(String::new()),
        };
        Self { revision, body }
    }

    /// Whether text should be ASCII where that says the same: of the clients of revision 3, 1.x decodes the packets
    /// of a text body from UTF-8 once more than 2.x does, and nothing tells which of them asks.
    pub fn wants_ascii(&self) -> bool {
        self.revision == Revision::V3 && matches!(self.body, Body::Text(_))
    }

    /// Appends a text packet, `packet` being its type digit and its data.
    pub fn push_text(&mut self, packet: &str) {
        match &mut self.body {
            Body::Text(body) => push_text(self.revision, body, packet),
            Body::Framed(body) => push_framed(body, 0, &[packet.as_bytes()]),
        }
    }

    /// Appends a binary message, `message` being the bytes alone.
    pub fn push_binary(&mut self, message: &[u8]) {
        match &mut self.body {
            Body::Text(body) => {
                let mut packet = String::from(if self.revision == Revision::V4 { "b" } else { "b4" });
                BASE64_STANDARD.encode_string(message, &mut packet);
                push_text(self.revision, body, &packet);
            }
            Body::Framed(body) => push_framed(body, 1, &[&[PacketKind::Message as u8], message]),
        }
    }

    /// How long the body is so far, in bytes; 0 before the first packet.
    pub fn len_bytes(&self) -> usize {
        match &self.body {
            Body::Text(body) => body.len(),
            Body::Framed(body) => body.len(),
        }
    }

    /// Whether no packet has been pushed.
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    /// The body, and whether it is [`BodyForm::Text`] or [`BodyForm::Binary`].
    pub fn finish(self) -> (Vec<u8>, BodyForm) {
        match self.body {
            // What the reference server writes; an empty body is an error to clients of revision 3.
            Body::Text(body) if body.is_empty() && self.revision == Revision::V3 => {
                (b"0:".to_vec(), BodyForm::Text)
            }
            Body::Text(body) => (body.into_bytes(), BodyForm::Text),
            Body::Framed(body) => (body, BodyForm::Binary),
        }
    }
}

fn push_text(revision: Revision, body: &mut String, packet: &str) {
    match revision {
        Revision::V4 if body.is_empty() => {}
        Revision::V4 => body.push(SEPARATOR),
        Revision::V3 => {
            // Clients 2.x take a length in UTF-16 code units, not bytes: an emoji is 2.
            body.push_str(&packet.encode_utf16().count().to_string());
            body.push(':');
        }
    }
    body.push_str(packet);
}

/// Appends `<marker><digits of the length, one byte 0 to 9 each><ff><parts>`; the length counts bytes.
fn push_framed(body: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    body.push(marker);
    body.extend(length.to_string().bytes().map(|digit| digit - b'0'));
    body.push(0xff);
    parts.iter().for_each(|part| body.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        Data, Packet,
        arbitrary::{packet, revision},
        decode_body,
    };

    #[test]
    fn the_length_is_that_of_the_body_so_far() {
        for (revision, base64_only) in [(Revision::V4, false), (Revision::V3, false), (Revision::V3, true)] {
            let mut encoder = PayloadEncoder::new(revision, base64_only);
            assert!(encoder.is_empty());
            for step in 0..3 {
                encoder.push_text("4é😀");
                assert_eq!(encoder.len_bytes(), encoder.clone().finish().0.len(), "text {step}");
                encoder.push_binary(&[step; 300]);
                assert_eq!(encoder.len_bytes(), encoder.clone().finish().0.len(), "binary {step}");
            }
            assert!(!encoder.is_empty());
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(
            packets in vec(packet(), 1..20),
            revision in revision(),
            base64_only: bool,
        ) {
            let mut encoder = PayloadEncoder::new(revision, base64_only);
            for Packet { kind, data } in &packets {
                match data {
                    Data::Text(text) => encoder.push_text(&format!("{}{text}", kind.digit())),
                    Data::Binary(bytes) => encoder.push_binary(bytes),
                }
            }
            let (body, form) = encoder.finish();
            let decoded: Result<Vec<_>, _> = decode_body(revision, form, &body).collect();
            prop_assert_eq!(decoded, Ok(packets));
        }
    }
}
