//! RESP, Redis' wire form: commands to bytes, bytes to replies and pushes.
//!
//! Source: Redis serialization protocol, RESP3 with its RESP2 subset.

use std::ops::Range;

use bytes::Bytes;

/// Replies nest no deeper than this in any command that is sent here; deeper ones are refused, as the parser recurses.
const DEPTH_MAX: usize = 8;
/// Redis' own limit of one string, in bytes (`proto-max-bulk-len`).
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// No reply that is asked for here has more elements.
const ELEMENTS_MAX: usize = 16 * 1024 * 1024;
/// Elements for which room is made before they have arrived.
const ELEMENTS_RESERVED_MAX: usize = 1024;
/// Digits of an integer that is read without looking for the end of its line.
const COUNT_DIGITS_MAX: usize = 9;
/// A line (header, integer, error) is never longer than this, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A reply, or a push that is no message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value {
    /// Null of any form.
    #[default]
    Null,
    /// An integer; a boolean is 0 or 1.
    Integer(i64),
    /// A string of any form, and whatever else is text on the wire.
    Text(Bytes),
    /// An error, beginning with its code.
    Error(String),
    /// Array or set; a map is keys and values by turns.
    List(Vec<Value>),
    /// Out of band.
    Push(Vec<Value>),
}

/// What stands at the beginning of a buffer.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// A message: where its channel and payload stand. For a pattern the channel is the actual one.
    Message { channel: Range<usize>, payload: Range<usize> },
    /// Anything else.
    Value(Value),
}

/// The other side does not speak RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not RESP: {0}")]
pub(crate) struct RespFault(&'static str);

/// Appends one command to `out`.
pub(crate) fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    header(out, b'*', parts.len());
    for part in parts {
        bulk(out, part);
    }
}

/// Appends the beginning of a command of `parts` strings, which follow by [`bulk`].
pub(crate) fn begin(out: &mut Vec<u8>, parts: usize) {
    header(out, b'*', parts);
}

/// Appends one string of a command.
pub(crate) fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    header(out, b'$', text.len());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, kind: u8, mut number: usize) {
    // By hand: the formatting machinery costs more than all the rest of a PUBLISH.
    let mut digits = [0_u8; 24];
    let mut at = digits.len();
    for byte in [b'\n', b'\r'] {
        at -= 1;
        digits[at] = byte;
    }
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    at -= 1;
    digits[at] = kind;
    out.extend_from_slice(&digits[at..]);
}

/// The frame at the beginning of `buffer` and its length in bytes; `None` while it is not complete.
///
/// # Errors
/// [`RespFault`] when no more bytes could make it a frame.
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<(Frame, usize)>, RespFault> {
    let mut cursor = Cursor { buffer, at: 0 };
    // Messages and answers to publishes are what a busy link receives: they are recognised by their first bytes.
    match buffer.first() {
        Some(b'>') => {
            for (beginning, leading) in MESSAGES {
                if buffer.starts_with(beginning) {
                    cursor.at = beginning.len();
                    return Ok(cursor.message(*leading)?.map(|frame| (frame, cursor.at)));
                }
            }
        }
        Some(b':') => {
            if let Some((count, length)) = short_count(buffer) {
                return Ok(Some((Frame::Value(Value::Integer(count)), length)));
            }
        }
        _ => {}
    }
    Ok(cursor.value(0)?.map(|value| (Frame::Value(value), cursor.at)))
}

/// An integer of few digits and its length in bytes; `None` if it is anything else, or not all of it has come.
fn short_count(buffer: &[u8]) -> Option<(i64, usize)> {
    let mut count = 0;
    for (at, byte) in buffer.iter().enumerate().take(COUNT_DIGITS_MAX + 2).skip(1) {
        match byte {
            b'0'..=b'9' => count = count * 10 + i64::from(byte - b'0'),
            b'\r' if at > 1 && buffer.get(at + 1) == Some(&b'\n') => return Some((count, at + 2)),
            _ => return None,
        }
    }
    None
}

/// How messages begin, and how many strings (the pattern) stand before the channel.
const MESSAGES: &[(&[u8], usize)] =
    &[(b">3\r\n$7\r\nmessage\r\n", 0), (b">3\r\n$8\r\nsmessage\r\n", 0), (b">4\r\n$8\r\npmessage\r\n", 1)];

struct Cursor<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn message(&mut self, leading: usize) -> Result<Option<Frame>, RespFault> {
        for _ in 0..leading {
            if self.bulk()?.is_none() {
                return Ok(None);
            }
        }
        let Some(channel) = self.bulk()? else { return Ok(None) };
        let Some(payload) = self.bulk()? else { return Ok(None) };
        Ok(Some(Frame::Message { channel, payload }))
    }

    /// A string with its header.
    fn bulk(&mut self) -> Result<Option<Range<usize>>, RespFault> {
        match self.buffer.get(self.at) {
            None => return Ok(None),
            Some(b'$') => self.at += 1,
            Some(_) => return Err(RespFault("a message holds something other than strings")),
        }
        let Some(length) = self.length(BULK_BYTES_MAX)? else { return Ok(None) };
        let length = length.ok_or(RespFault("a message holds null"))?;
        self.body(length)
    }

    /// `length` bytes and the end of their line.
    fn body(&mut self, length: usize) -> Result<Option<Range<usize>>, RespFault> {
        let end = self.at + length;
        match self.buffer.get(end..end + 2) {
            None => Ok(None),
            Some(b"\r\n") => {
                let body = self.at..end;
                self.at = end + 2;
                Ok(Some(body))
            }
            Some(_) => Err(RespFault("a string is longer than it says")),
        }
    }

    /// The number of a header up to the end of its line; `Some(None)` is -1, null.
    fn length(&mut self, max: usize) -> Result<Option<Option<usize>>, RespFault> {
        let mut number = 0_usize;
        let mut at = self.at;
        loop {
            match self.buffer.get(at) {
                None => return Ok(None),
                Some(digit @ b'0'..=b'9') => number = number * 10 + usize::from(digit - b'0'),
                Some(b'\r') if at > self.at => break,
                Some(b'-') if at == self.at => {
                    return Ok(self.line()?.map(|_| None));
                }
                Some(_) => return Err(RespFault("a length is no number")),
            }
            if number > max {
                return Err(RespFault("a length is beyond any limit"));
            }
            at += 1;
        }
        match self.buffer.get(at + 1) {
            None => Ok(None),
            Some(b'\n') => {
                self.at = at + 2;
                Ok(Some(Some(number)))
            }
            Some(_) => Err(RespFault("a line does not end")),
        }
    }

    /// The bytes up to the end of the line.
    fn line(&mut self) -> Result<Option<Range<usize>>, RespFault> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some(length) = rest.windows(2).take(LINE_BYTES_MAX).position(|pair| pair == b"\r\n") else {
            let too_long = rest.len() > LINE_BYTES_MAX;
            return if too_long { Err(RespFault("a line is too long")) } else { Ok(None) };
        };
        let line = self.at..self.at + length;
        self.at = line.end + 2;
        Ok(Some(line))
    }

    fn text(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<Option<Value>, RespFault> {
        if depth > DEPTH_MAX {
            return Err(RespFault("nested too deeply"));
        }
        let Some(kind) = self.buffer.get(self.at).copied() else { return Ok(None) };
        self.at += 1;
        match kind {
            b'+' | b',' | b'(' => {
                let Some(line) = self.line()? else { return Ok(None) };
                Ok(Some(Value::Text(Bytes::copy_from_slice(self.text(line)))))
            }
            b'-' => {
                let Some(line) = self.line()? else { return Ok(None) };
                Ok(Some(Value::Error(String::from_utf8_lossy(self.text(line)).into_owned())))
            }
            b':' => {
                let Some(line) = self.line()? else { return Ok(None) };
                let number = std::str::from_utf8(self.text(line)).ok().and_then(|text| text.parse().ok());
                number.map(|number| Some(Value::Integer(number))).ok_or(RespFault("an integer is none"))
            }
            b'#' => {
                let Some(line) = self.line()? else { return Ok(None) };
                Ok(Some(Value::Integer(i64::from(self.text(line) == b"t"))))
            }
            b'_' => Ok(self.line()?.map(|_| Value::Null)),
            b'$' | b'=' | b'!' => {
                let Some(length) = self.length(BULK_BYTES_MAX)? else { return Ok(None) };
                let Some(length) = length else { return Ok(Some(Value::Null)) };
                let Some(body) = self.body(length)? else { return Ok(None) };
                let text = self.text(body);
                Ok(Some(match kind {
                    b'!' => Value::Error(String::from_utf8_lossy(text).into_owned()),
                    // Of a verbatim string the first four bytes say how to show it.
                    b'=' => Value::Text(Bytes::copy_from_slice(text.get(4..).unwrap_or_default())),
                    _ => Value::Text(Bytes::copy_from_slice(text)),
                }))
            }
            b'*' | b'~' => Ok(self.list(1, depth)?.map(|items| items.map_or(Value::Null, Value::List))),
            b'%' => Ok(self.list(2, depth)?.map(|items| items.map_or(Value::Null, Value::List))),
            b'>' => Ok(self.list(1, depth)?.map(|items| Value::Push(items.unwrap_or_default()))),
            _ => Err(RespFault("an unknown type")),
        }
    }

    /// The elements of a list, `per_item` for each that its header counts; `Some(None)` is null.
    fn list(&mut self, per_item: usize, depth: usize) -> Result<Option<Option<Vec<Value>>>, RespFault> {
        let Some(count) = self.length(ELEMENTS_MAX)? else { return Ok(None) };
        let Some(count) = count else { return Ok(Some(None)) };
        let count = count * per_item;
        let mut items = Vec::with_capacity(count.min(ELEMENTS_RESERVED_MAX));
        for _ in 0..count {
            match self.value(depth + 1)? {
                Some(item) => items.push(item),
                None => return Ok(None),
            }
        }
        Ok(Some(Some(items)))
    }
}

impl Value {
    /// The string, if it is one.
    pub(crate) fn as_text(&self) -> Option<&Bytes> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one that is not negative.
    pub(crate) fn as_count(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    pub(crate) fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn replies_of_every_type_are_read() {
        let check = |wire: &str, expected: Value| {
            let parsed = parse(wire.as_bytes()).unwrap();
            assert_eq!(parsed, Some((Frame::Value(expected), wire.len())), "{wire:?}");
        };
        check("+OK\r\n", text("OK"));
        check("-ERR no\r\n", Value::Error("ERR no".into()));
        check(":-12\r\n", Value::Integer(-12));
        check("$-1\r\n", Value::Null);
        check("*-1\r\n", Value::Null);
        check("_\r\n", Value::Null);
        check("#t\r\n", Value::Integer(1));
        check(",1.5\r\n", text("1.5"));
        check("$0\r\n\r\n", text(""));
        check("=7\r\ntxt:abc\r\n", text("abc"));
        check("!5\r\nERR x\r\n", Value::Error("ERR x".into()));
        check("*2\r\n$1\r\na\r\n:3\r\n", Value::List(vec![text("a"), Value::Integer(3)]));
        check("%1\r\n+k\r\n~1\r\n+v\r\n", Value::List(vec![text("k"), Value::List(vec![text("v")])]));
        check(">2\r\n+subscribe\r\n:1\r\n", Value::Push(vec![text("subscribe"), Value::Integer(1)]));
    }

    #[test]
    fn messages_of_the_three_kinds_are_found_in_place() {
        let check = |wire: &str| {
            let whole = format!("{wire}+more\r\n");
            let (frame, length) = parse(whole.as_bytes()).unwrap().unwrap();
            assert_eq!(length, wire.len());
            let Frame::Message { channel, payload } = frame else { panic!("{frame:?}") };
            assert_eq!((&whole[channel], &whole[payload]), ("room", "hello"), "{wire:?}");
        };
        check(">3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$5\r\nhello\r\n");
        check(">3\r\n$8\r\nsmessage\r\n$4\r\nroom\r\n$5\r\nhello\r\n");
        check(">4\r\n$8\r\npmessage\r\n$2\r\nr*\r\n$4\r\nroom\r\n$5\r\nhello\r\n");
    }

    #[test]
    fn bytes_that_are_not_resp_are_refused() {
        let deep = "*1\r\n".repeat(DEPTH_MAX + 2);
        for wire in [
            "HTTP/1.1 400\r\n",
            "$x\r\n",
            "$3\r\nabcd\r\n",
            "$99999999999999999999\r\n",
            "*1000000000\r\n",
            ":1x\r\n",
            ">3\r\n$7\r\nmessage\r\n:1\r\n",
            &deep,
            &"+".repeat(LINE_BYTES_MAX + 2),
        ] {
            assert!(parse(wire.as_bytes()).is_err(), "{:?}", &wire[..wire.len().min(40)]);
        }
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"PUBLISH", b"room", b""]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$0\r\n\r\n");
    }

    /// A frame of any type, as Redis writes it.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let bulk = |kind: char| {
            prop::collection::vec(any::<u8>(), 0..20).prop_map(move |text| {
                [format!("{kind}{}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat()
            })
        };
        let line =
            prop_oneof!["[+-][a-z ]{0,9}\r\n", ":-?[0-9]{1,9}\r\n", "[#][tf]\r\n", "_\r\n", "[$*]-1\r\n"];
        let leaf = prop_oneof![line.prop_map(String::into_bytes), bulk('$'), bulk('='), bulk('!')];
        let messages = (0..3_usize, bulk('$'), bulk('$')).prop_map(|(kind, channel, payload)| {
            let (beginning, leading) = MESSAGES[kind];
            [beginning, &channel.repeat(leading), &channel, &payload].concat()
        });
        let nested = leaf.prop_recursive(3, 12, 4, |inner| {
            (prop::sample::select(vec!['*', '~', '>']), prop::collection::vec(inner, 0..4)).prop_map(
                |(kind, items)| [format!("{kind}{}\r\n", items.len()).into_bytes(), items.concat()].concat(),
            )
        });
        prop_oneof![nested, messages]
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back_and_every_beginning_waits(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)
        ) {
            let mut wire = Vec::new();
            command(&mut wire, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let expected = Value::List(parts.iter().map(|part| Value::Text(part.clone().into())).collect());
            prop_assert_eq!(parse(&wire), Ok(Some((Frame::Value(expected), wire.len()))));
            for end in 0..wire.len() {
                prop_assert_eq!(parse(&wire[..end]), Ok(None));
            }
        }

        #[test]
        fn however_a_stream_is_split_the_same_frames_come(
            frames in prop::collection::vec(frame(), 0..6), noise in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let stream = [frames.concat(), noise].concat();
            let mut rest = &stream[..];
            while let Ok(Some((frame, length))) = parse(rest) {
                for end in 0..length {
                    prop_assert_eq!(parse(&rest[..end]), Ok(None));
                }
                prop_assert_eq!(parse(&rest[..length]), Ok(Some((frame, length))));
                rest = &rest[length..];
            }
            // More bytes do not make good what is wrong, and fewer do not make it right.
            if parse(rest).is_err() {
                prop_assert!(parse(&[rest, b"+OK\r\n"].concat()).is_err());
                for end in 0..rest.len() {
                    prop_assert!(!matches!(parse(&rest[..end]), Ok(Some(_))));
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes).ok();
        }
    }
}
