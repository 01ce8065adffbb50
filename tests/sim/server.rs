//! The driver of each shard: what comes from clients is fed to it, what it does goes back to them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use adapter::Ticket;
use broker::{
    ConnectionKey, Dialect, Flow, Framing, LimitsConfig, LinkId, NamespaceConfig, Opening, Output, Payload,
    PollId, Publication, Refusal, Shard, ShardConfig,
};
use engineio::{BodyForm, CloseReason, EngineConfig, Owner, Revision, SessionId, SidKey};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    client::{Connection, Down, message_id},
    schedule::MS,
    wire::{Effect, State, Wire},
    world::{Event, NAMESPACES, Path, Plan, World},
};

const SECRET: [u8; 32] = [7; 32];

pub(crate) struct Node {
    pub(crate) shard: Shard,
    pub(crate) wire: Wire,
    /// The connection of each link and waiting poll.
    links: BTreeMap<u32, usize>,
    pub(crate) polls: BTreeMap<u32, (usize, ConnectionKey)>,
    numbers: u32,
    is_flush_due: bool,
}

/// The server's half of a connection.
#[derive(Debug, Default)]
pub(crate) struct Served {
    key: Option<ConnectionKey>,
    link: Option<LinkId>,
    /// Packets that came while reading was held.
    unread: Vec<Packet>,
    is_held: bool,
}

/// One WebSocket message.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// What a client sends.
#[derive(Debug)]
pub(crate) enum Up {
    OpenWebSocket,
    OpenPolling,
    Probe(SessionId),
    Packet(Packet),
    LinkGone(CloseReason),
    Poll(SessionId),
    /// The client has given its poll up.
    PollGone,
    Push(SessionId, String),
    /// The rest of a push has come.
    Body(ConnectionKey, String),
}

impl Node {
    pub(crate) fn new(index: usize, plan: Plan, rng: &mut StdRng, now: Instant) -> Self {
        let config = ShardConfig {
            engine: EngineConfig {
                ping_interval_ms: 700,
                ping_timeout_ms: 600,
                upgrade_timeout_ms: 400,
                ..EngineConfig::default()
            },
            limits: LimitsConfig { outbox_bytes: 4000, connect_timeout_ms: 1000, ..LimitsConfig::default() },
            namespaces: vec![NamespaceConfig::dev()],
            owner: Owner { node: 0, shard: u8::try_from(index).expect("a few shards") },
            sid_key: SidKey::new(&SECRET),
            subscriptions: plan.subscriptions,
            deflate_bytes_min: 1024,
        };
        let shard = Shard::new(config, StdRng::from_rng(rng), now);
        let wire = Wire { rng: StdRng::from_rng(rng), links: BTreeMap::new(), effects: Vec::new() };
        Self { shard, wire, links: BTreeMap::new(), polls: BTreeMap::new(), numbers: 0, is_flush_due: false }
    }

    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    fn open_link(&mut self, connection: usize) -> LinkId {
        let number = self.number();
        self.links.insert(number, connection);
        self.wire.links.insert(number, State::Open);
        LinkId(number)
    }
}

/// The session that an open packet names.
pub(crate) fn session_id(text: &str) -> SessionId {
    SidKey::new(&SECRET).verify(text).expect("the shard made it").0
}

impl World {
    pub(crate) fn arrive_up(&mut self, connection: usize, up: Up) {
        let (node, now) = (self.connections[connection].witness.shard, self.instant());
        let revision = self.connections[connection].revision;
        let dialect = Dialect::Json(Framing { revision, base64_only: false });
        let opening = Opening::of(dialect);
        let shard = &mut self.nodes[node].shard;
        match up {
            Up::OpenWebSocket => {
                let link = self.nodes[node].open_link(connection);
                let key = self.nodes[node].shard.open_websocket(link, opening, None, now);
                let served = &mut self.connections[connection].served;
                (served.key, served.link) = (Some(key), Some(link));
            }
            Up::OpenPolling => {
                let payload = shard.open_polling(opening, now);
                self.later(0..10 * MS, Event::Down(connection, Down::Answer(payload)));
            }
            Up::Probe(sid) => self.open_probe(connection, node, &sid),
            Up::Packet(packet) => self.read(connection, node, packet),
            Up::LinkGone(reason) => self.link_gone(connection, node, reason),
            Up::Poll(sid) => self.poll(connection, node, &sid),
            Up::PollGone => self.poll_gone(connection, node),
            Up::Push(sid, body) => match shard.push_started(&sid, revision, now) {
                Ok(key) => self.later(0..2 * MS, Event::Up(connection, Up::Body(key, body))),
                Err(refusal) => self.refuse(connection, refusal),
            },
            Up::Body(key, body) => match shard.push(key, BodyForm::Text, body.as_bytes(), now) {
                Ok(()) => self.later(0..10 * MS, Event::Down(connection, Down::Pushed)),
                Err(refusal) => self.refuse(connection, refusal),
            },
        }
        self.end_turn(node);
    }

    fn refuse(&mut self, connection: usize, refusal: Refusal) {
        self.note(format!("{refusal:?}"));
        self.later(0..10 * MS, Event::Down(connection, Down::Refused));
    }

    fn open_probe(&mut self, connection: usize, node: usize, sid: &SessionId) {
        let (revision, now) = (self.connections[connection].revision, self.instant());
        let link = self.nodes[node].open_link(connection);
        match self.nodes[node].shard.open_probe(sid, revision, link, None, now) {
            Ok(key) => {
                let served = &mut self.connections[connection].served;
                (served.key, served.link) = (Some(key), Some(link));
                self.along(Path::Down(connection), 0..10 * MS, Event::Down(connection, Down::ProbeOpen));
            }
            Err(_) => {
                self.nodes[node].links.remove(&link.0);
                self.nodes[node].wire.links.remove(&link.0);
                self.along(Path::Down(connection), 0..10 * MS, Event::Down(connection, Down::LinkClosed));
            }
        }
    }

    /// A packet has come on the connection's WebSocket, if it still has one.
    fn read(&mut self, connection: usize, node: usize, packet: Packet) {
        let served = &mut self.connections[connection].served;
        let (Some(key), Some(link)) = (served.key, served.link) else { return };
        // What was in the same read is handed over all the same, sometimes.
        if served.is_held && (!served.unread.is_empty() || self.rng.random_bool(0.7)) {
            return served.unread.push(packet);
        }
        if self.nodes[node].wire.links.get(&link.0).is_none_or(|state| *state == State::Broken) {
            return;
        }
        let now = self.instant();
        let shard = &mut self.nodes[node].shard;
        let flow = match &packet {
            Packet::Text(text) => shard.handle_text(key, link, text, now),
            Packet::Binary(bytes) => shard.handle_binary(key, link, bytes, now),
        };
        self.connections[connection].served.is_held = flow == Flow::Hold;
        self.drain_outputs(node);
    }

    fn link_gone(&mut self, connection: usize, node: usize, reason: CloseReason) {
        let served = &mut self.connections[connection].served;
        let (Some(key), Some(link)) = (served.key, served.link.take()) else { return };
        if self.nodes[node].wire.links.remove(&link.0).is_some() {
            self.nodes[node].shard.handle_link_closed(key, link, reason);
        }
    }

    fn poll(&mut self, connection: usize, node: usize, sid: &SessionId) {
        let (revision, now) = (self.connections[connection].revision, self.instant());
        let number = self.nodes[node].number();
        match self.nodes[node].shard.poll(sid, revision, PollId(number), now) {
            Ok(key) => drop(self.nodes[node].polls.insert(number, (connection, key))),
            Err(refusal) => self.refuse(connection, refusal),
        }
    }

    fn poll_gone(&mut self, connection: usize, node: usize) {
        let now = self.instant();
        let Node { shard, polls, .. } = &mut self.nodes[node];
        let waiting = polls.iter().find(|(_, (owner, _))| *owner == connection);
        if let Some((number, key)) = waiting.map(|(number, (_, key))| (*number, *key)) {
            polls.remove(&number);
            shard.handle_poll_lost(key, PollId(number), now);
        }
    }

    /// The client's end of the connection's WebSocket is gone, unnoticed.
    pub(crate) fn break_link(&mut self, connection: usize) {
        self.set_link(connection, State::Broken);
    }

    /// The client stops reading for a while, or for good.
    pub(crate) fn stall(&mut self, connection: usize, for_good: bool) {
        self.set_link(connection, State::Stalled);
        let (node, link) =
            (self.connections[connection].witness.shard, self.connections[connection].served.link);
        if let (Some(link), false) = (link, for_good) {
            self.later(0..40 * MS, Event::Writable(node, link));
        }
    }

    fn set_link(&mut self, connection: usize, state: State) {
        let Connection { witness, served, .. } = &self.connections[connection];
        let links = &mut self.nodes[witness.shard].wire.links;
        if let Some(link) = served.link.and_then(|link| links.get_mut(&link.0)) {
            *link = state;
        }
    }

    pub(crate) fn writable(&mut self, node: usize, link: LinkId) {
        let Node { shard, wire, links, .. } = &mut self.nodes[node];
        let Some(state) = wire.links.get_mut(&link.0) else { return };
        if *state == State::Stalled {
            *state = State::Open;
        }
        if let Some(key) = links.get(&link.0).and_then(|connection| self.connections[*connection].served.key)
        {
            shard.handle_writable(key, link);
        }
        self.end_turn(node);
    }

    pub(crate) fn confirmed(&mut self, node: usize, ticket: Ticket) {
        let now = self.instant();
        self.nodes[node].shard.handle_confirmed(ticket, now);
        self.end_turn(node);
    }

    pub(crate) fn expire(&mut self, node: usize) {
        let now = self.instant();
        self.nodes[node].shard.handle_timeouts(now, |_| ());
        self.end_turn(node);
    }

    /// After an input: what it publishes is on its way at once, what it wrote at the end of the turn, which
    /// may hold more inputs.
    pub(crate) fn end_turn(&mut self, node: usize) {
        self.drain_outputs(node);
        if self.rng.random_bool(0.6) {
            self.flush(node);
        } else if !std::mem::replace(&mut self.nodes[node].is_flush_due, true) {
            self.later(0..MS, Event::Flush(node));
        }
    }

    pub(crate) fn flush(&mut self, node: usize) {
        let Node { shard, wire, .. } = &mut self.nodes[node];
        shard.flush(wire);
        self.nodes[node].is_flush_due = false;
        self.drain_outputs(node);
        for effect in std::mem::take(&mut self.nodes[node].wire.effects) {
            self.perform(node, effect);
        }
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Written(link, bytes) => {
                self.note(&bytes);
                let connection = self.nodes[node].links[&link.0];
                self.along(Path::Down(connection), 0..10 * MS, Event::Down(connection, Down::Bytes(bytes)));
            }
            Effect::Blocked(link) => {
                if self.nodes[node].wire.links.get(&link.0) == Some(&State::Open) {
                    self.later(0..10 * MS, Event::Writable(node, link));
                }
            }
            Effect::Closed(link) => {
                let connection = self.nodes[node].links[&link.0];
                if self.connections[connection].served.link == Some(link) {
                    self.connections[connection].served.link = None;
                }
                self.along(Path::Down(connection), 0..10 * MS, Event::Down(connection, Down::LinkClosed));
            }
            Effect::Answered(poll, payload) => self.answer(node, poll, payload),
        }
    }

    fn answer(&mut self, node: usize, poll: PollId, payload: Payload) {
        self.note(&payload.body);
        // Its client may be gone.
        if let Some((connection, _)) = self.nodes[node].polls.remove(&poll.0) {
            self.later(0..15 * MS, Event::Down(connection, Down::Answer(payload)));
        }
    }

    fn drain_outputs(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].shard.poll_output() {
            match output {
                Output::Publish(publication) => self.publish(node, &publication),
                Output::Subscribe(subscription, ticket) => {
                    let event = Event::Subscribe(node, subscription, ticket);
                    self.along(Path::Subscriptions(node), 0..25 * MS, event);
                }
                Output::Unsubscribe(subscription) => {
                    let event = Event::Unsubscribe(node, subscription);
                    self.along(Path::Subscriptions(node), 0..25 * MS, event);
                }
                Output::Resume(link) => self.resume(node, link),
                // Bodies come whole here.
                Output::CutPush(_) => {}
                // Nobody calls here.
                Output::CallAnswered { .. } | Output::CallLost { .. } | Output::CallEnded(_) => {}
                Output::Happening(happening) => self.note(format!("{happening:?}")),
            }
        }
    }

    /// A client's event goes to the other shards.
    fn publish(&mut self, node: usize, publication: &Arc<Publication>) {
        let broadcast = &publication.broadcast;
        let id = message_id(std::str::from_utf8(&broadcast.event.json).unwrap());
        let namespace = NAMESPACES.into_iter().find(|name| *name == broadcast.namespace.as_str()).unwrap();
        self.model.published(id, namespace, &broadcast.targets, self.schedule.now);
        self.model.handled(id, node, self.schedule.now);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.along(Path::Bus(node, other), 0..20 * MS, Event::Arrive(other, id, publication.clone()));
        }
    }

    fn resume(&mut self, node: usize, link: LinkId) {
        let connection = self.nodes[node].links[&link.0];
        let served = &mut self.connections[connection].served;
        served.is_held = false;
        let unread = std::mem::take(&mut served.unread);
        for packet in unread {
            self.read(connection, node, packet);
        }
    }
}

/// Packets as the body of one push.
pub(crate) fn push_body(revision: Revision, packets: &[Packet]) -> String {
    let texts = packets.iter().map(|packet| match (packet, revision) {
        (Packet::Text(text), _) => text.clone(),
        // All attachments are alike.
        (Packet::Binary(_), Revision::V4) => "bAQID".to_owned(),
        (Packet::Binary(_), Revision::V3) => "b4AQID".to_owned(),
    });
    match revision {
        Revision::V4 => texts.collect::<Vec<_>>().join("\x1e"),
        Revision::V3 => texts.map(|text| format!("{}:{text}", text.len())).collect(),
    }
}
