//! One server: a connection for commands, one for messages, and the heartbeat that goes through both.

use std::task::Context;
use std::time::Instant;

use bytes::Bytes;
use rand::{Rng, rngs::StdRng};

use crate::dial::Dialer;
use crate::gathered::Gathered;
use crate::half::{Dial, Half};
use crate::publisher::Publisher;
use crate::slots::slot_of;
use crate::subscriber::Subscriber;
use crate::target::Endpoint;
use crate::{Kind, LinkFault, Way};

/// Random names to try until one falls into a slot of a server: one that serves a hundredth of all slots is
/// missed once in twenty thousand, and then at the next probe it is tried again.
const BEAT_NAMES_TRIED: usize = 1000;

/// One server and the state of its connections.
pub(crate) struct Server {
    key: usize,
    /// Which member of a cluster; otherwise the master, wherever it is.
    pub(crate) member: Option<Endpoint>,
    pub(crate) publisher: Half<Publisher>,
    pub(crate) subscriber: Half<Subscriber>,
    next_probe: Instant,
    /// Whether the last map of slots left this member out. One that does so again is right: the first may be
    /// older than the redirection that named the member.
    pub(crate) is_left_out: bool,
}

/// A change of a connection's state.
#[derive(Debug)]
pub(crate) enum Change {
    PublisherUp,
    /// Was up or not: why it is not.
    PublisherDown(LinkFault),
    /// There is a connection, not known yet to be of use.
    SubscriberDialed,
    SubscriberUp,
    /// The same, with the shard channels that it had.
    SubscriberDown(LinkFault, Vec<Bytes>),
}

impl Server {
    pub(crate) fn new(key: usize, member: Option<Endpoint>, dialer: &Dialer, now: Instant) -> Self {
        Self {
            key,
            member,
            publisher: Half::new(&dialer.config, now),
            subscriber: Half::new(&dialer.config, now),
            next_probe: now,
            is_left_out: false,
        }
    }

    /// Does what the sockets allow.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        gathered: &mut Gathered,
        rng: &mut StdRng,
        changes: &mut Vec<(usize, Change)>,
    ) {
        match self.publisher.up().map(|publisher| publisher.poll(cx, gathered)) {
            Some(Ok(turn)) if turn.is_alive => self.publisher.proven(),
            Some(Err(fault)) => self.publisher_failed(fault, gathered, rng, changes),
            Some(Ok(_)) | None => {}
        }
        match self.subscriber.up().map(|subscriber| subscriber.poll(cx, gathered)) {
            Some(Ok(turn)) => {
                if turn.is_ready {
                    changes.push((self.key, Change::SubscriberUp));
                }
                if turn.is_alive {
                    self.subscriber.proven();
                }
            }
            Some(Err(fault)) => self.subscriber_failed(fault, rng, changes),
            None => {}
        }
        match self.publisher.poll_dial(cx) {
            Some(Ok(socket)) => {
                let again = self.publisher.set_up(Publisher::new(self.key, socket));
                gathered.stats.reconnects += u64::from(again);
                self.next_probe = Instant::now();
                changes.push((self.key, Change::PublisherUp));
            }
            Some(Err(fault)) => self.publisher_failed(fault, gathered, rng, changes),
            None => {}
        }
        match self.subscriber.poll_dial(cx) {
            Some(Ok(socket)) => {
                let again = self.subscriber.set_up(Subscriber::new(socket));
                gathered.stats.reconnects += u64::from(again);
                // Which begins with the subscription of the probes' channel.
                self.next_probe = Instant::now();
                changes.push((self.key, Change::SubscriberDialed));
            }
            Some(Err(fault)) => self.subscriber_failed(fault, rng, changes),
            None => {}
        }
    }

    /// Does what is due; `owns` says which slots this member serves.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        dialer: &Dialer,
        owns: impl Fn(u16) -> bool,
        gathered: &mut Gathered,
        rng: &mut StdRng,
        changes: &mut Vec<(usize, Change)>,
    ) {
        let member = &self.member;
        self.publisher.dial_if_due(now, || dial(dialer, member, "roomcast-publish"));
        self.subscriber.dial_if_due(now, || dial(dialer, member, "roomcast-subscribe"));
        self.judge(now, dialer, gathered, rng, changes);
        if self.next_probe <= now {
            self.next_probe = now + dialer.config.heartbeat_interval();
            self.probe(now, owns, rng);
        }
    }

    /// Replaces connections whose probes did not come back. What has arrived has been read before.
    fn judge(
        &mut self,
        now: Instant,
        dialer: &Dialer,
        gathered: &mut Gathered,
        rng: &mut StdRng,
        changes: &mut Vec<(usize, Change)>,
    ) {
        let patience = dialer.config.heartbeat_timeout();
        let is_late = |since: Instant| now.saturating_duration_since(since) >= patience;
        let silent = |socket: &Endpoint| LinkFault::Silent { address: socket.to_string(), patience };
        if let Some(publisher) = self.publisher.up()
            && publisher.oldest_probe().is_some_and(is_late)
        {
            let fault = silent(&publisher.socket.endpoint);
            gathered.stats.heartbeats_missed += 1;
            self.publisher_failed(fault, gathered, rng, changes);
        }
        if let Some(subscriber) = self.subscriber.up()
            && subscriber.oldest_probe().is_some_and(is_late)
        {
            let fault = silent(&subscriber.socket.endpoint);
            gathered.stats.heartbeats_missed += 1;
            self.subscriber_failed(fault, rng, changes);
        }
    }

    fn probe(&mut self, now: Instant, owns: impl Fn(u16) -> bool, rng: &mut StdRng) {
        let way = if self.member.is_some() { Way::Sharded } else { Way::Plain };
        let mut channel = None;
        if let Some(subscriber) = self.subscriber.up() {
            if subscriber.beat.is_empty()
                && let Some(beat) = beat_name(way, owns, rng)
            {
                let kind = if way == Way::Sharded { Kind::Sharded } else { Kind::Exact };
                subscriber.subscribe_beat(kind, beat);
            }
            subscriber.probed(now);
            // Not through Redis and back as long as one of the two connections could not carry it.
            if subscriber.is_beat_subscribed && self.publisher.is_up() {
                channel = Some((way, subscriber.beat.clone()));
            } else {
                subscriber.ping();
            }
        }
        if let Some(publisher) = self.publisher.up() {
            publisher.probe(channel.as_ref().map(|(way, channel)| (*way, channel)), now);
        }
    }

    /// Whether messages can arrive.
    pub(crate) fn is_subscriber_ready(&self) -> bool {
        self.subscriber.connection().is_some_and(|subscriber| subscriber.is_ready)
    }

    /// Bytes that wait to be written to the publisher.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.publisher.connection().map_or(0, |publisher| publisher.socket.queued_bytes())
    }

    /// When [`tick`](Self::tick) is to be called at the latest.
    pub(crate) fn deadline(&self, now: Instant, dialer: &Dialer) -> Instant {
        let dials = [self.publisher.deadline(), self.subscriber.deadline()];
        let probe = match self.publisher.is_up() || self.subscriber.is_up() {
            true => self.next_probe,
            false => now + dialer.config.heartbeat_interval(),
        };
        dials.into_iter().flatten().fold(probe, Instant::min)
    }

    /// Ends both connections, as another server is to be used.
    pub(crate) fn supersede(
        &mut self,
        gathered: &mut Gathered,
        rng: &mut StdRng,
        changes: &mut Vec<(usize, Change)>,
    ) {
        if let Some(publisher) = self.publisher.up() {
            let fault = LinkFault::Superseded { address: publisher.socket.endpoint.to_string() };
            self.publisher_failed(fault, gathered, rng, changes);
        }
        if let Some(subscriber) = self.subscriber.up() {
            let fault = LinkFault::Superseded { address: subscriber.socket.endpoint.to_string() };
            self.subscriber_failed(fault, rng, changes);
        }
    }

    fn publisher_failed(
        &mut self,
        fault: LinkFault,
        gathered: &mut Gathered,
        rng: &mut StdRng,
        changes: &mut Vec<(usize, Change)>,
    ) {
        if let Some(publisher) = self.publisher.set_down(Instant::now(), rng) {
            publisher.fail(&fault, gathered);
        }
        changes.push((self.key, Change::PublisherDown(fault)));
    }

    fn subscriber_failed(&mut self, fault: LinkFault, rng: &mut StdRng, changes: &mut Vec<(usize, Change)>) {
        let lost = self.subscriber.set_down(Instant::now(), rng).map(Subscriber::fail);
        changes.push((self.key, Change::SubscriberDown(fault, lost.unwrap_or_default())));
    }
}

fn dial(dialer: &Dialer, member: &Option<Endpoint>, name: &'static str) -> Dial {
    match member.clone() {
        Some(member) => Box::pin(dialer.clone().member(member, name)),
        None => Box::pin(dialer.clone().primary(name)),
    }
}

/// A channel of our own that nobody else names; for [`Way::Sharded`] one that the server serves.
fn beat_name(way: Way, owns: impl Fn(u16) -> bool, rng: &mut StdRng) -> Option<Bytes> {
    let mut names = std::iter::repeat_with(|| format!("roomcast:heartbeat:{:016x}", rng.random::<u64>()));
    match way {
        Way::Plain => names.next(),
        Way::Sharded => names.take(BEAT_NAMES_TRIED).find(|name| owns(slot_of(name.as_bytes()))),
    }
    .map(Bytes::from)
}
