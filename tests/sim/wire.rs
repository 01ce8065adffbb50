//! The sink of one shard: links that take as much as they like, and forget nothing.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
};

use broker::{LinkId, Payload, PollId, Sink};
use rand::{Rng, rngs::StdRng};

/// What a flush did, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    Written(LinkId, Vec<u8>),
    /// It did not take all; somebody has to say when it takes more.
    Blocked(LinkId),
    Closed(LinkId),
    Answered(PollId, Payload),
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) rng: StdRng,
    pub(crate) links: BTreeMap<u32, State>,
    pub(crate) effects: Vec<Effect>,
}

/// A link as its shard sees it; one that was closed by either side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// It takes nothing until somebody says so.
    Stalled,
    /// The client is gone, and the shard has not been told yet.
    Broken,
}

impl Sink for Wire {
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let state = *self.links.get(&link.0).expect("no link is written to after its end");
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let offered = bytes.len();
        match state {
            State::Broken if self.rng.random_bool(0.5) => return Err(io::ErrorKind::BrokenPipe.into()),
            // The kernel still takes it.
            State::Broken => return Ok(offered),
            State::Stalled => bytes.clear(),
            State::Open if self.rng.random_bool(0.15) => bytes.truncate(self.rng.random_range(0..=offered)),
            State::Open => {}
        }
        let taken = bytes.len();
        self.effects.push(Effect::Written(link, bytes));
        if taken < offered {
            self.effects.push(Effect::Blocked(link));
        }
        Ok(taken)
    }

    fn close(&mut self, link: LinkId) {
        // A link may have ended by itself in the turn in which the shard decided to close it.
        if self.links.remove(&link.0).is_some() {
            self.effects.push(Effect::Closed(link));
        }
    }

    fn answer(&mut self, poll: PollId, payload: Payload) {
        self.effects.push(Effect::Answered(poll, payload));
    }
}
