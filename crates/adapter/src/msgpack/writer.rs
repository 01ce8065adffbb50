//! MessagePack values in their smallest form, appended to a buffer.
//!
//! Lengths over 32 bits do not occur: who converts an event checks its size before
//! (`convert::MESSAGE_BYTES_MAX`).

pub(crate) fn nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub(crate) fn unsigned(out: &mut Vec<u8>, value: u64) {
    if let Ok(value) = u8::try_from(value) {
        match value {
            0..0x80 => out.push(value),
            _ => out.extend([0xcc, value]),
        }
    } else if let Ok(value) = u16::try_from(value) {
        push(out, 0xcd, value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        push(out, 0xce, value.to_be_bytes());
    } else {
        push(out, 0xcf, value.to_be_bytes());
    }
}

/// An integer with a sign; from 0 up in the unsigned forms.
pub(crate) fn integer(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        unsigned(out, value);
    } else if let Ok(value) = i8::try_from(value) {
        match value {
            -32.. => push(out, value.to_be_bytes()[0], []),
            _ => push(out, 0xd0, value.to_be_bytes()),
        }
    } else if let Ok(value) = i16::try_from(value) {
        push(out, 0xd1, value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        push(out, 0xd2, value.to_be_bytes());
    } else {
        push(out, 0xd3, value.to_be_bytes());
    }
}

/// Always 64 bits wide: notepack writes no other.
pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    push(out, 0xcb, value.to_be_bytes());
}

#[inline]
pub(crate) fn str(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..32) => out.push(0xa0 | length),
        _ => push_head(out, [0xd9, 0xda, 0xdb], width(text.len())),
    }
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn bin(out: &mut Vec<u8>, bytes: &[u8]) {
    push_head(out, [0xc4, 0xc5, 0xc6], width(bytes.len()));
    out.extend_from_slice(bytes);
}

/// The head of an array; `length` values have to follow.
#[inline]
pub(crate) fn array(out: &mut Vec<u8>, length: usize) {
    let start = open(out);
    close_array(out, start, length);
}

/// The head of a map; `length` keys and values have to follow, in turn.
#[inline]
pub(crate) fn map(out: &mut Vec<u8>, length: usize) {
    let start = open(out);
    close_map(out, start, length);
}

/// Leaves room for the head of an array or map whose length is not known yet, and returns its place.
#[inline]
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    out.push(0xc0);
    out.len() - 1
}

/// Puts the head of an array at `start`, as [`open`] has returned it; `length` values stand behind it.
#[inline]
pub(crate) fn close_array(out: &mut Vec<u8>, start: usize, length: usize) {
    close(out, start, length, 0x90, [0xdc, 0xdd]);
}

/// Puts the head of a map at `start`, as [`open`] has returned it.
#[inline]
pub(crate) fn close_map(out: &mut Vec<u8>, start: usize, length: usize) {
    close(out, start, length, 0x80, [0xde, 0xdf]);
}

#[inline]
fn close(out: &mut Vec<u8>, start: usize, length: usize, small: u8, markers: [u8; 2]) {
    // Nearly all are small, and their head has the place that was left for it: splicing takes 150 instructions.
    match (u8::try_from(length), out.get_mut(start)) {
        (Ok(length @ 0..16), Some(head)) => *head = small | length,
        _ => splice_head(out, start, length, markers),
    }
}

fn splice_head(out: &mut Vec<u8>, start: usize, length: usize, markers: [u8; 2]) {
    match width(length) {
        Width::Four(length) => {
            let [a, b, c, d] = length.to_be_bytes();
            out.splice(start..=start, [markers[1], a, b, c, d]);
        }
        _ => {
            let [.., a, b] = length.to_be_bytes();
            out.splice(start..=start, [markers[0], a, b]);
        }
    }
}

/// A length in as few bytes as it takes.
enum Width {
    One(u8),
    Two(u16),
    Four(u32),
}

fn width(length: usize) -> Width {
    if let Ok(length) = u8::try_from(length) {
        Width::One(length)
    } else if let Ok(length) = u16::try_from(length) {
        Width::Two(length)
    } else {
        Width::Four(u32::try_from(length).unwrap_or(u32::MAX))
    }
}

fn push_head(out: &mut Vec<u8>, markers: [u8; 3], width: Width) {
    match width {
        Width::One(length) => push(out, markers[0], length.to_be_bytes()),
        Width::Two(length) => push(out, markers[1], length.to_be_bytes()),
        Width::Four(length) => push(out, markers[2], length.to_be_bytes()),
    }
}

fn push<const N: usize>(out: &mut Vec<u8>, marker: u8, bytes: [u8; N]) {
    out.push(marker);
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::{Reader, Token};

    fn head(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out.truncate(5);
        out
    }

    #[test]
    fn lengths_take_the_smallest_form() {
        let text = "x".repeat(65_536);
        let check = |length: usize, expected: &[u8]| {
            assert!(head(|out| str(out, &text[..length])).starts_with(expected), "{length}");
        };
        check(31, &[0xbf]);
        check(32, &[0xd9, 32]);
        check(255, &[0xd9, 255]);
        check(256, &[0xda, 1, 0]);
        check(65_536, &[0xdb, 0, 1, 0, 0]);
        assert!(head(|out| bin(out, &[0; 255])).starts_with(&[0xc4, 255]));
        assert!(head(|out| bin(out, &[0; 256])).starts_with(&[0xc5, 1, 0]));
        assert!(head(|out| bin(out, text.as_bytes())).starts_with(&[0xc6, 0, 1, 0, 0]));
        assert_eq!(head(|out| array(out, 15)), [0x9f]);
        assert_eq!(head(|out| array(out, 16)), [0xdc, 0, 16]);
        assert_eq!(head(|out| array(out, 65_535)), [0xdc, 255, 255]);
        assert_eq!(head(|out| array(out, 65_536)), [0xdd, 0, 1, 0, 0]);
        assert_eq!(head(|out| map(out, 15)), [0x8f]);
        assert_eq!(head(|out| map(out, 300)), [0xde, 1, 44]);
        assert_eq!(head(|out| map(out, 65_536)), [0xdf, 0, 1, 0, 0]);
    }

    #[test]
    fn integers_read_back_in_the_smallest_form() {
        let edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, i64::MAX];
        for value in edges.into_iter().flat_map(|edge| [edge, -edge, -edge - 1]) {
            let mut out = Vec::new();
            integer(&mut out, value);
            let read = match Reader::new(&out).token().unwrap() {
                Token::Unsigned(value) => i64::try_from(value).unwrap(),
                Token::Signed(value) => value,
                other => panic!("{other:?}"),
            };
            assert_eq!(read, value);
        }
        assert_eq!(head(|out| integer(out, -32)), [0xe0]);
        assert_eq!(head(|out| integer(out, -33)), [0xd0, 0xdf]);
        assert_eq!(head(|out| integer(out, -128)), [0xd0, 0x80]);
        assert_eq!(head(|out| integer(out, -129)), [0xd1, 0xff, 0x7f]);
        assert_eq!(head(|out| integer(out, -32_769)), [0xd2, 0xff, 0xff, 0x7f, 0xff]);
    }
}
