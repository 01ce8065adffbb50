//! Ids of published messages.

use std::fmt;
use std::str::FromStr;

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

impl MessageId {
    /// The characters, all of them ASCII.
    pub(crate) fn text(self) -> [u8; MESSAGE_ID_CHARS] {
        // The time is 10 digits, and each half of the random bits 8: numbers of one register each.
        let (time, high, low) = ((self.0 >> 80) as u64, (self.0 >> 40) as u64, self.0 as u64);
        std::array::from_fn(|nth| {
            let (part, digits) = match nth {
                0..10 => (time, 10),
                10..18 => (high, 18),
                _ => (low, 26),
            };
            // Five bits: always below the 32 of the alphabet.
            ALPHABET[usize::from((part >> (5 * (digits - 1 - nth))) as u8 & 31)]
        })
    }
}

impl FromStr for MessageId {
    type Err = ();

    /// Reads the text of an id as it is written, and nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digit = |number: u128, character: u8| {
            let digit = ALPHABET.iter().position(|known| *known == character).ok_or(())?;
            // The first of 26 digits has 3 bits of the 128.
            if number >> 123 != 0 { Err(()) } else { Ok(number << 5 | digit as u128) }
        };
        if text.len() != MESSAGE_ID_CHARS {
            return Err(());
        }
        text.bytes().try_fold(0, digit).map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.text()).expect("the alphabet is ASCII"))
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

    #[test]
    fn ids_are_read_as_they_are_written() {
        for id in [MessageId::new(1_469_922_850_259, [7; 10]), MessageId(0), MessageId(u128::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in
            ["", "7", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "0000000000000000000000000U", "é000000000000000000000000"]
        {
            assert_eq!(text.parse::<MessageId>(), Err(()), "{text}");
        }
    }
}
