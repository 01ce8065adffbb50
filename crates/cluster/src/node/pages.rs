//! Where messages to be published are written, one behind the other: allocating each by itself, and giving it back, took
//! 600 instructions of a message.

use bytes::{Bytes, BytesMut};

/// Room that is taken at once, in bytes. As long as one message of a page waits for Redis, all of it is kept.
const PAGE_BYTES: usize = 64 * 1024;

/// A page, and the message that is being written.
#[derive(Debug, Default)]
pub(super) struct Pages {
    page: BytesMut,
    message: Vec<u8>,
}

impl Pages {
    /// Writes one message: `write` appends its channel and its payload, and says how long the channel is.
    ///
    /// # Errors
    /// Those of `write`; nothing is kept then.
    pub(super) fn write<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<(Bytes, Bytes), E> {
        self.message.clear();
        let channel_bytes = write(&mut self.message)?;
        let length = self.message.len();
        if self.page.capacity() < length {
            // The same memory once more, if nobody holds any of it.
            self.page.reserve(length.max(PAGE_BYTES));
        }
        self.page.extend_from_slice(&self.message);
        if self.message.capacity() > PAGE_BYTES {
            self.message = Vec::new();
        }
        let mut channel = self.page.split().freeze();
        let payload = channel.split_off(channel_bytes.min(length));
        Ok((channel, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pages: &mut Pages, channel: &[u8], payload: &[u8]) -> (Bytes, Bytes) {
        let written: Result<_, ()> = pages.write(|out| {
            out.extend_from_slice(channel);
            out.extend_from_slice(payload);
            Ok(channel.len())
        });
        written.unwrap()
    }

    #[test]
    fn messages_keep_their_bytes_whatever_is_written_after_them() {
        let mut pages = Pages::default();
        let payloads = [vec![1; 10], Vec::new(), vec![2; 3 * PAGE_BYTES], vec![3; PAGE_BYTES - 1]];
        let written: Vec<_> = payloads.iter().map(|payload| write(&mut pages, b"c", payload)).collect();
        for (payload, (channel, kept)) in payloads.iter().zip(&written) {
            assert_eq!((&channel[..], &kept[..]), (&b"c"[..], &payload[..]));
        }
    }

    #[test]
    fn what_failed_leaves_nothing() {
        let mut pages = Pages::default();
        let failed = pages.write(|out| {
            out.extend_from_slice(b"half");
            Err("fault")
        });
        assert_eq!(failed, Err("fault"));
        assert_eq!(write(&mut pages, b"c", b"p"), (Bytes::from_static(b"c"), Bytes::from_static(b"p")));
    }

    #[test]
    fn a_page_that_nobody_holds_is_written_again() {
        let mut pages = Pages::default();
        let first = write(&mut pages, b"c", &[0; PAGE_BYTES - 1]);
        let at = first.1.as_ptr();
        drop(first);
        let second = write(&mut pages, b"c", &[1; PAGE_BYTES - 1]);
        assert_eq!(second.1.as_ptr(), at);
    }
}
