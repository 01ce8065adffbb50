//! A Redis that carries out at once and in order what nodes want, and nodes whose shards are lists.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter::{
    Action, Argument, Broadcast, Delivery, Event, NodeReach, Operation, Outcome, Subscription,
    SubscriptionMode, Targets, Ticket,
};
use bytes::Bytes;
use cluster::{
    Ask, AskId, ClusterConfig, Family, Happening, Listen, ListenMode, Node, Output, Part, Query, Reply,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use socketio::{NamespaceName, RoomName, SocketId};

use crate::keys::Keys;

pub(crate) const CLASSIC: Family = Family::Classic;
pub(crate) const DYNAMIC: Family = Family::Sharded(SubscriptionMode::Dynamic);

/// One node and what came of its outputs.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) delivered: Vec<String>,
    pub(crate) confirmed: BTreeSet<u64>,
    pub(crate) acted: Vec<Action>,
    pub(crate) parts: Vec<Part>,
    pub(crate) happenings: Vec<Happening>,
    /// Whether it takes what Redis sends.
    pub(crate) is_stopped: bool,
    listening: BTreeSet<(Listen, Bytes)>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) members: Vec<Member>,
    pub(crate) published: Vec<(String, Bytes)>,
    began: Instant,
    keys: Keys,
}

pub(crate) fn namespace() -> NamespaceName {
    NamespaceName::main()
}

pub(crate) fn to(rooms: &[&str]) -> Targets {
    Targets { rooms: rooms.iter().map(RoomName::new).collect(), except: Vec::new() }
}

pub(crate) fn event(rooms: &[&str], json: &str) -> Broadcast {
    Broadcast {
        namespace: namespace(),
        targets: to(rooms),
        delivery: Delivery::Reliable,
        event: Event { json: Bytes::copy_from_slice(json.as_bytes()), attachments: Vec::new() },
    }
}

impl World {
    /// Nodes that are connected.
    pub(crate) fn new(count: u16, family: Family, listen: ListenMode) -> Self {
        let now = Instant::now();
        let mut world =
            Self { now, members: Vec::new(), published: Vec::new(), began: now, keys: Keys::default() };
        for node in 0..count {
            let config = ClusterConfig {
                listen,
                lease: Duration::from_secs(8),
                ..ClusterConfig::new(family, node, format!("gateway-{node}"))
            };
            world.members.push(Member {
                node: Node::new(config, StdRng::seed_from_u64(node.into())),
                delivered: Vec::new(),
                confirmed: BTreeSet::new(),
                acted: Vec::new(),
                parts: Vec::new(),
                happenings: Vec::new(),
                is_stopped: false,
                listening: BTreeSet::new(),
            });
            world.connect(node.into());
        }
        world
    }

    pub(crate) fn connect(&mut self, member: usize) {
        let Member { node, listening, .. } = &mut self.members[member];
        listening.clear();
        node.handle_publisher_up(self.now);
        node.handle_subscriber_up();
        self.settle();
    }

    /// It does nothing any more, and Redis knows.
    pub(crate) fn kill(&mut self, member: usize) {
        let Member { is_stopped, listening, .. } = &mut self.members[member];
        listening.clear();
        *is_stopped = true;
    }

    pub(crate) fn cut(&mut self, member: usize) {
        let Member { node, listening, .. } = &mut self.members[member];
        listening.clear();
        node.handle_publisher_down();
        node.handle_subscriber_down();
        self.settle();
    }

    /// A socket of shard 0 of a node joins a room, and the namespace.
    pub(crate) fn join(&mut self, member: usize, room: &str, ticket: u64) {
        for (room, ticket) in [(None, ticket), (Some(RoomName::new(room)), ticket + 1)] {
            let subscription = Subscription { namespace: namespace(), room };
            self.members[member].node.subscribe(0, subscription, Some(Ticket(ticket)), self.now);
        }
        self.settle();
    }

    pub(crate) fn leave(&mut self, member: usize, room: Option<&str>) {
        let subscription = Subscription { namespace: namespace(), room: room.map(RoomName::new) };
        self.members[member].node.unsubscribe(0, &subscription, self.now);
        self.settle();
    }

    pub(crate) fn publish(&mut self, member: usize, broadcast: &Broadcast) {
        self.members[member].node.publish(broadcast, None).unwrap();
        self.settle();
    }

    pub(crate) fn publish_reporting(&mut self, member: usize, broadcast: &Broadcast) -> &[Part] {
        self.members[member].parts.clear();
        let node = &mut self.members[member].node;
        node.publish_reporting(AskId(1), broadcast, None, Duration::from_secs(5), self.now).unwrap();
        self.settle();
        &self.members[member].parts
    }

    pub(crate) fn ask(&mut self, member: usize, ask: Ask) -> &[Part] {
        self.members[member].parts.clear();
        self.members[member].node.ask(AskId(1), ask, Duration::from_secs(5), self.now).unwrap();
        self.settle();
        &self.members[member].parts
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        loop {
            let timeouts = self.members.iter().filter(|member| !member.is_stopped);
            let next = timeouts.filter_map(|member| member.node.poll_timeout()).min();
            self.now = next.unwrap_or(until).min(until).max(self.now);
            for member in self.members.iter_mut().filter(|member| !member.is_stopped) {
                member.node.handle_timeouts(self.now);
            }
            self.settle();
            if self.now >= until && next.is_none_or(|next| next > until) {
                return;
            }
        }
    }

    /// The channels that a node listens to, without that of its reports, to which it always does.
    pub(crate) fn channels(&self, member: usize) -> Vec<String> {
        let text = |channel: &Bytes| String::from_utf8(channel.to_vec()).unwrap();
        let all = self.members[member].listening.iter().map(|(_, channel)| text(channel));
        all.filter(|channel| !channel.starts_with("socket.io-roomcast-report#")).collect()
    }

    /// The numbers of the nodes that the others know of.
    pub(crate) fn known(&self) -> Vec<&str> {
        self.keys.sets.values().flatten().map(String::as_str).collect()
    }

    /// Carries out everything that is to be done until nothing is.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut outputs = VecDeque::new();
            for (index, member) in self.members.iter_mut().enumerate() {
                if !member.is_stopped {
                    member.node.handle_timeouts(self.now);
                }
                member.node.flush();
                while let Some(output) = member.node.poll_output() {
                    outputs.push_back((index, output));
                }
            }
            if outputs.is_empty() {
                return;
            }
            for (member, output) in outputs {
                self.perform(member, output);
            }
        }
    }

    fn perform(&mut self, index: usize, output: Output) {
        let now = self.now;
        let member = &mut self.members[index];
        match output {
            Output::Publish { channel, payload, .. } => self.carry(&channel, &payload),
            Output::Subscribe(listen, channels) => {
                for channel in channels {
                    member.listening.insert((listen, channel.clone()));
                    member.node.handle_subscribed(&channel, now);
                }
            }
            Output::Unsubscribe(listen, channels) => {
                for channel in channels {
                    assert!(member.listening.remove(&(listen, channel)), "was not subscribed");
                }
            }
            Output::Query(id, query) => {
                let reply = self.answer(query);
                self.members[index].node.handle_reply(id, &reply);
            }
            Output::Deliver(shards, broadcast) => {
                assert!(shards.contains(0));
                member.delivered.push(String::from_utf8(broadcast.event.json.to_vec()).unwrap());
            }
            Output::DeliverReporting(id, shards, broadcast) => {
                assert!(shards.contains(0));
                member.delivered.push(String::from_utf8(broadcast.event.json.to_vec()).unwrap());
                member
                    .node
                    .handle_reached(id, NodeReach { matched: 2, written: 1, not_ready: 1, queue_full: 0 });
            }
            Output::Confirm(_, tickets) => member.confirmed.extend(tickets.iter().map(|ticket| ticket.0)),
            Output::Act(operation) => member.acted.push(operation.action),
            Output::Inquire(id, operation) => {
                if matches!(operation.action, Action::Join(_) | Action::Leave(_) | Action::Disconnect(_)) {
                    member.acted.push(operation.action.clone());
                }
                let outcome = outcome(index, &operation);
                member.node.handle_outcome(id, outcome);
            }
            Output::Call(id, ..) => {
                member.node.handle_called(id, 1);
                let json = Bytes::from(format!("[{index},\"more\"]"));
                let socket = Some(SocketId::new(format!("socket-{index}")));
                member.node.handle_acknowledged(id, socket, &Argument { json, attachments: Vec::new() });
            }
            Output::Answer(_, part) => member.parts.push(part),
            Output::Peers(_) => {}
            Output::Happening(happening) => member.happenings.push(happening),
        }
    }

    /// Redis hands a message to all who listen.
    pub(crate) fn carry(&mut self, channel: &Bytes, payload: &Bytes) {
        self.published.push((String::from_utf8(channel.to_vec()).unwrap(), payload.clone()));
        for member in self.members.iter_mut().filter(|member| !member.is_stopped) {
            for (listen, name) in member.listening.clone() {
                let matches = match listen {
                    Listen::Exact | Listen::Sharded => name == *channel,
                    Listen::Pattern => channel.starts_with(name.strip_suffix(b"*").unwrap()),
                };
                if matches {
                    member.node.handle_message(channel, payload.clone(), self.now);
                }
            }
        }
    }

    fn answer(&mut self, query: Query) -> Reply {
        match query {
            Query::CountSubscribers(channel) => {
                let exact = |(listen, name): &(Listen, Bytes)| *listen != Listen::Pattern && *name == channel;
                let count = self.members.iter().filter(|member| member.listening.iter().any(exact)).count();
                Reply::Count(count as u64)
            }
            query => self.keys.answer(query, self.now - self.began),
        }
    }
}

/// Every node has one socket, named like it.
fn outcome(index: usize, operation: &Operation) -> Outcome {
    let id = SocketId::new(format!("socket-{index}"));
    let mut outcome = Outcome { matched: 1, ..Outcome::default() };
    match operation.action {
        Action::Identify => outcome.ids.push(id),
        Action::ListRooms(_) => outcome.rooms.extend(
            [("lobby", 1), ("AAAAAAAAAAAAAAAAAAAA", 1)].map(|(room, count)| (RoomName::new(room), count)),
        ),
        Action::Fetch => outcome.sockets.push(adapter::SocketDetails {
            id,
            handshake: adapter::Handshake::default(),
            rooms: vec![RoomName::new("lobby")],
            data: Bytes::from_static(b"{}"),
            node: Arc::default(),
        }),
        _ => {}
    }
    outcome
}
