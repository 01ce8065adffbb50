//! The objects in JSON text that stand for attachments: `{"_placeholder":true,"num":n}`.

use std::ops::Range;

use socketio::DEPTH_CEILING;

use crate::error::WireFault;
use crate::json::{Reader, Token};

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placeholder {
    /// Its bytes in the text, braces included.
    pub(crate) range: Range<usize>,
    /// The attachment, from 0.
    pub(crate) number: usize,
}

/// Finds the placeholders in `json` in their order, and checks on the way that it is JSON.
///
/// As the parsers of clients do, whatever else is in such an object is ignored.
///
/// # Errors
/// [`WireFault::PlaceholderOutOfRange`] if a number is not below `attachments`; the faults of JSON.
pub(crate) fn placeholders(json: &str, attachments: usize) -> Result<Vec<Placeholder>, WireFault> {
    let mut search = Search { reader: Reader::new(json), attachments, found: Vec::new() };
    search.value(DEPTH_CEILING)?;
    search.reader.end()?;
    Ok(search.found)
}

struct Search<'a> {
    reader: Reader<'a>,
    attachments: usize,
    found: Vec<Placeholder>,
}

impl<'a> Search<'a> {
    /// Goes through one value and returns its token.
    fn value(&mut self, depth_left: usize) -> Result<Token<'a>, WireFault> {
        let token = self.reader.token()?;
        if !matches!(token, Token::Array | Token::Object) {
            return Ok(token);
        }
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(WireFault::TooDeep { max: DEPTH_CEILING });
        };
        if token == Token::Array {
            let mut first = true;
            while self.reader.element(std::mem::take(&mut first))? {
                self.value(depth_left)?;
            }
        } else {
            self.object(depth_left)?;
        }
        Ok(token)
    }

    fn object(&mut self, depth_left: usize) -> Result<(), WireFault> {
        let start = self.reader.at() - 1;
        let outside = self.found.len();
        let (mut marked, mut number) = (false, None);
        let mut first = true;
        while let Some(key) = self.reader.key(std::mem::take(&mut first))? {
            let value = self.value(depth_left)?;
            match &*key.unescaped() {
                "_placeholder" => marked = value == Token::Bool(true),
                "num" => number = Some(value),
                _ => {}
            }
        }
        if marked {
            let number = match number {
                Some(Token::Number(text)) => text.parse().ok().filter(|number| *number < self.attachments),
                _ => None,
            };
            let number = number.ok_or(WireFault::PlaceholderOutOfRange)?;
            // What was found inside is part of it.
            self.found.truncate(outside);
            self.found.push(Placeholder { range: start..self.reader.at(), number });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_in_order_with_their_ranges() {
        let check = |json: &str, expected: &[(&str, usize)]| {
            let found = placeholders(json, 2).unwrap();
            let found: Vec<_> =
                found.iter().map(|found| (&json[found.range.clone()], found.number)).collect();
            assert_eq!(found, expected, "{json}");
        };
        let one = r#"{ "num" : 1, "_placeholder":true }"#;
        check(
            &format!(r#"["a",{one},{{"x":[{{"_placeholder":true,"num":0}}]}}]"#),
            &[(one, 1), (r#"{"_placeholder":true,"num":0}"#, 0)],
        );
        check(r#"[{"_placeholder":1,"num":0},{"_placeholder":"true"},{"num":0}]"#, &[]);
        let outer = r#"{"_placeholder":true,"num":0,"x":{"_placeholder":true,"num":1}}"#;
        check(outer, &[(outer, 0)]);
    }

    #[test]
    fn numbers_have_to_be_those_of_attachments() {
        for num in ["2", "-1", "0.0", "\"0\"", "null", "99999999999999999999"] {
            let json = format!(r#"[{{"_placeholder":true,"num":{num}}}]"#);
            assert_eq!(placeholders(&json, 2), Err(WireFault::PlaceholderOutOfRange), "{num}");
        }
        assert_eq!(placeholders(r#"{"_placeholder":true}"#, 2), Err(WireFault::PlaceholderOutOfRange));
        assert_eq!(placeholders("[1", 2), Err(WireFault::NotJson));
    }
}
