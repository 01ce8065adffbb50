//! What a node is told and what it wants done.

use std::sync::Arc;
use std::time::Duration;

use adapter::{Argument, Broadcast, Event, NodeReach, Operation, Outcome, Ticket, WireFault};
use bytes::Bytes;
use socketio::{NamespaceName, RoomName, SocketId};

use crate::members::Peer;

/// Shards of this process, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet([u64; 4]);

impl ShardSet {
    /// Every shard, however many there are.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Adds a shard.
    pub fn insert(&mut self, shard: u8) {
        self.0[usize::from(shard >> 6)] |= 1 << (shard & 63);
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: u8) {
        self.0[usize::from(shard >> 6)] &= !(1 << (shard & 63));
    }

    /// Whether the shard is one of them.
    pub fn contains(&self, shard: u8) -> bool {
        self.0[usize::from(shard >> 6)] & (1 << (shard & 63)) != 0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// How channels are subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listen {
    /// SUBSCRIBE.
    Exact,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Sharded,
}

/// Names a question to Redis; its answer comes to [`Node::handle_reply`](crate::Node::handle_reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// A rare command to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// How many connections listen to this channel by its name, in the whole of Redis.
    CountSubscribers(Bytes),
    /// Sets a key for a time.
    Set {
        /// The key.
        key: String,
        /// Its value.
        value: Bytes,
        /// How long it lives.
        ttl: Duration,
    },
    /// Values of keys.
    Read(Vec<String>),
    /// Removes a key.
    Delete(String),
    /// Puts a member into a set.
    AddMember(String, String),
    /// Takes a member out of a set.
    RemoveMember(String, String),
    /// The members of a set.
    Members(String),
}

/// What Redis answers to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// How many.
    Count(u64),
    /// One value per key, if it exists.
    Values(Vec<Option<Bytes>>),
    /// The members of a set.
    Members(Vec<String>),
    /// It could not be done; why has been reported by the link.
    Failed,
}

/// Names what a caller here asks of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// What a caller here asks of the other nodes. This node's own sockets are the caller's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To do something with their sockets, or to tell about them. Of joins, leaves and disconnections Node servers
    /// tell nothing.
    Operate(Operation),
    /// To do something with their sockets; nobody answers.
    Act(Operation),
    /// To deliver a broadcast and pass on what clients acknowledge.
    Call(Broadcast),
    /// To take an event that is for servers.
    ServerSideEmit {
        /// The namespace.
        namespace: NamespaceName,
        /// Its name and arguments.
        event: Event,
        /// Whether they are to answer it.
        acknowledged: bool,
    },
}

/// A part of the answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What one node answers about its sockets.
    Outcome(Outcome),
    /// How many clients of one node were asked for an acknowledgement.
    Called(u64),
    /// All nodes have said how many they asked.
    AllCalled,
    /// One client's acknowledgement.
    Acknowledged {
        /// Its first argument.
        argument: Argument,
        /// The client's socket, if its node says so.
        socket: Option<SocketId>,
        /// The name of the node; empty if it does not say.
        node: Arc<str>,
    },
    /// One server's answer.
    Served {
        /// Its first argument.
        argument: Argument,
        /// The name of the node; empty if it does not say.
        node: Arc<str>,
    },
    /// How far a broadcast got on one node.
    Reached(NodeReach),
    /// No more comes: all have answered, or the time is over.
    End(Coverage),
}

/// Which other nodes an answer speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Other nodes asked.
    pub asked: u32,
    /// Those that answered in time.
    pub answered: u32,
    /// Names of those that did not, as far as they have names.
    pub missing: Vec<String>,
}

/// Names what another node asks of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InquiryId(pub u64);

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Publish to Redis. If there is a ticket, somebody waits for what becomes of it.
    Publish {
        /// The channel.
        channel: Bytes,
        /// The message.
        payload: Bytes,
        /// As given to [`Node::publish`](crate::Node::publish).
        ticket: Option<u64>,
    },
    /// Subscribe to channels, in one command.
    Subscribe(Listen, Vec<Bytes>),
    /// Give channels back, in one command.
    Unsubscribe(Listen, Vec<Bytes>),
    /// Ask Redis.
    Query(QueryId, Query),
    /// Deliver a broadcast of another node to the sockets of these shards.
    Deliver(ShardSet, Broadcast),
    /// The same, and say how far it got: to [`Node::handle_reached`](crate::Node::handle_reached).
    DeliverReporting(InquiryId, ShardSet, Broadcast),
    /// What these tickets of a shard waited for is in force.
    Confirm(u8, Vec<Ticket>),
    /// Do something with the sockets here; nobody waits for it.
    Act(Operation),
    /// Tell about the sockets here: to [`Node::handle_outcome`](crate::Node::handle_outcome).
    Inquire(InquiryId, Operation),
    /// Deliver to the sockets here and collect acknowledgements for that long: to
    /// [`Node::handle_called`](crate::Node::handle_called), then
    /// [`Node::handle_acknowledged`](crate::Node::handle_acknowledged).
    Call(InquiryId, Broadcast, Duration),
    /// A part of what a caller here has asked for.
    Answer(AskId, Part),
    /// The other Roomcast nodes, whenever they change.
    Peers(Vec<Peer>),
    /// For metrics and logs.
    Happening(Happening),
}

/// Things worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Bytes on a channel that mean nothing: they are skipped.
    Undecodable {
        /// The channel, without what a client could choose: the room is left out.
        channel: String,
        /// What is wrong.
        fault: WireFault,
    },
    /// An event of a client or back end that would stop Node servers was not published.
    NotPublished(WireFault),
    /// All wanted channels are subscribed again.
    Restored {
        /// How many there are.
        channels: usize,
    },
    /// Another node uses the same number: sessions of both are forwarded to the wrong one.
    NodeNumberTaken(Peer),
    /// More requests of other nodes wait for an answer than may: this one is not answered.
    TooManyInquiries,
}

/// What has happened since the node was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Broadcasts published.
    pub published: u64,
    /// Broadcasts of others that were delivered.
    pub delivered: u64,
    /// Own messages that came back.
    pub echoes: u64,
    /// Requests of others that were answered.
    pub answered: u64,
    /// Messages that mean nothing.
    pub undecodable: u64,
    /// Channels that should be subscribed.
    pub wanted: u64,
    /// Channels that are.
    pub in_force: u64,
    /// Asks of callers here and requests of other nodes that wait for their answer.
    pub waiting: u64,
}

/// The room of a broadcast that is for one room alone.
pub(crate) fn only_room(broadcast: &Broadcast) -> Option<&RoomName> {
    match broadcast.targets.rooms.as_slice() {
        [room] => Some(room),
        _ => None,
    }
}
