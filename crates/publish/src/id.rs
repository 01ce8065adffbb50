//! Ids of published messages.

use std::fmt;

/// Characters of a message id.
pub const MESSAGE_ID_CHARS: usize = 26;

// Crockford's base 32: sorts like the numbers it writes, and has no I, L, O or U to misread.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Names one published message; ids sort by the time they were given, to the millisecond.
///
/// [`MESSAGE_ID_CHARS`] characters of base 32: 48 bits of milliseconds since 1970, then 80 random bits.
///
/// Source: the ULID specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u128);

impl MessageId {
    /// The id of a message published `unix_ms` milliseconds after 1970, with `random` drawn for it alone.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random;
        let random = u128::from_be_bytes([0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j]);
        // The time outgrows its 48 bits in the year 10889; the shift then drops what is above.
        Self(u128::from(unix_ms) << 80 | random)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The time is 10 digits, and each half of the random bits 8: numbers of one register each.
        let (time, high, low) = ((self.0 >> 80) as u64, (self.0 >> 40) as u64, self.0 as u64);
        let text: [u8; MESSAGE_ID_CHARS] = std::array::from_fn(|nth| {
            let (part, digits) = match nth {
                0..10 => (time, 10),
                10..18 => (high, 18),
                _ => (low, 26),
            };
            // Five bits: always below the 32 of the alphabet.
            ALPHABET[usize::from((part >> (5 * (digits - 1 - nth))) as u8 & 31)]
        });
        f.pad(str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_the_specification_does() {
        // The example of the ULID specification's readme: 01ARZ3NDEKTSV4RRFFQ69G5FAV.
        let random = [0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b];
        assert_eq!(MessageId::new(1_469_922_850_259, random).to_string(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(MessageId::new(0, [0; 10]).to_string(), "0".repeat(MESSAGE_ID_CHARS));
        assert_eq!(MessageId::new(u64::MAX, [255; 10]).to_string(), format!("7{}", "Z".repeat(25)));
    }

    #[test]
    fn later_ids_sort_behind_earlier_ones_as_text_too() {
        let (early, late) = (MessageId::new(1, [255; 10]), MessageId::new(2, [0; 10]));
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }
}
