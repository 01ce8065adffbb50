//! The header of a client's frame, and every rule that can be checked on it alone.

use crate::Fault;

/// Bytes of the longest header: two, eight of length, four of mask.
pub(crate) const HEADER_BYTES_MAX: usize = 14;
/// Bytes of payload a control frame may have.
const CONTROL_BYTES_MAX: u64 = 125;

/// The reserved bit that marks the first frame of a compressed message.
///
/// Source: RFC 7692 section 6.
pub(crate) const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x70;

/// What a frame is.
///
/// Source: RFC 6455 section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of a fragmented message.
    Continuation = 0x0,
    /// A text message or its first fragment.
    Text = 0x1,
    /// A binary message or its first fragment.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// A question for a pong.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xa,
}

impl Opcode {
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of one frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientHeader {
    pub(crate) is_final: bool,
    /// Whether a compressed message begins here.
    pub(crate) is_compressed: bool,
    pub(crate) opcode: Opcode,
    pub(crate) payload_len: usize,
    pub(crate) mask: [u8; 4],
    /// Bytes of the header itself, at most [`HEADER_BYTES_MAX`].
    pub(crate) len: usize,
}

impl ClientHeader {
    /// Parses the header at the front of `bytes`; `Ok(None)` if it does not end there. `deflate` says whether messages
    /// may be compressed.
    ///
    /// # Errors
    /// [`Fault::Protocol`] with the rule broken; [`Fault::TooBig`] for a length this machine cannot address.
    ///
    /// Source: RFC 6455 sections 5.1, 5.2 and 5.5; RFC 7692 section 6.1.
    #[inline]
    pub(crate) fn parse(bytes: &[u8], deflate: bool) -> Result<Option<Self>, Fault> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        // Nearly no frame has any of these bits: what they mean is looked at apart.
        let is_compressed = first & RESERVED != 0;
        if is_compressed && (first & RESERVED != COMPRESSED || !deflate) {
            return Err(Fault::Protocol("reserved bit set"));
        }
        if second & 0x80 == 0 {
            return Err(Fault::Protocol("frame of a client not masked"));
        }
        let is_final = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(Fault::Protocol("unknown opcode"))?;
        if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Fault::Protocol("compression marked elsewhere than on a first frame"));
        }

        let Some((payload_len, rest)) = payload_len(second & 0x7f, rest)? else { return Ok(None) };
        if opcode.is_control() && (!is_final || payload_len > CONTROL_BYTES_MAX) {
            return Err(Fault::Protocol("control frame too long or fragmented"));
        }
        let Some(mask) = rest.first_chunk() else { return Ok(None) };
        Ok(Some(Self {
            is_final,
            is_compressed,
            opcode,
            payload_len: payload_len.try_into().map_err(|_| Fault::TooBig)?,
            mask: *mask,
            len: bytes.len() - rest.len() + mask.len(),
        }))
    }
}

/// The length of the payload and the bytes after it; `Ok(None)` if the length is not complete.
#[inline]
fn payload_len(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Fault> {
    let (len, rest, len_min) = match short {
        126 => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u16::from_be_bytes(*len).into(), rest, 126)
        }
        127 => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*len), rest, 1 << 16)
        }
        _ => (short.into(), rest, 0),
    };
    if len < len_min {
        return Err(Fault::Protocol("length not in its shortest form"));
    }
    if len >> 63 != 0 {
        return Err(Fault::Protocol("top bit of the length set"));
    }
    Ok(Some((len, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_parsed_once_it_is_whole() {
        let check = |bytes: &[u8], is_final, opcode, payload_len| {
            let mask = [1, 2, 3, 4];
            let len = bytes.len();
            let header = ClientHeader { is_final, is_compressed: false, opcode, payload_len, mask, len };
            assert_eq!(ClientHeader::parse(bytes, false), Ok(Some(header)));
            assert_eq!(ClientHeader::parse(&[bytes, &[9; 3]].concat(), false), Ok(Some(header)));
            for end in 0..bytes.len() {
                assert_eq!(ClientHeader::parse(&bytes[..end], false), Ok(None));
            }
        };
        check(&[0x81, 0x80, 1, 2, 3, 4], true, Opcode::Text, 0);
        check(&[0x02, 0xfd, 1, 2, 3, 4], false, Opcode::Binary, 125);
        check(&[0x80, 0xfe, 0, 126, 1, 2, 3, 4], true, Opcode::Continuation, 126);
        check(&[0x82, 0xfe, 255, 255, 1, 2, 3, 4], true, Opcode::Binary, 65_535);
        check(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], true, Opcode::Binary, 65_536);
        check(&[0x8a, 0xfd, 1, 2, 3, 4], true, Opcode::Pong, 125);
    }

    #[test]
    fn a_header_that_breaks_a_rule_is_refused() {
        let check =
            |bytes: &[u8], rule| assert_eq!(ClientHeader::parse(bytes, false), Err(Fault::Protocol(rule)));
        check(&[0x81, 0x05], "frame of a client not masked");
        for reserved in [0x10, 0x20, 0x40] {
            check(&[0x81 | reserved, 0x80], "reserved bit set");
        }
        for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            check(&[0x80 | opcode, 0x80], "unknown opcode");
        }
        for opcode in [0x8, 0x9, 0xa] {
            check(&[opcode, 0x80], "control frame too long or fragmented");
            check(&[0x80 | opcode, 0xfe, 0, 126], "control frame too long or fragmented");
        }
        check(&[0x81, 0xfe, 0, 125], "length not in its shortest form");
        check(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255], "length not in its shortest form");
        check(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "top bit of the length set");
    }

    #[test]
    fn compression_is_marked_where_it_was_agreed_on_and_on_first_frames_alone() {
        let check = |first: u8, expected| {
            let header = ClientHeader::parse(&[first, 0x80, 1, 2, 3, 4], true);
            assert_eq!(header.map(|header| header.map(|header| header.is_compressed)), expected, "{first:x}");
        };
        for first in [0xc1, 0xc2, 0x41, 0x42] {
            check(first, Ok(Some(true)));
            check(first & !COMPRESSED, Ok(Some(false)));
        }
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca] {
            check(first, Err(Fault::Protocol("compression marked elsewhere than on a first frame")));
        }
        for first in [0xa1, 0x91, 0xf1] {
            check(first, Err(Fault::Protocol("reserved bit set")));
        }
    }
}
