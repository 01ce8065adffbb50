//! Packets whose JSON has no character beyond ASCII.

use std::{borrow::Cow, fmt::Write as _};

/// `packet`, a text packet, with every character beyond ASCII of its JSON written as `\uXXXX`, in UTF-16 units.
///
/// It means the same to every parser of JSON, and reads the same however often it was encoded to UTF-8 on its way.
/// Such characters occur only inside of JSON strings. A namespace has no such spelling and stays as it is.
///
/// Source: RFC 8259, section 7.
pub fn ascii_json(packet: &str) -> Cow<'_, str> {
    if packet.is_ascii() {
        return Cow::Borrowed(packet);
    }
    let (head, json) = packet.split_at(json_start(packet));
    let mut ascii = String::with_capacity(packet.len() + packet.len() / 2);
    ascii.push_str(head);
    let mut units = [0; 2];
    for char in json.chars() {
        if char.is_ascii() {
            ascii.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut units) {
            write!(ascii, "\\u{unit:04x}").expect("text takes what is written to it");
        }
    }
    Cow::Owned(ascii)
}

/// Where the namespace of `packet` is over, if it has one.
fn json_start(packet: &str) -> usize {
    let head = packet.find(|char: char| !char.is_ascii_digit() && char != '-').unwrap_or(packet.len());
    match packet.get(head..) {
        Some(rest) if rest.starts_with('/') => rest.find(',').map_or(packet.len(), |comma| head + comma),
        _ => head,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_escaped_and_names_are_not() {
        let check = |packet, ascii| assert_eq!(ascii_json(packet), ascii, "{packet}");
        check(r#"2["a"]"#, r#"2["a"]"#);
        check(r#"212["hé€😀"]"#, r#"212["h\u00e9\u20ac\ud83d\ude00"]"#);
        check(
            r#"51-/é,3["é",{"_placeholder":true,"num":0}]"#,
            r#"51-/é,3["\u00e9",{"_placeholder":true,"num":0}]"#,
        );
        check("0/é,", "0/é,");
        check("0/é", "0/é");
        check(r#"4"é""#, r#"4"\u00e9""#);
        check(r#"4/a,{"message":"é"}"#, r#"4/a,{"message":"\u00e9"}"#);
    }

    proptest! {
        #[test]
        fn the_meaning_stays(texts: Vec<String>) {
            let json = serde_json::to_string(&texts).expect("texts are JSON");
            let packet = format!("2{json}");
            let ascii = ascii_json(&packet);
            prop_assert!(ascii.is_ascii());
            let read: Vec<String> = serde_json::from_str(&ascii[1..]).expect("still JSON");
            prop_assert_eq!(read, texts);
        }
    }
}
