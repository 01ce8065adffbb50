//! Which server is responsible for what, and what follows when that changes.

use std::time::Instant;

use bytes::Bytes;

use crate::dial::SlotRange;
use crate::gathered::PartReply;
use crate::publisher::redirection;
use crate::queries;
use crate::resp::Value;
use crate::server::{Change, Server};
use crate::slots::slot_of;
use crate::target::Endpoint;
use crate::{Event, Kind, LinkFault};

use super::Link;

impl Link {
    /// The server that serves `slot`; without a cluster the only one.
    pub(super) fn server_of(&self, slot: u16) -> Option<usize> {
        match &self.topology {
            Some(topology) => topology.owner(slot),
            None => self.publish_home,
        }
    }

    /// What the connections have brought in for the link itself.
    pub(super) fn route_gathered(&mut self) {
        let now = Instant::now();
        for (slot, member) in std::mem::take(&mut self.gathered.hints) {
            let key = self.server_at(&member, now);
            if let Some(topology) = &mut self.topology {
                topology.set_owner(slot, key);
            }
            self.is_waiting_due = true;
            self.gathered.is_map_stale = true;
        }
        if std::mem::take(&mut self.gathered.is_map_stale)
            && let Some(topology) = &mut self.topology
        {
            topology.set_stale(now);
            self.is_tick_due = true;
        }
        self.route_publishes(now);
        for reply in std::mem::take(&mut self.gathered.replies) {
            self.handle_reply(reply, now);
        }
        let unplaced = std::mem::take(&mut self.gathered.unplaced);
        self.waiting.extend(unplaced);
        if std::mem::take(&mut self.is_waiting_due) {
            self.place_waiting();
        }
    }

    fn route_publishes(&mut self, now: Instant) {
        let deadline = now + self.dialer.config.command_timeout();
        for moved in std::mem::take(&mut self.gathered.moved) {
            let publisher = self.servers.get_mut(moved.from).and_then(|server| server.publisher.up());
            let sent = publisher.map_or(0, |publisher| publisher.progress().0);
            self.redirects.refused(moved, sent, deadline, &mut self.gathered);
            self.is_tick_due = true;
        }
        if self.redirects.is_empty() {
            return;
        }
        let progress: Vec<(usize, u64)> = self
            .servers
            .iter_mut()
            .filter_map(|(key, server)| Some((key, server.publisher.up()?.progress().1)))
            .collect();
        let answered = |key: usize| progress.iter().find(|(up, _)| *up == key).map(|(_, answered)| *answered);
        let topology = &self.topology;
        let is_ready = |slot: u16, from: usize| {
            let owner = topology.as_ref().and_then(|topology| topology.owner(slot));
            owner.is_some_and(|key| key != from && answered(key).is_some())
        };
        let released = self.redirects.release(answered, is_ready);
        let queue_bytes = self.dialer.config.publish_queue_bytes();
        for (slot, publishes) in released {
            let key = self.server_of(slot);
            for publish in publishes {
                let ticket = publish.ticket;
                let publisher = key.and_then(|key| self.servers.get_mut(key)?.publisher.up());
                let taken = publisher.is_some_and(|publisher| {
                    publisher.publish(crate::Way::Sharded, publish, true, queue_bytes).is_ok()
                });
                if !taken {
                    self.gathered.publish_failed(ticket, || LinkFault::Away);
                }
            }
            // They are written when the connections are polled again.
            self.is_tick_due = true;
        }
    }

    /// The reply to one command of a query: the end of it, or on to where its key is.
    fn handle_reply(&mut self, reply: PartReply, now: Instant) {
        let PartReply { id, part, value, from } = reply;
        if let Some(Value::Error(answer)) = &value
            && (answer.starts_with("MOVED ") || answer.starts_with("ASK "))
            && let Some((slot, member)) = redirection(answer, &from)
        {
            let is_asking = answer.starts_with("ASK ");
            let key = self.server_at(&member, now);
            if let Some(topology) = &mut self.topology
                && !is_asking
            {
                topology.set_owner(slot, key);
                topology.set_stale(now);
                self.is_tick_due = true;
            }
            let publisher = self.servers.get_mut(key).and_then(|server| server.publisher.up());
            if let (Some(publisher), Some(query)) = (publisher, self.queries.redirect(id)) {
                queries::send(publisher, id, part, query, is_asking);
                self.is_tick_due = true;
                return;
            }
        }
        if let Some(result) = self.queries.handle(id, part, value) {
            self.gathered.events.push_back(Event::Answer { id, result });
        }
    }

    /// Subscribes the shard channels whose master is known and up; the others go on waiting.
    pub(super) fn place_waiting(&mut self) {
        let mut groups: Vec<(usize, Vec<Bytes>)> = Vec::new();
        let Some(topology) = &self.topology else { return };
        let servers = &self.servers;
        self.waiting.retain(|channel| {
            let owner = topology.owner(slot_of(channel));
            let up = |key: &usize| servers.get(*key).is_some_and(Server::is_subscriber_ready);
            let Some(key) = owner.filter(up) else { return true };
            group(&mut groups, key).push(channel.clone());
            false
        });
        for (key, channels) in groups {
            if let Some(subscriber) = self.servers.get_mut(key).and_then(|server| server.subscriber.up()) {
                subscriber.subscribe(Kind::Sharded, channels, true, &mut self.gathered);
            }
        }
    }

    /// Ends subscriptions to shard channels at their masters.
    pub(super) fn unplace(&mut self, channels: Vec<Bytes>) {
        let mut groups: Vec<(usize, Vec<Bytes>)> = Vec::new();
        for channel in channels {
            if let Some(key) = self.server_of(slot_of(&channel)) {
                group(&mut groups, key).push(channel);
            }
        }
        for (key, channels) in groups {
            if let Some(subscriber) = self.servers.get_mut(key).and_then(|server| server.subscriber.up()) {
                subscriber.unsubscribe(Kind::Sharded, channels, true);
            }
        }
    }

    /// The key of the cluster's member at `member`, which is connected to if it is new.
    fn server_at(&mut self, member: &Endpoint, now: Instant) -> usize {
        let known = self.servers.iter().find(|(_, server)| server.member.as_ref() == Some(member));
        if let Some((key, _)) = known {
            return key;
        }
        self.is_tick_due = true;
        let entry = self.servers.vacant_entry();
        let key = entry.key();
        entry.insert(Server::new(key, Some(member.clone()), &self.dialer, now));
        key
    }

    /// Takes a new map of slots: connects to new masters, leaves those that serve nothing any more.
    pub(super) fn handle_map(&mut self, outcome: Result<Vec<SlotRange>, LinkFault>) {
        let now = Instant::now();
        self.is_tick_due = true;
        let ranges = match outcome {
            Ok(ranges) => ranges,
            Err(fault) => return self.tell_away(&fault),
        };
        let mut gone: Vec<usize> = Vec::new();
        for (key, server) in &mut self.servers {
            let is_left_out = ranges.iter().all(|(_, _, member)| server.member.as_ref() != Some(member));
            if is_left_out && server.is_left_out {
                gone.push(key);
            }
            self.gathered.is_map_stale |= is_left_out;
            server.is_left_out = is_left_out;
        }
        for key in &gone {
            if let Some(server) = self.servers.get_mut(*key) {
                server.supersede(&mut self.gathered, &mut self.rng, &mut self.changes);
            }
        }
        self.handle_changes();
        for key in gone {
            self.servers.remove(key);
        }
        let keys: Vec<usize> = ranges.iter().map(|(_, _, member)| self.server_at(member, now)).collect();
        if let Some(topology) = &mut self.topology {
            topology.clear();
            for ((first, last, _), key) in ranges.into_iter().zip(keys) {
                for slot in first..=last {
                    topology.set_owner(slot, key);
                }
            }
            let is_up = |server: &Server| server.publisher.is_up() && server.is_subscriber_ready();
            if !self.servers.iter().all(|(_, server)| is_up(server)) {
                topology.expect_change(now);
            }
        }
        self.is_waiting_due = true;
    }

    /// Connections came up or went down: chooses homes, and tells what the caller has to know.
    pub(super) fn handle_changes(&mut self) {
        self.is_tick_due = true;
        for (key, change) in std::mem::take(&mut self.changes) {
            match change {
                Change::PublisherUp | Change::SubscriberDialed => {}
                Change::SubscriberUp => self.is_waiting_due = true,
                Change::PublisherDown(fault) => {
                    self.gathered.is_map_stale = true;
                    if self.publish_home == Some(key) {
                        self.publish_home = None;
                        self.publish_fault.clear();
                    }
                    if self.publish_home.is_none() {
                        self.tell_publisher(&fault);
                    }
                }
                Change::SubscriberDown(fault, channels) => {
                    self.gathered.is_map_stale = true;
                    if self.subscribe_home == Some(key) {
                        self.subscribe_home = None;
                        self.subscribe_fault.clear();
                    }
                    if self.subscribe_home.is_none() {
                        self.tell_subscriber(&fault);
                    }
                    if self.topology.is_some() && !channels.is_empty() {
                        self.gathered.events.push_back(Event::Lost(channels));
                    }
                }
            }
        }
        self.choose_homes();
    }

    fn choose_homes(&mut self) {
        if self.publish_home.is_none() {
            let mut servers = self.servers.iter();
            if let Some((key, _)) = servers.find(|(_, server)| server.publisher.is_up()) {
                self.publish_home = Some(key);
                self.publish_fault.clear();
                self.gathered.events.push_back(Event::PublisherUp);
                self.watch_master(key);
            }
        }
        if self.subscribe_home.is_none() {
            let mut servers = self.servers.iter();
            if let Some((key, _)) = servers.find(|(_, server)| server.is_subscriber_ready()) {
                self.subscribe_home = Some(key);
                self.subscribe_fault.clear();
                self.gathered.events.push_back(Event::SubscriberUp);
            }
        }
    }

    /// With sentinels: begins to watch whether they name another master than the one just connected to.
    fn watch_master(&mut self, key: usize) {
        let publisher = self.servers.get_mut(key).and_then(|server| server.publisher.up());
        if self.topology.is_none()
            && let Some(publisher) = publisher
        {
            let current = publisher.socket.endpoint.clone();
            self.watch = Some(Box::pin(self.dialer.clone().superseded(current)));
        }
    }

    fn tell_away(&mut self, fault: &LinkFault) {
        if self.publish_home.is_none() {
            self.tell_publisher(fault);
        }
        if self.subscribe_home.is_none() {
            self.tell_subscriber(fault);
        }
    }

    /// Tells why there is no publisher, unless that was the last thing told.
    fn tell_publisher(&mut self, fault: &LinkFault) {
        let text = fault.to_string();
        if self.publish_fault != text {
            self.publish_fault = text;
            self.gathered.events.push_back(Event::PublisherDown(fault.clone()));
        }
    }

    /// The same of the subscriber.
    fn tell_subscriber(&mut self, fault: &LinkFault) {
        let text = fault.to_string();
        if self.subscribe_fault != text {
            self.subscribe_fault = text;
            self.gathered.events.push_back(Event::SubscriberDown(fault.clone()));
        }
    }
}

fn group(groups: &mut Vec<(usize, Vec<Bytes>)>, key: usize) -> &mut Vec<Bytes> {
    let at = groups.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        groups.push((key, Vec::new()));
        groups.len() - 1
    });
    &mut groups[at].1
}
