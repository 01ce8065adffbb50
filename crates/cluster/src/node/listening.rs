//! Hearing answers: where a node has no sockets it listens to nothing, until it asks.

use std::time::Instant;

use adapter::Ticket;
use socketio::NamespaceName;

use super::Node;
use crate::io::AskId;

/// Holds the channels of answers on behalf of asks. No shard has this number.
pub(crate) const ASKERS: u8 = u8::MAX;

impl Node {
    /// Listens for answers in a namespace until then. Returns how many confirmations the ask has to wait for, so
    /// that no answer is missed; they come at once if this node listens already, or if Redis is away.
    pub(super) fn listen_for_answers(
        &mut self,
        id: AskId,
        name: &NamespaceName,
        until: Instant,
        now: Instant,
    ) -> usize {
        let answers = self.channels(name).of_answers(&self.uid);
        let awaited = answers.len();
        for (listen, channel, role) in answers {
            let ticket = Some(Ticket(id.0));
            self.wanted.want(listen, channel.into(), (name.clone(), role), ASKERS, ticket, now);
        }
        let known = self.listening.entry(name.clone()).or_insert(until);
        *known = until.max(*known);
        awaited
    }

    /// Gives channels of answers back that nobody awaits any more.
    pub(super) fn stop_listening(&mut self, now: Instant) {
        let over: Vec<NamespaceName> =
            self.listening.extract_if(.., |_, until| *until <= now).map(|(name, _)| name).collect();
        for name in over {
            for (_, channel, _) in self.channels(&name).of_answers(&self.uid) {
                self.wanted.release(channel.as_bytes(), ASKERS, now);
            }
        }
    }
}
