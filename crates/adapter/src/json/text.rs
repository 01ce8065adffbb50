//! JSON strings and what they stand for.

use std::borrow::Cow;

use socketio::unescape;

use super::plain::{is_plain_ascii, plain_prefix};
use crate::value::lossy;

/// A string as it stands between its quotes, known to be grammatical.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Text<'a> {
    pub(crate) inner: &'a str,
    /// Whether there is a backslash in it.
    pub(crate) escaped: bool,
}

impl<'a> Text<'a> {
    /// The text that it stands for. Lone surrogates, which UTF-8 cannot hold, become U+FFFD.
    pub(crate) fn unescaped(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.inner)) } else { Cow::Borrowed(self.inner) }
    }
}

/// Appends what should be UTF-8, with quotes and escaped; U+FFFD stands for what is not.
#[inline]
pub(crate) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain_ascii(text) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        push_string(out, &lossy(text));
    }
}

/// Appends `text` with quotes, escaped as `JSON.stringify` does.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    if plain_prefix(text.as_bytes()) == text.len() {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        return out.push(b'"');
    }
    serde_json::to_writer(out, text).expect("a string is always JSON, and memory takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_what_javascript_takes_them_for() {
        let check = |inner: &str, expected: &str| {
            assert_eq!(Text { inner, escaped: inner.contains('\\') }.unescaped(), expected, "{inner}");
        };
        check("plain é", "plain é");
        check(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t");
        check(r"\u00e9\uD83D\uDE00!", "é😀!");
        check(r"\ud800", "\u{fffd}");
        check(r"\ud800\u0041", "\u{fffd}A");
        check(r"\udc00x\ud83d", "\u{fffd}x\u{fffd}");
    }

    #[test]
    fn strings_are_escaped_as_json_stringify_does() {
        let mut out = Vec::new();
        push_string(&mut out, "\"\\/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}\u{2028}é😀");
        assert_eq!(
            std::str::from_utf8(&out),
            Ok("\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\u{2028}é😀\"")
        );
    }
}
