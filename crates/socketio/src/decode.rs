//! One text message in, one packet out, with every check that needs no other message.

use crate::error::{JsonFault, ParseFault};
use crate::event::event_name;
use crate::json::{self, Placeholders};
use crate::packet::{DecodeLimits, Packet, PacketKind, reserved_event};

/// Decodes one text packet, `text` being the Engine.IO message without its `4`.
///
/// `type [attachments "-"] [namespace ","] [ack-id] [json]`; the namespace ends at the first comma or
/// with the text (clients 1.x leave out a comma that nothing follows). An EVENT without data and an ACK
/// without id are packets. The same rules hold for both revisions: the reference server uses its
/// revision 5 parser for all clients.
///
/// Stricter than the reference, which no client notices: empty text is no CONNECT, digits are ASCII
/// digits only (JavaScript takes a blank for 0), no whitespace in front of the data, ack ids fit 64 bits,
/// nesting is limited, and placeholders are checked now instead of when the last attachment is there.
///
/// # Errors
/// One [`ParseFault`] per offence; the caller closes the connection.
///
/// Source: Socket.IO protocol 5, packet encoding; socket.io-parser 4.2.7.
pub fn decode<'a>(text: &'a str, limits: &DecodeLimits) -> Result<Packet<'a>, ParseFault> {
    let packet = take_apart(text, limits)?;
    if let Some(data) = packet.data {
        check_data(packet.kind, data, packet.attachments, limits)?;
    }
    Ok(packet)
}

/// Takes a packet of our own apart again, one that the functions `encode_*` have written: its data is as good as it was
/// then. `None` if it is no packet.
pub fn split(text: &str) -> Option<Packet<'_>> {
    take_apart(text, &DecodeLimits { attachments_max: usize::MAX, depth_max: 0 }).ok()
}

fn take_apart<'a>(text: &'a str, limits: &DecodeLimits) -> Result<Packet<'a>, ParseFault> {
    let mut rest = text.chars();
    let digit = rest.next().ok_or(ParseFault::EmptyPacket)?;
    let kind = PacketKind::from_digit(digit).ok_or(ParseFault::UnknownPacketType(digit))?;
    let rest = rest.as_str();

    let (attachments, rest) = if kind.is_binary() { take_attachments(rest, limits)? } else { (0, rest) };
    let (namespace, rest) = match rest.starts_with('/') {
        true => rest.split_once(',').unwrap_or((rest, "")),
        false => ("/", rest),
    };
    let (id, rest) = take_ack_id(rest)?;
    let data = (!rest.is_empty()).then_some(rest);
    Ok(Packet { kind, namespace, id, attachments, data })
}

fn take_attachments<'a>(text: &'a str, limits: &DecodeLimits) -> Result<(usize, &'a str), ParseFault> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(ParseFault::MalformedAttachments)?;
    let max = limits.attachments_max;
    match digits.parse() {
        Ok(0) => Err(ParseFault::MalformedAttachments),
        Ok(count) if count <= max => Ok((count, rest)),
        // Over the limit, or over 64 bits.
        _ if !digits.is_empty() => Err(ParseFault::TooManyAttachments { max }),
        _ => Err(ParseFault::MalformedAttachments),
    }
}

fn take_ack_id(text: &str) -> Result<(Option<u64>, &str), ParseFault> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    Ok((Some(digits.parse().map_err(|_| ParseFault::AckIdTooLarge)?), rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or(("", text))
}

/// Checks what `kind` may carry: first the outermost form, which is cheap, then the JSON.
fn check_data(
    kind: PacketKind,
    data: &str,
    attachments: usize,
    limits: &DecodeLimits,
) -> Result<(), ParseFault> {
    let expected = match (kind, data.as_bytes().first()) {
        (PacketKind::Connect, Some(b'{')) | (PacketKind::ConnectError, Some(b'{' | b'"')) => None,
        (PacketKind::Connect, _) => Some("an object"),
        (PacketKind::ConnectError, _) => Some("an object or a string"),
        (PacketKind::Disconnect, _) => Some("no data"),
        (_, Some(b'[')) => None,
        _ => Some("an array"),
    };
    if let Some(expected) = expected {
        return Err(ParseFault::WrongData { kind: kind.as_str(), expected });
    }
    check_json(data, attachments, limits).map_err(ParseFault::InvalidJson)?;
    match kind {
        PacketKind::Event | PacketKind::BinaryEvent => check_event(data),
        _ => Ok(()),
    }
}

fn check_json(data: &str, attachments: usize, limits: &DecodeLimits) -> Result<(), JsonFault> {
    if attachments == 0 {
        // Without attachments a placeholder is plain data.
        return json::check(data, limits.depth_max, None);
    }
    let mut placeholders = Placeholders { attachments, named: Vec::new() };
    json::check(data, limits.depth_max, Some(&mut placeholders))
}

fn check_event(data: &str) -> Result<(), ParseFault> {
    let Some(name) = event_name(data) else {
        return Err(match json::elements(data).next() {
            Some(_) => ParseFault::EventNameInvalid,
            None => ParseFault::EventNameMissing,
        });
    };
    reserved_event(&name).map_or(Ok(()), |reserved| Err(ParseFault::ReservedEventName(reserved)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::JsonOffence;

    fn fault(text: &str) -> ParseFault {
        decode(text, &DecodeLimits { attachments_max: 10, depth_max: 4 }).expect_err(text)
    }

    #[test]
    fn every_offence_has_its_fault() {
        use ParseFault::*;
        let wrong = |kind: PacketKind, expected| WrongData { kind: kind.as_str(), expected };
        let cases = [
            ("", EmptyPacket),
            ("7", UnknownPacketType('7')),
            ("é", UnknownPacketType('é')),
            ("51[\"x\"]", MalformedAttachments),
            ("5-[\"x\"]", MalformedAttachments),
            ("50-[\"x\"]", MalformedAttachments),
            ("5 1-[\"x\"]", MalformedAttachments),
            ("511-[\"x\"]", TooManyAttachments { max: 10 }),
            ("599999999999999999999-[\"x\"]", TooManyAttachments { max: 10 }),
            ("218446744073709551616[\"x\"]", AckIdTooLarge),
            ("0[]", wrong(PacketKind::Connect, "an object")),
            ("1{}", wrong(PacketKind::Disconnect, "no data")),
            ("2 [\"x\"]", wrong(PacketKind::Event, "an array")),
            ("4[]", wrong(PacketKind::ConnectError, "an object or a string")),
            ("61-{}", wrong(PacketKind::BinaryAck, "an array")),
            ("2[]", EventNameMissing),
            ("2[[]]", EventNameInvalid),
            ("2[true]", EventNameInvalid),
            ("2[\"disconnecting\"]", ReservedEventName("disconnecting")),
            ("2[ \"conn\\u0065ct\" ]", ReservedEventName("connect")),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn json_faults_say_where() {
        let at = |offset, offence| ParseFault::InvalidJson(JsonFault { offset, offence });
        assert_eq!(fault("2/a,7[\"a\""), at(4, JsonOffence::Expected("`,` or `]`")));
        assert_eq!(fault("2[[[[[]]]]]"), at(4, JsonOffence::TooDeep(4)));
        assert_eq!(
            fault("51-[\"x\",{\"_placeholder\":true,\"num\":1}]"),
            at(5, JsonOffence::PlaceholderOutOfRange(1))
        );
    }

    #[test]
    fn data_is_the_text_as_received() {
        let text = "2/a?b=c,18446744073709551615[ \"n\" ,{\"b\":1.0,\"a\":1e400,\"a\":-0}]\r\n";
        let packet = decode(text, &DecodeLimits::default()).unwrap();
        assert_eq!(packet.namespace, "/a?b=c");
        assert_eq!(packet.id, Some(u64::MAX));
        assert_eq!(packet.data, Some("[ \"n\" ,{\"b\":1.0,\"a\":1e400,\"a\":-0}]\r\n"));
    }
}
