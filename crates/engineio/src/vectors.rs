//! The codecs against what the reference parsers (engine.io-parser 5.2 and 2.2, engine.io 6.6) were seen to do.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{BodyForm, Data, Packet, PacketKind, PayloadEncoder, PeerFault, Revision, decode_body};

const EIO4: &str = include_str!("../../../tests/vectors/eio4-parser.json");
const EIO3: &str = include_str!("../../../tests/vectors/eio3-parser.json");

/// Packets without a type, which the reference hands on and its server then ignores; here the type is a fault.
/// `None` stands for inputs that are ignored here too.
const TYPELESS_PACKETS: &[(&str, Option<PeerFault>)] = &[
    ("b", Some(PeerFault::EmptyPacket)),
    ("bAAE", Some(PeerFault::UnknownPacketType('A'))),
    ("hex 0901", Some(PeerFault::UnknownPacketType('\t'))),
    ("hex ", None),
];

/// Revision 3 payloads that are a fault here, with the reason.
const STRICTER_PAYLOADS: &[(&str, &str)] = &[
    ("2:4😀", "the reference yields half an emoji, which no Rust text can hold, and then a fault"),
    (" 6:4hello", "the reference takes whatever JavaScript takes for a number; a length is digits"),
    ("1e0:4", "the same"),
    ("hex 0105ff040102", "the reference cuts the packet short; a body that ends too early is malformed"),
];

#[derive(Deserialize)]
struct Vectors {
    encode_packet: Vec<EncodePacket>,
    decode_packet: Vec<Decode<RawPacket>>,
    encode_payload: Vec<EncodePayload>,
    decode_payload: Vec<Decode<Vec<RawPacket>>>,
}

#[derive(Deserialize)]
struct EncodePacket {
    packet: RawPacket,
    websocket_frame: Frame,
    /// Revision 4.
    polling_form: Option<String>,
    /// Revision 3.
    base64_form: Option<String>,
}

#[derive(Deserialize)]
struct Frame {
    text: Option<String>,
    data: Option<Raw>,
}

#[derive(Deserialize)]
struct Decode<T> {
    input: Raw,
    decoded: T,
}

#[derive(Deserialize)]
struct EncodePayload {
    packets: Vec<RawPacket>,
    /// Revision 4.
    encoded: Option<Raw>,
    /// Revision 3.
    encoded_b64_text: Option<Raw>,
    encoded_supports_binary: Option<Raw>,
}

#[derive(Deserialize)]
struct RawPacket {
    /// Missing where the reference decoded a packet without a type.
    r#type: Option<String>,
    data: Option<Raw>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Raw {
    Text(String),
    Bytes { base64: String },
    LoneSurrogate { utf16_code_units_hex: String },
}

impl Raw {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes { base64 } => BASE64_STANDARD.decode(base64).unwrap(),
            Self::LoneSurrogate { utf16_code_units_hex } => panic!("{utf16_code_units_hex} is no UTF-8"),
        }
    }

    fn form(&self) -> BodyForm {
        if matches!(self, Self::Text(_)) { BodyForm::Text } else { BodyForm::Binary }
    }

    /// The text, or `hex …`, to name a case by.
    fn name(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            _ => self.bytes().iter().fold("hex ".into(), |name, byte| format!("{name}{byte:02x}")),
        }
    }
}

impl RawPacket {
    /// `None` for the mark of a parse error.
    fn packet(&self) -> Option<Packet<'static>> {
        let kind = match self.r#type.as_deref().expect("only listed cases have no type") {
            "open" => PacketKind::Open,
            "close" => PacketKind::Close,
            "ping" => PacketKind::Ping,
            "pong" => PacketKind::Pong,
            "message" => PacketKind::Message,
            "upgrade" => PacketKind::Upgrade,
            "noop" => PacketKind::Noop,
            "error" => return None,
            other => panic!("unknown type {other}"),
        };
        let data = match &self.data {
            // The reference tells no data from empty data when it decodes, and not when it encodes.
            None => Data::Text("".into()),
            Some(Raw::Text(text)) => Data::Text(text.clone().into()),
            Some(bytes) => Data::Binary(bytes.bytes().into()),
        };
        Some(Packet { kind, data })
    }
}

fn each_revision(check: impl Fn(Revision, Vectors)) {
    for (revision, json) in [(Revision::V4, EIO4), (Revision::V3, EIO3)] {
        check(revision, serde_json::from_str(json).unwrap());
    }
}

#[test]
fn packets_are_encoded_as_by_the_reference() {
    each_revision(|revision, vectors| {
        assert_eq!(vectors.encode_packet.len(), 13);
        for case in vectors.encode_packet {
            let packet = case.packet.packet().unwrap();
            let frame = match (case.websocket_frame.text, case.websocket_frame.data) {
                (Some(text), _) => Data::Text(text.into()),
                (None, data) => Data::Binary(data.unwrap().bytes().into()),
            };
            assert_eq!(packet.encode(revision, false), frame, "{revision:?}");
            let text = case.polling_form.or(case.base64_form).unwrap();
            assert_eq!(packet.encode(revision, true), Data::Text(text.into()), "{revision:?}");
        }
    });
}

#[test]
fn packets_are_decoded_as_by_the_reference() {
    each_revision(|revision, vectors| {
        let mut typeless = 0;
        for case in vectors.decode_packet {
            let (name, bytes) = (case.input.name(), case.input.bytes());
            let decoded = match &case.input {
                Raw::Text(text) => Packet::decode_text(revision, text).map(Some),
                _ => Packet::decode_binary(revision, &bytes),
            };
            if case.decoded.r#type.is_none() {
                let (_, fault) = TYPELESS_PACKETS.iter().find(|(input, _)| *input == name).unwrap();
                assert_eq!(decoded, fault.clone().map_or(Ok(None), Err), "{name:?}");
                typeless += 1;
                continue;
            }
            match case.decoded.packet() {
                Some(packet) => assert_eq!(decoded, Ok(Some(packet)), "{revision:?} {name:?}"),
                None => assert!(decoded.is_err(), "{revision:?} {name:?}"),
            }
        }
        assert_eq!(typeless, if revision == Revision::V3 { TYPELESS_PACKETS.len() } else { 0 });
    });
}

/// The binary form of packets of text.
fn in_binary_form(packets: &[RawPacket]) -> Raw {
    let mut body = Vec::new();
    for packet in packets.iter().map(|packet| packet.packet().unwrap()) {
        let Data::Text(text) = packet.encode(Revision::V3, true) else { panic!("{packet:?} is not text") };
        body.push(0);
        body.extend(text.len().to_string().bytes().map(|digit| digit - b'0'));
        body.push(0xff);
        body.extend_from_slice(text.as_bytes());
    }
    Raw::Bytes { base64: BASE64_STANDARD.encode(body) }
}

#[test]
fn payloads_are_encoded_as_by_the_reference() {
    each_revision(|revision, vectors| {
        for case in vectors.encode_payload {
            let check = |base64_only, expected: &Raw| {
                let mut encoder = PayloadEncoder::new(revision, base64_only);
                for packet in case.packets.iter().map(|packet| packet.packet().unwrap()) {
                    match (&packet.data, packet.encode(revision, true)) {
                        (Data::Text(_), Data::Text(text)) => encoder.push_text(&text),
                        (Data::Binary(bytes), _) => encoder.push_binary(bytes),
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(encoder.finish(), (expected.bytes(), expected.form()), "{revision:?}");
            };
            match revision {
                Revision::V4 => {
                    check(false, case.encoded.as_ref().unwrap());
                    check(true, case.encoded.as_ref().unwrap());
                }
                Revision::V3 => {
                    check(true, case.encoded_b64_text.as_ref().unwrap());
                    let binary = case.encoded_supports_binary.as_ref().unwrap();
                    match binary.form() {
                        BodyForm::Binary => check(false, binary),
                        // Here every answer to a client that takes binary has that form, as on servers 1.x.
                        _ => check(false, &in_binary_form(&case.packets)),
                    }
                }
            }
        }
    });
}

#[test]
fn payloads_are_decoded_as_by_the_reference() {
    each_revision(|revision, vectors| {
        let mut stricter = 0;
        for case in vectors.decode_payload {
            let (name, bytes) = (case.input.name(), case.input.bytes());
            let decoded: Vec<_> = decode_body(revision, case.input.form(), &bytes).collect();
            if revision == Revision::V3 && STRICTER_PAYLOADS.iter().any(|(input, _)| *input == name) {
                assert_eq!(decoded, [Err(PeerFault::MalformedLength)], "{name:?}");
                stricter += 1;
                continue;
            }
            assert_eq!(decoded.len(), case.decoded.len(), "{revision:?} {name:?}");
            for (decoded, expected) in decoded.into_iter().zip(&case.decoded) {
                assert_eq!(decoded.ok(), expected.packet(), "{revision:?} {name:?}");
            }
        }
        assert_eq!(stricter, if revision == Revision::V3 { STRICTER_PAYLOADS.len() } else { 0 });
    });
}
