//! Frames of the server: whole messages, unmasked.

use crate::{Opcode, header::COMPRESSED};

/// Bytes of the longest header of a server: two, eight of length.
const SERVER_HEADER_BYTES_MAX: usize = 10;

/// The header of one frame of the server; the payload follows as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; SERVER_HEADER_BYTES_MAX],
    len: u8,
}

impl FrameHeader {
    /// The 2, 4 or 10 bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The same for a message whose payload is compressed.
    pub(crate) fn of_compressed(mut self) -> Self {
        self.bytes[0] |= COMPRESSED;
        self
    }
}

/// The header of a frame with `payload_len` bytes, unmasked, FIN set.
///
/// Source: RFC 6455 section 5.2.
pub fn frame_header(opcode: Opcode, payload_len: usize) -> FrameHeader {
    let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
    bytes[0] = 0x80 | opcode as u8;
    // No `usize` is wider than 64 bits.
    let wide = (payload_len as u64).to_be_bytes();
    let len = match payload_len {
        0..126 => {
            bytes[1] = wide[7];
            2
        }
        126..=0xffff => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&wide[6..]);
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&wide);
            10
        }
    };
    FrameHeader { bytes, len }
}

/// A whole frame. A control frame must have at most 125 bytes of `payload`.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    [frame_header(opcode, payload.len()).as_bytes(), payload].concat()
}

/// A close frame without a reason. `None` is a close without a code, which is what the reference server
/// sends when it ends a session; the client then reports 1005.
pub fn close_frame(code: Option<u16>) -> Vec<u8> {
    match code {
        Some(code) => frame(Opcode::Close, &code.to_be_bytes()),
        None => frame(Opcode::Close, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfc() {
        // RFC 6455 section 5.7.
        assert_eq!(frame(Opcode::Text, b"Hello"), b"\x81\x05Hello");
        assert_eq!(frame(Opcode::Ping, b"Hello"), b"\x89\x05Hello");
        assert_eq!(frame_header(Opcode::Binary, 256).as_bytes(), [0x82, 0x7e, 0x01, 0x00]);
        let header = frame_header(Opcode::Binary, 65_536);
        assert_eq!(header.as_bytes(), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn lengths_are_in_their_shortest_form() {
        let check = |payload_len, second, bytes| {
            let header = frame_header(Opcode::Text, payload_len);
            assert_eq!((header.as_bytes()[1], header.as_bytes().len()), (second, bytes), "{payload_len}");
        };
        check(0, 0, 2);
        check(125, 125, 2);
        check(126, 126, 4);
        check(65_535, 126, 4);
        check(65_536, 127, 10);
    }

    #[test]
    fn a_close_may_have_no_code() {
        assert_eq!(close_frame(None), [0x88, 0]);
        assert_eq!(close_frame(Some(1009)), [0x88, 2, 0x03, 0xf1]);
    }
}
