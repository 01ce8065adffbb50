//! What goes into a link and comes out of it.

use bytes::Bytes;

use crate::LinkFault;

/// How a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `PUBLISH`: to the whole of a Redis Cluster.
    Plain,
    /// `SPUBLISH`: to the shard that owns the channel's slot. Redis 7.
    Sharded,
}

/// How a channel is subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `SUBSCRIBE`: this channel.
    Exact,
    /// `PSUBSCRIBE`: every channel that matches.
    Pattern,
    /// `SSUBSCRIBE`: this shard channel. Redis 7.
    Sharded,
}

/// Why a publish was not taken; nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No connection that could carry it.
    #[error("Redis is away")]
    Down,
    /// `publish_queue_bytes` are waiting to be written.
    #[error("too much is waiting to be written to Redis")]
    QueueFull,
}

/// A command that is no publish. Keys are not prefixed or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// How many connections subscribe to the channel, itself and not by pattern, on all masters together.
    /// Answered by [`Reply::Count`], and by an error while one of them is not connected: the number is not known.
    CountSubscribers(Way, Bytes),
    /// Sets `key` for `ttl_ms`. Answered by [`Reply::Done`].
    Set {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// After which it is gone, in ms; at least 1.
        ttl_ms: u64,
    },
    /// Sets `key` for `ttl_ms` unless it exists. Answered by [`Reply::Value`]: `None` when it was set now, otherwise
    /// what was there. Redis 7.
    SetIfAbsent {
        /// The key.
        key: Bytes,
        /// Its value, if it has none.
        value: Bytes,
        /// After which it is gone, in ms; at least 1.
        ttl_ms: u64,
    },
    /// The values of keys. Answered by [`Reply::Values`] in the same order.
    Get(Vec<Bytes>),
    /// Removes `key`. Answered by [`Reply::Count`]: 0 or 1.
    Delete(Bytes),
    /// Adds to the set at `key`. Answered by [`Reply::Count`]: 0 when it was in.
    AddToSet(Bytes, Bytes),
    /// Removes from the set at `key`. Answered by [`Reply::Count`]: 0 when it was not in.
    RemoveFromSet(Bytes, Bytes),
    /// The members of the set at `key`, in no order. Answered by [`Reply::Members`].
    Members(Bytes),
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// A number.
    Count(u64),
    /// The value of one key.
    Value(Option<Bytes>),
    /// The values of several keys.
    Values(Vec<Option<Bytes>>),
    /// The members of a set.
    Members(Vec<Bytes>),
}

/// What has happened on a link.
#[derive(Clone, Debug)]
pub enum Event {
    /// Publishes are taken.
    PublisherUp,
    /// Plain publishes are refused from now on; why. Every ticket on the way there is answered before.
    PublisherDown(LinkFault),
    /// Messages can arrive; nothing is subscribed but shard channels that were not [`Lost`](Event::Lost). Whatever is
    /// wanted is to be subscribed now, all of it: what is already in force does no harm.
    SubscriberUp,
    /// Exact channels and patterns are not in force any more; why.
    SubscriberDown(LinkFault),
    /// These shard channels are not in force any more: their slot moved, or its master is away. They may be
    /// subscribed again at once, and are in force when [`Subscribed`](Event::Subscribed) says so.
    Lost(Vec<Bytes>),
    /// A message.
    Message {
        /// Where it was published; for a pattern too.
        channel: Bytes,
        /// What was published.
        payload: Bytes,
    },
    /// The subscription of this channel or pattern is in force.
    Subscribed(Bytes),
    /// The subscription of this channel or pattern has ended, as told.
    Unsubscribed(Bytes),
    /// What became of a publish with a ticket: how many received it, as Redis counts.
    Published {
        /// As given to [`Link::publish`](crate::Link::publish).
        ticket: u64,
        /// An error says that it is not known to have been published; it is not tried again.
        result: Result<u64, LinkFault>,
    },
    /// So many publishes without a ticket are not known to have been published, and are not tried again.
    PublishesLost(u64),
    /// The answer to a query.
    Answer {
        /// As given to [`Link::query`](crate::Link::query).
        id: u64,
        /// The reply, or why there is none.
        result: Result<Reply, LinkFault>,
    },
}

/// What a link has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Connections made after the first one of their kind and server.
    pub reconnects: u64,
    /// Connections replaced because nothing came back through them in time.
    pub heartbeats_missed: u64,
    /// How long the last probe took through Redis and back, in µs; 0 before the first.
    pub heartbeat_rtt_us: u64,
    /// Publishes that wait to be written, in bytes.
    pub queue_bytes: u64,
    /// Publishes, with or without a ticket, that are not known to have been published.
    pub publishes_lost: u64,
}
