//! What comes as a stream of bytes: wherever the reads split it, the same comes out.

use std::{cell::RefCell, fmt::Debug};

use websocket::{Decoder, Deflater, Fault, Inflater, Message, Opcode};

/// What a control frame may hold, whatever the limit of messages.
const CONTROL_BYTES_MAX: usize = 125;

thread_local! {
    /// As in a gateway, all clients of a thread share them: nothing of one message may be left for the next.
    static INFLATER: RefCell<Inflater> = const { RefCell::new(Inflater::new()) };
    static DEFLATER: RefCell<Deflater> = RefCell::default();
}

/// Frames of a client. The first byte chooses the limit of a message, whether messages may be compressed, and the length
/// of the reads.
pub(crate) fn websocket(bytes: &[u8]) {
    let Some((selector, stream)) = bytes.split_first() else { return };
    let limit = 1_usize << (selector % 18);
    let deflate = selector & 0x80 != 0;
    let whole = decode(stream, stream.len().max(1), limit, deflate);
    for read_bytes in [1, 2 + usize::from(selector / 18)] {
        assert_same(&decode(stream, read_bytes, limit, deflate), &whole);
    }
}

/// A message of ours, compressed from as many bytes on as the first byte says: a client inflates it to the same.
pub(crate) fn deflate(bytes: &[u8]) {
    let Some((bytes_min, message)) = bytes.split_first() else { return };
    let frame = websocket::frame(Opcode::Binary, message);
    let deflated = DEFLATER.with_borrow_mut(|deflater| deflater.deflate(&frame, (*bytes_min).into()));
    assert!(deflated.len() <= frame.len(), "it got longer");
    // As a client would send it: masked, with a mask of zeros.
    let header = match deflated.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    let (head, payload) = deflated.split_at(header);
    let mut stream = [head, &[0; 4], payload].concat();
    stream[1] |= 0x80;
    let (messages, fault) = decode(&stream, stream.len(), message.len(), true);
    assert_eq!((messages, fault), (vec![format!("{:?}", Message::Binary(message.into()))], None));
}

/// What a client offers in its handshake: whatever is agreed on was offered, and is well-formed.
pub(crate) fn extension(bytes: &[u8]) {
    let offers = crate::program::text(bytes);
    let Some(agreed) = websocket::Deflate::negotiate(&offers) else { return };
    assert!(offers.to_ascii_lowercase().contains("permessage-deflate"));
    assert_eq!(websocket::Deflate::negotiate(&agreed.answer()), Some(agreed));
    assert!(agreed.window_bytes() >= 256);
}

/// The messages of a stream, as text, and the fault that ended it.
fn decode(stream: &[u8], read_bytes: usize, limit: usize, deflate: bool) -> (Vec<String>, Option<u16>) {
    let mut decoder = if deflate { Decoder::with_deflate() } else { Decoder::new() };
    let mut messages = Vec::new();
    for read in stream.chunks(read_bytes) {
        let mut input = read.to_vec();
        let mut at = 0;
        while at < input.len() {
            let rest = input.get_mut(at..).unwrap_or_default();
            let left = rest.len();
            let step = INFLATER.with_borrow_mut(|inflater| {
                let step = decoder.decode(rest, limit, inflater)?;
                assert!(step.consumed > 0 && step.consumed <= left, "no progress, or too much");
                assert!(
                    size(step.message.as_ref()) <= limit.max(CONTROL_BYTES_MAX),
                    "a message over the limit"
                );
                messages.extend(step.message.map(|message| format!("{message:?}")));
                Ok(step.consumed)
            });
            match step {
                Ok(consumed) => at += consumed,
                Err(fault) => return (messages, Some(Fault::close_code(&fault))),
            }
        }
    }
    (messages, None)
}

fn size(message: Option<&Message<'_>>) -> usize {
    match message {
        Some(Message::Text(text)) => text.len(),
        Some(Message::Binary(bytes) | Message::Ping(bytes)) => bytes.len(),
        _ => 0,
    }
}

pub(crate) fn assert_same<T: PartialEq + Debug>(split: &T, whole: &T) {
    assert_eq!(split, whole, "the reads make a difference");
}
