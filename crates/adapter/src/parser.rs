//! The packets of clients that speak MessagePack, `socket.io-msgpack-parser`.
//!
//! They stand beside the messages between nodes because their values are the same: notepack.io writes both.

use bytes::Bytes;
use socketio::{DecodeLimits, Incoming, Packet, PacketKind};

use crate::argument::Argument;
use crate::convert::json_to_msgpack;
use crate::error::WireFault;
use crate::msgpack;
use crate::value::Value;

/// Reads one packet, a map of `type`, `nsp`, `data` and `id` in any order; other keys are passed over.
///
/// Its checks are those of the reference: `type` is a whole number from 0 to 4, `nsp` text, `id` absent or a whole
/// number, and `data` what the type carries, where an event may have any name or none. `undefined` counts as absent,
/// nil does not. In data it becomes what [`Argument`] says of it, as do dates and extensions. An `id` below 0, which no
/// client counts to, asks for no answer.
///
/// # Errors
/// [`WireFault`], with the key it is about; the caller closes the connection. Stricter than the reference: a
/// namespace begins with its slash and has no comma, which would end it for clients of JSON, nesting and attachments are limited, and beside attachments no map may look like a
/// placeholder of one.
///
/// Source: socket.io-msgpack-parser 3.0.2, `checkPacket`.
pub fn decode(message: &[u8], limits: &DecodeLimits) -> Result<Incoming<'static>, WireFault> {
    let mut reader = msgpack::Reader::new(message);
    let packet = Value::MsgPack(reader.value()?);
    reader.end()?;
    let (mut kind, mut nsp, mut id, mut data) = (None, None, None, None);
    packet.fields("packet", |key, value| {
        match key {
            "type" => kind = Some(value),
            "nsp" => nsp = Some(value),
            "id" => id = Some(value),
            "data" => data = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    let kind = kind.and_then(whole).and_then(packet_kind).ok_or(WireFault::WrongType("type"))?;
    let namespace = nsp.and_then(Value::text).filter(|nsp| nsp.starts_with('/') && !nsp.contains(','));
    let namespace = namespace.ok_or(WireFault::WrongType("nsp"))?.into_owned();
    let id = match id.filter(is_defined) {
        Some(id) => u64::try_from(whole(id).ok_or(WireFault::WrongType("id"))?).ok(),
        None => None,
    };
    let data = data.filter(is_defined);
    if !carries(kind, data) {
        return Err(WireFault::WrongType("data"));
    }
    let argument = data.map(|data| data.argument(limits)).transpose()?;
    let (data, attachments) = match argument {
        Some(Argument { json, attachments }) => (Some(text(json)?.into()), attachments),
        None => (None, Vec::new()),
    };
    Ok(Incoming { kind, namespace: namespace.into(), id, data, attachments })
}

/// One packet as MessagePack, its attachments in their places. Keys stand as a parser's user writes them: `type`, `nsp`,
/// `id`, `data`.
///
/// # Errors
/// If the data is no JSON, or names attachments that it does not have.
pub fn encode(packet: &Packet<'_>, attachments: &[Bytes]) -> Result<Vec<u8>, WireFault> {
    let mut out = Vec::new();
    msgpack::map(&mut out, 2 + usize::from(packet.id.is_some()) + usize::from(packet.data.is_some()));
    msgpack::str(&mut out, "type");
    msgpack::unsigned(&mut out, packet.kind.without_attachments() as u64);
    msgpack::str(&mut out, "nsp");
    msgpack::str(&mut out, packet.namespace);
    if let Some(id) = packet.id {
        msgpack::str(&mut out, "id");
        msgpack::unsigned(&mut out, id);
    }
    if let Some(data) = packet.data {
        msgpack::str(&mut out, "data");
        json_to_msgpack(&mut out, data, attachments)?;
    }
    Ok(out)
}

fn text(json: Bytes) -> Result<String, WireFault> {
    String::from_utf8(json.into()).map_err(|_| WireFault::NotUtf8)
}

/// The types that this parser has: attachments make no difference to it.
fn packet_kind(number: i64) -> Option<PacketKind> {
    let digit = char::from_digit(u32::try_from(number).ok()?, 10)?;
    PacketKind::from_digit(digit).filter(|kind| !kind.is_binary())
}

/// Whether packets of `kind` may carry `data`.
fn carries(kind: PacketKind, data: Option<Value<'_>>) -> bool {
    let form = data.map(form);
    match kind {
        PacketKind::Connect => matches!(form, None | Some(Form::Map)),
        PacketKind::Disconnect => form.is_none(),
        PacketKind::ConnectError => matches!(form, Some(Form::Map | Form::Text)),
        _ => form == Some(Form::Array),
    }
}

#[derive(PartialEq)]
enum Form {
    Map,
    Array,
    Text,
    Other,
}

fn form(value: Value<'_>) -> Form {
    match token(value) {
        Some(msgpack::Token::Map(_)) => Form::Map,
        Some(msgpack::Token::Array(_)) => Form::Array,
        Some(msgpack::Token::Str(_)) => Form::Text,
        _ => Form::Other,
    }
}

fn is_defined(value: &Value<'_>) -> bool {
    token(*value) != Some(msgpack::Token::Extension(msgpack::Extension::Undefined))
}

/// A number without a fraction, as far as 64 bits hold it: what JavaScript's `Number.isInteger` finds.
fn whole(value: Value<'_>) -> Option<i64> {
    match token(value)? {
        msgpack::Token::Unsigned(value) => Some(i64::try_from(value).unwrap_or(i64::MAX)),
        msgpack::Token::Signed(value) => Some(value),
        // The cast saturates.
        msgpack::Token::Float(value) if value.is_finite() && value.fract() == 0.0 => Some(value as i64),
        _ => None,
    }
}

/// The first token of a value.
fn token(value: Value<'_>) -> Option<msgpack::Token<'_>> {
    match value {
        Value::MsgPack(bytes) => msgpack::Reader::new(bytes).token().ok(),
        Value::Json(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 2, depth_max: 8 };

    fn packed(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        json_to_msgpack(&mut out, json, &[]).unwrap();
        out
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../tests/vectors/msgpack-parser.json")).unwrap()
    }

    #[test]
    fn packets_are_written_as_the_reference_writes_them() {
        for case in vectors()["encode"].as_array().unwrap() {
            let packet = &case["packet"];
            let kind = packet_kind(packet["type"].as_i64().unwrap()).unwrap();
            let data = packet.get("data").map(|data| {
                let data =
                    data.to_string().replace(r#"{"__binary":"01"}"#, r#"{"_placeholder":true,"num":0}"#);
                data.replace(r#""__undefined""#, "null")
            });
            let namespace = packet["nsp"].as_str().unwrap();
            let packet =
                Packet { kind, namespace, id: packet["id"].as_u64(), attachments: 0, data: data.as_deref() };
            let expected = unhex(case["encoded"]["hex"].as_str().unwrap());
            assert_eq!(encode(&packet, &[Bytes::from_static(&[1])]).unwrap(), expected, "{packet:?}");
        }
    }

    #[test]
    fn packets_are_refused_where_the_reference_refuses_them() {
        for case in vectors()["decode"].as_array().unwrap() {
            let bytes = match case["bytes"].as_str() {
                Some(hex) => unhex(hex),
                None => packed(&case["value"].to_string()),
            };
            let refused = case["decoded"].get("throws").is_some();
            assert_eq!(decode(&bytes, &LIMITS).is_err(), refused, "{case}");
        }
    }

    #[test]
    fn every_key_is_checked() {
        let check = |json: &str, fault| assert_eq!(decode(&packed(json), &LIMITS), Err(fault), "{json}");
        check("[]", WireFault::WrongForm("packet"));
        check(r#"{"nsp":"/"}"#, WireFault::WrongType("type"));
        for kind in ["-1", "5", "1.5", "\"2\"", "null", "4294967298"] {
            check(&format!(r#"{{"type":{kind},"nsp":"/"}}"#), WireFault::WrongType("type"));
        }
        check(r#"{"type":1}"#, WireFault::WrongType("nsp"));
        check(r#"{"type":1,"nsp":"a"}"#, WireFault::WrongType("nsp"));
        // A client of JSON could not name it.
        check(r#"{"type":1,"nsp":"/a,b"}"#, WireFault::WrongType("nsp"));
        check(r#"{"type":2,"nsp":"/","data":["e"],"id":null}"#, WireFault::WrongType("id"));
        check(r#"{"type":2,"nsp":"/","data":["e"],"id":1.5}"#, WireFault::WrongType("id"));
        for (kind, data) in [(0, "null"), (0, "[]"), (1, "null"), (2, "{}"), (3, "1"), (4, "[]")] {
            let json = format!(r#"{{"type":{kind},"nsp":"/","data":{data}}}"#);
            check(&json, WireFault::WrongType("data"));
        }
        check(r#"{"type":2,"nsp":"/"}"#, WireFault::WrongType("data"));
        let trailing = [packed(r#"{"type":1,"nsp":"/"}"#), vec![0]].concat();
        assert_eq!(decode(&trailing, &LIMITS), Err(WireFault::TrailingBytes));
        let deep = format!(r#"{{"type":2,"nsp":"/","data":{}1{}}}"#, "[".repeat(9), "]".repeat(9));
        check(&deep, WireFault::TooDeep { max: 8 });
    }

    #[test]
    fn undefined_counts_as_absent() {
        // {type: 0, data: undefined, nsp: "/n", id: undefined}, as notepack 2.2 writes it.
        let bytes = unhex("84a47479706500a464617461d40000a36e7370a22f6ea26964d40000");
        let connect = decode(&bytes, &LIMITS).unwrap();
        assert_eq!((connect.kind, &*connect.namespace), (PacketKind::Connect, "/n"));
        assert_eq!((connect.id, connect.data), (None, None));
    }

    #[test]
    fn what_a_client_sends_becomes_json_with_attachments() {
        // emit("x", 1, "é", <01 02>, {d: 1.5, u: undefined}) of socket.io-client 4.8.4, with its `options`.
        let bytes = unhex(
            "84a47479706502a46461746195a17801a2c3a9c402010282a164cb3ff8000000000000a175d40000\
             a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f",
        );
        let event = decode(&bytes, &LIMITS).unwrap();
        assert_eq!(event.kind, PacketKind::Event);
        assert_eq!(event.data.as_deref(), Some(r#"["x",1,"é",{"_placeholder":true,"num":0},{"d":1.5}]"#));
        assert_eq!(event.attachments, [Bytes::from_static(&[1, 2])]);
    }

    #[test]
    fn ids_are_what_javascript_counts() {
        let id =
            |id: &str| decode(&packed(&format!(r#"{{"type":3,"nsp":"/","data":[],"id":{id}}}"#)), &LIMITS);
        for (text, expected) in [("0", Some(0)), ("9007199254740991", Some((1 << 53) - 1)), ("-1", None)] {
            assert_eq!(id(text).unwrap().id, expected, "{text}");
        }
        // A float, as JavaScript has no other numbers: {type: 2.0, nsp: "/", data: [], id: 7.0}.
        let bytes = unhex("84a474797065cb4000000000000000a36e7370a12fa46461746190a26964cb401c000000000000");
        assert_eq!(decode(&bytes, &LIMITS).unwrap().id, Some(7));
    }
}
