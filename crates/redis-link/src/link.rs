//! The link: one publishing and one subscribing connection per server, driven by whoever awaits its events.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use slab::Slab;
use tokio::time::{Sleep, sleep_until};

use crate::dial::Dialer;
use crate::gathered::{Gathered, ShardPublish};
use crate::queries::{self, Queries, Routes};
use crate::redirects::Redirects;
use crate::server::{Change, Server};
use crate::slots::slot_of;
use crate::target::{Endpoint, Target};
use crate::topology::Topology;
use crate::{Event, Kind, LinkConfig, LinkFault, LinkStats, Query, Refused, Way};

mod routing;

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection to Redis, of whatever topology. It has no task of its own: everything happens while
/// [`next`](Self::next) is awaited, on the caller's thread, and what was published since is written then, at once.
pub struct Link {
    dialer: Dialer,
    rng: StdRng,
    servers: Slab<Server>,
    /// `None` unless it is a Redis Cluster.
    topology: Option<Topology>,
    /// The servers for what concerns all: plain publishes, and exact channels and patterns.
    publish_home: Option<usize>,
    subscribe_home: Option<usize>,
    /// What was last told of why there is no home, so that it is told once.
    publish_fault: String,
    subscribe_fault: String,
    /// Shard channels whose master is not known or away.
    waiting: HashSet<Bytes>,
    is_waiting_due: bool,
    redirects: Redirects,
    queries: Queries,
    gathered: Gathered,
    changes: Vec<(usize, Change)>,
    /// With sentinels: ends when they name another master.
    watch: Option<Watch>,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    /// Whether something other than the timer asks for a tick.
    is_tick_due: bool,
}

impl Link {
    /// Begins to connect. That Redis is away is a state, not an error: [`Event`]s tell it.
    ///
    /// `config` is one that [`LinkConfig::check`] has no fault with; `seed` decides pauses and the names of
    /// heartbeat channels, and has to differ from gateway to gateway.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and IO.
    pub fn open(config: LinkConfig, seed: u64) -> Self {
        let target =
            Target::parse(&config.url).unwrap_or(Target::Servers { endpoints: Vec::new(), tls: false });
        let dialer = Dialer { config: Arc::new(config), target: Arc::new(target) };
        let now = Instant::now();
        let mut servers = Slab::new();
        let topology = match &*dialer.target {
            Target::Cluster { .. } => Some(Topology::new(&dialer.config, now)),
            Target::Servers { .. } | Target::Sentinel { .. } => {
                let entry = servers.vacant_entry();
                let server = Server::new(entry.key(), None, &dialer, now);
                entry.insert(server);
                None
            }
        };
        Self {
            dialer,
            rng: StdRng::seed_from_u64(seed),
            servers,
            topology,
            publish_home: None,
            subscribe_home: None,
            publish_fault: String::new(),
            subscribe_fault: String::new(),
            waiting: HashSet::new(),
            is_waiting_due: false,
            redirects: Redirects::default(),
            queries: Queries::default(),
            gathered: Gathered::default(),
            changes: Vec::new(),
            watch: None,
            timer: Box::pin(sleep_until(now.into())),
            timer_at: now,
            is_tick_due: true,
        }
    }

    /// The next thing that happened. Cancel safe. Nothing is written or read unless this is awaited.
    pub async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What has happened and was not yet handed out; reads nothing.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.gathered.events.pop_front();
        if event.is_none() && self.gathered.lost > 0 {
            return Some(Event::PublishesLost(std::mem::take(&mut self.gathered.lost)));
        }
        event
    }

    /// Sends one message, after all that were sent before. What became of it is told by [`Event::Published`] if it
    /// has a `ticket`; without, a failure is only counted, in [`Event::PublishesLost`].
    ///
    /// # Errors
    /// [`Refused`]: it was not taken, and there is no event about it.
    pub fn publish(
        &mut self,
        way: Way,
        channel: Bytes,
        payload: Bytes,
        ticket: Option<u64>,
    ) -> Result<(), Refused> {
        let queue_bytes = self.dialer.config.publish_queue_bytes();
        let publish = ShardPublish { channel, payload, ticket, redirects: 0 };
        let (key, is_kept) = match (&self.topology, way) {
            (Some(topology), Way::Sharded) => {
                let slot = slot_of(&publish.channel);
                if self.redirects.holds(slot) {
                    return self.redirects.wait(slot, publish, queue_bytes);
                }
                (topology.owner(slot), true)
            }
            _ => (self.publish_home, false),
        };
        let server = key.and_then(|key| self.servers.get_mut(key)).ok_or(Refused::Down)?;
        let publisher = server.publisher.up().ok_or(Refused::Down)?;
        publisher.publish(way, publish, is_kept, queue_bytes)
    }

    /// Writes what the kernel takes without awaiting anything: to have messages on their way before other work.
    /// Faults are told by the next [`next`](Self::next).
    pub fn flush(&mut self) {
        // Whatever is left is registered with the real waker when `next` is awaited.
        let mut cx = Context::from_waker(Waker::noop());
        for (_, server) in &mut self.servers {
            if let Some(publisher) = server.publisher.up() {
                // The fault stays in the socket: reading from it meets it again.
                publisher.socket.poll_flush(&mut cx).ok();
            }
        }
    }

    /// Subscribes to all of `channels`, each of which is confirmed by [`Event::Subscribed`].
    ///
    /// While the subscriber is down, exact channels and patterns are forgotten, as [`Event::SubscriberUp`] asks for
    /// all of them; shard channels of a cluster wait for their master.
    pub fn subscribe(&mut self, kind: Kind, channels: Vec<Bytes>) {
        if kind == Kind::Sharded && self.topology.is_some() {
            self.waiting.extend(channels);
            self.place_waiting();
            return;
        }
        let home = self.subscribe_home.and_then(|key| self.servers.get_mut(key));
        if let Some(subscriber) = home.and_then(|server| server.subscriber.up()) {
            subscriber.subscribe(kind, channels, false, &mut self.gathered);
        }
    }

    /// Ends the subscriptions of all of `channels`, each of which is confirmed by [`Event::Unsubscribed`] unless its
    /// connection was lost.
    pub fn unsubscribe(&mut self, kind: Kind, mut channels: Vec<Bytes>) {
        if kind == Kind::Sharded && self.topology.is_some() {
            channels.retain(|channel| !self.waiting.remove(channel));
            self.unplace(channels);
            return;
        }
        let home = self.subscribe_home.and_then(|key| self.servers.get_mut(key));
        if let Some(subscriber) = home.and_then(|server| server.subscriber.up()) {
            subscriber.unsubscribe(kind, channels, false);
        }
    }

    /// Asks something, which [`Event::Answer`] answers with the same `id`, in `command_timeout_ms` at most. Queries and
    /// publishes to the same server keep their order.
    pub fn query(&mut self, id: u64, query: Query) {
        let deadline = Instant::now() + self.dialer.config.command_timeout();
        let keys: Option<Vec<usize>> = match queries::routes(&query) {
            Routes::Everywhere if self.topology.is_some() => {
                // One that serves no slot any more may be the dead master that was replaced.
                let masters = self.servers.iter().filter(|(_, server)| !server.is_left_out);
                Some(masters.map(|(key, _)| key).collect())
            }
            Routes::Everywhere => self.publish_home.map(|key| vec![key]),
            Routes::Slots(slots) => slots.into_iter().map(|slot| self.server_of(slot)).collect(),
        };
        let publishers_up = keys.as_ref().is_some_and(|keys| {
            let mut servers = keys.iter().map(|key| self.servers.get(*key));
            servers.all(|server| server.is_some_and(|server| server.publisher.is_up()))
        });
        let result = match keys {
            Some(keys) if publishers_up && !keys.is_empty() => {
                for (part, key) in keys.iter().enumerate() {
                    if let Some(publisher) =
                        self.servers.get_mut(*key).and_then(|server| server.publisher.up())
                    {
                        queries::send(publisher, id, part, &query, false);
                    }
                }
                self.queries.begin(id, query, keys.len(), deadline);
                self.is_tick_due |= deadline < self.timer_at;
                return;
            }
            Some(_) if matches!(&query, Query::Get(keys) if keys.is_empty()) => {
                Ok(crate::Reply::Values(Vec::new()))
            }
            _ => Err(LinkFault::Away),
        };
        self.gathered.events.push_back(Event::Answer { id, result });
    }

    /// What was counted since the link was opened.
    pub fn stats(&self) -> LinkStats {
        let queued: usize = self.servers.iter().map(|(_, server)| server.queued_bytes()).sum();
        let queue_bytes = u64::try_from(queued + self.redirects.bytes()).unwrap_or(u64::MAX);
        LinkStats { queue_bytes, ..self.gathered.stats }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.try_next() {
                return Poll::Ready(event);
            }
            self.poll_connections(cx);
            if self.timer.as_mut().poll(cx).is_ready() || self.is_tick_due {
                self.tick();
                // What begins to dial has to be polled once, and the timer too.
                continue;
            }
            if self.gathered.events.is_empty() && self.gathered.lost == 0 {
                return Poll::Pending;
            }
        }
    }

    fn poll_connections(&mut self, cx: &mut Context<'_>) {
        for (_, server) in &mut self.servers {
            server.poll(cx, &mut self.gathered, &mut self.rng, &mut self.changes);
        }
        if let Some(outcome) = self.topology.as_mut().and_then(|topology| topology.poll(cx, &mut self.rng)) {
            self.handle_map(outcome);
        }
        if let Some(watch) = &mut self.watch
            && watch.as_mut().poll(cx).is_ready()
        {
            self.watch = None;
            for (_, server) in &mut self.servers {
                server.supersede(&mut self.gathered, &mut self.rng, &mut self.changes);
            }
        }
        if !self.changes.is_empty() {
            self.handle_changes();
        }
        if self.gathered.is_link_concerned() || self.is_waiting_due || !self.redirects.is_empty() {
            self.route_gathered();
        }
    }

    /// Does what is due, and arms the timer for what is due next.
    fn tick(&mut self) {
        let now = Instant::now();
        self.is_tick_due = false;
        for (key, server) in &mut self.servers {
            let topology = &self.topology;
            let owns = |slot| topology.as_ref().is_some_and(|topology| topology.owner(slot) == Some(key));
            server.tick(now, &self.dialer, owns, &mut self.gathered, &mut self.rng, &mut self.changes);
        }
        let members = self.members();
        if let Some(topology) = &mut self.topology {
            topology.fetch_if_due(now, &self.dialer, members);
        }
        while let Some(id) = self.queries.expire(now) {
            let result = Err(LinkFault::NoAnswer(self.dialer.config.command_timeout()));
            self.gathered.events.push_back(Event::Answer { id, result });
        }
        self.redirects.expire(now, &mut self.gathered);
        if !self.changes.is_empty() {
            self.handle_changes();
        }

        let servers = self.servers.iter().map(|(_, server)| server.deadline(now, &self.dialer));
        let map = self.topology.as_ref().and_then(Topology::deadline);
        let others = [map, self.queries.deadline(), self.redirects.deadline()];
        let latest = now + self.dialer.config.heartbeat_interval();
        self.timer_at = servers.chain(others.into_iter().flatten()).fold(latest, Instant::min);
        self.timer.as_mut().reset(self.timer_at.into());
    }

    /// Those who may know the map: servers in use first, then those of the configuration.
    fn members(&self) -> Vec<Endpoint> {
        let Target::Cluster { seeds, .. } = &*self.dialer.target else { return Vec::new() };
        let (up, down): (Vec<_>, Vec<_>) =
            self.servers.iter().map(|(_, server)| server).partition(|server| server.publisher.is_up());
        let known = up.into_iter().chain(down).filter_map(|server| server.member.clone());
        let mut members: Vec<Endpoint> = Vec::new();
        for member in known.chain(seeds.iter().cloned()) {
            if !members.contains(&member) {
                members.push(member);
            }
        }
        members
    }
}
