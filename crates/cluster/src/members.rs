//! The other Roomcast nodes: each keeps a key with a TTL in Redis, its lease, and a place in a set of all.
//!
//! A node whose lease has run out is not waited for, even if Redis still holds its connection: a stopped process
//! would cost every request its whole time otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketio::NamespaceName;

use crate::config::ClusterConfig;
use crate::io::{Happening, Output, Query, QueryId, Reply};

/// A lease is renewed, and those of others are read, that often in its time.
pub(crate) const SIGNS_PER_LEASE: u32 = 4;
/// Namespaces that a lease names. A node with more is believed to be in all.
const NAMESPACES_PER_LEASE_MAX: usize = 1_000;

/// Another Roomcast node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its number, which session ids name.
    pub node: u16,
    /// Its name.
    pub name: String,
    /// Where requests of its sessions can be forwarded to, `ip:port`.
    pub address: Option<String>,
    /// The namespaces it has sockets in; `None` for a node with very many.
    pub namespaces: Option<Vec<String>>,
}

/// What this node keeps in Redis about itself, and knows of the others.
#[derive(Debug)]
pub(crate) struct Members {
    own: Peer,
    /// Whether others may know of this node. One that never had sockets, and to which nothing is forwarded, keeps
    /// no lease: nobody waits for it, and its number may be another's.
    is_known: bool,
    lease: Duration,
    set: String,
    key_prefix: String,
    peers: BTreeMap<u16, Peer>,
    /// When the next sign of life is due; `None` while Redis is away.
    due: Option<Instant>,
    listing: Option<QueryId>,
    /// The numbers whose leases are being read.
    reading: Option<(QueryId, Vec<String>)>,
    /// Numbers of the set that had no lease when they were last read.
    without_lease: Vec<String>,
    /// How often the leases have been read.
    readings: u64,
    /// How often they have to be.
    wanted_readings: u64,
    conflict: bool,
}

impl Members {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        let own = Peer {
            node: config.node,
            name: config.name.clone(),
            address: config.address.clone(),
            namespaces: Some(Vec::new()),
        };
        Self {
            is_known: own.address.is_some(),
            own,
            lease: config.lease,
            set: format!("{}-roomcast-nodes", config.prefix),
            key_prefix: format!("{}-roomcast-node:", config.prefix),
            peers: BTreeMap::new(),
            due: None,
            listing: None,
            reading: None,
            without_lease: Vec::new(),
            readings: 0,
            wanted_readings: 0,
            conflict: false,
        }
    }

    /// Living nodes that have sockets in the namespace.
    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Peer> {
        self.peers.values().filter(move |peer| {
            peer.namespaces.as_ref().is_none_or(|known| known.iter().any(|name| name == namespace))
        })
    }

    /// Redis can be asked again.
    pub(crate) fn handle_up(&mut self, now: Instant) {
        self.due = Some(now);
        (self.listing, self.reading) = (None, None);
    }

    /// Redis cannot be asked. The others are believed to live: sessions can be forwarded without Redis.
    pub(crate) fn handle_down(&mut self) {
        self.due = None;
        (self.listing, self.reading) = (None, None);
    }

    /// Tells the others soon that this node has sockets in other namespaces than before.
    pub(crate) fn set_namespaces<'a>(
        &mut self,
        names: impl Iterator<Item = &'a NamespaceName>,
        now: Instant,
    ) {
        let mut names: Vec<String> = names.map(ToString::to_string).collect();
        names.sort_unstable();
        let names = (names.len() <= NAMESPACES_PER_LEASE_MAX).then_some(names);
        if names != self.own.namespaces {
            self.is_known = true;
            self.own.namespaces = names;
            self.due = self.due.map(|_| now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn handle_timeouts(
        &mut self,
        now: Instant,
        mut query_id: impl FnMut() -> QueryId,
        outputs: &mut VecDeque<Output>,
    ) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = Some(now + self.lease / SIGNS_PER_LEASE);
        if self.is_known {
            self.renew(&mut query_id, outputs);
        }
        self.refresh(query_id, outputs);
    }

    fn renew(&self, mut query_id: impl FnMut() -> QueryId, outputs: &mut VecDeque<Output>) {
        let number = self.own.node.to_string();
        let value = serde_json::to_vec(&self.own).unwrap_or_default();
        let key = self.key(&number);
        let set = Query::Set { key, value: Bytes::from(value), ttl: self.lease };
        outputs.push_back(Output::Query(query_id(), set));
        outputs.push_back(Output::Query(query_id(), Query::AddMember(self.set.clone(), number)));
    }

    /// Reads the leases. Returns how many readings there have to be until those of now are known.
    pub(crate) fn refresh(
        &mut self,
        query_id: impl FnMut() -> QueryId,
        outputs: &mut VecDeque<Output>,
    ) -> u64 {
        let is_running = self.listing.is_some() || self.reading.is_some();
        self.wanted_readings = self.readings + if is_running { 2 } else { 1 };
        if !is_running {
            self.list(query_id, outputs);
        }
        self.wanted_readings
    }

    /// How often the leases have been read.
    pub(crate) fn readings(&self) -> u64 {
        self.readings
    }

    fn list(&mut self, mut query_id: impl FnMut() -> QueryId, outputs: &mut VecDeque<Output>) {
        let id = query_id();
        outputs.push_back(Output::Query(id, Query::Members(self.set.clone())));
        self.listing = Some(id);
    }

    /// A reading is done, well or not.
    fn end_reading(&mut self, query_id: impl FnMut() -> QueryId, outputs: &mut VecDeque<Output>) {
        self.readings += 1;
        if self.readings < self.wanted_readings {
            self.list(query_id, outputs);
        }
    }

    /// Takes back what this node has in Redis, so that nobody waits for it.
    pub(crate) fn leave(&mut self, mut query_id: impl FnMut() -> QueryId, outputs: &mut VecDeque<Output>) {
        self.due = None;
        if !self.is_known {
            return;
        }
        let number = self.own.node.to_string();
        outputs.push_back(Output::Query(query_id(), Query::Delete(self.key(&number))));
        let farewell = Query::RemoveMember(self.set.clone(), number);
        outputs.push_back(Output::Query(query_id(), farewell));
    }

    /// An answer of Redis; false if it was not asked for here.
    pub(crate) fn handle_reply(
        &mut self,
        id: QueryId,
        reply: &Reply,
        mut query_id: impl FnMut() -> QueryId,
        outputs: &mut VecDeque<Output>,
    ) -> bool {
        if self.listing == Some(id) {
            self.listing = None;
            match reply {
                Reply::Members(numbers) if !numbers.is_empty() => {
                    let keys = numbers.iter().map(|number| self.key(number)).collect();
                    let id = query_id();
                    outputs.push_back(Output::Query(id, Query::Read(keys)));
                    self.reading = Some((id, numbers.clone()));
                }
                _ => self.end_reading(query_id, outputs),
            }
            return true;
        }
        let Some((_, numbers)) = self.reading.take_if(|(reading, _)| *reading == id) else { return false };
        if let Reply::Values(values) = reply {
            self.read(&numbers, values, &mut query_id, outputs);
        }
        self.end_reading(query_id, outputs);
        true
    }

    fn read(
        &mut self,
        numbers: &[String],
        values: &[Option<Bytes>],
        mut query_id: impl FnMut() -> QueryId,
        outputs: &mut VecDeque<Output>,
    ) {
        let mut peers = BTreeMap::new();
        let mut gone = Vec::new();
        let mut conflict = None;
        for (number, value) in numbers.iter().zip(values) {
            let Some(value) = value else {
                gone.push(number.clone());
                continue;
            };
            // What others write there by mistake is no node.
            let Ok(peer) = serde_json::from_slice::<Peer>(value) else { continue };
            if !self.is_known || peer.node != self.own.node {
                peers.insert(peer.node, peer);
            } else if peer.name != self.own.name {
                conflict = Some(peer);
            }
        }
        // Of a node that begins the set may tell before its lease does: they can lie on two masters. Taken out of the
        // set, it would not be asked before its next sign of life.
        for number in gone.iter().filter(|number| self.without_lease.contains(number)) {
            let remove = Query::RemoveMember(self.set.clone(), number.clone());
            outputs.push_back(Output::Query(query_id(), remove));
        }
        self.without_lease = gone;
        let was_conflict = std::mem::replace(&mut self.conflict, conflict.is_some());
        if let Some(peer) = conflict.filter(|_| !was_conflict) {
            outputs.push_back(Output::Happening(Happening::NodeNumberTaken(peer)));
        }
        if peers != self.peers {
            self.peers = peers;
            outputs.push_back(Output::Peers(self.peers.values().cloned().collect()));
        }
    }

    fn key(&self, number: &str) -> String {
        format!("{}{number}", self.key_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;

    fn members() -> Members {
        Members::new(&ClusterConfig::new(Family::Classic, 1, "gateway-1"))
    }

    /// Has the leases read once, with node 2 in the set; the numbers that are then taken out of it.
    fn read_once(members: &mut Members, lease_of_2: Option<&Peer>) -> Vec<String> {
        let mut outputs = VecDeque::new();
        let mut ids = 0;
        let mut next = || {
            ids += 1;
            QueryId(ids)
        };
        members.refresh(&mut next, &mut outputs);
        let listing = members.listing.expect("the set is read");
        members.handle_reply(listing, &Reply::Members(vec!["2".into()]), &mut next, &mut outputs);
        let (reading, _) = members.reading.clone().expect("its leases are read");
        let value = lease_of_2.map(|peer| serde_json::to_vec(peer).unwrap().into());
        members.handle_reply(reading, &Reply::Values(vec![value]), &mut next, &mut outputs);
        let removed = outputs.into_iter().filter_map(|output| match output {
            Output::Query(_, Query::RemoveMember(_, number)) => Some(number),
            _ => None,
        });
        removed.collect()
    }

    #[test]
    fn a_node_whose_place_in_the_set_is_seen_before_its_lease_keeps_it() {
        let mut members = members();
        let peer =
            Peer { node: 2, name: "gateway-2".into(), address: None, namespaces: Some(vec!["/".into()]) };
        assert!(read_once(&mut members, None).is_empty());
        assert!(read_once(&mut members, Some(&peer)).is_empty());
        assert_eq!(members.in_namespace("/").collect::<Vec<_>>(), [&peer]);
        assert!(read_once(&mut members, None).is_empty());
        assert_eq!(read_once(&mut members, None), ["2"], "its lease has run out");
    }
}
