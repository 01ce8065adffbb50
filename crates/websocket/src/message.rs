//! One message of a client, and the rules on its payload.

use std::{borrow::Cow, str};

use crate::{Fault, Opcode};

/// One message or control frame of a client, borrowing from the read where it arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// To be answered by a pong with the same bytes, at most 125.
    Ping(Cow<'a, [u8]>),
    /// The answer to a ping, or a one-sided sign of life.
    Pong,
    /// The end, with the code if the client gave one. To be answered by a close frame.
    Close(Option<u16>),
}

impl<'a> Message<'a> {
    /// What `payload`, whole and unmasked, is under `opcode`.
    pub(crate) fn of(opcode: Opcode, payload: Cow<'a, [u8]>) -> Result<Self, Fault> {
        Ok(match opcode {
            Opcode::Text => Self::Text(text(payload)?),
            Opcode::Binary | Opcode::Continuation => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong,
            Opcode::Close => Self::Close(close_code(&payload)?),
        })
    }
}

fn text(payload: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Fault> {
    match payload {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Fault::NotUtf8),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Fault::NotUtf8),
    }
}

/// Source: RFC 6455 sections 5.5.1 and 7.4; the registry of close codes goes up to 1014.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Fault::Protocol("close frame with half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // 1004 to 1006 stand for what never travels, such as "no code".
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::Protocol("close code that must not be sent"));
    }
    str::from_utf8(reason).map_err(|_| Fault::NotUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf8() {
        let check = |bytes: &'static [u8], expected: Result<&str, Fault>| {
            let expected = expected.map(|text| Message::Text(text.into()));
            assert_eq!(Message::of(Opcode::Text, Cow::Borrowed(bytes)), expected);
            assert_eq!(Message::of(Opcode::Text, Cow::Owned(bytes.to_vec())), expected);
        };
        check(b"", Ok(""));
        check("4é€😀".as_bytes(), Ok("4é€😀"));
        check(b"4\xff", Err(Fault::NotUtf8));
        check(b"4\xed\xa0\x80", Err(Fault::NotUtf8));
    }

    #[test]
    fn close_frames_are_checked() {
        let check = |payload: &[u8], expected: Result<Option<u16>, Fault>| {
            assert_eq!(
                Message::of(Opcode::Close, payload.into()),
                expected.map(Message::Close),
                "{payload:?}"
            );
        };
        let close = |code: u16, reason: &[u8]| [code.to_be_bytes().as_slice(), reason].concat();
        check(b"", Ok(None));
        check(b"\x03", Err(Fault::Protocol("close frame with half a code")));
        check(&close(1000, "gone €".as_bytes()), Ok(Some(1000)));
        check(&close(1000, b"\xff"), Err(Fault::NotUtf8));
        for code in [1000, 1003, 1007, 1014, 3000, 4999] {
            check(&close(code, b""), Ok(Some(code)));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
            check(&close(code, b""), Err(Fault::Protocol("close code that must not be sent")));
        }
    }
}
