//! Redis: what it executes, and whom it tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cluster::{Listen, Query, QueryId, Reply};

use crate::keys::Keys;
use crate::link::{Half, Origin};
use crate::oracle::message_id;
use crate::schedule::Micros;
use crate::world::{Event, LATENCY, Path, World};

/// Slots of the cluster; few, so that channels share them.
pub(crate) const SLOTS: usize = 8;

/// What a node tells Redis.
#[derive(Debug)]
pub(crate) enum Command {
    Publish(Bytes, Bytes),
    Query(QueryId, Query),
    Subscribe(Listen, Bytes),
    Unsubscribe(Listen, Bytes),
}

/// What Redis tells a node.
#[derive(Debug)]
pub(crate) enum Word {
    Subscribed(Bytes),
    /// A message that was published, with how many subscriptions of the connection match. It passes every
    /// connection, even without: so it is known what has come through by then.
    Message(Bytes, Bytes, usize),
    Replied(QueryId, Reply),
    /// The slots of these channels have moved.
    Moved(Vec<Bytes>),
}

#[derive(Debug)]
pub(crate) struct Redis {
    /// What each subscribing connection is subscribed to, as far as Redis knows.
    pub(crate) connections: BTreeMap<Origin, BTreeSet<(Listen, Bytes)>>,
    /// The master of each slot.
    pub(crate) owners: Vec<usize>,
    /// Which masters are away.
    pub(crate) is_down: Vec<bool>,
    /// What has come while it was stopped.
    pub(crate) backlog: Option<VecDeque<Event>>,
    pub(crate) keys: Keys,
}

impl Redis {
    pub(crate) fn new(masters: usize) -> Self {
        Self {
            connections: BTreeMap::new(),
            owners: (0..SLOTS).map(|slot| slot % masters).collect(),
            is_down: vec![false; masters],
            backlog: None,
            keys: Keys::default(),
        }
    }

    pub(crate) fn slot(channel: &[u8]) -> usize {
        channel.iter().fold(7, |hash: usize, byte| (hash * 31 + usize::from(*byte)) % 65_521) % SLOTS
    }

    pub(crate) fn owner(&self, channel: &[u8]) -> usize {
        self.owners[Self::slot(channel)]
    }

    /// Everything that living connections of a process are subscribed to.
    pub(crate) fn subscribed(&self, is_of: impl Fn(&Origin) -> bool) -> BTreeSet<(Listen, Bytes)> {
        self.connections.iter().filter(|(origin, _)| is_of(origin)).flat_map(|(_, all)| all.clone()).collect()
    }

    fn answer(&mut self, query: Query, now: Micros) -> Reply {
        match query {
            Query::CountSubscribers(channel) => {
                if self.is_down[self.owner(&channel)] {
                    return Reply::Failed;
                }
                let exact = |(listen, name): &(Listen, Bytes)| *listen != Listen::Pattern && *name == channel;
                let count = self.connections.values().filter(|all| all.iter().any(exact)).count();
                Reply::Count(count as u64)
            }
            query => self.keys.answer(query, Duration::from_micros(now)),
        }
    }
}

fn matches((listen, name): &(Listen, Bytes), channel: &[u8]) -> bool {
    match listen {
        Listen::Exact | Listen::Sharded => name == channel,
        Listen::Pattern => channel.starts_with(name.strip_suffix(b"*").expect("ends with a star")),
    }
}

impl World {
    /// A command has come to Redis. One that was read only after its connection had ended may be carried out
    /// all the same.
    pub(crate) fn execute(&mut self, origin: Origin, command: Command, even_if_dead: bool) {
        match command {
            Command::Publish(channel, payload) if even_if_dead || self.is_alive(origin) => {
                self.broadcast(&channel, &payload);
            }
            Command::Query(id, query) if self.is_alive(origin) => {
                let reply = self.redis.answer(query, self.schedule.now);
                self.tell_link(origin, Word::Replied(id, reply));
            }
            Command::Subscribe(listen, channel) => self.subscribe(origin, listen, channel),
            Command::Unsubscribe(listen, channel) => self.unsubscribe(origin, listen, channel),
            Command::Publish(..) | Command::Query(..) => {}
        }
    }

    pub(crate) fn tell_link(&mut self, origin: Origin, word: Word) {
        self.along(Path::FromRedis(origin), LATENCY, Event::FromRedis(origin, word));
    }

    fn broadcast(&mut self, channel: &Bytes, payload: &Bytes) {
        let owner = self.redis.owner(channel);
        if self.redis.is_down[owner] {
            return;
        }
        if let Some(id) = message_id(payload) {
            let healthy = self.processes.iter().filter(|process| process.is_healthy);
            self.oracle.executed(id, self.schedule.now, healthy.map(|process| process.life));
        }
        let half = Half::Subscriber(owner);
        for (origin, all) in self.redis.connections.clone() {
            if origin.half == half {
                let matching = all.iter().filter(|one| matches(one, channel)).count();
                self.tell_link(origin, Word::Message(channel.clone(), payload.clone(), matching));
            }
        }
    }

    /// A slot gets another master; who listens on the old one is told there.
    pub(crate) fn move_slot(&mut self, slot: usize, to: usize) {
        if std::mem::replace(&mut self.redis.owners[slot], to) == to {
            return;
        }
        let mut told = Vec::new();
        for (origin, all) in &mut self.redis.connections {
            let lost: Vec<Bytes> = all
                .extract_if(.., |(_, name)| Redis::slot(name) == slot)
                .map(|(_, channel)| channel)
                .collect();
            if !lost.is_empty() {
                told.push((*origin, lost));
            }
        }
        for (origin, lost) in told {
            if self.is_alive(origin) {
                self.processes[origin.life.process].damaged(origin);
            }
            self.tell_link(origin, Word::Moved(lost));
        }
    }
}
