//! JSONP, the polling of the oldest browsers: payloads in a script coming, in a form field going.

/// The answer to a JSONP poll: `___eio[<index>]("<payload>");`.
///
/// `index` is [`Query::jsonp`](crate::Query::jsonp), digits alone; `payload` is a text body. The characters
/// U+2028 and U+2029 are escaped: JSON allows them in a string, the scripts of old browsers do not.
///
/// Source: engine.io 6.6, polling-jsonp.
pub fn wrap_jsonp(index: &str, payload: &str) -> String {
    format!("___eio[{index}]({});", script_string(payload))
}

/// `text` as a string of a script.
pub(crate) fn script_string(text: &str) -> String {
    let json = serde_json::to_string(text).expect("text is always representable as JSON");
    json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// The payload in the field `d` of a form body, its newline escaping undone; `None` without the field, or
/// with more than one, which the reference server ignores as well. Undecodable bytes turn into U+FFFD.
pub(crate) fn form_payload(body: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(body).filter(|(name, _)| name == "d").map(|(_, value)| value);
    match (fields.next(), fields.next()) {
        (Some(payload), None) => Some(unescape_newlines(&payload)),
        _ => None,
    }
}

/// Undoes what the client did for the sake of its form field: it wrote a line feed as `\n`, and put one more
/// backslash before each `\n` that was there already.
fn unescape_newlines(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        let (before, from) = rest.split_at(start);
        let after = from.trim_start_matches('\\');
        let backslashes = &from[..from.len() - after.len()];
        plain.push_str(before);
        rest = after;
        match after.strip_prefix('n') {
            Some(after) if backslashes.len() == 1 => {
                plain.push('\n');
                rest = after;
            }
            Some(_) => plain.push_str(&backslashes[1..]),
            None => plain.push_str(backslashes),
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_calls_of_the_index() {
        let check = |index, payload, answer| assert_eq!(wrap_jsonp(index, payload), answer);
        check("0", "2:40", r#"___eio[0]("2:40");"#);
        check("5", r#"14:42["x","a\nb"]"#, r#"___eio[5]("14:42[\"x\",\"a\\nb\"]");"#);
        check("12", "4\u{2028}\u{2029}", r#"___eio[12]("4\u2028\u2029");"#);
    }

    #[test]
    fn newlines_come_back_from_the_form_field() {
        let check = |escaped, plain| assert_eq!(unescape_newlines(escaped), plain, "{escaped}");
        check(r"a\nb", "a\nb");
        check(r"a\\nb", r"a\nb");
        check(r"a\\\nb", r"a\\nb");
        check(r"a\b\\c\", r"a\b\\c\");
        check("", "");
    }

    #[test]
    fn a_doubtful_form_holds_no_payload() {
        assert_eq!(form_payload(b"x=1&d=2%3A40&y"), Some("2:40".into()));
        assert_eq!(form_payload(b"d=2%3A40&d=2%3A40"), None);
        assert_eq!(form_payload(b"x=1"), None);
    }

    /// What engine.io-client 3.5 does to a payload before it submits its form.
    fn escape_newlines(text: &str) -> String {
        text.replace(r"\n", r"\\n").replace('\n', r"\n")
    }

    proptest! {
        #[test]
        fn unescaping_undoes_escaping(text in r"[\\n\n:a]{0,20}") {
            // A backslash before a line feed is lost on the reference server too: once the client has
            // written the line feed as `\n`, nobody can tell. JSON never holds a line feed.
            prop_assume!(!text.contains("\\\n"));
            prop_assert_eq!(unescape_newlines(&escape_newlines(&text)), text);
        }
    }
}
