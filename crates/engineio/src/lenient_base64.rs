//! Base64 as Node's `Buffer` reads it, which is what clients have been getting away with.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);

/// Decodes any text: standard and URL-safe alphabet mixed, what follows a `=` ignored, other characters
/// skipped, a last group of one character dropped.
///
/// Source: Node.js `Buffer.from(text, 'base64')`.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    // Clients send clean base64; only what is not takes the slow way.
    STANDARD.decode(text).unwrap_or_else(|_| decode_slowly(text))
}

fn decode_slowly(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut bit_count) = (0_u32, 0_u32);
    for sextet in text.bytes().take_while(|&byte| byte != b'=').filter_map(sextet) {
        bits = bits << 6 | u32::from(sextet);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count & 0xff) as u8);
        }
    }
    bytes
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_read_as_node_reads_it() {
        // Outputs of `Buffer.from(text, 'base64')`, Node.js 20.
        let check = |text: &str, bytes: &[u8]| {
            assert_eq!(decode(text), bytes, "{text:?}");
            assert_eq!(decode_slowly(text), bytes, "{text:?}, the slow way");
        };
        check("", b"");
        check("YQ==", b"a");
        check("YQ", b"a");
        check("YQ=", b"a");
        check("Y", b"");
        check("YWJ", b"ab");
        check("YWJjZ", b"abc");
        check("-_-_", b"\xfb\xff\xbf");
        check("-_+/", b"\xfb\xff\xbf");
        check("Y W\nJj", b"abc");
        check("YWJjéZGVm", b"abcdef");
        check("YQ==YQ==", b"a");
        check("YWJj=ZGVm", b"abc");
        check("=YWJj", b"");
        check("!!!!", b"");
    }

    proptest! {
        #[test]
        fn both_ways_undo_encoding(bytes: Vec<u8>) {
            let padded = BASE64_STANDARD.encode(&bytes);
            prop_assert_eq!(&decode(&padded), &bytes);
            prop_assert_eq!(&decode_slowly(&padded), &bytes);
            prop_assert_eq!(decode(&BASE64_URL_SAFE_NO_PAD.encode(&bytes)), bytes);
        }
    }
}
