//! A message in either of its forms, looked at key by key without building a tree.

use std::borrow::Cow;

use socketio::{DEPTH_CEILING, DecodeLimits, NamespaceName, RoomName};

use crate::argument::Argument;
use crate::convert::{msgpack_to_json, utf8};
use crate::error::WireFault;
use crate::event::check_client_event;
use crate::json;
use crate::message::Event;
use crate::msgpack::{self, Extension};
use crate::number::{push_integer, push_number};

/// One whole value, its bytes known to be well-formed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// Text of one JSON value, nothing around it.
    Json(&'a str),
    /// One MessagePack value.
    MsgPack(&'a [u8]),
}

/// A value that is not made of others.
enum Scalar<'a> {
    Nothing,
    Bool(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    Other,
}

enum Number<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// As JSON has it.
    Json(&'a str),
}

impl<'a> Value<'a> {
    /// A whole message: JSON if it starts with a brace, else MessagePack. Node's adapters tell them apart so
    /// on every channel but that of classic broadcasts.
    pub(crate) fn of_message(message: &'a [u8]) -> Result<Self, WireFault> {
        if message.first() == Some(&b'{') {
            let mut reader = json::Reader::new(utf8(message)?);
            let value = reader.value(DEPTH_CEILING)?;
            reader.end()?;
            Ok(Self::Json(value))
        } else {
            let mut reader = msgpack::Reader::new(message);
            let value = reader.value()?;
            reader.end()?;
            Ok(Self::MsgPack(value))
        }
    }

    /// Hands each key of a map with its value to `each`; keys that are not text are passed over.
    ///
    /// # Errors
    /// [`WireFault::WrongForm`] with `what` if this is no map; whatever `each` says.
    pub(crate) fn fields(
        self,
        what: &'static str,
        mut each: impl FnMut(&str, Value<'a>) -> Result<(), WireFault>,
    ) -> Result<(), WireFault> {
        match self {
            Self::Json(text) => {
                let mut reader = json::Reader::new(text);
                if reader.token()? != json::Token::Object {
                    return Err(WireFault::WrongForm(what));
                }
                let mut first = true;
                while let Some(key) = reader.key(std::mem::take(&mut first))? {
                    each(&key.unescaped(), Self::Json(reader.value(DEPTH_CEILING)?))?;
                }
            }
            Self::MsgPack(bytes) => {
                let mut reader = msgpack::Reader::new(bytes);
                let msgpack::Token::Map(length) = reader.token()? else {
                    return Err(WireFault::WrongForm(what));
                };
                for _ in 0..length {
                    let key = Self::MsgPack(reader.value()?);
                    let value = Self::MsgPack(reader.value()?);
                    if let Some(key) = key.text() {
                        each(&key, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands each element of an array to `each`.
    ///
    /// # Errors
    /// [`WireFault::WrongType`] with `what` if this is no array; whatever `each` says.
    pub(crate) fn elements(
        self,
        what: &'static str,
        mut each: impl FnMut(Value<'a>) -> Result<(), WireFault>,
    ) -> Result<(), WireFault> {
        match self {
            Self::Json(text) => {
                let mut reader = json::Reader::new(text);
                if reader.token()? != json::Token::Array {
                    return Err(WireFault::WrongType(what));
                }
                let mut first = true;
                while reader.element(std::mem::take(&mut first))? {
                    each(Self::Json(reader.value(DEPTH_CEILING)?))?;
                }
            }
            Self::MsgPack(bytes) => {
                let mut reader = msgpack::Reader::new(bytes);
                let msgpack::Token::Array(length) = reader.token()? else {
                    return Err(WireFault::WrongType(what));
                };
                for _ in 0..length {
                    each(Self::MsgPack(reader.value()?))?;
                }
            }
        }
        Ok(())
    }

    /// Whether this is `null` or `undefined`, which senders may write for a missing key.
    pub(crate) fn is_nothing(self) -> bool {
        matches!(self.scalar(), Scalar::Nothing)
    }

    /// The text of a string.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self.scalar() {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self.scalar() {
            Scalar::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A number from 0 up, without its fraction; what is too large counts as the largest.
    pub(crate) fn unsigned(self) -> Option<u64> {
        match self.scalar() {
            Scalar::Number(number) => number.unsigned(),
            _ => None,
        }
    }

    /// The name of a room: text, or a number as JavaScript prints it.
    pub(crate) fn room(self) -> Option<RoomName> {
        match self.scalar() {
            Scalar::Text(text) => Some(RoomName::new(text)),
            Scalar::Number(number) => Some(RoomName::new(number.text())),
            _ => None,
        }
    }

    /// A list of rooms, called `what`.
    pub(crate) fn rooms(self, what: &'static str) -> Result<Vec<RoomName>, WireFault> {
        let mut rooms = Vec::new();
        // A list with something odd in it is refused as a whole: without that element it could be
        // empty, and an empty list means everybody.
        self.elements(what, |room| {
            rooms.push(room.room().ok_or(WireFault::WrongType(what))?);
            Ok(())
        })?;
        Ok(rooms)
    }

    /// The value as clients get it.
    pub(crate) fn argument(self, limits: &DecodeLimits) -> Result<Argument, WireFault> {
        match self {
            Self::MsgPack(bytes) => msgpack_to_json(bytes, limits),
            Self::Json(text) => {
                json::check(text, limits.depth_max)?;
                Ok(Argument { json: text.as_bytes().to_vec().into(), attachments: Vec::new() })
            }
        }
    }

    /// The array of an event as clients get it, with a name that they accept.
    pub(crate) fn event(self, limits: &DecodeLimits) -> Result<Event, WireFault> {
        let Argument { json, attachments } = self.argument(limits)?;
        check_client_event(utf8(&json)?)?;
        Ok(Event { json, attachments })
    }

    fn scalar(self) -> Scalar<'a> {
        match self {
            Self::Json(text) => match json::Reader::new(text).token() {
                Ok(json::Token::Null) => Scalar::Nothing,
                Ok(json::Token::Bool(value)) => Scalar::Bool(value),
                Ok(json::Token::Number(text)) => Scalar::Number(Number::Json(text)),
                Ok(json::Token::String(text)) => Scalar::Text(text.unescaped()),
                _ => Scalar::Other,
            },
            Self::MsgPack(bytes) => match msgpack::Reader::new(bytes).token() {
                Ok(msgpack::Token::Nil | msgpack::Token::Extension(Extension::Undefined)) => Scalar::Nothing,
                Ok(msgpack::Token::Bool(value)) => Scalar::Bool(value),
                Ok(msgpack::Token::Unsigned(value)) => Scalar::Number(Number::Unsigned(value)),
                Ok(msgpack::Token::Signed(value)) => Scalar::Number(Number::Signed(value)),
                Ok(msgpack::Token::Float(value)) => Scalar::Number(Number::Float(value)),
                Ok(msgpack::Token::Str(text)) => Scalar::Text(lossy(text)),
                _ => Scalar::Other,
            },
        }
    }
}

impl Number<'_> {
    fn unsigned(self) -> Option<u64> {
        let float = match self {
            Self::Unsigned(value) => return Some(value),
            Self::Signed(value) => return u64::try_from(value).ok(),
            Self::Float(value) => value,
            Self::Json(text) => match text.parse() {
                Ok(value) => return Some(value),
                Err(_) => text.parse().ok()?,
            },
        };
        // The cast cuts off the fraction and stops at the ends of the range.
        (float >= 0.0).then_some(float as u64)
    }

    fn text(self) -> String {
        let mut out = Vec::new();
        match self {
            Self::Unsigned(value) => push_integer(&mut out, value),
            Self::Signed(value) => push_integer(&mut out, value),
            Self::Float(value) => push_number(&mut out, value),
            Self::Json(text) => push_number(&mut out, text.parse().unwrap_or(f64::NAN)),
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// A value that has to be there, called `what`.
pub(crate) fn required<'a>(value: Option<Value<'a>>, what: &'static str) -> Result<Value<'a>, WireFault> {
    value.filter(|value| !value.is_nothing()).ok_or(WireFault::Missing(what))
}

/// A namespace; missing, it is the main one.
pub(crate) fn namespace(value: Option<Value<'_>>) -> Result<NamespaceName, WireFault> {
    match value {
        None => Ok(NamespaceName::main()),
        Some(value) => value.text().map(NamespaceName::new).ok_or(WireFault::WrongType("nsp")),
    }
}

/// Text with U+FFFD for what is not UTF-8, which is rare: the check for it is made first, and is much faster.
pub(crate) fn lossy(text: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(message: &[u8]) -> Result<Vec<RoomName>, WireFault> {
        let mut rooms = Ok(Vec::new());
        Value::of_message(message)?.fields("test", |_, value| {
            rooms = value.rooms("rooms");
            Ok(())
        })?;
        rooms
    }

    #[test]
    fn numeric_rooms_become_their_text_in_both_forms() {
        let expected = ["a", "42", "-1", "1.5"].map(RoomName::new);
        assert_eq!(rooms(br#"{"rooms":["a",42.0,-1,1.5]}"#).unwrap(), expected);
        let msgpack =
            [&[0x81, 0xa5][..], b"rooms", &[0x94, 0xa1, b'a', 42, 0xff, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]];
        assert_eq!(rooms(&msgpack.concat()).unwrap(), expected);
    }

    #[test]
    fn a_list_of_rooms_with_anything_else_in_it_is_refused() {
        for odd in ["null", "true", "[]", "{}"] {
            let message = format!(r#"{{"rooms":["a",{odd}]}}"#);
            assert_eq!(rooms(message.as_bytes()), Err(WireFault::WrongType("rooms")), "{odd}");
        }
        assert_eq!(rooms(br#"{"rooms":"ab"}"#), Err(WireFault::WrongType("rooms")));
        assert_eq!(rooms(br#"{"rooms":5}"#), Err(WireFault::WrongType("rooms")));
    }

    #[test]
    fn a_message_is_one_value_and_nothing_behind_it() {
        let fault = |message: &[u8]| Value::of_message(message).err();
        assert_eq!(fault(b"{} "), None);
        assert_eq!(fault(b"{}{}"), Some(WireFault::TrailingBytes));
        assert_eq!(fault(&[0x80, 0xc0]), Some(WireFault::TrailingBytes));
        assert_eq!(fault(b""), Some(WireFault::Truncated));
        assert_eq!(fault(b"{\"\xff\":1}"), Some(WireFault::NotUtf8));
        assert_eq!(fault(b"{\"type\":"), Some(WireFault::NotJson));
    }
}
