//! What the connections have brought in and the link has not yet looked at or handed out.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::resp::Value;
use crate::target::Endpoint;
use crate::{Event, LinkStats};

/// What the connections have brought in.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// For the caller, oldest first. Bounded by what one read of each connection holds, as nothing is read while
    /// there are any, and by what the caller itself asked for.
    pub(crate) events: VecDeque<Event>,
    /// For the link.
    pub(crate) replies: Vec<PartReply>,
    /// Publishes that were refused because their slot is elsewhere.
    pub(crate) moved: Vec<Moved>,
    /// Shard channels that could not be subscribed where they were asked for.
    pub(crate) unplaced: Vec<Bytes>,
    /// Where a slot is now, as a member said when it refused something.
    pub(crate) hints: Vec<(u16, Endpoint)>,
    /// Whether the map of slots is known to be out of date.
    pub(crate) is_map_stale: bool,
    /// Counts of the whole link.
    pub(crate) stats: LinkStats,
    /// Publishes without a ticket whose loss has not been told.
    pub(crate) lost: u64,
}

/// The reply to one command of a query.
#[derive(Debug)]
pub(crate) struct PartReply {
    pub(crate) id: u64,
    pub(crate) part: usize,
    /// `None` when the connection was lost.
    pub(crate) value: Option<Value>,
    /// Who answered.
    pub(crate) from: Endpoint,
}

/// A publish to a shard channel.
#[derive(Clone, Debug)]
pub(crate) struct ShardPublish {
    pub(crate) channel: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) ticket: Option<u64>,
    /// How often it was sent to a master that refused it.
    pub(crate) redirects: u8,
}

/// A publish that was refused because its slot is elsewhere.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) slot: u16,
    pub(crate) publish: ShardPublish,
    /// Who refused it.
    pub(crate) from: usize,
}

impl Gathered {
    /// Whether there is anything for the link, not for the caller.
    pub(crate) fn is_link_concerned(&self) -> bool {
        self.is_map_stale
            || !(self.replies.is_empty()
                && self.moved.is_empty()
                && self.unplaced.is_empty()
                && self.hints.is_empty())
    }

    /// A publish is not known to have been published.
    pub(crate) fn publish_failed(&mut self, ticket: Option<u64>, fault: impl FnOnce() -> crate::LinkFault) {
        self.stats.publishes_lost += 1;
        match ticket {
            Some(ticket) => self.events.push_back(Event::Published { ticket, result: Err(fault()) }),
            None => self.lost += 1,
        }
    }
}
