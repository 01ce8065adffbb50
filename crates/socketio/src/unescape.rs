//! What a checked JSON string stands for.

use std::borrow::Cow;

/// The text that a JSON string stands for; `None` if `value` is not a string.
/// Lone surrogates, which UTF-8 cannot hold, become U+FFFD.
pub(crate) fn string_value(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    Some(if inner.contains('\\') { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) })
}

/// What the inside of a checked JSON string stands for, lone surrogates replaced by U+FFFD.
pub fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut after = escape.chars();
        match after.next() {
            Some('u') => rest = push_code_units(&mut out, escape),
            Some(letter) => {
                out.push(simple_escape(letter));
                rest = after.as_str();
            }
            None => rest = "",
        }
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

/// Appends the UTF-16 code unit that `escape`, `uXXXX…`, starts with, or the pair of two, and returns
/// what follows.
fn push_code_units<'t>(out: &mut String, escape: &'t str) -> &'t str {
    let Some((first, rest)) = code_unit(escape) else { return "" };
    let second = rest.strip_prefix('\\').and_then(code_unit);
    if let (0xd800..0xdc00, Some((low @ 0xdc00..0xe000, after))) = (first, second) {
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
    fn strings_are_unescaped_and_lone_surrogates_replaced() {
        let cases = [
            (r#""plain""#, "plain"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u00e9\uD83D\uDE00!""#, "é😀!"),
            (r#""\ud800""#, "\u{fffd}"),
            (r#""\ud800\u0041""#, "\u{fffd}A"),
            (r#""\udc00x\ud83d""#, "\u{fffd}x\u{fffd}"),
        ];
        for (text, expected) in cases {
            assert_eq!(string_value(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(string_value("12"), None);
    }
}
