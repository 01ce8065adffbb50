//! What must have been received, what may have been, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use adapter::Broadcast;

use crate::intervals::Intervals;
use crate::schedule::Micros;
use crate::world::Life;

/// A shard of a process in one of its lives.
pub(crate) type ShardOf = (Life, u8);

/// Who published a message: a client's socket, or a back end at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Publisher {
    Client(usize, &'static str),
    Caller(Life),
}

#[derive(Debug)]
pub(crate) struct Message {
    publisher: Publisher,
    published: Option<Published>,
    /// The lives in which everything that Redis executed at that moment had to be heard.
    due: BTreeSet<Life>,
    was_executed: bool,
    /// When each shard has had it, or would have.
    handled: BTreeMap<ShardOf, Micros>,
}

#[derive(Debug)]
struct Published {
    at: Micros,
    by: Life,
    namespace: String,
    rooms: Vec<String>,
    except: Vec<String>,
    is_reported: bool,
}

/// What one client knows.
#[derive(Debug)]
pub(crate) struct Witness {
    home: ShardOf,
    /// By namespace and room; the empty room is the namespace itself.
    surely: BTreeMap<(&'static str, String), Intervals>,
    maybe: BTreeMap<(&'static str, String), Intervals>,
    pub(crate) received: Vec<(&'static str, usize)>,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    messages: Vec<Message>,
}

/// The number in a text or a packet that contains `m0000017`.
pub(crate) fn message_id(bytes: &[u8]) -> Option<usize> {
    let is_number = |window: &[u8]| window[0] == b'm' && window[1..].iter().all(u8::is_ascii_digit);
    let found = bytes.windows(8).find(|window| is_number(window))?;
    std::str::from_utf8(&found[1..]).ok()?.parse().ok()
}

impl Oracle {
    /// The number of a new message.
    pub(crate) fn compose(&mut self, publisher: Publisher) -> usize {
        self.messages.push(Message {
            publisher,
            published: None,
            due: BTreeSet::new(),
            was_executed: false,
            handled: BTreeMap::new(),
        });
        self.messages.len() - 1
    }

    pub(crate) fn published(&mut self, id: usize, by: Life, broadcast: &Broadcast, at: Micros) {
        let names = |rooms: &[socketio::RoomName]| rooms.iter().map(ToString::to_string).collect();
        let published = Published {
            at,
            by,
            namespace: broadcast.namespace.to_string(),
            rooms: names(&broadcast.targets.rooms),
            except: names(&broadcast.targets.except),
            is_reported: false,
        };
        assert!(self.messages[id].published.replace(published).is_none(), "message {id} published twice");
    }

    /// The message goes to all nodes of its namespace, for each to say how far it gets.
    pub(crate) fn reported(&mut self, id: usize) {
        self.messages[id].published.as_mut().expect("it was published").is_reported = true;
    }

    /// Redis hands the message out.
    pub(crate) fn executed(&mut self, id: usize, at: Micros, healthy: impl Iterator<Item = Life>) {
        let message = &mut self.messages[id];
        assert!(
            !std::mem::replace(&mut message.was_executed, true),
            "message {id} sent to Redis twice ({at})"
        );
        message.due = healthy.collect();
    }

    /// A shard of the publisher's process has handed the message to its sockets.
    pub(crate) fn handled(&mut self, id: usize, shard: ShardOf, at: Micros) {
        self.messages[id].due.insert(shard.0);
        let twice = self.messages[id].handled.insert(shard, at);
        assert!(twice.is_none(), "message {id} handled twice by {shard:?}");
    }

    /// A shard has the message behind it, whether it was to get it or not.
    pub(crate) fn passed(&mut self, id: usize, shard: ShardOf, at: Micros) {
        let Message { published, handled, .. } = &mut self.messages[id];
        if published.as_ref().is_some_and(|published| published.by != shard.0) {
            let twice = handled.insert(shard, at);
            assert!(twice.is_none(), "message {id} passed {shard:?} twice");
        }
    }

    /// Checks all that a client has received, and all that it has not. Returns how much had to reach it.
    ///
    /// # Panics
    /// With the rule that was broken.
    pub(crate) fn check(&self, name: usize, witness: &Witness, by_channel: bool) -> usize {
        let mut last = BTreeMap::new();
        for (namespace, id) in &witness.received {
            let message = &self.messages[*id];
            let published = message.published.as_ref().expect("received before it was published");
            // Channels of several masters come over several connections: one order for each.
            let lane = by_channel.then(|| (published.rooms.clone(), published.is_reported));
            let before = last.insert((message.publisher, namespace, lane), *id);
            assert!(
                before.is_none_or(|before| before < *id),
                "client {name}: {id} came behind or again after {before:?}: {message:?}"
            );
            assert!(
                message.may_reach(witness),
                "client {name} is no recipient of message {id}: {message:?}\n{witness:?}"
            );
        }
        let got: BTreeSet<usize> = witness.received.iter().map(|(_, id)| *id).collect();
        let due: Vec<usize> =
            (0..self.messages.len()).filter(|id| self.messages[*id].must_reach(witness)).collect();
        let lost: Vec<_> = due.iter().filter(|id| !got.contains(id)).collect();
        assert!(
            lost.is_empty(),
            "client {name} has lost messages {lost:?}, the first: {:?}\n{witness:?}",
            self.messages[*lost[0]]
        );
        due.len()
    }
}

impl Message {
    fn must_reach(&self, witness: &Witness) -> bool {
        let (Some(published), Some(until)) = (&self.published, self.handled.get(&witness.home)) else {
            return false;
        };
        let surely = |room: &str| witness.surely_in(published, room, *until);
        let maybe = |room: &str| witness.maybe_in(published, room, *until);
        self.due.contains(&witness.home.0)
            && published.targets(surely)
            && !published.except.iter().any(|room| maybe(room))
    }

    fn may_reach(&self, witness: &Witness) -> bool {
        let Some(published) = &self.published else { return false };
        let until = self.handled.get(&witness.home).copied().unwrap_or(Micros::MAX);
        let surely = |room: &str| witness.surely_in(published, room, until);
        let maybe = |room: &str| witness.maybe_in(published, room, until);
        published.targets(maybe) && !published.except.iter().any(|room| surely(room))
    }
}

impl Published {
    fn targets(&self, is_in: impl Fn(&str) -> bool) -> bool {
        match self.rooms.is_empty() {
            true => is_in(""),
            false => self.rooms.iter().any(|room| is_in(room)),
        }
    }
}

impl Witness {
    pub(crate) fn new(home: ShardOf) -> Self {
        Self { home, surely: BTreeMap::new(), maybe: BTreeMap::new(), received: Vec::new() }
    }

    pub(crate) fn surely(&mut self, namespace: &'static str, room: &str) -> &mut Intervals {
        self.surely.entry((namespace, room.to_owned())).or_default()
    }

    pub(crate) fn maybe(&mut self, namespace: &'static str, room: &str) -> &mut Intervals {
        self.maybe.entry((namespace, room.to_owned())).or_default()
    }

    /// It has asked to leave a namespace, and may be in it for a while.
    pub(crate) fn left(&mut self, namespace: &'static str, at: Micros) {
        let of_it = self.surely.iter_mut().filter(|((name, _), _)| *name == namespace);
        of_it.for_each(|(_, intervals)| intervals.end(at));
    }

    /// It is in a namespace no more, or in none.
    pub(crate) fn gone(&mut self, namespace: Option<&str>, at: Micros) {
        let all = self.surely.iter_mut().chain(self.maybe.iter_mut());
        all.filter(|((name, _), _)| namespace.is_none_or(|gone| *name == gone))
            .for_each(|(_, intervals)| intervals.end(at));
    }

    pub(crate) fn is_surely_in(&self, namespace: &'static str, from: Micros, until: Micros) -> bool {
        self.surely.get(&(namespace, String::new())).is_some_and(|known| known.covers(from, until))
    }

    pub(crate) fn is_maybe_in(&self, namespace: &'static str, from: Micros, until: Micros) -> bool {
        self.maybe.get(&(namespace, String::new())).is_some_and(|known| known.touches(from, until))
    }

    fn surely_in(&self, published: &Published, room: &str, until: Micros) -> bool {
        let known = self.surely.iter().find(|((name, of), _)| *name == published.namespace && of == room);
        // What happens at the same moment may come in either order.
        known.is_some_and(|(_, known)| known.covers(published.at.saturating_sub(1), until.saturating_add(1)))
    }

    fn maybe_in(&self, published: &Published, room: &str, until: Micros) -> bool {
        let known = self.maybe.iter().find(|((name, of), _)| *name == published.namespace && of == room);
        known.is_some_and(|(_, known)| known.touches(published.at, until))
    }
}
