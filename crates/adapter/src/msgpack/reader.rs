//! One MessagePack value after another out of bytes from anywhere.

use crate::error::WireFault;
use crate::msgpack::Extension;

/// A value, or the head of an array or map whose values follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    /// An integer from 0 up.
    Unsigned(u64),
    /// An integer of a signed form.
    Signed(i64),
    Float(f64),
    /// Should be UTF-8.
    Str(&'a [u8]),
    Bin(&'a [u8]),
    /// So many values follow, and there are bytes for them.
    Array(usize),
    /// So many keys follow, each with its value, and there are bytes for them.
    Map(usize),
    Extension(Extension<'a>),
}

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes have not been read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads one token.
    ///
    /// # Errors
    /// [`WireFault::Truncated`] if it, or what it announces, goes beyond the bytes;
    /// [`WireFault::UnusedMarker`].
    pub(crate) fn token(&mut self) -> Result<Token<'a>, WireFault> {
        let [marker] = self.bytes()?;
        Ok(match marker {
            0x00..=0x7f => Token::Unsigned(marker.into()),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f))?,
            0x90..=0x9f => self.array(usize::from(marker & 0x0f))?,
            0xa0..=0xbf => Token::Str(self.take(usize::from(marker & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => return Err(WireFault::UnusedMarker),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => Token::Bin(self.sized::<1>()?),
            0xc5 => Token::Bin(self.sized::<2>()?),
            0xc6 => Token::Bin(self.sized::<4>()?),
            0xc7 => self.extension::<1>()?,
            0xc8 => self.extension::<2>()?,
            0xc9 => self.extension::<4>()?,
            0xca => Token::Float(f32::from_be_bytes(self.bytes()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.bytes()?)),
            0xcc => Token::Unsigned(u8::from_be_bytes(self.bytes()?).into()),
            0xcd => Token::Unsigned(u16::from_be_bytes(self.bytes()?).into()),
            0xce => Token::Unsigned(u32::from_be_bytes(self.bytes()?).into()),
            0xcf => Token::Unsigned(u64::from_be_bytes(self.bytes()?)),
            0xd0 => Token::Signed(i8::from_be_bytes(self.bytes()?).into()),
            0xd1 => Token::Signed(i16::from_be_bytes(self.bytes()?).into()),
            0xd2 => Token::Signed(i32::from_be_bytes(self.bytes()?).into()),
            0xd3 => Token::Signed(i64::from_be_bytes(self.bytes()?)),
            0xd4..=0xd8 => {
                let kind = i8::from_be_bytes(self.bytes()?);
                Token::Extension(Extension::fixed(kind, self.take(1 << (marker - 0xd4))?))
            }
            0xd9 => Token::Str(self.sized::<1>()?),
            0xda => Token::Str(self.sized::<2>()?),
            0xdb => Token::Str(self.sized::<4>()?),
            0xdc => self.length::<2>().and_then(|length| self.array(length))?,
            0xdd => self.length::<4>().and_then(|length| self.array(length))?,
            0xde => self.length::<2>().and_then(|length| self.map(length))?,
            0xdf => self.length::<4>().and_then(|length| self.map(length))?,
            0xe0..=0xff => Token::Signed(i8::from_be_bytes([marker]).into()),
        })
    }

    /// Reads a text of less than 64 KiB, and nothing if anything else comes next: by [`token`](Self::token) the same
    /// takes three times as many instructions, and most values and all keys are such texts.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = match *self.rest {
            [marker @ 0xa0..=0xbf, ref rest @ ..] => (usize::from(marker & 0x1f), rest),
            [0xd9, length, ref rest @ ..] => (usize::from(length), rest),
            [0xda, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            _ => return None,
        };
        let (text, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(text)
    }

    /// Passes over `bytes` if they come next.
    #[inline]
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads one whole value, however deeply nested, and returns its bytes.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], WireFault> {
        let start = self.rest;
        let mut pending = 1_usize;
        while pending > 0 {
            pending -= 1;
            pending = pending.saturating_add(match self.token()? {
                Token::Array(length) => length,
                Token::Map(length) => length * 2,
                _ => 0,
            });
        }
        start.get(..start.len() - self.rest.len()).ok_or(WireFault::Truncated)
    }

    /// That everything has been read.
    pub(crate) fn end(&self) -> Result<(), WireFault> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireFault::TrailingBytes) }
    }

    fn array(&self, length: usize) -> Result<Token<'a>, WireFault> {
        // Each value takes a byte at least, so nobody has to believe a length that the bytes cannot hold.
        if length > self.rest.len() { Err(WireFault::Truncated) } else { Ok(Token::Array(length)) }
    }

    fn map(&self, length: usize) -> Result<Token<'a>, WireFault> {
        if length > self.rest.len() / 2 { Err(WireFault::Truncated) } else { Ok(Token::Map(length)) }
    }

    fn extension<const N: usize>(&mut self) -> Result<Token<'a>, WireFault> {
        let length = self.length::<N>()?;
        let kind = i8::from_be_bytes(self.bytes()?);
        Ok(Token::Extension(Extension::sized(kind, self.take(length)?)))
    }

    fn sized<const N: usize>(&mut self) -> Result<&'a [u8], WireFault> {
        let length = self.length::<N>()?;
        self.take(length)
    }

    /// A big-endian length of `N` bytes, at most four.
    fn length<const N: usize>(&mut self) -> Result<usize, WireFault> {
        let bytes: [u8; N] = self.bytes()?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireFault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireFault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], WireFault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireFault::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_reads_as_the_specification_says() {
        let check = |bytes: &[u8], token| {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.token(), Ok(token), "{bytes:x?}");
            assert_eq!(reader.end(), Ok(()), "{bytes:x?}");
        };
        check(&[0x7f], Token::Unsigned(127));
        check(&[0xe0], Token::Signed(-32));
        check(&[0xff], Token::Signed(-1));
        check(&[0xa2, b'h', b'i'], Token::Str(b"hi"));
        check(&[0xc0], Token::Nil);
        check(&[0xc2], Token::Bool(false));
        check(&[0xc3], Token::Bool(true));
        check(&[0xc4, 1, 9], Token::Bin(&[9]));
        check(&[0xc5, 0, 1, 9], Token::Bin(&[9]));
        check(&[0xc6, 0, 0, 0, 1, 9], Token::Bin(&[9]));
        check(&[0xc7, 1, 0, 9], Token::Extension(Extension::Bytes(&[9])));
        check(&[0xc8, 0, 1, 0, 9], Token::Extension(Extension::Bytes(&[9])));
        check(&[0xc9, 0, 0, 0, 1, 0, 9], Token::Extension(Extension::Bytes(&[9])));
        check(&[0xca, 0x3f, 0xc0, 0, 0], Token::Float(1.5));
        check(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Token::Float(1.5));
        check(&[0xcc, 0xff], Token::Unsigned(255));
        check(&[0xcd, 0xff, 0xff], Token::Unsigned(65_535));
        check(&[0xce, 0xff, 0xff, 0xff, 0xff], Token::Unsigned(u32::MAX.into()));
        check(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Token::Unsigned(u64::MAX));
        check(&[0xd0, 0x80], Token::Signed(-128));
        check(&[0xd1, 0x80, 0], Token::Signed(-32_768));
        check(&[0xd2, 0x80, 0, 0, 0], Token::Signed(i32::MIN.into()));
        check(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Token::Signed(i64::MIN));
        check(&[0xd4, 0, 0], Token::Extension(Extension::Undefined));
        check(&[0xd5, 7, 1, 2], Token::Extension(Extension::Other(7, &[1, 2])));
        check(&[0xd6, 0xff, 0, 0, 0, 1], Token::Extension(Extension::Date(Some(1000))));
        check(
            &[0xd8, 7].iter().chain(&[3; 16]).copied().collect::<Vec<_>>(),
            Token::Extension(Extension::Other(7, &[3; 16])),
        );
        check(&[0xd9, 1, b'a'], Token::Str(b"a"));
        check(&[0xda, 0, 1, b'a'], Token::Str(b"a"));
        check(&[0xdb, 0, 0, 0, 1, b'a'], Token::Str(b"a"));
        for empty in [&[0x90][..], &[0xdc, 0, 0], &[0xdd, 0, 0, 0, 0]] {
            check(empty, Token::Array(0));
        }
        for empty in [&[0x80][..], &[0xde, 0, 0], &[0xdf, 0, 0, 0, 0]] {
            check(empty, Token::Map(0));
        }
    }

    #[test]
    fn lengths_beyond_the_bytes_are_refused_at_once() {
        let check =
            |bytes: &[u8]| assert_eq!(Reader::new(bytes).value(), Err(WireFault::Truncated), "{bytes:x?}");
        check(&[]);
        check(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0]);
        check(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        check(&[0xc6, 0xff, 0xff, 0xff, 0xff, 0]);
        check(&[0x82, 0, 0, 0]);
        check(&[0x92, 0x91]);
        check(&[0xcb, 0]);
        assert_eq!(Reader::new(&[0x91, 0xc1]).value(), Err(WireFault::UnusedMarker));
    }

    #[test]
    fn whole_values_are_read_to_their_last_byte_at_any_depth() {
        let deep: Vec<u8> = std::iter::repeat_n(0x91, 1 << 20).chain([0x05, 0x06]).collect();
        let mut reader = Reader::new(&deep);
        assert_eq!(reader.value().map(<[u8]>::len), Ok(deep.len() - 1));
        assert_eq!(reader.end(), Err(WireFault::TrailingBytes));
        assert_eq!(reader.value(), Ok(&[0x06][..]));
    }
}
