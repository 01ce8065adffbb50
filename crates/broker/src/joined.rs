//! Queues that are the same for many clients, put together once.

use std::sync::Arc;

use crate::{
    compression::{Form, FormName},
    encoded::Encoded,
};

/// The longest queue that is joined, in bytes: beyond, copying costs more than gathering saves.
const JOINED_BYTES_MAX: u32 = 16 * 1024;

/// The last queue that was written as one piece.
///
/// The members of a room wait for the same messages in the same order. One `send` of one piece costs the kernel less
/// than a `writev` of many, and to see that a queue is the last one again costs less than to list its pieces.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    form: Option<FormName>,
    /// What `bytes` is made of. Held, so that no other message can come to lie at the same address.
    messages: Vec<Arc<Encoded>>,
    bytes: Vec<u8>,
}

impl Joined {
    /// Whether a queue of that many bytes is to be joined.
    #[inline]
    pub(crate) fn takes(queued_bytes: u32) -> bool {
        queued_bytes <= JOINED_BYTES_MAX
    }

    /// The frames of `first` and of those behind it, in one piece.
    #[inline]
    pub(crate) fn join<'m>(
        &mut self,
        first: &'m Arc<Encoded>,
        rest: impl ExactSizeIterator<Item = &'m Arc<Encoded>> + Clone,
        form: &mut impl Form,
    ) -> &[u8] {
        if self.form != Some(form.name()) || !self.holds(first, rest.clone()) {
            self.replace(first, rest, form);
        }
        &self.bytes
    }

    #[inline]
    fn holds<'m>(
        &self,
        first: &Arc<Encoded>,
        mut rest: impl ExactSizeIterator<Item = &'m Arc<Encoded>>,
    ) -> bool {
        let Some((held_first, held)) = self.messages.split_first() else { return false };
        let mut held = held.iter();
        held.len() == rest.len()
            && Arc::ptr_eq(held_first, first)
            && rest.all(|message| held.next().is_some_and(|held| Arc::ptr_eq(held, message)))
    }

    fn replace<'m>(
        &mut self,
        first: &'m Arc<Encoded>,
        rest: impl Iterator<Item = &'m Arc<Encoded>>,
        form: &mut impl Form,
    ) {
        self.forget();
        self.form = Some(form.name());
        for message in std::iter::once(first).chain(rest) {
            self.bytes.extend_from_slice(form.frames(message));
            self.messages.push(Arc::clone(message));
        }
    }

    /// Lets go of the messages, to be called at the end of each turn.
    pub(crate) fn forget(&mut self) {
        self.form = None;
        self.messages.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compression::Plain,
        dialect::{Dialect, Framing},
    };

    const JSON: Plain = Plain(Dialect::Json(Framing::V4));

    fn messages(texts: &[&str]) -> Vec<Arc<Encoded>> {
        let packet = |text: &&str| Arc::new(Encoded::packet(|out| out.extend_from_slice(text.as_bytes())));
        texts.iter().map(packet).collect()
    }

    fn join(joined: &mut Joined, queue: &[Arc<Encoded>], mut form: Plain) -> Vec<u8> {
        joined.join(&queue[0], queue[1..].iter(), &mut form).to_vec()
    }

    fn each(queue: &[Arc<Encoded>], mut form: Plain) -> Vec<u8> {
        queue.iter().flat_map(|message| form.frames(message).to_vec()).collect()
    }

    #[test]
    fn only_the_queue_that_was_joined_is_taken_for_it() {
        let queue = messages(&["4one", "4two", "4three"]);
        let others = [
            queue[..2].to_vec(),
            [&queue[..], &queue[..1]].concat(),
            queue.iter().rev().cloned().collect(),
            messages(&["4uno", "4due", "4tre"]),
        ];
        let mut joined = Joined::default();
        for other in others {
            assert_eq!(join(&mut joined, &queue, JSON), each(&queue, JSON));
            assert_eq!(join(&mut joined, &other, JSON), each(&other, JSON));
        }
    }

    #[test]
    fn another_form_is_joined_anew() {
        let queue = messages(&["42[\"a\"]", "42[\"b\"]"]);
        let mut joined = Joined::default();
        let json = join(&mut joined, &queue, JSON);
        let v09 = join(&mut joined, &queue, Plain(Dialect::V09));
        assert_eq!(v09, each(&queue, Plain(Dialect::V09)));
        assert_ne!(v09, json);
    }

    #[test]
    fn a_turn_that_ends_lets_go_of_its_messages() {
        let queue = messages(&["4one", "4two"]);
        let mut joined = Joined::default();
        join(&mut joined, &queue, JSON);
        assert!(queue.iter().all(|message| Arc::strong_count(message) == 2));
        joined.forget();
        assert!(queue.iter().all(|message| Arc::strong_count(message) == 1));
    }
}
