//! Who has to answer an ask, and who has.
//!
//! Two counts of Redis and the leases tell: Node servers are those that listen for requests without being Roomcast
//! nodes; of Roomcast nodes those have to answer whose lease runs, and those of them are waited for that still have a
//! lease and listen. One that was killed does not listen from that moment on, and one that stands still loses its
//! lease: neither costs the whole time, and both are named.

use std::collections::BTreeMap;
use std::sync::Arc;

use adapter::Responder;

use crate::io::{Coverage, QueryId};
use crate::members::Members;

/// The questions to Redis on which it depends who has to answer. Asks of one turn share them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Census {
    /// How many nodes of any kind there are.
    pub(super) nodes: Count,
    /// How many of them are Roomcast's.
    pub(super) gateways: Count,
    /// Whether this node is one of those.
    pub(super) is_own_counted: bool,
    /// The reading of the leases that has to be done.
    pub(super) leases: u64,
}

/// A question how many listen to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Asked(QueryId),
    /// 0 if Redis could not tell.
    Known(u64),
}

impl Count {
    fn known(self) -> Option<u64> {
        match self {
            Self::Asked(_) => None,
            Self::Known(count) => Some(count),
        }
    }

    /// Takes the answer if it is the one to this question; whether it is.
    fn take(&mut self, id: QueryId, count: u64) -> bool {
        let is_answer = *self == Self::Asked(id);
        if is_answer {
            *self = Self::Known(count);
        }
        is_answer
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Roll {
    namespace: String,
    /// Whether Node servers answer such asks.
    do_servers_answer: bool,
    /// `None` until the message has left.
    census: Option<Census>,
    /// Roomcast nodes whose lease ran when the message had left: number and name.
    asked: Option<BTreeMap<u16, String>>,
    /// Roomcast nodes that have answered.
    heard: BTreeMap<u16, Arc<str>>,
    /// Answers of nodes that do not say who they are.
    nameless: u32,
}

impl Roll {
    pub(super) fn new(namespace: &str, do_servers_answer: bool) -> Self {
        Self {
            namespace: namespace.to_owned(),
            do_servers_answer,
            census: None,
            asked: None,
            heard: BTreeMap::new(),
            nameless: 0,
        }
    }

    /// The message has left behind these questions.
    pub(super) fn begin(&mut self, census: Census) {
        self.census = Some(census);
    }

    /// An answer of Redis; whether it was asked for here.
    pub(super) fn take_count(&mut self, id: QueryId, count: u64) -> bool {
        self.census.as_mut().is_some_and(|census| {
            // Not lazily: nobody says that the two questions differ.
            census.nodes.take(id, count) | census.gateways.take(id, count)
        })
    }

    /// A node has answered.
    pub(super) fn note(&mut self, from: Option<&Responder>) {
        match from {
            Some(node) => drop(self.heard.insert(node.number, Arc::clone(&node.name))),
            None => self.nameless += 1,
        }
    }

    /// Whether nobody is waited for any more.
    pub(super) fn is_complete(&mut self, members: &Members) -> bool {
        let Some(Census { gateways, is_own_counted, leases, .. }) = self.census else { return false };
        let (Some(servers), Some(gateways)) = (self.servers(), gateways.known()) else { return false };
        if members.readings() < leases {
            return false;
        }
        let asked = self.asked.take().unwrap_or_else(|| living(members, &self.namespace));
        let lives = |number: &u16| members.in_namespace(&self.namespace).any(|peer| peer.node == *number);
        let silent = asked.keys().filter(|number| !self.heard.contains_key(number) && lives(number)).count();
        self.asked = Some(asked);
        let listening = gateways.saturating_sub(is_own_counted.into());
        let listening = listening.saturating_sub(self.heard.len() as u64);
        let are_servers_done = !self.do_servers_answer || u64::from(self.nameless) >= servers;
        are_servers_done && listening.min(silent as u64) == 0
    }

    /// Whom the answer speaks for, and who is missing.
    pub(super) fn coverage(&mut self, members: &Members) -> Coverage {
        let asked = self.asked.take().unwrap_or_else(|| living(members, &self.namespace));
        let missing = asked.iter().filter(|(number, _)| !self.heard.contains_key(number));
        let missing: Vec<String> = missing.map(|(_, name)| name.clone()).collect();
        let gateways = count(self.heard.len());
        let servers = u32::try_from(self.servers().unwrap_or_default()).unwrap_or(u32::MAX);
        Coverage {
            asked: (gateways + count(missing.len())).saturating_add(servers.max(self.nameless)),
            answered: gateways.saturating_add(self.nameless),
            missing,
        }
    }

    fn servers(&self) -> Option<u64> {
        let Census { nodes, gateways, .. } = self.census?;
        Some(nodes.known()?.saturating_sub(gateways.known()?))
    }
}

fn living(members: &Members, namespace: &str) -> BTreeMap<u16, String> {
    members.in_namespace(namespace).map(|peer| (peer.node, peer.name.clone())).collect()
}

fn count(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}
