//! The codec against the reference parsers, by the captured vectors of `tests/vectors/sio-parser.json`.
//!
//! Encoding is compared as text with the parsers of revision 5 and 4. Decoding is compared with the
//! parser of revision 5 alone, which the reference server uses for clients of both.

use serde_json::{Value, json};
use socketio::{
    Assembler, DecodeLimits, Incoming, ParseFault, Protocol, encode_ack, encode_connect,
    encode_connect_error, encode_disconnect, encode_event,
};

const V5: &str = "v5 socket.io-parser 4.2.7";
const V4: [&str; 2] = ["v4 socket.io-parser 3.3.6 (2.5 client)", "v4 socket.io-parser 3.4.5 (2.5 server)"];

/// Inputs that the reference accepts and we refuse, each with the fault and the reason.
const STRICTER: [(&str, ParseFault, &str); 3] = [
    ("", ParseFault::EmptyPacket, "JavaScript reads the missing type as 0; no client sends it"),
    (
        "2 [\"a\"]",
        ParseFault::WrongData { kind: "EVENT", expected: "an array" },
        "JavaScript reads the blank as ack id 0; relayed, every client would answer it",
    ),
    ("299999999999999999999[\"x\"]", ParseFault::AckIdTooLarge, "ids are u64; JavaScript rounds this one"),
];

fn vectors() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sio-parser.json"));
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn cases(vectors: &Value, part: &str) -> Vec<Value> {
    vectors[part].as_array().expect("a list of cases").clone()
}

#[test]
fn decoding_agrees_with_the_reference() {
    let vectors = vectors();
    let mut deviations = 0;
    for case in cases(&vectors, "decode") {
        let (input, expected) = (&case["input"], &case[V5]);
        let stricter = STRICTER.iter().find(|(text, ..)| *input == json!([text]));
        match (decode_all(input), stricter) {
            (Err(fault), Some((_, expected, _))) => {
                assert_eq!(fault, *expected, "{input}");
                deviations += 1;
            }
            (Err(_), None) => {
                assert!(expected[0]["throws"].is_string(), "{input} is refused, reference: {expected}")
            }
            (Ok(packets), _) => {
                let missing_is_absent: Vec<Value> =
                    expected.as_array().expect("packets").iter().cloned().map(without_undefined).collect();
                assert_eq!(Value::Array(packets), Value::Array(missing_is_absent), "{input}");
            }
        }
    }
    assert_eq!(deviations, STRICTER.len(), "a listed deviation is none");
}

/// Feeds the messages of one case and renders what comes out as the vectors do.
fn decode_all(input: &Value) -> Result<Vec<Value>, ParseFault> {
    let limits = DecodeLimits::default();
    let mut assembler = Assembler::new();
    let mut packets = Vec::new();
    for message in input.as_array().expect("messages") {
        let incoming = match message.as_str() {
            Some(text) => assembler.handle_text(text, &limits)?,
            None => assembler.handle_binary(&binary(message), &limits)?,
        };
        packets.extend(incoming.map(rendered));
    }
    Ok(packets)
}

fn rendered(incoming: Incoming<'_>) -> Value {
    let mut packet = json!({"type": incoming.kind as u8, "nsp": incoming.namespace});
    if let Some(id) = incoming.id {
        packet["id"] = json!(id);
    }
    if let Some(data) = incoming.data {
        let mut data = serde_json::from_str(&data).expect("checked data is JSON");
        if !incoming.attachments.is_empty() {
            fill_placeholders(&mut data, &incoming.attachments);
        }
        packet["data"] = data;
    }
    packet
}

fn fill_placeholders(value: &mut Value, attachments: &[bytes::Bytes]) {
    if value["_placeholder"] == true {
        let num = usize::try_from(value["num"].as_u64().expect("checked")).expect("checked");
        *value = json!({"__binary": hex(&attachments[num])});
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| fill_placeholders(item, attachments)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_placeholders(field, attachments)),
        _ => {}
    }
}

fn without_undefined(mut packet: Value) -> Value {
    if packet["data"] == "__undefined" {
        packet.as_object_mut().expect("a packet").remove("data");
    }
    packet
}

#[test]
fn encoding_writes_the_text_of_the_reference() {
    let vectors = vectors();
    let mut compared = 0;
    for case in cases(&vectors, "encode") {
        let references = [(V5, Protocol::V5), (V4[0], Protocol::V4), (V4[1], Protocol::V4)];
        for (reference, protocol) in references {
            let messages = case[reference].as_array().expect("messages");
            let text = messages[0].as_str().expect("a text packet");
            if let Some(ours) = encoded(&case["packet"], text, messages.len() - 1, protocol) {
                assert_eq!(ours, text, "{} by {reference}", case["name"]);
                compared += 1;
            }
        }
    }
    // Of 21 cases by three parsers: the rest are packets that only clients send, or that the other
    // revision's server sends.
    assert_eq!(compared, 50);
}

/// The packet in our words, where there are any. Data is taken from the reference's text, since
/// it goes through us as text.
fn encoded(packet: &Value, text: &str, attachments: usize, protocol: Protocol) -> Option<String> {
    let mut out = Vec::new();
    let namespace = packet["nsp"].as_str().expect("a namespace");
    let (id, data) = (packet["id"].as_u64(), &packet["data"]);
    let json = || text.find(['[', '{', '"']).and_then(|at| text.get(at..)).expect("data");
    match packet["type"].as_u64() {
        Some(0) => {
            let only_sid = data["sid"].is_string() && data.get("pid").is_none();
            let ours = match protocol {
                Protocol::V4 => data.is_null(),
                Protocol::V5 => only_sid,
                Protocol::V1 => false,
            };
            if !ours {
                return None;
            }
            encode_connect(&mut out, protocol, namespace, data["sid"].as_str().unwrap_or_default());
        }
        Some(1) => encode_disconnect(&mut out, namespace),
        Some(2) => encode_event(&mut out, namespace, id, attachments, json()),
        Some(3) => encode_ack(&mut out, namespace, id.expect("an id"), attachments, json()),
        Some(4) => match (protocol, data) {
            (Protocol::V4, Value::String(message)) => {
                encode_connect_error(&mut out, protocol, namespace, message, None);
            }
            (Protocol::V4, _) => encode_connect_error(&mut out, protocol, namespace, "", Some(json())),
            (Protocol::V5, Value::Object(fields)) => {
                let message = fields["message"].as_str().expect("a message");
                encode_connect_error(&mut out, protocol, namespace, message, None);
            }
            _ => return None,
        },
        kind => panic!("unknown type {kind:?}"),
    }
    Some(String::from_utf8(out).expect("text"))
}

fn binary(message: &Value) -> Vec<u8> {
    let digits = message["hex"].as_str().expect("hex").as_bytes();
    let byte = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal digits")
    };
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
