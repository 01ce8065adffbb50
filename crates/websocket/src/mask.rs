//! The masking of client frames.

/// Unmasks `payload` in place. `offset` is how many bytes of the same frame came before it.
///
/// Source: RFC 6455 section 5.3.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut key = mask;
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let wide = [a, b, c, d, a, b, c, d];
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(wide)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_byte_meets_its_byte_of_the_mask(
            payload: Vec<u8>,
            mask: [u8; 4],
            split in any::<proptest::sample::Index>(),
        ) {
            let expected: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
            let mut unmasked = payload;
            let split = split.index(unmasked.len() + 1);
            let (first, second) = unmasked.split_at_mut(split);
            unmask(first, mask, 0);
            unmask(second, mask, split);
            prop_assert_eq!(unmasked, expected);
        }
    }
}
