//! Which bytes of a string stand for themselves, found many at once: most strings hold no other.

/// Bytes looked at together; the compiler makes one comparison of them.
const CHUNK: usize = 16;

/// Whether all of `bytes` are ASCII that stands for itself: such text is copied, and needs no other check.
pub(crate) fn is_plain_ascii(bytes: &[u8]) -> bool {
    let is_odd = |bytes: &[u8]| bytes.iter().fold(false, |odd, byte| odd | is_special_or_not_ascii(*byte));
    match bytes.last_chunk::<CHUNK>() {
        // It covers what is no whole chunk, and some of the one before.
        Some(last) => !is_odd(last) && !bytes.chunks_exact(CHUNK).any(is_odd),
        None => !is_odd(bytes),
    }
}

/// How many bytes at the beginning are neither quote nor backslash nor control character.
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    let mut plain = 0;
    for chunk in bytes.chunks_exact(CHUNK) {
        if chunk.iter().fold(false, |special, byte| special | is_special(*byte)) {
            break;
        }
        plain += CHUNK;
    }
    plain + bytes[plain..].iter().take_while(|byte| !is_special(**byte)).count()
}

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

const fn is_special_or_not_ascii(byte: u8) -> bool {
    // As a signed number, what is not ASCII is below zero.
    byte.cast_signed() < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_plain_ascii_unless_a_byte_anywhere_is_not() {
        for length in 0..70 {
            let plain = vec![b'~'; length];
            assert!(is_plain_ascii(&plain));
            for at in 0..length {
                for odd in [b'"', b'\\', 0, 0x1f, 0x80, 0xff] {
                    let mut bytes = plain.clone();
                    bytes[at] = odd;
                    assert!(!is_plain_ascii(&bytes), "{odd} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_first_special_byte_ends_the_prefix_wherever_it_is() {
        for length in 0..70 {
            let plain = vec![b'\xc3'; length];
            assert_eq!(plain_prefix(&plain), length);
            for at in 0..length {
                for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
                    let mut bytes = plain.clone();
                    bytes[at] = special;
                    assert_eq!(plain_prefix(&bytes), at, "{special} of {length}");
                }
            }
        }
    }
}
