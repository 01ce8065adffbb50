//! A shard: the connections of one core, their sockets and rooms.
//!
//! Inputs are `handle_*` calls and the requests of polling clients; each takes the time. They fill outboxes
//! and put connections on the dirty list; [`Shard::flush`] then writes each dirty connection once, through a
//! [`Sink`](crate::Sink). What other parts of the node have to do comes out of [`Shard::poll_output`].

mod calls;
mod client_events;
mod delivery;
mod lifecycle;
mod namespaces;
mod operations;
mod pace;
mod packets;
mod polling;
mod shrink;
mod turn;
mod v09;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use adapter::{Delivery, Subscriptions};
use admission::Rate;
use engineio::{EngineConfig, Owner, SessionId, SidKey};
use hashbrown::HashTable;
use rand::rngs::StdRng;
use rooms::{Registry, SocketKey};
use slab::Slab;
use socketio::{DecodeLimits, NamespaceName};

use self::{calls::Calls, polling::ProbeAnswer};
pub use self::{calls::TooManyCalls, delivery::Reach, lifecycle::Opening, packets::Flow, polling::Refusal};
use crate::{
    compression::Compressor,
    config::{LimitsConfig, NamespaceConfig},
    connection::Connection,
    encoded::Encoded,
    io::{ConnectionKey, Counters, Happening, LinkId, Output, Payload, PollId},
    joined::Joined,
    outbox::{Item, Spares},
    policy::{Policies, Policy},
    wheel::{Tick, Wheel},
};

/// Keys of the timer wheel with this bit belong to links, the others to connections.
const LINK_KEY: u32 = 1 << 31;

/// The status of the close frame that ends a client over its rate.
///
/// Source: RFC 6455, section 7.4.1.
const POLICY_VIOLATION: u16 = 1008;

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Heartbeat, transports and payload limits.
    pub engine: EngineConfig,
    /// Limits of clients.
    pub limits: LimitsConfig,
    /// What clients may do, by namespace.
    pub namespaces: Vec<NamespaceConfig>,
    /// The node and shard that session ids name.
    pub owner: Owner,
    /// Authenticates session ids.
    pub sid_key: SidKey,
    /// Whether joins wait for subscriptions.
    pub subscriptions: Subscriptions,
    /// How long a message must be to be compressed, where a client and we have agreed on that, in bytes.
    pub deflate_bytes_min: u32,
}

/// One namespace with the sockets that this shard has in it.
#[derive(Debug)]
struct Namespace {
    name: NamespaceName,
    policy: Rc<Policy>,
    rooms: Registry,
    /// What sockets authenticated with, of those that did: JSON text.
    auths: HashMap<SocketKey, Box<str>>,
}

/// Packets that never differ, encoded once.
#[derive(Debug)]
struct Constants {
    ping: Arc<Encoded>,
    pong: Arc<Encoded>,
    noop: Arc<Encoded>,
    close: Arc<Encoded>,
    probe_pong: Arc<Encoded>,
    close_frame: Arc<Encoded>,
    too_fast_frame: Arc<Encoded>,
}

/// The connections of one core. See the module's documentation.
pub struct Shard {
    engine: EngineConfig,
    limits: LimitsConfig,
    decode_limits: DecodeLimits,
    /// What one connection may send; `None` is anything.
    packet_rate: Option<Rate>,
    policies: Policies,
    owner: Owner,
    sid_key: SidKey,
    subscriptions: Subscriptions,
    connections: Slab<Connection>,
    /// Connections by the hash of their sid.
    sids: HashTable<u32>,
    sid_hash: RandomState,
    namespaces: Slab<Namespace>,
    namespace_names: HashMap<NamespaceName, u32>,
    recent_namespace: u32,
    wheel: Wheel,
    due: Vec<(u32, Tick)>,
    spares: Spares,
    joined: Joined,
    compressor: Compressor,
    /// Connections with something to write, each once.
    dirty: Vec<u32>,
    /// Connections whose outbox overflowed in this turn.
    overflowed: Vec<ConnectionKey>,
    /// Those that wait for what the last operation made their sockets join.
    awaiting: Vec<ConnectionKey>,
    /// Links to be closed in this turn.
    doomed: Vec<LinkId>,
    /// Packets for WebSockets that are not their session's transport yet.
    probe_answers: Vec<ProbeAnswer>,
    /// Polls to be answered beside the outbox of their connection.
    late_answers: Vec<(PollId, Payload)>,
    calls: Calls,
    /// Filled by one turn and drained at its end.
    outputs: VecDeque<Output>,
    counters: Counters,
    constants: Constants,
    rng: StdRng,
    generation: u32,
    drained_to: usize,
}

impl Shard {
    /// An empty shard. All its randomness comes from `rng`.
    pub fn new(config: ShardConfig, rng: StdRng, now: Instant) -> Self {
        Self {
            decode_limits: DecodeLimits {
                attachments_max: config.limits.attachments_per_packet.into(),
                ..DecodeLimits::default()
            },
            packet_rate: Rate::new(config.limits.packets_per_second),
            policies: Policies::new(&config.namespaces),
            engine: config.engine,
            limits: config.limits,
            owner: config.owner,
            sid_key: config.sid_key,
            subscriptions: config.subscriptions,
            connections: Slab::new(),
            sids: HashTable::new(),
            sid_hash: RandomState::new(),
            namespaces: Slab::new(),
            namespace_names: HashMap::new(),
            recent_namespace: 0,
            wheel: Wheel::new(now),
            due: Vec::new(),
            spares: Spares::default(),
            joined: Joined::default(),
            compressor: Compressor::new(config.deflate_bytes_min),
            dirty: Vec::new(),
            overflowed: Vec::new(),
            awaiting: Vec::new(),
            doomed: Vec::new(),
            probe_answers: Vec::new(),
            late_answers: Vec::new(),
            calls: Calls::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            constants: Constants::new(),
            rng,
            generation: 0,
            drained_to: 0,
        }
    }

    /// The next thing that another part of the node has to do. Drain until `None` at the end of each turn.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What has been counted since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// How many connections there are, closing ones included.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Bytes that wait in all outboxes. Walks all connections.
    pub fn outbox_bytes(&self) -> u64 {
        self.connections.iter().map(|(_, connection)| u64::from(connection.outbox.queued_bytes())).sum()
    }

    /// How many sockets there are in all namespaces.
    pub fn socket_count(&self) -> usize {
        self.namespaces.iter().map(|(_, namespace)| namespace.rooms.len()).sum()
    }

    /// How many rooms with members there are in all namespaces, private ones not counted.
    pub fn room_count(&self) -> usize {
        self.namespaces.iter().map(|(_, namespace)| namespace.rooms.rooms().count()).sum()
    }

    /// The rules of Engine.IO that its clients are held to.
    pub fn engine(&self) -> &EngineConfig {
        &self.engine
    }

    fn index_of(&self, key: ConnectionKey) -> Option<u32> {
        let connection = self.connections.get(key.index as usize)?;
        (connection.generation == key.generation).then_some(key.index)
    }

    fn find_sid(&self, sid: &SessionId) -> Option<u32> {
        let hash = self.sid_hash.hash_one(sid);
        self.sids.find(hash, |index| self.connections[*index as usize].sid == *sid).copied()
    }

    /// The namespace of this name, if it has sockets here.
    fn find_namespace(&mut self, name: &str) -> Option<u32> {
        // Most broadcasts are for the namespace of the one before: comparing names is cheaper than hashing one.
        let recent = self.namespaces.get(self.recent_namespace as usize);
        if recent.is_none_or(|namespace| namespace.name.as_str() != name) {
            self.recent_namespace = *self.namespace_names.get(name)?;
        }
        Some(self.recent_namespace)
    }

    fn happening(&mut self, happening: Happening) {
        self.outputs.push_back(Output::Happening(happening));
    }

    fn mark_dirty(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Queues a packet of the protocols themselves for one connection.
    fn send(&mut self, index: u32, message: Arc<Encoded>) {
        let connection = &mut self.connections[index as usize];
        self.counters.packets_out += 1;
        let item = Item::new(message, Delivery::Reliable);
        match connection.outbox.push(item, self.limits.outbox_bytes, &mut self.spares) {
            Ok(dropped) => self.counters.volatile_dropped += u64::from(dropped),
            Err(_) => self.overflowed.push(ConnectionKey { index, generation: connection.generation }),
        }
        self.mark_dirty(index);
    }

    /// Arms the wheel for the connection's next deadline, unless it is armed for an earlier time already.
    fn arm(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if let Some(at) = connection.deadline()
            && connection.armed.is_none_or(|tick| self.wheel.is_later(tick, at))
        {
            connection.armed = Some(self.wheel.arm(index, at));
        }
    }
}

impl Constants {
    fn new() -> Self {
        let packet =
            |text: &'static str| Arc::new(Encoded::packet(|out| out.extend_from_slice(text.as_bytes())));
        Self {
            ping: packet("2"),
            pong: packet("3"),
            noop: packet("6"),
            close: packet("1"),
            probe_pong: packet("3probe"),
            close_frame: Arc::new(Encoded::raw(websocket::close_frame(None))),
            too_fast_frame: Arc::new(Encoded::raw(websocket::close_frame(Some(POLICY_VIOLATION)))),
        }
    }
}
