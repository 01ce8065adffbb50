//! Where the JSON of messages is written: one allocation for all that come together.

use bytes::{Bytes, BytesMut};

/// Room for the texts of messages. Each text is a part of it, and the last of them gives the room back; so they are to
/// be of messages that leave together.
#[derive(Debug, Default)]
pub(crate) struct Texts(BytesMut);

/// Most room that is made at once, in bytes: what one text that is kept may keep with it.
const BYTES_MAX: usize = 16 * 1024;

impl Texts {
    /// Room for texts of about `bytes` together. The default has none, and each text makes its own.
    pub(crate) fn of(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes.min(BYTES_MAX)))
    }

    /// What `write` appends.
    ///
    /// # Errors
    /// That of `write`, which has then appended nothing.
    pub(crate) fn text<E>(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<Bytes, E> {
        write(&mut self.0)?;
        // What takes all of the room needs no count of who shares it.
        if self.0.len() == self.0.capacity() {
            return Ok(std::mem::take(&mut self.0).freeze());
        }
        Ok(self.0.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(texts: &mut Texts, text: &str) -> Bytes {
        let written: Result<_, ()> = texts.text(|out| {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        });
        written.unwrap()
    }

    #[test]
    fn texts_lie_one_behind_the_other_while_there_is_room() {
        let mut texts = Texts::of(8);
        let (one, two, three) = (put(&mut texts, "one"), put(&mut texts, "two"), put(&mut texts, "three"));
        assert_eq!([&one[..], &two, &three], [&b"one"[..], b"two", b"three"]);
        assert_eq!(two.as_ptr() as usize, one.as_ptr() as usize + 3);
        assert_eq!(Texts::of(usize::MAX).0.capacity(), BYTES_MAX);
    }

    #[test]
    fn a_refused_text_leaves_nothing() {
        let mut texts = Texts::default();
        assert_eq!(texts.text(|_| Err("no")), Err("no"));
        assert_eq!(put(&mut texts, "yes"), "yes");
    }
}
