//! The extension types that Node's libraries have used: dates, `undefined` and typed arrays.

/// What an extension stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extension<'a> {
    /// JavaScript's `undefined`, of notepack 2.
    Undefined,
    /// A date in ms since 1970, fractions cut off; `None` if no `i64` can hold it.
    Date(Option<i64>),
    /// A `Uint8Array` or `ArrayBuffer`, of notepack 2.
    Bytes(&'a [u8]),
    /// Any other: its type and bytes.
    Other(i8, &'a [u8]),
}

impl<'a> Extension<'a> {
    /// An extension with a length of 1, 2, 4, 8 or 16 that its first byte states.
    pub(crate) fn fixed(kind: i8, bytes: &'a [u8]) -> Self {
        match (kind, bytes) {
            (0, [_]) => Self::Undefined,
            (0, bytes) if let Ok(ms) = bytes.try_into() => Self::Date(Some(i64::from_be_bytes(ms))),
            _ => Self::date(kind, bytes).unwrap_or(Self::Other(kind, bytes)),
        }
    }

    /// An extension with a length of its own. Typed arrays are written so whatever their length.
    pub(crate) fn sized(kind: i8, bytes: &'a [u8]) -> Self {
        match kind {
            0 => Self::Bytes(bytes),
            _ => Self::date(kind, bytes).unwrap_or(Self::Other(kind, bytes)),
        }
    }

    /// The timestamps of the MessagePack specification, told apart by their length: seconds; nanoseconds in
    /// the upper 30 bits and seconds in the lower 34; nanoseconds in 32 bits and signed seconds in 64.
    fn date(kind: i8, bytes: &[u8]) -> Option<Self> {
        if kind != -1 {
            return None;
        }
        let (seconds, nanoseconds) = if let Ok(seconds) = bytes.try_into() {
            (i64::from(u32::from_be_bytes(seconds)), 0)
        } else if let Ok(both) = bytes.try_into() {
            let both = u64::from_be_bytes(both);
            (i64::try_from(both & ((1 << 34) - 1)).ok()?, i64::try_from(both >> 34).ok()?)
        } else {
            let (nanoseconds, seconds) = bytes.split_first_chunk::<4>()?;
            (i64::from_be_bytes(seconds.try_into().ok()?), i64::from(u32::from_be_bytes(*nanoseconds)))
        };
        Some(Self::Date(milliseconds(seconds, nanoseconds)))
    }
}

/// Rounded towards 1970, as JavaScript's `Date` does.
fn milliseconds(seconds: i64, nanoseconds: i64) -> Option<i64> {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    i64::try_from(total / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_in_three_lengths_and_an_old_form() {
        let check =
            |bytes: &[u8], ms| assert_eq!(Extension::fixed(-1, bytes), Extension::Date(ms), "{bytes:?}");
        check(&[0, 0, 0, 1], Some(1000));
        check(&0x1d53_5300_4996_02d2_u64.to_be_bytes(), Some(1_234_567_890_123));
        check(&u64::MAX.to_be_bytes(), Some(17_179_869_184_073));
        let long = |nanoseconds: u32, seconds: i64| {
            [nanoseconds.to_be_bytes().as_slice(), &seconds.to_be_bytes()].concat()
        };
        check(&long(0, -1), Some(-1000));
        check(&long(999_500_000, -1), Some(0));
        check(&long(0, i64::MAX), None);
        assert_eq!(Extension::sized(-1, &long(1_000_000, 1)), Extension::Date(Some(1001)));
        assert_eq!(Extension::fixed(0, &(-1_i64).to_be_bytes()), Extension::Date(Some(-1)));
    }

    #[test]
    fn old_typed_arrays_are_bytes_and_one_fixed_byte_is_undefined() {
        assert_eq!(Extension::fixed(0, &[0]), Extension::Undefined);
        assert_eq!(Extension::sized(0, &[0]), Extension::Bytes(&[0]));
        assert_eq!(Extension::sized(0, &[0; 8]), Extension::Bytes(&[0; 8]));
        assert_eq!(Extension::fixed(0, &[1, 2]), Extension::Other(0, &[1, 2]));
        assert_eq!(Extension::fixed(-1, &[1]), Extension::Other(-1, &[1]));
        assert_eq!(Extension::sized(5, &[]), Extension::Other(5, &[]));
    }
}
