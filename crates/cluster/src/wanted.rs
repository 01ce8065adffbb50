//! The channels that this node wants, as a set to be brought into force.
//!
//! ```text
//!            want                 confirmed              last holder gone
//!  (absent) ──────▶ Asked ───────────────────▶ InForce ─────────────────▶ Lingering ──▶ (absent)
//!                     ▲    connection lost ◀──────┘  ▲        want            │ linger over: given back
//!                     └──────────────────────────────└────────────────────────┘
//! ```
//!
//! While the connection is away nothing waits: what others publish is lost in any case, and the node says so.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use adapter::Ticket;
use bytes::Bytes;
use foldhash::fast::FixedState;
use socketio::{NamespaceName, RoomName};

use crate::io::{Listen, Output, ShardSet};
use crate::node::ASKERS;

/// Channels named in one command, so that Redis serves others between two of them.
const CHANNELS_PER_COMMAND: usize = 1_000;

/// What a channel is to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Broadcasts to one room.
    Room(RoomName),
    /// Broadcasts to the whole namespace or to several rooms; with the sharded family everything that has no
    /// channel of its own.
    Namespace,
    /// Requests of other nodes.
    Requests,
    /// Answers of other nodes.
    Responses,
    /// Nothing is published on it: who listens is a Roomcast node.
    Presence,
    /// What became of messages of this node, at others.
    Reports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Subscribed to, but not confirmed; while the connection is away, to be subscribed to when it is back.
    Asked,
    InForce,
    /// In force or asked for, but nobody here needs it any more.
    Lingering(Instant),
}

/// One wanted channel.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) namespace: NamespaceName,
    pub(crate) role: Role,
    listen: Listen,
    /// The shards that need it.
    pub(crate) holders: ShardSet,
    state: State,
    waiting: Vec<(u8, Ticket)>,
    /// Was wanted when the connection came up, or has been lost since or waited for too long, and has not been
    /// confirmed since.
    is_restoring: bool,
    /// Whether the link has been told; what was wanted only while it was down is unknown to it.
    was_asked: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Hashed from the node's own generator, so that one seed gives one order.
    entries: HashMap<Bytes, Entry, FixedState>,
    linger: Duration,
    patience: Duration,
    is_up: bool,
    /// To be subscribed to at the end of the turn.
    fresh: Vec<(Listen, Bytes)>,
    /// When lingering channels are given back, the earliest first; some are held again by then.
    farewells: VecDeque<(Instant, Bytes)>,
    /// When tickets have waited long enough for channels, the earliest first; most are confirmed by then.
    impatient: VecDeque<(Instant, Bytes)>,
    /// Tickets whose wait is over, by shard.
    confirmed: Vec<(u8, Vec<Ticket>)>,
    in_force: usize,
    restoring: usize,
}

impl Wanted {
    /// Channels stay subscribed for `linger` after their last holder has left; no ticket waits for one longer than
    /// `patience`.
    pub(crate) fn new(linger: Duration, patience: Duration, seed: u64) -> Self {
        Self {
            entries: HashMap::with_hasher(FixedState::with_seed(seed)),
            linger,
            patience,
            is_up: false,
            fresh: Vec::new(),
            farewells: VecDeque::new(),
            impatient: VecDeque::new(),
            confirmed: Vec::new(),
            in_force: 0,
            restoring: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn in_force(&self) -> usize {
        self.in_force
    }

    /// Whether everything wanted is in force.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_up && self.restoring == 0
    }

    /// What a channel is to this node; `None` if it is not wanted, or not any more.
    pub(crate) fn find(&self, channel: &[u8]) -> Option<&Entry> {
        self.entries.get(channel)
    }

    /// A shard needs a channel; the ticket waits until it is in force.
    pub(crate) fn want(
        &mut self,
        listen: Listen,
        channel: Bytes,
        whose: (NamespaceName, Role),
        shard: u8,
        ticket: Option<Ticket>,
        now: Instant,
    ) {
        self.hold(listen, channel.clone(), whose, shard);
        if let Some(ticket) = ticket {
            self.await_channel(&channel, shard, ticket, now);
        }
    }

    /// A shard needs a channel, and waits for nothing.
    pub(crate) fn hold(
        &mut self,
        listen: Listen,
        channel: Bytes,
        (namespace, role): (NamespaceName, Role),
        shard: u8,
    ) {
        let entry = self.entries.entry(channel.clone()).or_insert_with(|| {
            self.fresh.push((listen, channel.clone()));
            Entry {
                namespace,
                role,
                listen,
                holders: ShardSet::default(),
                state: State::Asked,
                waiting: Vec::new(),
                is_restoring: false,
                was_asked: self.is_up,
            }
        });
        entry.holders.insert(shard);
        if let State::Lingering(_) = entry.state {
            // Redis confirms in order: had it not been confirmed yet, a second confirmation would be awaited.
            entry.state = State::InForce;
            self.in_force += 1;
        }
    }

    /// Whether Redis has confirmed a channel, and it is not lost since.
    pub(crate) fn is_in_force(&self, channel: &[u8]) -> bool {
        self.entries.get(channel).is_some_and(|entry| entry.state != State::Asked)
    }

    /// Makes a ticket wait for a channel that is wanted already; for one that is not, the wait is over.
    pub(crate) fn await_channel(&mut self, channel: &[u8], shard: u8, ticket: Ticket, now: Instant) {
        match self.entries.get_mut(channel) {
            Some(entry) if self.is_up && entry.state == State::Asked => {
                if entry.waiting.is_empty() {
                    let until = now + self.patience;
                    self.impatient.push_back((until, Bytes::copy_from_slice(channel)));
                }
                entry.waiting.push((shard, ticket));
            }
            _ => confirm(&mut self.confirmed, shard, ticket),
        }
    }

    /// A shard does not need a channel any more.
    pub(crate) fn release(&mut self, channel: &[u8], shard: u8, now: Instant) {
        let Some((key, _)) = self.entries.get_key_value(channel) else { return };
        let key = key.clone();
        let Some(entry) = self.entries.get_mut(channel) else { return };
        entry.holders.remove(shard);
        if !entry.holders.is_empty() || matches!(entry.state, State::Lingering(_)) {
            return;
        }
        match entry.state {
            State::InForce => {
                self.in_force -= 1;
                let until = now + self.linger;
                entry.state = State::Lingering(until);
                self.farewells.push_back((until, key));
            }
            // Not confirmed yet: it is given back once it is, or never asked for while Redis is away.
            State::Asked if self.is_up || entry.outlives_the_connection() => {}
            _ => drop(self.entries.remove(channel)),
        }
    }

    /// Redis says that a channel is in force. Returns how many there are once the last one of a restored
    /// connection is.
    pub(crate) fn handle_subscribed(&mut self, channel: &[u8], now: Instant) -> Option<usize> {
        let (key, _) = self.entries.get_key_value(channel)?;
        let key = key.clone();
        let entry = self.entries.get_mut(channel)?;
        if entry.state != State::Asked {
            return None;
        }
        for (shard, ticket) in mem::take(&mut entry.waiting) {
            confirm(&mut self.confirmed, shard, ticket);
        }
        if entry.holders.is_empty() {
            let until = now + self.linger;
            entry.state = State::Lingering(until);
            self.farewells.push_back((until, key));
        } else {
            entry.state = State::InForce;
            self.in_force += 1;
        }
        if !mem::take(&mut entry.is_restoring) {
            return None;
        }
        self.restoring -= 1;
        (self.restoring == 0).then_some(self.in_force)
    }

    /// A connection is up on which nothing is subscribed but what [`Entry::outlives_the_connection`]: everything
    /// that is still needed is asked for, and the rest given back.
    pub(crate) fn handle_up(&mut self, outputs: &mut VecDeque<Output>) {
        self.is_up = true;
        self.farewells.clear();
        let unheld = self.entries.extract_if(|_, entry| entry.holders.is_empty());
        let mut unheld: Vec<_> = unheld.map(|(channel, entry)| (entry.listen, channel)).collect();
        // The others ended with their connection.
        unheld.retain(|(listen, _)| *listen == Listen::Sharded);
        give_back(&unheld, outputs);
        self.fresh = self
            .entries
            .iter_mut()
            .map(|(channel, entry)| {
                entry.state = State::Asked;
                entry.is_restoring = true;
                entry.was_asked = true;
                (entry.listen, channel.clone())
            })
            .collect();
        // As for a new namespace: who is counted as a node hears everything already.
        let entries = &self.entries;
        self.fresh.sort_by_key(|(_, channel)| {
            entries.get(channel).is_some_and(|entry| entry.role == Role::Requests)
        });
        self.in_force = 0;
        self.restoring = self.fresh.len();
    }

    /// The connection is lost, and with it everything that was in force.
    pub(crate) fn handle_down(&mut self) {
        self.is_up = false;
        self.in_force = 0;
        self.fresh.clear();
        self.farewells.clear();
        self.impatient.clear();
        for entry in self.entries.values_mut() {
            entry.state = State::Asked;
            entry.is_restoring = false;
            for (shard, ticket) in mem::take(&mut entry.waiting) {
                confirm(&mut self.confirmed, shard, ticket);
            }
        }
        self.restoring = 0;
        self.entries.retain(|_, entry| !entry.holders.is_empty() || entry.outlives_the_connection());
    }

    /// Some channels are not in force any more, while the others are: one server of several is away, or a slot
    /// has moved.
    pub(crate) fn handle_lost(&mut self, channels: &[Bytes]) {
        for channel in channels {
            let Some(entry) = self.entries.get_mut(channel) else { continue };
            for (shard, ticket) in mem::take(&mut entry.waiting) {
                confirm(&mut self.confirmed, shard, ticket);
            }
            match entry.state {
                State::InForce => self.in_force -= 1,
                State::Lingering(_) => {
                    self.entries.remove(channel);
                    continue;
                }
                State::Asked if !self.is_up && entry.holders.is_empty() => {
                    self.entries.remove(channel);
                    continue;
                }
                State::Asked => {}
            }
            entry.state = State::Asked;
            self.restoring += usize::from(!mem::replace(&mut entry.is_restoring, true));
            self.fresh.push((entry.listen, channel.clone()));
        }
    }

    pub(crate) fn handle_timeouts(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        self.end_long_waits(now);
        let mut given_up = Vec::new();
        while let Some((until, channel)) = self.farewells.pop_front_if(|(until, _)| *until <= now) {
            let Some(entry) = self.entries.get(&channel) else { continue };
            if entry.state == State::Lingering(until) {
                given_up.push((entry.listen, channel.clone()));
                self.entries.remove(&channel);
            }
        }
        if !given_up.is_empty() {
            give_back(&given_up, outputs);
        }
    }

    /// Lets those go who have waited long enough, as for a connection that is away: the master of their channel is.
    /// The node is not complete until the channel is confirmed.
    fn end_long_waits(&mut self, now: Instant) {
        while let Some((_, channel)) = self.impatient.pop_front_if(|(until, _)| *until <= now) {
            let Some(entry) = self.entries.get_mut(&channel) else { continue };
            if entry.waiting.is_empty() {
                continue;
            }
            for (shard, ticket) in mem::take(&mut entry.waiting) {
                confirm(&mut self.confirmed, shard, ticket);
            }
            self.restoring += usize::from(!mem::replace(&mut entry.is_restoring, true));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let fronts = [self.farewells.front(), self.impatient.front()];
        fronts.into_iter().flatten().map(|(until, _)| *until).min()
    }

    /// What the turn has brought, batched. Returns the tickets of this node's own asks whose wait is over.
    pub(crate) fn flush(&mut self, outputs: &mut VecDeque<Output>) -> Vec<Ticket> {
        // Most turns bring nothing.
        if self.fresh.is_empty() && self.confirmed.is_empty() {
            return Vec::new();
        }
        if self.is_up {
            let entries = &self.entries;
            let mut fresh = mem::take(&mut self.fresh);
            fresh.retain(|(_, channel)| entries.contains_key(channel));
            for (listen, channels) in by_kind(&fresh) {
                outputs.push_back(Output::Subscribe(listen, channels));
            }
        } else {
            self.fresh.clear();
        }
        let mut heard = Vec::new();
        for (shard, tickets) in self.confirmed.drain(..) {
            match shard {
                ASKERS => heard = tickets,
                shard => outputs.push_back(Output::Confirm(shard, tickets)),
            }
        }
        heard
    }
}

impl Entry {
    /// A shard channel of another master than the one that was lost is in force still. A link names those that are
    /// not by [`Wanted::handle_lost`].
    fn outlives_the_connection(&self) -> bool {
        self.listen == Listen::Sharded && self.was_asked
    }
}

fn give_back(channels: &[(Listen, Bytes)], outputs: &mut VecDeque<Output>) {
    for (listen, channels) in by_kind(channels) {
        outputs.push_back(Output::Unsubscribe(listen, channels));
    }
}

/// Channels as commands name them. The order among those of one kind is kept: the last one of a namespace speaks
/// for all.
fn by_kind(channels: &[(Listen, Bytes)]) -> impl Iterator<Item = (Listen, Vec<Bytes>)> {
    [Listen::Pattern, Listen::Exact, Listen::Sharded].into_iter().flat_map(move |kind| {
        let of_kind = channels.iter().filter(|(listen, _)| *listen == kind);
        let of_kind: Vec<Bytes> = of_kind.map(|(_, channel)| channel.clone()).collect();
        let commands: Vec<_> =
            of_kind.chunks(CHANNELS_PER_COMMAND).map(|some| (kind, some.to_vec())).collect();
        commands
    })
}

fn confirm(confirmed: &mut Vec<(u8, Vec<Ticket>)>, shard: u8, ticket: Ticket) {
    match confirmed.iter_mut().find(|(other, _)| *other == shard) {
        Some((_, tickets)) => tickets.push(ticket),
        None => confirmed.push((shard, vec![ticket])),
    }
}
