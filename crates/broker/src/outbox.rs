//! What waits for one client: a bounded queue of shared messages, written in gathered pieces.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use adapter::Delivery;
use engineio::PayloadEncoder;
use smallvec::SmallVec;

use crate::encoded::{Dialect, Encoded};

/// How many messages one `writev` gathers.
const SLICES_MAX: usize = 64;

/// The queue of one connection. Empty it owns no memory; one waiting message needs none either.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    first: Option<Item>,
    rest: VecDeque<Item>,
    queued_bytes: u32,
    /// Bytes of `first` that have been written already.
    written: u32,
}

#[derive(Debug)]
struct Item {
    message: Arc<Encoded>,
    delivery: Delivery,
}

/// The queue is over its limit even without its volatile messages: the client is too slow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow {
    pub(crate) queued_bytes: u32,
}

/// How a write ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything has been taken.
    All,
    /// The rest waits until the transport takes more.
    Blocked,
}

impl Outbox {
    /// Queues a message; returns how many volatile ones were dropped, which may include this one.
    ///
    /// # Errors
    /// [`Overflow`] if there are more than `bytes_max` waiting even then; the message is not queued.
    pub(crate) fn push(
        &mut self,
        message: Arc<Encoded>,
        delivery: Delivery,
        bytes_max: u32,
    ) -> Result<u32, Overflow> {
        let size = size_of(&message);
        let mut dropped = 0;
        if self.queued_bytes.saturating_add(size) > bytes_max {
            dropped = self.drop_volatile();
            // A single message above the limit is the publisher's affair and goes through an empty queue.
            if self.queued_bytes.saturating_add(size) > bytes_max && !self.is_empty() {
                return match delivery {
                    Delivery::Volatile => Ok(dropped + 1),
                    Delivery::Reliable => Err(Overflow { queued_bytes: self.queued_bytes }),
                };
            }
        }
        self.queued_bytes += size;
        let item = Item { message, delivery };
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push_back(item),
        }
        Ok(dropped)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn queued_bytes(&self) -> u32 {
        self.queued_bytes
    }

    /// Gives the queue to `write` in gathered pieces until it is empty or `write` takes less than offered.
    ///
    /// # Errors
    /// Whatever `write` fails with.
    pub(crate) fn flush<E>(
        &mut self,
        dialect: Dialect,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<Flushed, E> {
        while let Some(first) = &self.first {
            let head = &first.message.frames(dialect)[self.written as usize..];
            let (offered, taken) = if self.rest.is_empty() {
                (head.len(), write(&[IoSlice::new(head)])?)
            } else {
                let rest = self.rest.iter().map(|item| &item.message.frames(dialect)[..]);
                let slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> =
                    std::iter::once(head).chain(rest).take(SLICES_MAX).map(IoSlice::new).collect();
                (slices.iter().map(|slice| slice.len()).sum(), write(&slices)?)
            };
            self.advance(dialect, taken);
            if taken < offered {
                return Ok(Flushed::Blocked);
            }
        }
        Ok(Flushed::All)
    }

    /// Moves the whole queue into a polling payload.
    pub(crate) fn drain_into(&mut self, payload: &mut PayloadEncoder) {
        while let Some(item) = self.pop() {
            item.message.add_to_payload(payload);
        }
    }

    fn advance(&mut self, dialect: Dialect, mut taken: usize) {
        while let Some(first) = &self.first {
            let left = first.message.frames(dialect).len() - self.written as usize;
            if taken < left {
                self.written += u32::try_from(taken).unwrap_or(u32::MAX);
                return;
            }
            taken -= left;
            self.written = 0;
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = std::mem::replace(&mut self.first, self.rest.pop_front())?;
        self.queued_bytes -= size_of(&item.message);
        if self.rest.is_empty() {
            // An idle connection keeps no memory for messages.
            self.rest = VecDeque::new();
        }
        Some(item)
    }

    fn drop_volatile(&mut self) -> u32 {
        let before = self.rest.len();
        self.rest.retain(|item| item.delivery == Delivery::Reliable);
        let head = self.first.as_ref().map_or(0, |item| size_of(&item.message));
        self.queued_bytes = head + self.rest.iter().map(|item| size_of(&item.message)).sum::<u32>();
        u32::try_from(before - self.rest.len()).unwrap_or(u32::MAX)
    }
}

fn size_of(message: &Encoded) -> u32 {
    u32::try_from(message.size()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use engineio::Revision;

    use super::*;

    const DIALECT: Dialect = Dialect { revision: Revision::V4, base64_only: false };
    const NO_LIMIT: u32 = u32::MAX;

    fn packet(text: &str) -> Arc<Encoded> {
        Arc::new(Encoded::packet(|out| out.extend_from_slice(text.as_bytes())))
    }

    fn outbox(texts: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        for text in texts {
            outbox.push(packet(text), Delivery::Reliable, NO_LIMIT).unwrap();
        }
        outbox
    }

    /// Flushes with a transport that takes `portion` bytes and then blocks.
    fn flush(outbox: &mut Outbox, portion: usize) -> (Vec<u8>, Flushed) {
        let (mut out, mut room) = (Vec::new(), portion);
        let flushed = outbox.flush(DIALECT, |slices| {
            let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = offered.len().min(room);
            room -= taken;
            out.extend_from_slice(&offered[..taken]);
            Ok::<_, Infallible>(taken)
        });
        (out, flushed.unwrap())
    }

    #[test]
    fn any_sequence_of_short_writes_keeps_the_bytes_in_order() {
        let texts = ["4one", "4two!", "4", "4three"];
        let whole = flush(&mut outbox(&texts), usize::MAX).0;
        for portion in 1..whole.len() {
            let (mut outbox, mut seen) = (outbox(&texts), Vec::new());
            while !outbox.is_empty() {
                seen.extend(flush(&mut outbox, portion).0);
            }
            assert_eq!(seen, whole, "portions of {portion}");
            assert_eq!(outbox.queued_bytes(), 0);
        }
    }

    #[test]
    fn a_write_gathers_what_waits() {
        let mut calls = 0;
        let mut outbox = outbox(&["4"; 10]);
        let flushed = outbox.flush(DIALECT, |slices| {
            calls += 1;
            Ok::<_, Infallible>(slices.iter().map(|slice| slice.len()).sum())
        });
        assert_eq!((flushed, calls), (Ok(Flushed::All), 1));
    }

    #[test]
    fn the_limit_is_exact_and_one_byte_more_overflows() {
        let mut outbox = outbox(&["4abc"]);
        let size = outbox.queued_bytes();
        assert_eq!(outbox.push(packet("4abc"), Delivery::Reliable, 2 * size), Ok(0));
        let overflow = Overflow { queued_bytes: 2 * size };
        assert_eq!(outbox.push(packet("4"), Delivery::Reliable, 2 * size + 2), Err(overflow));
        assert_eq!(outbox.push(packet("4"), Delivery::Reliable, 2 * size + 3), Ok(0));
    }

    #[test]
    fn volatile_messages_go_first_when_room_is_needed() {
        let mut outbox = outbox(&["4head"]);
        outbox.push(packet("4volatile"), Delivery::Volatile, NO_LIMIT).unwrap();
        outbox.push(packet("4keep"), Delivery::Reliable, NO_LIMIT).unwrap();
        let limit = outbox.queued_bytes();
        assert_eq!(outbox.push(packet("4new"), Delivery::Reliable, limit), Ok(1));
        let text = String::from_utf8_lossy(&flush(&mut outbox, usize::MAX).0).into_owned();
        assert!(text.contains("4keep") && text.contains("4new") && !text.contains("4volatile"));
    }

    #[test]
    fn one_message_above_the_limit_passes_through_an_empty_queue() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(packet("4long long"), Delivery::Reliable, 4), Ok(0));
        assert!(outbox.push(packet("4"), Delivery::Reliable, 4).is_err());
    }
}
