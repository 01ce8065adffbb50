//! The array that an EVENT carries: its name and arguments, read from clients and written for back ends.

use std::borrow::Cow;

use bytes::BytesMut;

use crate::encode::json_string;
use crate::error::{EventFault, JsonFault, JsonOffence};
use crate::json::{self, Placeholders};
use crate::packet::{DecodeLimits, reserved_event};
use crate::unescape::string_value;

/// The event name in `data`, the checked JSON array of an EVENT.
///
/// A string is unescaped (lone surrogates become U+FFFD), a number gives its text as sent (`1.0`).
/// `None` if the first element is anything else or missing.
pub fn event_name(data: &str) -> Option<Cow<'_, str>> {
    let first = json::elements(data).next()?;
    match first.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(first)),
        _ => string_value(first),
    }
}

/// The first argument after the event name, if it is a string, unescaped: the room of
/// `emit("join", room)`.
pub fn first_argument(data: &str) -> Option<Cow<'_, str>> {
    string_value(json::elements(data).nth(1)?)
}

/// Appends the array of an EVENT, `["name",arg,…]`, made from what a back end publishes; nothing if a rule is broken.
///
/// `args` is the text of a JSON array, whose inside is kept byte for byte, or empty for no arguments.
/// With `attachments` over 0 every `{"_placeholder":true,"num":n}` in it must name one of them, and each
/// must be named; without attachments such objects are plain data.
///
/// # Errors
/// [`EventFault`] with the rule that was broken, and the line and column in `args` where there is one.
pub fn event_json(
    out: &mut BytesMut,
    name: &str,
    args: &str,
    attachments: usize,
    limits: &DecodeLimits,
) -> Result<(), EventFault> {
    if name.is_empty() {
        return Err(EventFault::EmptyName);
    }
    if let Some(reserved) = reserved_event(name) {
        return Err(EventFault::ReservedName(reserved));
    }
    let max = limits.attachments_max;
    if attachments > max {
        return Err(EventFault::TooManyAttachments { count: attachments, max });
    }
    let inner = check_args(args, attachments, limits)?;

    let name = name_json(name);
    let comma = if inner.is_empty() { "" } else { "," };
    // All of it, so that nothing moves when it is shared.
    out.reserve(name.len() + comma.len() + inner.len() + "[\"\"]".len());
    for part in ["[\"", &name, "\"", comma, inner, "]"] {
        out.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

/// What stands between the quotes of the name: most names are written as they are.
fn name_json(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(name);
    }
    let mut quoted = json_string(name);
    quoted.pop();
    quoted.remove(0);
    Cow::Owned(quoted)
}

/// Checks `args` and returns what stands between its brackets; nothing if that is only whitespace.
fn check_args<'a>(args: &'a str, attachments: usize, limits: &DecodeLimits) -> Result<&'a str, EventFault> {
    let mut placeholders = Placeholders { attachments, named: vec![false; attachments] };
    // Most are nothing but an array, and a trimming that trims nothing takes 40 instructions.
    let is_tight = args.starts_with('[') && args.ends_with(']');
    let trimmed = if is_tight { args } else { args.trim_matches(is_json_whitespace) };
    let mut inner = "";
    if !trimmed.is_empty() {
        let checked = (attachments > 0).then_some(&mut placeholders);
        json::check(args, limits.depth_max, checked).map_err(|fault| args_fault(args, fault))?;
        let array = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner = array.ok_or(EventFault::NotAnArray)?;
        if inner.trim_matches(is_json_whitespace).is_empty() {
            inner = "";
        }
    }
    match placeholders.named.iter().position(|named| !named) {
        Some(unused) => Err(EventFault::AttachmentUnused(unused)),
        None => Ok(inner),
    }
}

fn args_fault(args: &str, fault: JsonFault) -> EventFault {
    let (line, column) = json::line_and_column(args, fault.offset);
    match fault.offence {
        JsonOffence::TooDeep(max) => EventFault::TooDeep { max },
        JsonOffence::PlaceholderOutOfRange(attachments) => {
            EventFault::PlaceholderOutOfRange { line, column, attachments }
        }
        offence => EventFault::InvalidJson { line, column, offence },
    }
}

// Narrower than `char::is_whitespace`: JSON knows these four only.
fn is_json_whitespace(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(name: &str, args: &str, attachments: usize) -> Result<String, EventFault> {
        let mut out = BytesMut::new();
        event_json(&mut out, name, args, attachments, &DecodeLimits { attachments_max: 2, depth_max: 3 })?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn names_are_strings_or_the_text_of_numbers() {
        let check =
            |data, expected: Option<&str>| assert_eq!(event_name(data).as_deref(), expected, "{data}");
        check(r#"["hey","Jude"]"#, Some("hey"));
        check(r#" [ "a\"b" ]"#, Some("a\"b"));
        check(r#"["\ud800"]"#, Some("\u{fffd}"));
        check("[-1.0e3,2]", Some("-1.0e3"));
        check("[null]", None);
        check("[]", None);
        check("{\"a\":1}", None);
        check("", None);
        assert!(matches!(event_name(r#"["hey"]"#), Some(Cow::Borrowed("hey"))));
    }

    #[test]
    fn first_argument_is_a_string_or_none() {
        let check = |data, expected: Option<&str>| assert_eq!(first_argument(data).as_deref(), expected);
        check(r#"["join","r\u0031"]"#, Some("r1"));
        check(r#"[ 1 , "room" , 3]"#, Some("room"));
        check(r#"["join",7]"#, None);
        check(r#"["join"]"#, None);
    }

    #[test]
    fn arguments_are_kept_byte_for_byte() {
        let check =
            |name, args, expected: &str| assert_eq!(published(name, args, 0).as_deref(), Ok(expected));
        check("n", "", "[\"n\"]");
        check("n", " [ ]\n", "[\"n\"]");
        check("n", " [ 1.0,{\"b\":1,\"a\":1e400} ] ", "[\"n\", 1.0,{\"b\":1,\"a\":1e400} ]");
        check("a\"\n\u{1}é", "[1]", "[\"a\\\"\\n\\u0001é\",1]");
        // Plain data where nothing is attached.
        check("n", "[{\"_placeholder\":true,\"num\":9}]", "[\"n\",{\"_placeholder\":true,\"num\":9}]");
    }

    #[test]
    fn every_broken_rule_has_its_fault() {
        use EventFault::*;
        let p = |num: &str| format!("[\n {{\"_placeholder\":true,\"num\":{num}}}]");
        let expected = |what| JsonOffence::Expected(what);
        let cases = [
            ("", "[]", 0, EmptyName),
            ("connect", "[]", 0, ReservedName("connect")),
            ("n", "{\"a\":1}", 0, NotAnArray),
            ("n", "\"[]\"", 0, NotAnArray),
            ("n", "\u{a0}[]", 0, InvalidJson { line: 1, column: 1, offence: expected("a value") }),
            ("n", "[\n\"é\" 1]", 0, InvalidJson { line: 2, column: 5, offence: expected("`,` or `]`") }),
            ("n", "[1],[2]", 0, InvalidJson { line: 1, column: 4, offence: JsonOffence::TrailingText }),
            ("n", "[[[[]]]]", 0, TooDeep { max: 3 }),
            ("n", "[]", 3, TooManyAttachments { count: 3, max: 2 }),
            ("n", &p("2"), 2, PlaceholderOutOfRange { line: 2, column: 2, attachments: 2 }),
            ("n", &p("1"), 2, AttachmentUnused(0)),
            ("n", "", 1, AttachmentUnused(0)),
        ];
        for (name, args, attachments, fault) in cases {
            assert_eq!(published(name, args, attachments), Err(fault), "{args}");
        }
    }
}
