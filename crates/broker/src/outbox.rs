//! What waits for one client: a bounded queue of shared messages, written in gathered pieces.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use adapter::Delivery;
use smallvec::SmallVec;

use crate::{body::PollBody, compression::Form, encoded::Encoded, joined::Joined};

/// How many messages one `writev` gathers.
const SLICES_MAX: usize = 64;
/// How many buffers a shard keeps for outboxes to come.
const SPARES_MAX: usize = 1024;
/// The largest buffer that is kept, in messages.
const SPARE_ITEMS_MAX: usize = 64;

/// The queue of one connection. Empty it owns no memory, and one waiting message needs none either.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    first: Option<Item>,
    /// What waits behind `first`; without capacity while nothing does.
    rest: VecDeque<Item>,
    queued_bytes: u32,
    /// Bytes of `first` that have been written already.
    written: u32,
}

/// Buffers that outboxes of one shard have outgrown their first message with, and do not need any more.
/// Messages that queue up for many clients at once then cost no allocation per client.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<VecDeque<Item>>);

#[derive(Debug)]
pub(crate) struct Item {
    message: Arc<Encoded>,
    size: u32,
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

/// One gathered write.
struct Gathered {
    /// Whether it held the whole queue.
    all: bool,
    offered: usize,
    taken: usize,
}

impl Item {
    pub(crate) fn new(message: Arc<Encoded>, delivery: Delivery) -> Self {
        let size = u32::try_from(message.size()).unwrap_or(u32::MAX);
        Self { message, size, delivery }
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }
}

impl Clone for Item {
    fn clone(&self) -> Self {
        Self { message: Arc::clone(&self.message), size: self.size, delivery: self.delivery }
    }
}

impl Spares {
    fn take(&mut self) -> VecDeque<Item> {
        self.0.pop().unwrap_or_default()
    }

    fn give(&mut self, buffer: VecDeque<Item>) {
        let worth_keeping = (1..=SPARE_ITEMS_MAX).contains(&buffer.capacity());
        if worth_keeping && self.0.len() < SPARES_MAX {
            self.0.push(buffer);
        }
    }

    /// Drops those that so many clients cannot need at once.
    pub(crate) fn shrink(&mut self, clients: usize) {
        self.0.truncate(clients);
        self.0.shrink_to(clients);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Outbox {
    /// Queues a message; returns how many volatile ones were dropped, which may include this one.
    ///
    /// # Errors
    /// [`Overflow`] if there are more than `bytes_max` waiting even then; the message is not queued.
    pub(crate) fn push(&mut self, item: Item, bytes_max: u32, spares: &mut Spares) -> Result<u32, Overflow> {
        let queued_bytes = self.queued_bytes.saturating_add(item.size);
        if queued_bytes > bytes_max {
            return self.push_over_limit(item, bytes_max, spares);
        }
        self.queued_bytes = queued_bytes;
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.append(item, spares),
        }
        Ok(0)
    }

    #[cold]
    fn push_over_limit(&mut self, item: Item, bytes_max: u32, spares: &mut Spares) -> Result<u32, Overflow> {
        let dropped = self.drop_volatile();
        // A single message above the limit is the publisher's affair and goes through an empty queue.
        if self.queued_bytes.saturating_add(item.size) > bytes_max && !self.is_empty() {
            return match item.delivery {
                Delivery::Volatile => Ok(dropped + 1),
                Delivery::Reliable => Err(Overflow { queued_bytes: self.queued_bytes }),
            };
        }
        self.queued_bytes = self.queued_bytes.saturating_add(item.size);
        self.append(item, spares);
        Ok(dropped)
    }

    fn append(&mut self, item: Item, spares: &mut Spares) {
        if self.first.is_none() {
            self.first = Some(item);
            return;
        }
        if self.rest.capacity() == 0 {
            self.rest = spares.take();
        }
        self.rest.push_back(item);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn queued_bytes(&self) -> u32 {
        self.queued_bytes
    }

    /// Gives the queue to `write`, in one piece or gathered ones, until it is empty or `write` takes less than offered.
    ///
    /// # Errors
    /// Whatever `write` fails with.
    // Part of its caller for the single message that most connections wait with, or a delivery costs 43
    // instructions more.
    #[inline]
    pub(crate) fn flush<E>(
        &mut self,
        mut form: impl Form,
        spares: &mut Spares,
        joined: &mut Joined,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<Flushed, E> {
        if !self.rest.is_empty() {
            return self.flush_many(form, spares, joined, write);
        }
        let Some(first) = &self.first else { return Ok(Flushed::All) };
        let head = &form.frames(&first.message)[self.written as usize..];
        let taken = write(&[IoSlice::new(head)])?;
        if taken < head.len() {
            self.written += u32::try_from(taken).unwrap_or(u32::MAX);
            return Ok(Flushed::Blocked);
        }
        self.first = None;
        self.queued_bytes = 0;
        self.written = 0;
        Ok(Flushed::All)
    }

    /// Offers the whole queue in one piece, which the clients before may have been given already.
    #[inline(never)]
    fn flush_many<E>(
        &mut self,
        mut form: impl Form,
        spares: &mut Spares,
        joined: &mut Joined,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<Flushed, E> {
        let first = match &self.first {
            Some(first) if self.written == 0 && Joined::takes(self.queued_bytes) => first,
            _ => return self.flush_gathered(form, spares, write),
        };
        let rest = self.rest.iter().map(|item| &item.message);
        let bytes = joined.join(&first.message, rest, &mut form);
        let taken = write(&[IoSlice::new(bytes)])?;
        if taken < bytes.len() {
            self.advance(&mut form, taken, spares);
            return Ok(Flushed::Blocked);
        }
        self.clear();
        self.give_back(spares);
        Ok(Flushed::All)
    }

    /// Offers a queue that is long, or was begun, in pieces.
    #[inline(never)]
    fn flush_gathered<E>(
        &mut self,
        mut form: impl Form,
        spares: &mut Spares,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<Flushed, E> {
        while let Some(first) = &self.first {
            let head = &form.frames(&first.message)[self.written as usize..];
            let Gathered { all: gathered_all, offered, taken } =
                self.write_gathered(head, &mut form, &mut write)?;
            if taken < offered {
                self.advance(&mut form, taken, spares);
                return Ok(Flushed::Blocked);
            }
            if gathered_all {
                self.clear();
                self.give_back(spares);
                return Ok(Flushed::All);
            }
            self.advance(&mut form, taken, spares);
        }
        Ok(Flushed::All)
    }

    /// Offers `head` and what waits behind it in one piece.
    fn write_gathered<E>(
        &self,
        head: &[u8],
        form: &mut impl Form,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<Gathered, E> {
        // A plain loop: collecting a chain took 24 instructions more per delivery with eight in flight.
        let mut slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> = SmallVec::new();
        slices.push(IoSlice::new(head));
        let mut offered = head.len();
        for item in self.rest.iter().take(SLICES_MAX - 1) {
            let frames = form.frames(&item.message);
            offered += frames.len();
            slices.push(IoSlice::new(frames));
        }
        Ok(Gathered { all: slices.len() > self.rest.len(), offered, taken: write(&slices)? })
    }

    /// Moves the whole queue into the answer to a poll.
    pub(crate) fn drain_into(&mut self, body: &mut PollBody, spares: &mut Spares) {
        for item in self.first.iter().chain(&self.rest) {
            item.message.add_to(body);
        }
        self.clear();
        self.give_back(spares);
    }

    /// Forgets what waits; a buffer stays until [`Self::give_back`].
    fn clear(&mut self) {
        self.first = None;
        self.rest.clear();
        self.queued_bytes = 0;
        self.written = 0;
    }

    /// An idle connection keeps no memory for messages.
    fn give_back(&mut self, spares: &mut Spares) {
        if self.rest.capacity() > 0 {
            spares.give(std::mem::take(&mut self.rest));
        }
    }

    fn advance(&mut self, form: &mut impl Form, mut taken: usize, spares: &mut Spares) {
        while let Some(first) = &self.first {
            let left = form.frames(&first.message).len() - self.written as usize;
            if taken < left {
                self.written += u32::try_from(taken).unwrap_or(u32::MAX);
                break;
            }
            taken -= left;
            self.written = 0;
            self.queued_bytes -= first.size;
            self.first = self.rest.pop_front();
        }
        if self.rest.is_empty() {
            self.give_back(spares);
        }
    }

    fn drop_volatile(&mut self) -> u32 {
        let before = self.rest.len();
        self.rest.retain(|item| item.delivery == Delivery::Reliable);
        let head = self.first.as_ref().map_or(0, |item| item.size);
        self.queued_bytes = head + self.rest.iter().map(|item| item.size).sum::<u32>();
        u32::try_from(before - self.rest.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        compression::Plain,
        dialect::{Dialect, Framing},
    };

    const DIALECT: Dialect = Dialect::Json(Framing::V4);
    const NO_LIMIT: u32 = u32::MAX;

    fn packet(text: &str) -> Arc<Encoded> {
        Arc::new(Encoded::packet(|out| out.extend_from_slice(text.as_bytes())))
    }

    fn push(outbox: &mut Outbox, text: &str, delivery: Delivery, bytes_max: u32) -> Result<u32, Overflow> {
        outbox.push(Item::new(packet(text), delivery), bytes_max, &mut Spares::default())
    }

    fn outbox(texts: &[&str]) -> Outbox {
        let mut outbox = Outbox::default();
        for text in texts {
            push(&mut outbox, text, Delivery::Reliable, NO_LIMIT).unwrap();
        }
        outbox
    }

    /// Flushes with a transport that takes `portion` bytes and then blocks.
    fn flush(outbox: &mut Outbox, portion: usize) -> (Vec<u8>, Flushed) {
        let (mut out, mut room) = (Vec::new(), portion);
        let flushed =
            outbox.flush(Plain(DIALECT), &mut Spares::default(), &mut Joined::default(), |slices| {
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
        let flushed =
            outbox.flush(Plain(DIALECT), &mut Spares::default(), &mut Joined::default(), |slices| {
                calls += 1;
                Ok::<_, Infallible>(slices.iter().map(|slice| slice.len()).sum())
            });
        assert_eq!((flushed, calls), (Ok(Flushed::All), 1));
    }

    #[test]
    fn the_limit_is_exact_and_one_byte_more_overflows() {
        let mut outbox = outbox(&["4abc"]);
        let size = outbox.queued_bytes();
        assert_eq!(push(&mut outbox, "4abc", Delivery::Reliable, 2 * size), Ok(0));
        let overflow = Overflow { queued_bytes: 2 * size };
        assert_eq!(push(&mut outbox, "4", Delivery::Reliable, 2 * size + 2), Err(overflow));
        assert_eq!(push(&mut outbox, "4", Delivery::Reliable, 2 * size + 3), Ok(0));
    }

    #[test]
    fn volatile_messages_go_first_when_room_is_needed() {
        let mut outbox = outbox(&["4head"]);
        push(&mut outbox, "4volatile", Delivery::Volatile, NO_LIMIT).unwrap();
        push(&mut outbox, "4keep", Delivery::Reliable, NO_LIMIT).unwrap();
        let limit = outbox.queued_bytes();
        assert_eq!(push(&mut outbox, "4new", Delivery::Reliable, limit), Ok(1));
        let text = String::from_utf8_lossy(&flush(&mut outbox, usize::MAX).0).into_owned();
        assert!(text.contains("4keep") && text.contains("4new") && !text.contains("4volatile"));
    }

    #[test]
    fn one_message_above_the_limit_passes_through_an_empty_queue() {
        let mut outbox = Outbox::default();
        assert_eq!(push(&mut outbox, "4long long", Delivery::Reliable, 4), Ok(0));
        assert!(push(&mut outbox, "4", Delivery::Reliable, 4).is_err());
    }
}
