//! The keys of a model of Redis: values that end, and sets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cluster::{Query, Reply};

#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Each with its end.
    values: BTreeMap<String, (Bytes, Duration)>,
    pub(crate) sets: BTreeMap<String, BTreeSet<String>>,
}

impl Keys {
    /// Carries out a query at `now`, counted from the beginning; who subscribes to what is none of its affairs.
    pub(crate) fn answer(&mut self, query: Query, now: Duration) -> Reply {
        match query {
            Query::CountSubscribers(_) => Reply::Failed,
            Query::Set { key, value, ttl } => {
                self.values.insert(key, (value, now + ttl));
                Reply::Done
            }
            Query::Read(keys) => {
                let alive = |key: &String| self.values.get(key).filter(|(_, until)| *until > now);
                Reply::Values(keys.iter().map(|key| alive(key).map(|(value, _)| value.clone())).collect())
            }
            Query::Delete(key) => {
                self.values.remove(&key);
                Reply::Done
            }
            Query::AddMember(set, member) => {
                self.sets.entry(set).or_default().insert(member);
                Reply::Done
            }
            Query::RemoveMember(set, member) => {
                self.sets.entry(set).or_default().remove(&member);
                Reply::Done
            }
            Query::Members(set) => {
                Reply::Members(self.sets.get(&set).into_iter().flatten().cloned().collect())
            }
        }
    }
}
