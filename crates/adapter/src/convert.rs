//! Events between the two forms they travel in: MessagePack on Redis, JSON text with attachments to clients.

use bytes::Bytes;
use socketio::{DEPTH_CEILING, DecodeLimits};

use crate::argument::Argument;
use crate::date::iso_text;
use crate::error::WireFault;
use crate::json::{self, Placeholder};
use crate::msgpack::{self, Extension, Token};
use crate::number::{push_integer, push_number};

/// Redis' own limit for one argument (`proto-max-bulk-len`); a larger message is not made.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// What repetitions of attachments may add to a message: clients get an attachment once, however often
/// it is named, but MessagePack has to repeat it.
const REPEATED_BYTES_MAX: usize = 16 << 20;

/// Turns one MessagePack value into JSON text and attachments, in the order of the document.
///
/// Values become what the clients of a Node server get: dates ISO text, NaN and infinities `null`,
/// `undefined` `null` or nothing as the value of a key, extensions that nobody knows `[type, bytes]`. Integers
/// keep all 64 bits. Text that is not UTF-8 has U+FFFD in its place.
///
/// # Errors
/// [`WireFault::TooDeep`], [`WireFault::TooManyAttachments`]; [`WireFault::PlaceholderInData`] if beside
/// attachments a map looks like one, since clients would close their connection on it; the faults of the bytes.
pub(crate) fn msgpack_to_json(value: &[u8], limits: &DecodeLimits) -> Result<Argument, WireFault> {
    let mut reader = msgpack::Reader::new(value);
    let argument = read_msgpack_as_json(&mut reader, limits)?;
    reader.end()?;
    Ok(argument)
}

/// The same with the next value of `reader`, whatever follows.
pub(crate) fn read_msgpack_as_json(
    reader: &mut msgpack::Reader<'_>,
    limits: &DecodeLimits,
) -> Result<Argument, WireFault> {
    let depth_max = limits.depth_max.min(DEPTH_CEILING);
    let mut json = ToJson {
        // Text grows little: quotes and commas for heads.
        out: Vec::with_capacity(reader.left() + reader.left() / 4 + 8),
        attachments: Vec::new(),
        attachments_max: limits.attachments_max,
        depth_max,
        placeholder_in_data: false,
    };
    if json.value(reader, depth_max)? == Written::Nothing {
        json.out.extend_from_slice(b"null");
    }
    if json.placeholder_in_data && !json.attachments.is_empty() {
        return Err(WireFault::PlaceholderInData);
    }
    Ok(Argument { json: json.out.into(), attachments: json.attachments })
}

#[derive(PartialEq)]
enum Written {
    Value,
    /// `undefined`: JSON has nothing for it.
    Nothing,
}

struct ToJson {
    out: Vec<u8>,
    attachments: Vec<Bytes>,
    attachments_max: usize,
    depth_max: usize,
    placeholder_in_data: bool,
}

impl ToJson {
    fn value(&mut self, reader: &mut msgpack::Reader<'_>, depth_left: usize) -> Result<Written, WireFault> {
        if let Some(text) = reader.text() {
            json::push_text(&mut self.out, text);
            return Ok(Written::Value);
        }
        match reader.token()? {
            Token::Nil => self.out.extend_from_slice(b"null"),
            Token::Bool(value) => self.boolean(value),
            Token::Unsigned(value) => push_integer(&mut self.out, value),
            Token::Signed(value) => push_integer(&mut self.out, value),
            Token::Float(value) => push_number(&mut self.out, value),
            Token::Str(text) => json::push_text(&mut self.out, text),
            Token::Bin(bytes) | Token::Extension(Extension::Bytes(bytes)) => self.attachment(bytes)?,
            Token::Array(length) => self.array(reader, length, self.level(depth_left)?)?,
            Token::Map(length) => self.map(reader, length, self.level(depth_left)?)?,
            Token::Extension(Extension::Undefined) => return Ok(Written::Nothing),
            Token::Extension(Extension::Date(ms)) => self.date(ms),
            Token::Extension(Extension::Other(kind, bytes)) => {
                self.out.push(b'[');
                push_integer(&mut self.out, kind);
                self.out.push(b',');
                self.attachment(bytes)?;
                self.out.push(b']');
            }
        }
        Ok(Written::Value)
    }

    fn level(&self, depth_left: usize) -> Result<usize, WireFault> {
        depth_left.checked_sub(1).ok_or(WireFault::TooDeep { max: self.depth_max })
    }

    fn array(
        &mut self,
        reader: &mut msgpack::Reader<'_>,
        length: usize,
        depth_left: usize,
    ) -> Result<(), WireFault> {
        self.out.push(b'[');
        for index in 0..length {
            if index > 0 {
                self.out.push(b',');
            }
            if self.value(reader, depth_left)? == Written::Nothing {
                self.out.extend_from_slice(b"null");
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(
        &mut self,
        reader: &mut msgpack::Reader<'_>,
        length: usize,
        depth_left: usize,
    ) -> Result<(), WireFault> {
        self.out.push(b'{');
        let inside = self.out.len();
        for _ in 0..length {
            let member = self.out.len();
            if member > inside {
                self.out.push(b',');
            }
            let marks = self.key(reader)?;
            self.out.push(b':');
            let value = self.out.len();
            if self.value(reader, depth_left)? == Written::Nothing {
                self.out.truncate(member);
            } else if marks && self.out.ends_with(b"true") && self.out.len() - value == b"true".len() {
                self.placeholder_in_data = true;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes a key, and says whether it is the one that marks placeholders.
    fn key(&mut self, reader: &mut msgpack::Reader<'_>) -> Result<bool, WireFault> {
        // JavaScript's keys are text: that of a number is its digits, that of nil `null`.
        match reader.token()? {
            Token::Str(text) => {
                json::push_text(&mut self.out, text);
                return Ok(text == b"_placeholder");
            }
            Token::Unsigned(value) => push_integer(&mut self.out, format_args!("\"{value}\"")),
            Token::Signed(value) => push_integer(&mut self.out, format_args!("\"{value}\"")),
            Token::Bool(value) => push_integer(&mut self.out, format_args!("\"{value}\"")),
            Token::Nil => self.out.extend_from_slice(b"\"null\""),
            Token::Float(value) if value.is_finite() => {
                self.out.push(b'"');
                push_number(&mut self.out, value);
                self.out.push(b'"');
            }
            _ => return Err(WireFault::MapKey),
        }
        Ok(false)
    }

    fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn date(&mut self, ms: Option<i64>) {
        match ms.and_then(iso_text) {
            Some(text) => json::push_string(&mut self.out, &text),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    fn attachment(&mut self, bytes: &[u8]) -> Result<(), WireFault> {
        if self.attachments.len() >= self.attachments_max {
            return Err(WireFault::TooManyAttachments { max: self.attachments_max });
        }
        push_integer(
            &mut self.out,
            format_args!("{{\"_placeholder\":true,\"num\":{}}}", self.attachments.len()),
        );
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

/// Appends JSON text as notepack.io 3.0.1 would write what JavaScript reads from it, with the attachments in
/// place of their placeholders.
///
/// Better than the library in two things: integers keep all 64 bits, and numbers beyond them are floats, where
/// it cuts them off.
///
/// # Errors
/// [`WireFault::NotJson`] and its like; [`WireFault::PlaceholderOutOfRange`]; [`WireFault::TooLarge`]. `out` is then
/// of no use.
pub(crate) fn json_to_msgpack(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) -> Result<(), WireFault> {
    let found = found_placeholders(json, attachments)?;
    out.reserve(json.len());
    let mut writer = ToMsgPack { reader: json::Reader::new(json), out, attachments, found: found.iter() };
    writer.value(DEPTH_CEILING)?;
    writer.reader.end()
}

/// The JSON text that `JSON.stringify` makes of an event with buffers in it: they become
/// `{"type":"Buffer","data":[…]}`, since JSON requests and responses have no attachments.
///
/// # Errors
/// As [`json_to_msgpack`].
pub(crate) fn push_json_with_buffers(out: &mut Vec<u8>, argument: &Argument) -> Result<(), WireFault> {
    if argument.attachments.is_empty() {
        return push_json(out, &argument.json);
    }
    let text = utf8(&argument.json)?;
    push_with_bytes(out, text, &argument.attachments, [b"{\"type\":\"Buffer\",\"data\":[", b"]}"])
}

/// The JSON text that Node 0.10 made of an event with buffers in it, in the time of Socket.IO 0.9: arrays of numbers.
///
/// # Errors
/// If `json` names attachments that there are not, or is no JSON.
pub fn json_with_arrays(json: &str, attachments: &[Bytes]) -> Result<String, WireFault> {
    let mut out = Vec::with_capacity(json.len());
    push_with_bytes(&mut out, json, attachments, [b"[", b"]"])?;
    String::from_utf8(out).map_err(|_| WireFault::NotUtf8)
}

/// Appends `text` with the bytes of each attachment, in decimal between `marks`, in place of its placeholders.
fn push_with_bytes(
    out: &mut Vec<u8>,
    text: &str,
    attachments: &[Bytes],
    marks: [&[u8]; 2],
) -> Result<(), WireFault> {
    let mut at = 0;
    for Placeholder { range, number } in found_placeholders(text, attachments)? {
        let attachment = attachments.get(number).ok_or(WireFault::PlaceholderOutOfRange)?;
        out.extend_from_slice(text.get(at..range.start).unwrap_or_default().as_bytes());
        out.extend_from_slice(marks[0]);
        for (index, byte) in attachment.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_integer(out, byte);
        }
        out.extend_from_slice(marks[1]);
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default().as_bytes());
    Ok(())
}

/// Appends `json`, once it is known to be one JSON value that cannot break the message around it.
pub(crate) fn push_json(out: &mut Vec<u8>, json: &[u8]) -> Result<(), WireFault> {
    json::check(utf8(json)?, DEPTH_CEILING)?;
    out.extend_from_slice(json);
    Ok(())
}

/// `bytes` as text.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, WireFault> {
    std::str::from_utf8(bytes).map_err(|_| WireFault::NotUtf8)
}

fn found_placeholders(json: &str, attachments: &[Bytes]) -> Result<Vec<Placeholder>, WireFault> {
    let found =
        if attachments.is_empty() { Vec::new() } else { json::placeholders(json, attachments.len())? };
    let once: usize = attachments.iter().map(Bytes::len).sum();
    let length = |placeholder: &Placeholder| attachments.get(placeholder.number).map_or(0, Bytes::len);
    let max = MESSAGE_BYTES_MAX.min(json.len().saturating_add(once).saturating_add(REPEATED_BYTES_MAX));
    let total = found.iter().map(length).fold(json.len(), usize::saturating_add);
    if total > max { Err(WireFault::TooLarge { max }) } else { Ok(found) }
}

struct ToMsgPack<'a> {
    reader: json::Reader<'a>,
    out: &'a mut Vec<u8>,
    attachments: &'a [Bytes],
    /// Placeholders not reached yet.
    found: std::slice::Iter<'a, Placeholder>,
}

impl ToMsgPack<'_> {
    fn value(&mut self, depth_left: usize) -> Result<(), WireFault> {
        if let Some(text) = self.reader.plain_string() {
            msgpack::str(self.out, text);
            return Ok(());
        }
        match self.reader.token()? {
            json::Token::Null => msgpack::nil(self.out),
            json::Token::Bool(value) => msgpack::boolean(self.out, value),
            json::Token::Number(text) => push_msgpack_number(self.out, text),
            json::Token::String(text) => msgpack::str(self.out, &text.unescaped()),
            json::Token::Array => {
                let depth_left = level(depth_left)?;
                let start = msgpack::open(self.out);
                let mut length = 0;
                while self.reader.element(length == 0)? {
                    self.value(depth_left)?;
                    length += 1;
                }
                msgpack::close_array(self.out, start, length);
            }
            json::Token::Object if self.bin() => {}
            json::Token::Object => {
                let depth_left = level(depth_left)?;
                let start = msgpack::open(self.out);
                let mut length = 0;
                while let Some(key) = self.reader.key(length == 0)? {
                    msgpack::str(self.out, &key.unescaped());
                    self.value(depth_left)?;
                    length += 1;
                }
                msgpack::close_map(self.out, start, length);
            }
        }
        Ok(())
    }

    /// Writes the attachment, if the object just opened is the next placeholder.
    fn bin(&mut self) -> bool {
        let start = self.reader.at() - 1;
        let Some(Placeholder { range, number }) = self.found.as_slice().first() else { return false };
        let Some(attachment) = self.attachments.get(*number).filter(|_| range.start == start) else {
            return false;
        };
        msgpack::bin(self.out, attachment);
        self.reader.jump(range.end);
        self.found.next();
        true
    }
}

fn level(depth_left: usize) -> Result<usize, WireFault> {
    depth_left.checked_sub(1).ok_or(WireFault::TooDeep { max: DEPTH_CEILING })
}

/// One more than the largest `u64`.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// A number of the JSON grammar, in the form notepack.io gives the one that JavaScript reads.
fn push_msgpack_number(out: &mut Vec<u8>, text: &str) {
    if let Ok(value) = text.parse::<u64>() {
        return msgpack::unsigned(out, value);
    }
    if let Ok(value) = text.parse::<i64>() {
        return msgpack::integer(out, value);
    }
    let value: f64 = text.parse().unwrap_or(f64::NAN);
    // The casts are exact: whole numbers within the range of their type.
    if value.fract() == 0.0 && (0.0..TWO_TO_64).contains(&value) {
        msgpack::unsigned(out, value as u64);
    } else if value.fract() == 0.0 && (-TWO_TO_64 / 2.0..0.0).contains(&value) {
        msgpack::integer(out, value as i64);
    } else {
        msgpack::float(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 3, depth_max: 4 };

    fn to_json(value: &[u8]) -> Result<String, WireFault> {
        msgpack_to_json(value, &LIMITS).map(|argument| String::from_utf8(argument.json.to_vec()).unwrap())
    }

    fn to_msgpack(json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, WireFault> {
        let mut out = Vec::new();
        json_to_msgpack(&mut out, json, attachments).map(|()| out)
    }

    #[test]
    fn undefined_is_null_in_arrays_and_left_out_of_maps() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(to_json(bytes).as_deref(), Ok(expected));
        check(&[0xd4, 0, 0], "null");
        check(&[0x92, 0xd4, 0, 0, 1], "[null,1]");
        check(&[0x83, 0xa1, b'a', 0xd4, 0, 0, 0xa1, b'b', 1, 0xa1, b'c', 0xd4, 0, 0], r#"{"b":1}"#);
        check(&[0x82, 0xa1, b'a', 1, 0xa1, b'b', 0xd4, 0, 0], r#"{"a":1}"#);
    }

    #[test]
    fn keys_become_text_and_dates_their_iso_form() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(to_json(bytes).as_deref(), Ok(expected));
        check(&[0x84, 1, 0, 0xff, 0, 0xc3, 0, 0xc0, 0], r#"{"1":0,"-1":0,"true":0,"null":0}"#);
        check(&[0x81, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0], r#"{"1.5":0}"#);
        check(&[0x91, 0xd6, 0xff, 0, 0, 0, 0], r#"["1970-01-01T00:00:00.000Z"]"#);
        check(&[0xd7, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "null");
        check(&[0xa2, 0xc3, 0x28], "\"\u{fffd}(\"");
        assert_eq!(to_json(&[0x81, 0x90, 0]), Err(WireFault::MapKey));
    }

    #[test]
    fn integers_keep_all_their_bits_in_both_directions() {
        for text in ["18446744073709551615", "-9223372036854775808", "9007199254740993"] {
            let bytes = to_msgpack(text, &[]).unwrap();
            assert_eq!(to_json(&bytes).as_deref(), Ok(text));
        }
        let check = |text, expected: &str| {
            assert_eq!(to_json(&to_msgpack(text, &[]).unwrap()).as_deref(), Ok(expected))
        };
        check("1.0", "1");
        check("-2.50e1", "-25");
        check("1e3", "1000");
        check("1e19", "10000000000000000000");
        check("1e21", "1e+21");
        check("-1e19", "-10000000000000000000");
        check("1e400", "null");
        check("-0", "0");
        check("-0.0", "0");
        check("0.1", "0.1");
    }

    #[test]
    fn attachments_are_numbered_in_document_order_and_put_back() {
        let bytes = [0x93, 0xa1, b'e', 0xc4, 1, 7, 0x81, 0xa1, b'x', 0xc4, 2, 8, 9];
        let argument = msgpack_to_json(&bytes, &LIMITS).unwrap();
        assert_eq!(
            &argument.json[..],
            br#"["e",{"_placeholder":true,"num":0},{"x":{"_placeholder":true,"num":1}}]"#
        );
        assert_eq!(argument.attachments, [vec![7], vec![8, 9]]);
        assert_eq!(to_msgpack(utf8(&argument.json).unwrap(), &argument.attachments).unwrap(), bytes);
        assert_eq!(to_json(&[0xd5, 9, 1, 2]).as_deref(), Ok(r#"[9,{"_placeholder":true,"num":0}]"#));
        assert_eq!(
            to_json(&[0x94, 0xc4, 0, 0xc4, 0, 0xc4, 0, 0xc4, 0]),
            Err(WireFault::TooManyAttachments { max: 3 })
        );
    }

    #[test]
    fn data_that_clients_would_take_for_an_attachment_is_refused_beside_attachments() {
        let marked = [0x81, 0xac].iter().chain(b"_placeholder").chain(&[0xc3]).copied().collect::<Vec<_>>();
        assert_eq!(to_json(&marked).as_deref(), Ok(r#"{"_placeholder":true}"#));
        let beside = [&[0x92][..], &marked, &[0xc4, 0]].concat();
        assert_eq!(to_json(&beside), Err(WireFault::PlaceholderInData));
    }

    #[test]
    fn depth_is_bounded_in_both_directions() {
        assert_eq!(to_json(&[0x91, 0x91, 0x91, 0x90]).as_deref(), Ok("[[[[]]]]"));
        assert_eq!(to_json(&[0x91, 0x91, 0x91, 0x91, 0x90]), Err(WireFault::TooDeep { max: 4 }));
        let hostile = "[".repeat(1 << 20);
        assert_eq!(to_msgpack(&hostile, &[]), Err(WireFault::TooDeep { max: DEPTH_CEILING }));
        let deepest = format!("{}{}", "[".repeat(DEPTH_CEILING), "]".repeat(DEPTH_CEILING));
        assert_eq!(to_msgpack(&deepest, &[]).map(|bytes| bytes.len()), Ok(DEPTH_CEILING));
    }

    #[test]
    fn an_attachment_named_again_and_again_does_not_grow_the_message_without_bound() {
        let large = [Bytes::from(vec![0; 1 << 20])];
        let named = |times| format!("[{}]", vec![r#"{"_placeholder":true,"num":0}"#; times].join(","));
        assert!(to_msgpack(&named(2), &large).is_ok());
        assert!(matches!(to_msgpack(&named(18), &large), Err(WireFault::TooLarge { .. })));
    }

    #[test]
    fn buffers_in_json_are_what_json_stringify_makes_of_them() {
        let argument = Argument {
            json: Bytes::from_static(br#"["x", {"_placeholder":true,"num":0} ,2]"#),
            attachments: vec![Bytes::from_static(&[1, 255])],
        };
        let mut out = Vec::new();
        push_json_with_buffers(&mut out, &argument).unwrap();
        assert_eq!(out, br#"["x", {"type":"Buffer","data":[1,255]} ,2]"#);
        let json = utf8(&argument.json).unwrap();
        assert_eq!(json_with_arrays(json, &argument.attachments).as_deref(), Ok(r#"["x", [1,255] ,2]"#));
    }

    #[test]
    fn large_arrays_and_maps_get_their_heads_afterwards() {
        let items: Vec<String> =
            (0..20).map(|n| format!(r#"{{"k":[{}]}}"#, vec!["1"; n].join(","))).collect();
        let json = format!("[{}]", items.join(","));
        let bytes = to_msgpack(&json, &[]).unwrap();
        assert_eq!(&bytes[..3], [0xdc, 0, 20]);
        assert_eq!(to_json(&bytes).as_deref(), Ok(&*json));
    }
}
