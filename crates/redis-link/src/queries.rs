//! Queries on the way: one or more commands each, answered as one.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::publisher::Publisher;
use crate::resp::Value;
use crate::slots::slot_of;
use crate::{LinkFault, Query, Reply, Way};

/// Queries on the way.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    running: HashMap<u64, Running>,
    /// Every query has the same patience: the oldest is the first to lose it.
    deadlines: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
struct Running {
    query: Query,
    parts: Vec<Option<Value>>,
    missing: usize,
    redirects: u8,
}

/// How often the parts of one query are sent anew.
const REDIRECTS_MAX: u8 = 5;

impl Queries {
    /// Takes a query of `parts` commands.
    pub(crate) fn begin(&mut self, id: u64, query: Query, parts: usize, deadline: Instant) {
        let running = Running { query, parts: vec![None; parts], missing: parts, redirects: 0 };
        self.running.insert(id, running);
        self.deadlines.push_back((deadline, id));
    }

    /// The reply to one command. What the whole is answered, if that decides it.
    pub(crate) fn handle(
        &mut self,
        id: u64,
        part: usize,
        value: Option<Value>,
    ) -> Option<Result<Reply, LinkFault>> {
        let running = self.running.get_mut(&id)?;
        let fault = match &value {
            None => Some(LinkFault::Away),
            Some(Value::Error(answer)) => Some(LinkFault::from_answer("the server", answer)),
            Some(_) => None,
        };
        if let Some(fault) = fault {
            self.running.remove(&id);
            return Some(Err(fault));
        }
        let place = running.parts.get_mut(part)?;
        if place.is_none() {
            *place = value;
            running.missing -= 1;
        }
        if running.missing > 0 {
            return None;
        }
        let running = self.running.remove(&id)?;
        let replies = running.parts.into_iter().map(Option::unwrap_or_default).collect();
        Some(reply(&running.query, replies))
    }

    /// The query, if one more of its commands may be sent to another server.
    pub(crate) fn redirect(&mut self, id: u64) -> Option<&Query> {
        let running = self.running.get_mut(&id)?;
        running.redirects += 1;
        (running.redirects <= REDIRECTS_MAX).then_some(&running.query)
    }

    /// Ends a query whose patience is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<u64> {
        while let Some((deadline, id)) = self.deadlines.front().copied() {
            if deadline > now && self.running.contains_key(&id) {
                return None;
            }
            self.deadlines.pop_front();
            if self.running.remove(&id).is_some() {
                return Some(id);
            }
        }
        None
    }

    /// When [`expire`](Self::expire) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}

/// Where the commands of a query go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Routes {
    /// One to every master.
    Everywhere,
    /// One to the owner of each slot.
    Slots(Vec<u16>),
}

pub(crate) fn routes(query: &Query) -> Routes {
    match query {
        Query::CountSubscribers(Way::Plain, _) => Routes::Everywhere,
        Query::Get(keys) => Routes::Slots(keys.iter().map(|key| slot_of(key)).collect()),
        Query::CountSubscribers(Way::Sharded, name)
        | Query::Set { key: name, .. }
        | Query::SetIfAbsent { key: name, .. }
        | Query::Delete(name)
        | Query::AddToSet(name, _)
        | Query::RemoveFromSet(name, _)
        | Query::Members(name) => Routes::Slots(vec![slot_of(name)]),
    }
}

/// Sends one command of a query.
pub(crate) fn send(publisher: &mut Publisher, id: u64, part: usize, query: &Query, is_asking: bool) {
    let mut ask = |parts: &[&[u8]]| publisher.ask(id, part, parts, is_asking);
    match query {
        Query::CountSubscribers(Way::Plain, channel) => ask(&[b"PUBSUB", b"NUMSUB", channel]),
        Query::CountSubscribers(Way::Sharded, channel) => ask(&[b"PUBSUB", b"SHARDNUMSUB", channel]),
        Query::Set { key, value, ttl_ms } => ask(&[b"SET", key, value, b"PX", ttl_ms.to_string().as_bytes()]),
        Query::SetIfAbsent { key, value, ttl_ms } => {
            ask(&[b"SET", key, value, b"NX", b"GET", b"PX", ttl_ms.to_string().as_bytes()]);
        }
        Query::Get(keys) => ask(&[b"GET", keys.get(part).map_or(&[], |key| &key[..])]),
        Query::Delete(key) => ask(&[b"DEL", key]),
        Query::AddToSet(key, member) => ask(&[b"SADD", key, member]),
        Query::RemoveFromSet(key, member) => ask(&[b"SREM", key, member]),
        Query::Members(key) => ask(&[b"SMEMBERS", key]),
    }
}

fn reply(query: &Query, values: Vec<Value>) -> Result<Reply, LinkFault> {
    let strange = || LinkFault::Answered("something else than was asked".to_owned());
    let only = || values.first().ok_or_else(strange);
    match query {
        Query::CountSubscribers(..) => {
            // The channel and its count.
            let count = |value: &Value| value.as_list()?.last()?.as_count();
            let counts: Option<Vec<u64>> = values.iter().map(count).collect();
            counts.map(|counts| Reply::Count(counts.iter().sum())).ok_or_else(strange)
        }
        Query::Set { .. } => Ok(Reply::Done),
        Query::SetIfAbsent { .. } => text(only()?).map(Reply::Value).ok_or_else(strange),
        Query::Get(_) => {
            let texts: Option<Vec<_>> = values.iter().map(text).collect();
            texts.map(Reply::Values).ok_or_else(strange)
        }
        Query::Delete(_) | Query::AddToSet(..) | Query::RemoveFromSet(..) => {
            only()?.as_count().map(Reply::Count).ok_or_else(strange)
        }
        Query::Members(_) => {
            let members = only()?.as_list().ok_or_else(strange)?;
            Ok(Reply::Members(members.iter().filter_map(Value::as_text).cloned().collect()))
        }
    }
}

/// A string or nothing; `None` for anything else.
#[expect(clippy::option_option, reason = "neither is the same as nothing")]
fn text(value: &Value) -> Option<Option<Bytes>> {
    match value {
        Value::Null => Some(None),
        Value::Text(text) => Some(Some(text.clone())),
        _ => None,
    }
}
