//! The bytes of a Socket.IO client over WebSocket, as far as a load generator needs them.

pub(crate) mod centrifuge;
pub(crate) mod polling;

/// JSON text of one event, `["m","r7","…"]`, in bytes. Socket.IO and Engine.IO put two type digits in front.
pub(crate) const MESSAGE_BYTES: usize = 128;

/// The answer that the server owes to the key in [`upgrade_request`], from RFC 6455 section 1.3.
pub(crate) const ACCEPT_KEY: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Every client masks with the same key: the server's work is the same as with random ones.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SEQUENCE_DIGITS: usize = 12;
/// How an event of a room begins on the wire; the number of the room follows.
const EVENT_START: &str = "42[\"m\",\"r";

/// The request that opens a WebSocket at a path.
pub(crate) fn upgrade_request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Appends a masked text frame.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_header(out, 0x81, text.len());
    out.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends a close frame without a code, as a browser's `close()` sends it.
pub(crate) fn put_close(out: &mut Vec<u8>) {
    put_header(out, 0x88, 0);
}

fn put_header(out: &mut Vec<u8>, first: u8, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 126 => out.extend([first, 0x80 | short]),
        _ => {
            let length = u16::try_from(length).expect("a load generator's messages are short");
            out.extend([first, 0x80 | 126]);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(MASK);
}

/// One frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) is_close: bool,
    /// Header and payload, in bytes.
    pub(crate) length: usize,
}

/// The frame at the start of `bytes`; `None` until it is complete.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (header, payload_len) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).ok()?)
        }
        (126 | 127, _) => return None,
        (short, _) => (2, usize::from(*short)),
    };
    let length = header + payload_len;
    let payload = bytes.get(header..length)?;
    Some(Frame { payload, is_close: *first == 0x88, length })
}

/// The arguments of message number `sequence` of a room, as the text of a JSON array: with the event's name in
/// front, [`MESSAGE_BYTES`] long.
pub(crate) fn arguments(room: u32, sequence: u32) -> String {
    padded_arguments(room, sequence, 0)
}

/// As [`arguments`], longer by `padding` bytes.
pub(crate) fn padded_arguments(room: u32, sequence: u32, padding: usize) -> String {
    let start = format!("[\"r{room}\",\"{sequence:0width$}", width = SEQUENCE_DIGITS);
    // `"m",` is put in front of them, and `"]` behind.
    let filler = MESSAGE_BYTES.saturating_sub(4 + start.len() + 2) + padding;
    format!("{start}{:.<filler$}\"]", "")
}

/// The packet that a client publishes the same message with.
pub(crate) fn event(room: u32, sequence: u32, padding: usize) -> String {
    let arguments = padded_arguments(room, sequence, padding);
    format!("42[\"m\",{}", arguments.get(1..).unwrap_or_default())
}

/// A packet that asks for an acknowledgement.
pub(crate) fn request(id: u32, event: &str, argument: &str) -> String {
    format!("42{id}[\"{event}\",\"{argument}\"]")
}

/// Room and sequence number of a delivered message; `None` if it is not one, or not as long as it was sent.
pub(crate) fn parse_event(payload: &[u8]) -> Option<(u32, u32)> {
    if payload.len() != MESSAGE_BYTES + 2 {
        return None;
    }
    let rest = payload.strip_prefix(EVENT_START.as_bytes())?;
    let quote = rest.iter().position(|byte| *byte == b'"')?;
    let (room, rest) = rest.split_at_checked(quote)?;
    let sequence = rest.strip_prefix(b"\",\"")?.get(..SEQUENCE_DIGITS)?;
    Some((number(room)?, number(sequence)?))
}

/// The id of an acknowledgement: `payload` is what follows its type digits.
pub(crate) fn parse_ack(payload: &[u8]) -> Option<u32> {
    number(payload.split(|byte| *byte == b'[').next()?)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_long_as_stated_and_comes_back() {
        for (room, sequence) in [(0, 0), (7, 42), (999, 4_000_000_000)] {
            let event = event(room, sequence, 0);
            assert_eq!(event.len(), MESSAGE_BYTES + 2, "{event}");
            assert_eq!(parse_event(event.as_bytes()), Some((room, sequence)), "{event}");
        }
        assert_eq!(parse_event(event(1, 1, 0).replace("...", ".").as_bytes()), None);
    }

    #[test]
    fn frames_are_found_once_they_are_complete() {
        for payload_len in [0, 125, 126, 65_535, 65_536] {
            let frame = websocket::frame(websocket::Opcode::Text, &vec![b'x'; payload_len]);
            let found = first_frame(&frame).unwrap();
            assert_eq!((found.payload.len(), found.length), (payload_len, frame.len()));
            assert_eq!(first_frame(&frame[..frame.len() - 1]), None);
        }
    }

    #[test]
    fn masked_frames_are_what_the_server_decodes() {
        let text = event(3, 4, 0);
        let mut bytes = Vec::new();
        put_text(&mut bytes, &text);
        put_close(&mut bytes);
        let (mut decoder, mut inflater) = (websocket::Decoder::new(), websocket::Inflater::new());
        let step = decoder.decode(&mut bytes, 1000, &mut inflater).unwrap();
        assert_eq!(step.message, Some(websocket::Message::Text(text.into())));
        let at = step.consumed;
        let step = decoder.decode(&mut bytes[at..], 1000, &mut inflater).unwrap();
        assert_eq!(step.message, Some(websocket::Message::Close(None)));
    }

    #[test]
    fn the_server_owes_the_answer_to_our_key() {
        assert_eq!(websocket::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), ACCEPT_KEY);
    }
}
