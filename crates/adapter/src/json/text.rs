//! JSON strings and what they stand for.

use std::borrow::Cow;

use super::plain::plain_prefix;

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

fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut after = escape.chars();
        rest = match after.next() {
            Some('u') => push_code_units(&mut out, escape),
            Some(letter) => {
                out.push(simple_escape(letter));
                after.as_str()
            }
            None => "",
        };
    }
    out.push_str(rest);
    out
}

const fn simple_escape(letter: char) -> char {
    match letter {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        // Quote, backslash and slash stand for themselves.
        other => other,
    }
}

/// Appends the UTF-16 code unit that `escape`, `uXXXX…`, starts with, or the pair of two, and returns what
/// follows.
fn push_code_units<'a>(out: &mut String, escape: &'a str) -> &'a str {
    let Some((first, rest)) = code_unit(escape) else { return "" };
    if let (0xd800..0xdc00, Some((low @ 0xdc00..0xe000, after))) =
        (first, rest.strip_prefix('\\').and_then(code_unit))
    {
        out.extend(char::decode_utf16([first, low]).flatten());
        return after;
    }
    out.push(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

fn code_unit(escape: &str) -> Option<(u16, &str)> {
    let (digits, rest) = escape.strip_prefix('u')?.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
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
