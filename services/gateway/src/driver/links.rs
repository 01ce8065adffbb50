//! The transports of a shard as its [`Sink`]: sockets by link, waiting polls by number.

use std::io::{self, IoSlice};

use broker::{LinkId, Payload, PollId, Refusal, Sink};
use mio::Registry;
use rooms::shrink_after_wave;
use slab::Slab;
use tokio::sync::oneshot;

use super::link::Link;

/// Polls that wait for their answer.
#[derive(Default)]
pub(super) struct Polls(Slab<PollReply>);

type PollReply = oneshot::Sender<Result<Payload, Refusal>>;

impl Polls {
    pub(super) fn insert(&mut self, reply: PollReply) -> PollId {
        PollId(u32::try_from(self.0.insert(reply)).expect("polls are fewer than connections"))
    }

    /// Answers a poll, unless its client has gone.
    pub(super) fn answer(&mut self, poll: PollId, answer: Result<Payload, Refusal>) {
        if let Some(reply) = self.0.try_remove(poll.0 as usize) {
            reply.send(answer).ok();
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_lost(&self, poll: PollId) -> bool {
        self.0.get(poll.0 as usize).is_some_and(oneshot::Sender::is_closed)
    }

    pub(super) fn forget(&mut self, poll: PollId) {
        self.0.try_remove(poll.0 as usize);
    }

    /// Gives back what a past crowd needed.
    pub(super) fn shrink(&mut self) {
        shrink_after_wave(&mut self.0);
    }
}

/// Borrowed from the driver for the time of a flush.
pub(super) struct LinkSink<'a> {
    pub(super) links: &'a mut Slab<Link>,
    pub(super) polls: &'a mut Polls,
    pub(super) registry: &'a Registry,
    /// Links that were finished, and whose other side is still to be heard out.
    pub(super) lingering: Vec<LinkId>,
}

impl Sink for LinkSink<'_> {
    #[inline]
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.links.get_mut(link.0 as usize) {
            Some(link) => link.socket.write(slices),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn close(&mut self, link: LinkId) {
        let Some(found) = self.links.get_mut(link.0 as usize) else { return };
        if found.is_ended() || found.socket.finish().is_err() {
            let mut ended = self.links.remove(link.0 as usize);
            ended.socket.deregister(self.registry).ok();
        } else {
            self.lingering.push(link);
        }
    }

    fn answer(&mut self, poll: PollId, payload: Payload) {
        self.polls.answer(poll, Ok(payload));
    }
}
