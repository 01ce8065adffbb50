//! What must and what may be received, from what clients know of their rooms.
//!
//! A client is surely in a room from the acknowledgement of its join until it asks to leave; it may be in
//! it from asking to join until its leave is acknowledged. A message counts for the time between its
//! publishing and its handling by the client's shard.

use std::collections::{BTreeMap, BTreeSet};

use adapter::Targets;

use crate::{intervals::Intervals, schedule::Micros};

/// A namespace with a room of it; the empty room is the namespace itself.
pub(crate) type Place = (&'static str, String);

/// Who published a message: a connection, or somebody outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Publisher {
    Connection(usize),
    Outside(usize),
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) publisher: Publisher,
    pub(crate) is_volatile: bool,
    published: Option<Published>,
    /// By shard: when it was handled there, and as which message of that shard.
    handled: Vec<Option<(Micros, u64)>>,
}

#[derive(Debug)]
struct Published {
    at: Micros,
    namespace: &'static str,
    rooms: Vec<String>,
    except: Vec<String>,
}

/// What one connection knows.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) shard: usize,
    pub(crate) surely: BTreeMap<Place, Intervals>,
    pub(crate) maybe: BTreeMap<Place, Intervals>,
    pub(crate) received: Vec<usize>,
    /// Whether it got to the end of the run and read everything on the way.
    pub(crate) is_complete: bool,
}

#[derive(Debug)]
pub(crate) struct Model {
    shards: usize,
    messages: Vec<Message>,
    handled: Vec<u64>,
}

impl Model {
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards, messages: Vec::new(), handled: vec![0; shards] }
    }

    /// The id of a new message.
    pub(crate) fn compose(&mut self, publisher: Publisher, is_volatile: bool) -> usize {
        let handled = vec![None; self.shards];
        self.messages.push(Message { publisher, is_volatile, published: None, handled });
        self.messages.len() - 1
    }

    pub(crate) fn published(&mut self, id: usize, namespace: &'static str, targets: &Targets, at: Micros) {
        let names = |rooms: &[socketio::RoomName]| rooms.iter().map(ToString::to_string).collect();
        let (rooms, except) = (names(&targets.rooms), names(&targets.except));
        let published = Published { at, namespace, rooms, except };
        assert!(self.messages[id].published.replace(published).is_none(), "message {id} published twice");
    }

    /// A shard has handed the message to its sockets, or has had no reason to.
    pub(crate) fn handled(&mut self, id: usize, shard: usize, at: Micros) {
        self.handled[shard] += 1;
        let handled = self.messages[id].handled[shard].replace((at, self.handled[shard]));
        assert!(handled.is_none(), "message {id} handled twice by shard {shard}");
    }

    /// Checks all that a connection has received, and all that it has not.
    ///
    /// # Panics
    /// With the rule that was broken.
    pub(crate) fn check(&self, name: usize, witness: &Witness) {
        let order = |id: &usize| self.messages[*id].handled[witness.shard].map(|(_, order)| order);
        let received: Vec<u64> =
            witness.received.iter().map(|id| order(id).expect("received before it was handled")).collect();
        assert!(
            received.is_sorted_by(|a, b| a < b),
            "connection {name} received out of order or twice: {:?}",
            witness.received
        );
        self.check_publishers(name, witness);
        for id in &witness.received {
            assert!(
                self.may_reach(*id, witness),
                "connection {name} is no recipient of {:?}",
                self.messages[*id]
            );
        }
        let got: BTreeSet<usize> = witness.received.iter().copied().collect();
        let last = received.last().copied().unwrap_or(0);
        for id in (0..self.messages.len()).filter(|id| !got.contains(id)) {
            // What comes behind the last message of a connection that broke is lost with it.
            let is_due = witness.is_complete || order(&id).is_some_and(|order| order < last);
            assert!(
                !(is_due && self.must_reach(id, witness)),
                "connection {name} has lost message {id}: {:?}",
                self.messages[id]
            );
        }
    }

    /// Ids of one publisher grow with the order of its publishing.
    fn check_publishers(&self, name: usize, witness: &Witness) {
        let mut last = BTreeMap::new();
        for id in &witness.received {
            let before = last.insert(self.messages[*id].publisher, *id);
            assert!(
                before.is_none_or(|before| before < *id),
                "connection {name}: {id} came behind {before:?}"
            );
        }
    }

    fn must_reach(&self, id: usize, witness: &Witness) -> bool {
        let message = &self.messages[id];
        let Some((published, from, until)) = window(message, witness) else { return false };
        let surely = |room: &str| holds(&witness.surely, published, room, |it| it.covers(from, until));
        let maybe = |room: &str| holds(&witness.maybe, published, room, |it| it.touches(from, until));
        // The namespace first: most connections are of another time.
        !message.is_volatile
            && maybe("")
            && published.targets(surely)
            && !published.except.iter().any(|room| maybe(room))
    }

    fn may_reach(&self, id: usize, witness: &Witness) -> bool {
        let Some((published, from, until)) = window(&self.messages[id], witness) else { return false };
        let surely = |room: &str| holds(&witness.surely, published, room, |it| it.covers(from, until));
        let maybe = |room: &str| holds(&witness.maybe, published, room, |it| it.touches(from, until));
        maybe("") && published.targets(maybe) && !published.except.iter().any(|room| surely(room))
    }

    /// How many messages some socket should have got, to see that a run tests anything.
    pub(crate) fn due(&self, witness: &Witness) -> usize {
        (0..self.messages.len()).filter(|id| self.must_reach(*id, witness)).count()
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

fn window<'m>(message: &'m Message, witness: &Witness) -> Option<(&'m Published, Micros, Micros)> {
    let published = message.published.as_ref()?;
    let (until, _) = message.handled[witness.shard]?;
    Some((published, published.at, until))
}

fn holds(
    known: &BTreeMap<Place, Intervals>,
    published: &Published,
    room: &str,
    test: impl Fn(&Intervals) -> bool,
) -> bool {
    known.get(&(published.namespace, room.to_owned())).is_some_and(test)
}
