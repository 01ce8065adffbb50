//! One JSON value after another out of text from anywhere.

use socketio::DEPTH_CEILING;

use crate::error::WireFault;
use crate::json::Text;
use crate::json::plain::plain_prefix;

/// A value, or the opening bracket of an array or object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Null,
    Bool(bool),
    /// As it stands in the text.
    Number(&'a str),
    String(Text<'a>),
    /// Elements follow: ask [`Reader::element`] before each.
    Array,
    /// Members follow: ask [`Reader::key`] before each.
    Object,
}

/// A position in JSON text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// Checks that `text` is one JSON value, with at most `depth_max` arrays and objects open at once and
/// nothing but whitespace around it.
pub(crate) fn check(text: &str, depth_max: usize) -> Result<(), WireFault> {
    let mut reader = Reader::new(text);
    reader.value(depth_max)?;
    reader.end()
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte to read, from 0; right behind a [`Token::Object`] is its brace.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Moves to a place that was read before.
    pub(crate) fn jump(&mut self, at: usize) {
        self.at = at;
    }

    /// Reads one token.
    pub(crate) fn token(&mut self) -> Result<Token<'a>, WireFault> {
        self.skip_whitespace();
        match self.peek() {
            Some(b'"') => self.string().map(Token::String),
            Some(b'{') => Ok(self.bracket(Token::Object)),
            Some(b'[') => Ok(self.bracket(Token::Array)),
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(b't') => self.literal("true", Token::Bool(true)),
            Some(b'f') => self.literal("false", Token::Bool(false)),
            Some(b'n') => self.literal("null", Token::Null),
            _ => Err(WireFault::NotJson),
        }
    }

    /// Reads a string without escapes that comes next, with nothing before it; else nothing is read. By
    /// [`token`](Self::token) the same takes twice as many instructions, and most values are such strings.
    #[inline]
    pub(crate) fn plain_string(&mut self) -> Option<&'a str> {
        let behind = self.text.get(self.at..)?.strip_prefix('"')?;
        let length = plain_prefix(behind.as_bytes());
        let (inner, rest) = behind.split_at_checked(length)?;
        rest.starts_with('"').then_some(())?;
        self.at += length + 2;
        Some(inner)
    }

    /// Moves to the next element of an array, or behind its end, which is `false`.
    pub(crate) fn element(&mut self, first: bool) -> Result<bool, WireFault> {
        self.skip_whitespace();
        if self.take(b']') {
            return Ok(false);
        }
        if first || self.take(b',') { Ok(true) } else { Err(WireFault::NotJson) }
    }

    /// Reads the next key of an object and its colon, or the end of the object, which is `None`.
    pub(crate) fn key(&mut self, first: bool) -> Result<Option<Text<'a>>, WireFault> {
        self.skip_whitespace();
        if self.take(b'}') {
            return Ok(None);
        }
        if !first && !self.take(b',') {
            return Err(WireFault::NotJson);
        }
        self.skip_whitespace();
        if self.peek() != Some(b'"') {
            return Err(WireFault::NotJson);
        }
        let key = self.string()?;
        self.skip_whitespace();
        if self.take(b':') { Ok(Some(key)) } else { Err(WireFault::NotJson) }
    }

    /// Reads one whole value and returns its text, without whitespace around it.
    ///
    /// # Errors
    /// [`WireFault::TooDeep`] if more than `depth_max`, or [`DEPTH_CEILING`], arrays and objects are open at
    /// once.
    pub(crate) fn value(&mut self, depth_max: usize) -> Result<&'a str, WireFault> {
        self.skip_whitespace();
        let start = self.at;
        let max = depth_max.min(DEPTH_CEILING);
        self.pass(max).ok_or(WireFault::TooDeep { max })??;
        self.text.get(start..self.at).ok_or(WireFault::NotJson)
    }

    /// That only whitespace is left.
    pub(crate) fn end(&mut self) -> Result<(), WireFault> {
        self.skip_whitespace();
        if self.peek().is_none() { Ok(()) } else { Err(WireFault::TrailingBytes) }
    }

    /// Reads one value with up to `depth_left` levels in it; `None` if there are more.
    fn pass(&mut self, depth_left: usize) -> Option<Result<(), WireFault>> {
        let token = match self.token() {
            Ok(token @ (Token::Array | Token::Object)) => token,
            Ok(_) => return Some(Ok(())),
            Err(fault) => return Some(Err(fault)),
        };
        let depth_left = depth_left.checked_sub(1)?;
        let mut first = true;
        loop {
            let more = match token {
                Token::Array => self.element(first),
                _ => self.key(first).map(|key| key.is_some()),
            };
            match more {
                Ok(true) => {}
                Ok(false) => return Some(Ok(())),
                Err(fault) => return Some(Err(fault)),
            }
            first = false;
            if let Err(fault) = self.pass(depth_left)? {
                return Some(Err(fault));
            }
        }
    }

    fn bracket(&mut self, token: Token<'a>) -> Token<'a> {
        self.at += 1;
        token
    }

    fn string(&mut self) -> Result<Text<'a>, WireFault> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_prefix(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(WireFault::NotJson),
            }
        }
        let inner = self.text.get(start..self.at).ok_or(WireFault::NotJson)?;
        self.at += 1;
        Ok(Text { inner, escaped })
    }

    fn escape(&mut self) -> Result<(), WireFault> {
        self.at += match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) => 6,
            _ => return Err(WireFault::NotJson),
        };
        Ok(())
    }

    fn number(&mut self) -> Result<&'a str, WireFault> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.text.get(start..self.at).ok_or(WireFault::NotJson)
    }

    fn digits(&mut self) -> Result<(), WireFault> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(WireFault::NotJson) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str, token: Token<'a>) -> Result<Token<'a>, WireFault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(WireFault::NotJson);
        }
        self.at += word.len();
        Ok(token)
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whitespace_brackets_and_commas_are_where_the_grammar_wants_them() {
        for good in ["1", " [ ] ", "{}", "[1,\n2]", "{\"a\" : [ {} ] }", "-0.5e+3", "\"\\ud800\"", "1e400"] {
            assert_eq!(check(good, 9), Ok(()), "{good}");
        }
        for bad in [
            "",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01x",
            "-",
            "1.",
            "1e",
            ".5",
            "nul",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "\"",
            "[1}",
            "{\"a\":1]",
        ] {
            assert!(check(bad, 9).is_err(), "{bad}");
        }
        assert_eq!(check("1 1", 9), Err(WireFault::TrailingBytes));
        assert_eq!(check("01", 9), Err(WireFault::TrailingBytes));
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(check("[[{}]]", 3), Ok(()));
        assert_eq!(check("[[{}]]", 2), Err(WireFault::TooDeep { max: 2 }));
        let hostile = "[".repeat(1 << 20);
        assert_eq!(check(&hostile, usize::MAX), Err(WireFault::TooDeep { max: DEPTH_CEILING }));
    }

    proptest! {
        #[test]
        fn json_is_what_serde_json_takes_for_it(text in "[\\[\\]{}:,\" \\\\0-9a-ue.+-]{0,12}") {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let ours = check(&text, 100);
            match theirs {
                Ok(_) => prop_assert_eq!(ours, Ok(())),
                Err(fault) if fault.to_string().contains("surrogate")
                    || fault.to_string().contains("number out of range")
                    || fault.to_string().contains("unexpected end of hex escape") => {}
                Err(_) => prop_assert!(ours.is_err(), "{}", text),
            }
        }
    }
}
