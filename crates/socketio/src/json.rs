//! Checks over raw JSON text in one pass: grammar, nesting and placeholders, without a tree or a copy.
//!
//! The scanner is our own because no reader at hand checks all of it at once: serde_json refuses the
//! lone surrogates that browsers send (`"\ud800"`), has a fixed depth, and sees no placeholders while
//! it skips. Tests hold it against serde_json, which decides what JSON is.

use crate::error::{JsonFault, JsonOffence};
use crate::unescape::{string_value, unescape};

/// Levels of nesting never exceeded, whatever the configuration says: the scanner recurses once per
/// level, and must fit the stack of a thread.
pub const DEPTH_CEILING: usize = 512;

/// The objects that stand for attachments: `{"_placeholder":true,"num":n}`.
#[derive(Debug)]
pub(crate) struct Placeholders {
    /// Attachments there are; each `num` must be below it.
    pub(crate) attachments: usize,
    /// Which of them were named. Shorter, or empty, if nobody asks.
    pub(crate) named: Vec<bool>,
}

/// Checks that `text` is one JSON value with at most `depth_max` arrays and objects open at once,
/// and that every placeholder in it names an attachment if `placeholders` are given.
///
/// A placeholder inside a placeholder is checked too, and `num` is taken in decimal digits only
/// (`0`, not `0.0`); the reference looks into neither.
pub(crate) fn check(
    text: &str,
    depth_max: usize,
    placeholders: Option<&mut Placeholders>,
) -> Result<(), JsonFault> {
    let mut scanner = Scanner::new(text, depth_max);
    scanner.placeholders = placeholders;
    scanner.skip_whitespace();
    scanner.value()?;
    scanner.skip_whitespace();
    if scanner.at < text.len() { Err(scanner.fault(JsonOffence::TrailingText)) } else { Ok(()) }
}

/// The elements of a checked JSON array, each as its own text.
pub(crate) struct Elements<'t>(Members<'t>);

/// The elements of `array`; of anything that is not an array, none.
pub(crate) fn elements(array: &str) -> Elements<'_> {
    Elements(Members::new(array, b'['))
}

impl<'t> Iterator for Elements<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        self.0.begin_member()?;
        self.0.value()
    }
}

/// The value of a string field of the checked JSON object `object`, unescaped.
///
/// Of a key that occurs twice the last counts, as in JavaScript. `None` if there is no such key, its
/// value is not a string, or `object` is not an object. Lone surrogates become U+FFFD.
pub fn string_field(object: &str, key: &str) -> Option<String> {
    Some(string_value(field(object, key)?)?.into_owned())
}

/// The text of a field of the checked JSON object `object`, as [`string_field`] finds it.
pub(crate) fn field<'t>(object: &'t str, key: &str) -> Option<&'t str> {
    let mut members = Members::new(object, b'{');
    let mut found = None;
    while let Some(name) = members.key() {
        let value = members.value()?;
        if name.is(key) {
            found = Some(value);
        }
    }
    found
}

/// Line and column of the byte at `offset`, both from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
struct RawString<'t> {
    inner: &'t str,
    escaped: bool,
}

impl RawString<'_> {
    fn is(&self, name: &str) -> bool {
        // A key may be written `"\u006eum"`, and JavaScript takes it for `num`.
        if self.escaped { unescape(self.inner) == name } else { self.inner == name }
    }
}

/// A walk over the members of one array or object that has been checked before. Where the text turns
/// out not to be what was promised, the walk ends.
struct Members<'t> {
    scanner: Scanner<'t, 'static>,
    first: bool,
    inside: bool,
}

impl<'t> Members<'t> {
    fn new(text: &'t str, open: u8) -> Self {
        let mut scanner = Scanner::new(text, DEPTH_CEILING);
        scanner.skip_whitespace();
        let inside = scanner.take(open);
        Self { scanner, first: true, inside }
    }

    /// Moves to the start of the next member.
    fn begin_member(&mut self) -> Option<()> {
        self.scanner.skip_whitespace();
        let found = self.inside && (std::mem::take(&mut self.first) || self.scanner.take(b','));
        self.scanner.skip_whitespace();
        found.then_some(())
    }

    fn key(&mut self) -> Option<RawString<'t>> {
        self.begin_member()?;
        self.scanner.key().ok()
    }

    fn value(&mut self) -> Option<&'t str> {
        let start = self.scanner.at;
        self.scanner.value().ok()?;
        self.scanner.text.get(start..self.scanner.at)
    }
}

/// A position in JSON text, moved forward by one piece of grammar after another.
struct Scanner<'t, 'p> {
    text: &'t str,
    at: usize,
    depth_max: usize,
    depth: usize,
    placeholders: Option<&'p mut Placeholders>,
}

impl<'t> Scanner<'t, '_> {
    fn new(text: &'t str, depth_max: usize) -> Self {
        Self { text, at: 0, depth_max: depth_max.min(DEPTH_CEILING), depth: 0, placeholders: None }
    }

    fn value(&mut self) -> Result<(), JsonFault> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(self.expected("a value")),
        }
    }

    fn nested(&mut self, body: impl FnOnce(&mut Self) -> Result<(), JsonFault>) -> Result<(), JsonFault> {
        if self.depth >= self.depth_max {
            return Err(self.fault(JsonOffence::TooDeep(self.depth_max)));
        }
        self.depth += 1;
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        self.skip_whitespace();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value()?;
            self.skip_whitespace();
            if self.take(b']') {
                return Ok(());
            }
            self.comma("`,` or `]`")?;
        }
    }

    fn object(&mut self) -> Result<(), JsonFault> {
        let open = self.at;
        let (mut marked, mut num) = (false, "");
        self.at += 1;
        self.skip_whitespace();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            let start = self.at;
            self.value()?;
            if self.placeholders.is_some() {
                let value = self.text.get(start..self.at).unwrap_or_default();
                if key.is("_placeholder") {
                    marked = value == "true";
                } else if key.is("num") {
                    num = value;
                }
            }
            self.skip_whitespace();
            if self.take(b'}') {
                break;
            }
            self.comma("`,` or `}`")?;
        }
        if marked { self.placeholder(num, open) } else { Ok(()) }
    }

    /// Notes the placeholder that starts at `open`.
    fn placeholder(&mut self, num: &str, open: usize) -> Result<(), JsonFault> {
        let Some(placeholders) = self.placeholders.as_deref_mut() else { return Ok(()) };
        let attachments = placeholders.attachments;
        match num.parse::<usize>() {
            Ok(num) if num < attachments => {
                if let Some(named) = placeholders.named.get_mut(num) {
                    *named = true;
                }
                Ok(())
            }
            _ => Err(JsonFault { offset: open, offence: JsonOffence::PlaceholderOutOfRange(attachments) }),
        }
    }

    /// A key and its colon, up to the value.
    fn key(&mut self) -> Result<RawString<'t>, JsonFault> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key"));
        }
        let key = self.string()?;
        self.skip_whitespace();
        if !self.take(b':') {
            return Err(self.expected("`:`"));
        }
        self.skip_whitespace();
        Ok(key)
    }

    fn comma(&mut self, wanted: &'static str) -> Result<(), JsonFault> {
        if !self.take(b',') {
            return Err(self.expected(wanted));
        }
        self.skip_whitespace();
        Ok(())
    }

    fn string(&mut self) -> Result<RawString<'t>, JsonFault> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.skip_plain();
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.expected("an escape in place of a control character")),
                None => return Err(self.expected("`\"`")),
            }
        }
        let inner = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(RawString { inner, escaped })
    }

    /// Moves to the next byte that a string may not simply contain: quote, backslash, control.
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        let mut rest = bytes.get(self.at..).unwrap_or_default();
        while let Some((word, behind)) = rest.split_first_chunk::<8>() {
            let special = special_bytes(u64::from_le_bytes(*word));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
            rest = behind;
            // A string that is not over yet is often long.
            while let Some((block, behind)) = rest.split_first_chunk::<16>()
                && is_plain(block)
            {
                self.at += 16;
                rest = behind;
            }
        }
        // Most strings of small events end here. The last word of the text holds what is left at its upper end:
        // shifted down, zeros follow it, and a zero is a control character. By bytes a small request took 74
        // instructions more.
        self.at += match bytes.last_chunk::<8>() {
            Some(last) if !rest.is_empty() => {
                let word = u64::from_le_bytes(*last) >> (8 * (8 - rest.len()));
                special_bytes(word).trailing_zeros() as usize / 8
            }
            _ => rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count(),
        };
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.expected("four hexadecimal digits"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.expected("an escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonFault> {
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
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), JsonFault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expected(&self, what: &'static str) -> JsonFault {
        self.fault(JsonOffence::Expected(what))
    }

    fn fault(&self, offence: JsonOffence) -> JsonFault {
        JsonFault { offset: self.at, offence }
    }
}

/// The high bit of the lowest byte of `word` that is a quote, a backslash or below 0x20 is set, and no
/// lower one; bits above it may be set wrongly, since borrows travel upwards. 0 if there is none.
fn special_bytes(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word;
    let equal = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (EACH << 7)
}

/// Whether there is no quote, backslash or control in `block`. Without branches, which is what compilers make one
/// comparison of 16 bytes of.
fn is_plain(block: &[u8; 16]) -> bool {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    block.iter().fold(0, |found, byte| found | u8::from(special(*byte))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offence(text: &str) -> Option<(usize, JsonOffence)> {
        check(text, 3, None).err().map(|fault| (fault.offset, fault.offence))
    }

    #[test]
    fn faults_stand_where_the_grammar_breaks() {
        use JsonOffence::{Expected, TooDeep, TrailingText};
        let cases = [
            (r#"["a""#, 4, Expected("`,` or `]`")),
            (r#"["a",]"#, 5, Expected("a value")),
            (r#"{"a" 1}"#, 5, Expected("`:`")),
            (r#"{"a":1,}"#, 7, Expected("a key")),
            (r#"{"a":1 "b"}"#, 7, Expected("`,` or `}`")),
            ("01", 1, TrailingText),
            ("-", 1, Expected("a digit")),
            ("1.", 2, Expected("a digit")),
            ("1e+", 3, Expected("a digit")),
            ("nul", 0, Expected("a value")),
            ("", 0, Expected("a value")),
            ("\"a", 2, Expected("`\"`")),
            ("\"a\nb\"", 2, Expected("an escape in place of a control character")),
            (r#""\x""#, 2, Expected("an escape")),
            (r#""\u12g4""#, 5, Expected("four hexadecimal digits")),
            ("[[[[]]]]", 3, TooDeep(3)),
            ("[] []", 3, TrailingText),
        ];
        for (text, offset, what) in cases {
            assert_eq!(offence(text), Some((offset, what)), "{text}");
        }
    }

    #[test]
    fn texts_that_javascript_reads_are_accepted() {
        for text in
            ["1e400", "-0", "1.0E-7", r#""\ud800""#, r#"{"a":1,"a":2}"#, "[[[]]]", " \t\r\n[ ] ", "null"]
        {
            assert_eq!(offence(text), None, "{text}");
        }
    }

    #[test]
    fn special_bytes_are_found_at_every_place_of_a_word() {
        for at in 0..60 {
            let plain: String = "é~\u{7f}".chars().cycle().take(at).collect();
            assert_eq!(offence(&format!("\"{plain}\"")), None);
            let unended = format!("\"{plain}");
            assert_eq!(offence(&unended), Some((unended.len(), JsonOffence::Expected("`\"`"))));
            let cut_escape = format!("\"{plain}\\");
            assert_eq!(offence(&cut_escape), Some((cut_escape.len(), JsonOffence::Expected("an escape"))));
            let control = offence(&format!("\"{plain}\u{1f}\""));
            assert_eq!(control.map(|fault| fault.0), Some(plain.len() + 1));
        }
    }

    #[test]
    fn string_fields_are_taken_from_the_top_level_only_and_the_last_counts() {
        let check = |object, expected: Option<&str>| {
            assert_eq!(string_field(object, "token").as_deref(), expected, "{object}");
        };
        check(r#"{"token":"a\nb"}"#, Some("a\nb"));
        check(r#" { "x" : [1] , "t\u006fken" : "1" } "#, Some("1"));
        check(r#"{"token":"1","token":"2"}"#, Some("2"));
        check(r#"{"token":"1","token":2}"#, None);
        check(r#"{"a":{"token":"1"}}"#, None);
        check("{}", None);
        check(r#"["token","1"]"#, None);
        check(r#"{"token":"#, None);
    }

    #[test]
    fn placeholders_are_counted_and_must_be_in_range() {
        let named = |text: &str| {
            let mut placeholders = Placeholders { attachments: 2, named: vec![false; 2] };
            check(text, 9, Some(&mut placeholders)).map(|()| placeholders.named).map_err(|fault| fault.offset)
        };
        assert_eq!(named(r#"[{"num":1,"_placeholder":true}]"#), Ok(vec![false, true]));
        assert_eq!(named(r#"[{"_place\u0068older":true,"\u006eum":0}]"#), Ok(vec![true, false]));
        assert_eq!(named(r#"[{"_placeholder":1,"num":7},{"_placeholder":false}]"#), Ok(vec![false; 2]));
        for bad in ["2", "-1", "0.5", "\"0\"", "null", "18446744073709551616"] {
            assert_eq!(named(&format!(r#"[0,{{"_placeholder":true,"num":{bad}}}]"#)), Err(3), "{bad}");
        }
        assert_eq!(named(r#"[{"_placeholder":true}]"#), Err(1));
    }
}
