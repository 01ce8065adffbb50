//! What comes as a stream of bytes: wherever the reads split it, the same comes out.

use std::fmt::Debug;

use websocket::{Decoder, Message};

/// Frames of a client. The first byte chooses the limit of a message and the length of the reads.
pub(crate) fn websocket(bytes: &[u8]) {
    let Some((selector, stream)) = bytes.split_first() else { return };
    let limit = 1_usize << (selector % 18);
    let whole = decode(stream, stream.len().max(1), limit);
    for read_bytes in [1, 2 + usize::from(selector / 18)] {
        assert_same(&decode(stream, read_bytes, limit), &whole);
    }
}

/// The messages of a stream, as text, and the fault that ended it.
fn decode(stream: &[u8], read_bytes: usize, limit: usize) -> (Vec<String>, Option<u16>) {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    for read in stream.chunks(read_bytes) {
        let mut input = read.to_vec();
        let mut at = 0;
        while at < input.len() {
            match decoder.decode(input.get_mut(at..).unwrap_or_default(), limit) {
                Ok(step) => {
                    assert!(
                        step.consumed > 0 && step.consumed <= read.len() - at,
                        "no progress, or too much"
                    );
                    at += step.consumed;
                    if let Some(Message::Text(_) | Message::Binary(_)) = &step.message {
                        assert!(size(step.message.as_ref()) <= limit, "a message over the limit");
                    }
                    messages.extend(step.message.map(|message| format!("{message:?}")));
                }
                Err(fault) => return (messages, Some(fault.close_code())),
            }
        }
    }
    (messages, None)
}

fn size(message: Option<&Message<'_>>) -> usize {
    match message {
        Some(Message::Text(text)) => text.len(),
        Some(Message::Binary(bytes)) => bytes.len(),
        _ => 0,
    }
}

pub(crate) fn assert_same<T: PartialEq + Debug>(split: &T, whole: &T) {
    assert_eq!(split, whole, "the reads make a difference");
}
