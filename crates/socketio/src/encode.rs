//! Packets as text, appended to a buffer; the Engine.IO digit in front is the caller's.

use crate::packet::{PacketKind, Protocol};

/// Appends an EVENT, or a BINARY_EVENT if `attachments` binary messages are to follow.
///
/// `json` is the text of the array `["name",arg,…]`. With an `id` the client is asked to answer.
pub fn encode_event(out: &mut Vec<u8>, namespace: &str, id: Option<u64>, attachments: usize, json: &str) {
    let kind = if attachments == 0 { PacketKind::Event } else { PacketKind::BinaryEvent };
    push_head(out, kind, attachments, namespace);
    if let Some(id) = id {
        push_decimal(out, id);
    }
    out.extend_from_slice(json.as_bytes());
}

/// Appends an ACK, or a BINARY_ACK if `attachments` binary messages are to follow.
///
/// `json` is the text of the array of answers; `id` the one that came with the event.
pub fn encode_ack(out: &mut Vec<u8>, namespace: &str, id: u64, attachments: usize, json: &str) {
    let kind = if attachments == 0 { PacketKind::Ack } else { PacketKind::BinaryAck };
    push_head(out, kind, attachments, namespace);
    push_decimal(out, id);
    out.extend_from_slice(json.as_bytes());
}

/// Appends the answer to a CONNECT that succeeded.
///
/// Revision 5 clients learn their `sid`; revision 4 clients make it up from their Engine.IO session
/// and get no data.
pub fn encode_connect(out: &mut Vec<u8>, protocol: Protocol, namespace: &str, sid: &str) {
    push_head(out, PacketKind::Connect, 0, namespace);
    if protocol == Protocol::V5 {
        out.extend_from_slice(br#"{"sid":"#);
        out.extend_from_slice(json_string(sid).as_bytes());
        out.push(b'}');
    }
}

/// Appends the answer to a CONNECT that was refused, with `data` as JSON text if the application set it.
///
/// Revision 5 clients get `{"message":…,"data":…}`. Revision 4 clients get the data alone if it is
/// truthy, else the message as a JSON string, since they hand over whatever comes.
pub fn encode_connect_error(
    out: &mut Vec<u8>,
    protocol: Protocol,
    namespace: &str,
    message: &str,
    data: Option<&str>,
) {
    push_head(out, PacketKind::ConnectError, 0, namespace);
    match (protocol, data) {
        // The next translation leaves out what 0.9 has no words for.
        (Protocol::V5 | Protocol::V1, _) => {
            out.extend_from_slice(br#"{"message":"#);
            out.extend_from_slice(json_string(message).as_bytes());
            if let Some(data) = data {
                out.extend_from_slice(br#","data":"#);
                out.extend_from_slice(data.as_bytes());
            }
            out.push(b'}');
        }
        // Trimmed, because a client takes a blank at this place for the ack id 0.
        (Protocol::V4, Some(data)) if is_truthy(data) => out.extend_from_slice(data.trim_start().as_bytes()),
        (Protocol::V4, _) => out.extend_from_slice(json_string(message).as_bytes()),
    }
}

/// Appends a DISCONNECT: the namespace is closed for this client, which will not come back by itself.
pub fn encode_disconnect(out: &mut Vec<u8>, namespace: &str) {
    push_head(out, PacketKind::Disconnect, 0, namespace);
}

/// `text` as a JSON string with its quotes, escaped as `JSON.stringify` does.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn push_head(out: &mut Vec<u8>, kind: PacketKind, attachments: usize, namespace: &str) {
    out.push(kind.digit());
    if kind.is_binary() {
        push_decimal(out, attachments as u64);
        out.push(b'-');
    }
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
}

pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Whether JavaScript takes the value of the JSON text `data` for true.
fn is_truthy(data: &str) -> bool {
    !matches!(data.trim(), "null" | "false" | "\"\"" | "0" | "-0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"4".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn packets_are_appended_with_their_parts_in_order() {
        let all = "[\"n\"]";
        assert_eq!(text(|out| encode_event(out, "/", None, 0, all)), "42[\"n\"]");
        assert_eq!(
            text(|out| encode_event(out, "/a", Some(u64::MAX), 0, all)),
            "42/a,18446744073709551615[\"n\"]"
        );
        assert_eq!(text(|out| encode_event(out, "/a", Some(0), 10, all)), "4510-/a,0[\"n\"]");
        assert_eq!(text(|out| encode_ack(out, "/", 907, 0, "[]")), "43907[]");
        assert_eq!(text(|out| encode_ack(out, "/a", 1, 2, "[]")), "462-/a,1[]");
        assert_eq!(text(|out| encode_disconnect(out, "/")), "41");
        assert_eq!(text(|out| encode_disconnect(out, "/a")), "41/a,");
    }

    #[test]
    fn only_revision_5_clients_are_told_their_sid() {
        assert_eq!(text(|out| encode_connect(out, Protocol::V5, "/a", "x\"")), r#"40/a,{"sid":"x\""}"#);
        assert_eq!(text(|out| encode_connect(out, Protocol::V4, "/a", "x")), "40/a,");
    }

    #[test]
    fn a_refusal_has_the_form_of_its_revision() {
        let refusal =
            |protocol, data| text(|out| encode_connect_error(out, protocol, "/", "no \"way\"", data));
        assert_eq!(refusal(Protocol::V5, None), r#"44{"message":"no \"way\""}"#);
        assert_eq!(refusal(Protocol::V5, Some("null")), r#"44{"message":"no \"way\"","data":null}"#);
        assert_eq!(refusal(Protocol::V4, None), r#"44"no \"way\"""#);
        assert_eq!(refusal(Protocol::V4, Some(r#" {"code":1}"#)), r#"44{"code":1}"#);
        assert_eq!(refusal(Protocol::V4, Some("null")), r#"44"no \"way\"""#);
    }
}
