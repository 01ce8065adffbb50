//! Joins by back ends and other nodes that are answered once they are in force: whoever is told that sockets are in a
//! room may rely on what it publishes there next.

use adapter::Outcome;
use broker::{ConnectionKey, Shard};
use tokio::sync::oneshot;

/// Answers that wait for subscriptions, which Redis confirms or the node gives up waiting for.
#[derive(Default)]
pub(super) struct Joins(Vec<Pending>);

struct Pending {
    awaited: Vec<ConnectionKey>,
    outcome: Outcome,
    reply: oneshot::Sender<Outcome>,
}

impl Joins {
    /// Answers at once, or when all these connections have what they wait for.
    pub(super) fn answer(
        &mut self,
        reply: oneshot::Sender<Outcome>,
        outcome: Outcome,
        awaited: Vec<ConnectionKey>,
    ) {
        match awaited.is_empty() {
            // Whoever asked may have gone.
            true => drop(reply.send(outcome)),
            false => self.0.push(Pending { awaited, outcome, reply }),
        }
    }

    /// Something has been confirmed.
    pub(super) fn settle(&mut self, shard: &Shard) {
        let done = self.0.extract_if(.., |join| {
            join.awaited.retain(|connection| shard.is_awaiting(*connection));
            join.awaited.is_empty()
        });
        done.for_each(|join| drop(join.reply.send(join.outcome)));
    }
}
