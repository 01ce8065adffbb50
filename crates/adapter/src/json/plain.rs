//! Which bytes of a string stand for themselves, found many at once: most strings hold no other.

/// Bytes looked at together; the compiler makes one comparison of them.
const CHUNK: usize = 16;

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

#[cfg(test)]
mod tests {
    use super::*;

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
