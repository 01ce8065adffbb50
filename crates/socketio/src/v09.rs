//! The packets of Socket.IO 0.9, protocol 1: `type ":" [id ["+"]] ":" [endpoint] [":" data]`.
//!
//! | type | here |
//! | --- | --- |
//! | 0 disconnect, 1 connect | DISCONNECT, CONNECT; a query of the endpoint stands behind the namespace's name |
//! | 3 message, 4 JSON message | the event `message` with one argument |
//! | 5 event | EVENT |
//! | 6 ack | ACK |
//! | 7 error | CONNECT_ERROR, going out |
//!
//! Heartbeats, no-ops and the end of the session are `engineio::v09`'s. There is no binary.

use std::borrow::Cow;

use crate::assembler::Incoming;
use crate::encode::{json_string, push_decimal};
use crate::error::ParseFault;
use crate::event::event_name;
use crate::json;
use crate::packet::{DecodeLimits, Packet, PacketKind};
use crate::unescape::string_value;

/// The event that messages without a name are.
const MESSAGE: &str = "message";
/// `unauthorized`, the only refusal that clients tell from an error.
const UNAUTHORIZED: &[u8] = b"2";

/// A packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// What it says. An `id` asks the application for an answer.
    pub packet: Incoming<'a>,
    /// This id is to be acknowledged at once, without data and without asking anybody.
    pub acknowledge: Option<u64>,
}

/// Decodes one packet; `None` if it means nothing to a server.
///
/// # Errors
/// [`ParseFault`]; the caller closes the connection. Stricter than the reference, which ignores what it does not
/// understand; no client sends it.
///
/// Source: socket.io 0.9.19, `parser.js` and `namespace.js`.
pub fn decode<'a>(text: &'a str, limits: &DecodeLimits) -> Result<Option<Received<'a>>, ParseFault> {
    let Parts { digit, id, plus, endpoint, data } = Parts::of(text)?;
    let namespace = match endpoint {
        "" => Cow::Borrowed("/"),
        _ if endpoint.starts_with('/') => Cow::Borrowed(endpoint),
        _ => return Err(ParseFault::MalformedPacket),
    };
    let event = |data: String| {
        let (id, acknowledge) = if plus { (id, None) } else { (None, id) };
        let packet = incoming(PacketKind::Event, namespace.clone(), id, Some(data.into()));
        Ok(Some(Received { packet, acknowledge }))
    };
    let plain = |packet| Ok(Some(Received { packet, acknowledge: None }));
    match digit {
        "0" => plain(incoming(PacketKind::Disconnect, namespace, None, None)),
        // The root is connected without asking.
        "1" if endpoint.is_empty() => Ok(None),
        "1" if data.is_empty() => plain(incoming(PacketKind::Connect, namespace, None, None)),
        "1" => {
            let name = format!("{namespace}?{}", data.trim_start_matches('?'));
            plain(incoming(PacketKind::Connect, name.into(), None, None))
        }
        "3" => event(format!("[\"{MESSAGE}\",{}]", json_string(data))),
        "4" => {
            json::check(data, limits.depth_max, None).map_err(ParseFault::InvalidJson)?;
            event(format!("[\"{MESSAGE}\",{data}]"))
        }
        "5" => event(event_data(data, limits)?),
        "6" => {
            let (id, answer) = data.split_once('+').unwrap_or((data, ""));
            let answer = if answer.is_empty() { "[]" } else { answer };
            json::check(answer, limits.depth_max, None).map_err(ParseFault::InvalidJson)?;
            if !answer.starts_with('[') {
                return Err(ParseFault::WrongData { kind: PacketKind::Ack.as_str(), expected: "an array" });
            }
            let id = number(id)?;
            plain(incoming(PacketKind::Ack, namespace, id, Some(answer.into())))
        }
        // An error of the client; and what the session has taken already.
        "2" | "7" | "8" => Ok(None),
        _ => Err(ParseFault::UnknownPacketType(digit.chars().next().unwrap_or(':'))),
    }
}

/// A packet by its parts, all but the type possibly empty.
struct Parts<'a> {
    digit: &'a str,
    id: Option<u64>,
    plus: bool,
    endpoint: &'a str,
    data: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, ParseFault> {
        let (digit, rest) = text.split_once(':').ok_or(ParseFault::MalformedPacket)?;
        let (id, rest) = rest.split_once(':').ok_or(ParseFault::MalformedPacket)?;
        let (endpoint, data) = rest.split_once(':').unwrap_or((rest, ""));
        let (id, plus) = match id.strip_suffix('+') {
            Some(id) => (id, true),
            None => (id, false),
        };
        Ok(Self { digit, id: number(id)?, plus, endpoint, data })
    }
}

/// Digits, or nothing.
fn number(digits: &str) -> Result<Option<u64>, ParseFault> {
    match digits {
        "" => Ok(None),
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => Err(ParseFault::MalformedPacket),
        _ => digits.parse().map(Some).map_err(|_| ParseFault::AckIdTooLarge),
    }
}

/// `{"name":…,"args":[…]}` as `["name",…]`.
fn event_data(data: &str, limits: &DecodeLimits) -> Result<String, ParseFault> {
    json::check(data, limits.depth_max, None).map_err(ParseFault::InvalidJson)?;
    if !data.trim_start().starts_with('{') {
        return Err(ParseFault::WrongData { kind: PacketKind::Event.as_str(), expected: "an object" });
    }
    let name = json::field(data, "name").ok_or(ParseFault::EventNameMissing)?;
    if !name.starts_with('"') {
        return Err(ParseFault::EventNameInvalid);
    }
    let args = match json::field(data, "args") {
        None | Some("null") => "",
        Some(args) => args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).ok_or({
            ParseFault::WrongData { kind: PacketKind::Event.as_str(), expected: "args in an array" }
        })?,
    };
    Ok(match args.trim() {
        "" => format!("[{name}]"),
        args => format!("[{name},{args}]"),
    })
}

fn incoming<'a>(
    kind: PacketKind,
    namespace: Cow<'a, str>,
    id: Option<u64>,
    data: Option<Cow<'a, str>>,
) -> Incoming<'a> {
    Incoming { kind, namespace, id, data, attachments: Vec::new() }
}

/// Appends a packet for a client of 0.9. Its data has to be without placeholders: attachments are the caller's to write
/// out. What the protocol has no words for is left out: ids of sockets, and why a client was refused.
pub fn encode(out: &mut Vec<u8>, packet: &Packet<'_>) {
    let endpoint = if packet.namespace == "/" { "" } else { packet.namespace };
    let data = packet.data.unwrap_or("[]");
    match packet.kind {
        PacketKind::Disconnect => push_head(out, b'0', None, endpoint),
        PacketKind::Connect => push_head(out, b'1', None, endpoint),
        PacketKind::ConnectError => {
            push_head(out, b'7', None, endpoint);
            out.push(b':');
            out.extend_from_slice(UNAUTHORIZED);
        }
        PacketKind::Event | PacketKind::BinaryEvent => push_event(out, packet.id, endpoint, data),
        PacketKind::Ack | PacketKind::BinaryAck => {
            push_head(out, b'6', None, endpoint);
            out.push(b':');
            push_decimal(out, packet.id.unwrap_or_default());
            if json::elements(data).next().is_some() {
                out.push(b'+');
                out.extend_from_slice(data.as_bytes());
            }
        }
    }
}

fn push_event(out: &mut Vec<u8>, id: Option<u64>, endpoint: &str, data: &str) {
    let mut elements = json::elements(data);
    let name = elements.next();
    let only = elements.next().filter(|_| elements.next().is_none());
    if let Some(message) = only.filter(|_| event_name(data).as_deref() == Some(MESSAGE)) {
        let text = string_value(message);
        push_head(out, if text.is_some() { b'3' } else { b'4' }, id, endpoint);
        out.push(b':');
        return out.extend_from_slice(text.as_deref().unwrap_or(message).as_bytes());
    }
    push_head(out, b'5', id, endpoint);
    out.extend_from_slice(b":{\"name\":");
    match name {
        Some(name) if name.starts_with('"') => out.extend_from_slice(name.as_bytes()),
        // The name that a number is.
        name => out.extend_from_slice(json_string(name.unwrap_or_default()).as_bytes()),
    }
    let mut args = json::elements(data).skip(1);
    if let Some(first) = args.next() {
        out.extend_from_slice(b",\"args\":[");
        out.extend_from_slice(first.as_bytes());
        for arg in args {
            out.push(b',');
            out.extend_from_slice(arg.as_bytes());
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Type, id and endpoint. With an id the application is asked for an answer, never its library alone.
fn push_head(out: &mut Vec<u8>, digit: u8, id: Option<u64>, endpoint: &str) {
    out.extend_from_slice(&[digit, b':']);
    if let Some(id) = id {
        push_decimal(out, id);
        out.push(b'+');
    }
    out.push(b':');
    out.extend_from_slice(endpoint.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::split;

    const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 10, depth_max: 4 };

    fn decoded(text: &str) -> Received<'_> {
        decode(text, &LIMITS).unwrap().unwrap()
    }

    #[test]
    fn packets_of_clients_are_events_acks_and_namespaces() {
        use PacketKind::{Ack, Connect, Disconnect, Event};
        for (text, kind, namespace, id, data, acknowledge) in [
            ("0::/chat", Disconnect, "/chat", None, None, None),
            ("1::/chat", Connect, "/chat", None, None, None),
            ("1::/chat?a=b", Connect, "/chat?a=b", None, None, None),
            ("1::/chat:a=b", Connect, "/chat?a=b", None, None, None),
            ("3:::hi: \"there\"\n", Event, "/", None, Some(r#"["message","hi: \"there\"\n"]"#), None),
            ("3:::", Event, "/", None, Some(r#"["message",""]"#), None),
            ("3:2::with ack", Event, "/", None, Some(r#"["message","with ack"]"#), Some(2)),
            ("3:2+:/a:data", Event, "/a", Some(2), Some(r#"["message","data"]"#), None),
            (r#"4:::{"a":1}"#, Event, "/", None, Some(r#"["message",{"a":1}]"#), None),
            (r#"5:::{"name":"ready"}"#, Event, "/", None, Some(r#"["ready"]"#), None),
            (r#"5:::{"name":"x","args":[]}"#, Event, "/", None, Some(r#"["x"]"#), None),
            (
                r#"5:1+:/chat:{"args":[41, "b"],"name":"q"}"#,
                Event,
                "/chat",
                Some(1),
                Some(r#"["q",41, "b"]"#),
                None,
            ),
            (r#"6:::1+["forty two",{"x":1}]"#, Ack, "/", Some(1), Some(r#"["forty two",{"x":1}]"#), None),
            ("6::/chat:2", Ack, "/chat", Some(2), Some("[]"), None),
        ] {
            let received = decoded(text);
            let packet = incoming(kind, namespace.into(), id, data.map(Cow::Borrowed));
            assert_eq!(received, Received { packet, acknowledge }, "{text}");
        }
        for nothing in ["1::", "2::", "7:::1+0", "8::"] {
            assert_eq!(decode(nothing, &LIMITS), Ok(None), "{nothing}");
        }
    }

    #[test]
    fn every_offence_has_its_fault() {
        use ParseFault::*;
        for text in ["", "3", "3:", "5:x::{}", "3:-1::", "3:::", "6:::x", "1::chat"] {
            let fault = decode(text, &LIMITS).err();
            assert_eq!(fault, (text != "3:::").then_some(MalformedPacket), "{text}");
        }
        assert_eq!(decode("9::", &LIMITS), Err(UnknownPacketType('9')));
        assert_eq!(decode("3:18446744073709551616::", &LIMITS), Err(AckIdTooLarge));
        assert_eq!(decode("5:::{}", &LIMITS), Err(EventNameMissing));
        assert_eq!(decode(r#"5:::{"name":1}"#, &LIMITS), Err(EventNameInvalid));
        for text in [r#"5:::["x"]"#, r#"5:::{"name":"x","args":{}}"#, "6:::1+{}"] {
            assert!(matches!(decode(text, &LIMITS), Err(WrongData { .. })), "{text}");
        }
        for text in ["4:::", "4:::{", "5:::", r#"5:::{"name":"x","args":[[[[1]]]]}"#, "6:::1+[", "4:::1 2"] {
            assert!(matches!(decode(text, &LIMITS), Err(InvalidJson(_))), "{text}");
        }
    }

    #[test]
    fn packets_for_clients_are_translations() {
        for (text, expected) in [
            (r#"0{"sid":"a"}"#, "1::"),
            ("0/chat,", "1::/chat"),
            ("1", "0::"),
            ("1/chat,", "0::/chat"),
            (r#"2["ready"]"#, r#"5:::{"name":"ready"}"#),
            (r#"2/a,7["x" , 1,"b"]"#, r#"5:7+:/a:{"name":"x","args":[1,"b"]}"#),
            ("2[1.0,2]", r#"5:::{"name":"1.0","args":[2]}"#),
            (r#"2["message","h\u00e9: \"x\""]"#, r#"3:::hé: "x""#),
            (r#"20["message",{"a":1}]"#, r#"4:0+::{"a":1}"#),
            (r#"2["message"]"#, r#"5:::{"name":"message"}"#),
            (r#"2["message",1,2]"#, r#"5:::{"name":"message","args":[1,2]}"#),
            (r#"3/a,1["woot"]"#, r#"6::/a:1+["woot"]"#),
            ("32[]", "6:::2"),
            (r#"4/x,{"message":"Invalid namespace"}"#, "7::/x:2"),
        ] {
            let mut out = Vec::new();
            encode(&mut out, &split(text).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }
}
