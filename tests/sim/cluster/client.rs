//! The clients: WebSockets of no length, that know what they are in and what they have received.

use std::collections::{BTreeMap, VecDeque};

use broker::{ConnectionKey, Dialect, Flow, Framing, LinkId, Opening};
use engineio::CloseReason;
use rand::Rng;

use crate::oracle::{Publisher, Witness, message_id};
use crate::schedule::{MS, Micros};
use crate::world::{Event, HEARTBEAT, LATENCY, LEASE, Life, NAMESPACES, ROOMS, World};

/// The longest that a join may wait: a connection found dead, and the way there and back.
const JOIN_WAIT_MAX: Micros = HEARTBEAT + 20 * MS + 4 * LATENCY.end;
/// The same with several masters: nobody says that one of them is away, so the node's own patience counts, and
/// the queues before and behind it.
const JOIN_PATIENCE: Micros = LEASE.as_micros() as Micros / 4 + 50 * MS + 4 * LATENCY.end;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) home: (Life, u8),
    pub(crate) key: Option<(ConnectionKey, LinkId)>,
    pub(crate) witness: Witness,
    /// The ids of its sockets, by namespace.
    pub(crate) ids: BTreeMap<&'static str, String>,
    pub(crate) is_over: bool,
    /// Since when its packets wait, and those that do.
    held: Option<Micros>,
    unread: VecDeque<String>,
    asked: BTreeMap<u64, Asked>,
    asked_count: u64,
}

#[derive(Debug)]
struct Asked {
    namespace: &'static str,
    room: &'static str,
    joins: bool,
}

impl Client {
    /// Whatever it has asked for has been answered.
    pub(crate) fn assert_answered(&self, name: usize) {
        if !self.is_over {
            assert!(self.held.is_none(), "client {name} waits still");
            assert!(self.asked.is_empty(), "client {name} has got no answer to {:?}", self.asked);
        }
    }

    /// The process was stopped: nobody could let it wait less.
    pub(crate) fn excuse(&mut self, now: Micros) {
        self.held = self.held.map(|_| now);
    }
}

impl World {
    pub(crate) fn start(&mut self) {
        let running: Vec<Life> =
            self.processes.iter().filter(|process| process.runs()).map(|process| process.life).collect();
        if running.is_empty() {
            return self.later(20 * MS..60 * MS, Event::Start);
        }
        let life = running[self.rng.random_range(0..running.len())];
        let shard = self.rng.random_range(0..self.plan.shards);
        let name = self.clients.len();
        self.clients.push(Client {
            home: (life, shard),
            key: None,
            witness: Witness::new((life, shard)),
            ids: BTreeMap::new(),
            is_over: false,
            held: None,
            unread: VecDeque::new(),
            asked: BTreeMap::new(),
            asked_count: 0,
        });
        let now = self.instant();
        let link = LinkId(u32::try_from(name).expect("a few clients"));
        let held = self.held(life, shard);
        held.links.insert(link.0, name);
        let opening = Opening::of(Dialect::Json(Framing::V4));
        let key = held.shard.open_websocket(link, opening, None, now);
        self.clients[name].key = Some((key, link));
        self.end_turn(life, shard);
        self.connect(name, NAMESPACES[0]);
        if self.rng.random_bool(0.3) {
            self.connect(name, NAMESPACES[1]);
        }
        self.later(10 * MS..100 * MS, Event::Act(name));
    }

    pub(crate) fn act(&mut self, name: usize) {
        if self.clients[name].is_over || !self.is_busy() {
            return;
        }
        self.later(0..120 * MS, Event::Act(name));
        let ids = &self.clients[name].ids;
        if ids.is_empty() || !self.processes[self.clients[name].home.0.process].runs() {
            return;
        }
        let namespace = *ids.keys().nth(self.rng.random_range(0..ids.len())).unwrap();
        match self.rng.random_range(0..100) {
            0..28 => self.join_or_leave(name, namespace, true),
            28..46 => self.join_or_leave(name, namespace, false),
            46..92 => self.emit(name, namespace),
            92..95 => {
                self.clients[name].ids.remove(namespace);
                self.clients[name].asked.retain(|_, asked| asked.namespace != namespace);
                self.clients[name].witness.left(namespace, self.schedule.now);
                self.say(name, head('1', namespace));
                self.connect(name, namespace);
            }
            _ => self.leave(name),
        }
    }

    pub(crate) fn reconnect(&mut self, name: usize, namespace: &'static str) {
        if !self.clients[name].is_over && !self.clients[name].ids.contains_key(namespace) {
            self.connect(name, namespace);
        }
    }

    fn connect(&mut self, name: usize, namespace: &'static str) {
        for room in ["", "lobby"] {
            self.clients[name].witness.maybe(namespace, room).begin(self.schedule.now);
        }
        self.say(name, head('0', namespace));
    }

    fn join_or_leave(&mut self, name: usize, namespace: &'static str, joins: bool) {
        let room = ROOMS[self.rng.random_range(0..ROOMS.len())];
        let client = &mut self.clients[name];
        match joins {
            true => client.witness.maybe(namespace, room).begin(self.schedule.now),
            false => client.witness.surely(namespace, room).end(self.schedule.now),
        }
        client.asked_count += 1;
        let number = client.asked_count;
        client.asked.insert(number, Asked { namespace, room, joins });
        let event = if joins { "join" } else { "leave" };
        self.say(name, format!("{}{number}[\"{event}\",\"{room}\"]", head('2', namespace)));
    }

    fn emit(&mut self, name: usize, namespace: &'static str) {
        let id = self.oracle.compose(Publisher::Client(name, namespace));
        let event = ["room", "room", "room", "rooms", "all"][self.rng.random_range(0..5)];
        let room = ROOMS[self.rng.random_range(0..ROOMS.len())];
        self.say(name, format!("{}[\"{event}\",\"{room}\",\"m{id:07}\"]", head('2', namespace)));
    }

    /// Sends a packet, which is read once the server takes packets.
    pub(crate) fn say(&mut self, name: usize, text: String) {
        if self.clients[name].is_over {
            return;
        }
        self.clients[name].unread.push_back(text);
        if self.clients[name].held.is_none() {
            self.read(name);
        }
    }

    fn read(&mut self, name: usize) {
        let (life, shard) = self.clients[name].home;
        if !self.processes[life.process].runs() {
            return;
        }
        while self.clients[name].held.is_none()
            && let Some(text) = self.clients[name].unread.pop_front()
        {
            let flow = self.feed(name, &text);
            self.clients[name].held = (flow == Flow::Hold).then_some(self.schedule.now);
        }
        self.end_turn(life, shard);
    }

    pub(crate) fn resume(&mut self, name: usize) {
        let Some(since) = self.clients[name].held.take() else { return };
        let waited = self.schedule.now - since;
        let most = if self.plan.masters == 1 { JOIN_WAIT_MAX } else { JOIN_PATIENCE };
        assert!(waited <= most, "client {name} has waited {waited} µs for its join");
        while self.clients[name].held.is_none()
            && let Some(text) = self.clients[name].unread.pop_front()
        {
            let flow = self.feed(name, &text);
            self.clients[name].held = (flow == Flow::Hold).then_some(self.schedule.now);
        }
    }

    /// Sends what could not be sent while the process was stopped.
    pub(crate) fn catch_up(&mut self, name: usize) {
        if !self.clients[name].is_over && self.clients[name].held.is_none() {
            self.read(name);
        }
    }

    pub(crate) fn receive_bytes(&mut self, name: usize, mut bytes: &[u8]) {
        while let [first, length, ..] = *bytes {
            let (header, length) = match length {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                length => (2, usize::from(length)),
            };
            let payload = &bytes[header..header + length];
            bytes = &bytes[header + length..];
            match first {
                0x81 => self.receive(name, std::str::from_utf8(payload).unwrap()),
                0x88 => self.over(name),
                _ => panic!("frame with first byte {first:#x}"),
            }
        }
    }

    fn receive(&mut self, name: usize, text: &str) {
        let (namespace, kind, rest) = parse(text);
        match kind {
            // The open packet.
            None => {}
            Some('0') => self.connected(name, namespace, rest),
            Some('1') => {
                self.clients[name].ids.remove(namespace);
                self.clients[name].asked.retain(|_, asked| asked.namespace != namespace);
                self.clients[name].witness.gone(Some(namespace), self.schedule.now);
                if self.is_busy() {
                    self.later(20 * MS..60 * MS, Event::Reconnect(name, namespace));
                }
            }
            Some('2') => match message_id(rest.as_bytes()) {
                Some(id) => {
                    self.note(id);
                    self.clients[name].witness.received.push((namespace, id));
                }
                None => self.called(name, namespace, rest),
            },
            Some('3') => self.acknowledged(name, rest),
            _ => panic!("{text}"),
        }
    }

    fn connected(&mut self, name: usize, namespace: &'static str, data: &str) {
        let (_, rest) = data.split_once(r#""sid":""#).unwrap();
        let id = rest.split_once('"').unwrap().0.to_owned();
        let witness = &mut self.clients[name].witness;
        // Rooms of the socket before this one.
        ROOMS.iter().for_each(|room| witness.maybe(namespace, room).end(self.schedule.now));
        for room in ["", "lobby", &id] {
            witness.maybe(namespace, room).begin(0);
            witness.surely(namespace, room).begin(self.schedule.now);
        }
        witness.maybe(namespace, "operated").begin(0);
        self.clients[name].ids.insert(namespace, id);
    }

    fn acknowledged(&mut self, name: usize, rest: &str) {
        let digits = rest.find('[').unwrap();
        assert_eq!(&rest[digits..], r#"[{"status":"ok"}]"#);
        let number: u64 = rest[..digits].parse().unwrap();
        let client = &mut self.clients[name];
        let Some(Asked { namespace, room, joins }) = client.asked.remove(&number) else { return };
        let is_newest =
            !client.asked.values().any(|asked| asked.namespace == namespace && asked.room == room);
        match joins {
            true if is_newest => client.witness.surely(namespace, room).begin(self.schedule.now),
            false if is_newest => client.witness.maybe(namespace, room).end(self.schedule.now),
            _ => {}
        }
    }

    /// Acknowledges a call, as most clients do.
    fn called(&mut self, name: usize, namespace: &str, rest: &str) {
        let digits = rest.find('[').unwrap();
        if digits > 0 && self.rng.random_bool(0.9) {
            let text = format!("{}{}[\"yes\"]", head('3', namespace), &rest[..digits]);
            self.later(0..20 * MS, Event::Say(name, text));
        }
    }

    /// Closes a connection.
    pub(crate) fn leave(&mut self, name: usize) {
        let Client { home: (life, shard), key, is_over, .. } = &self.clients[name];
        let (life, shard) = (*life, *shard);
        let (Some((key, link)), false) = (*key, *is_over) else { return };
        self.over(name);
        if self.processes[life.process].life == life && !self.processes[life.process].is_gone {
            self.held(life, shard).shard.handle_link_closed(key, link, CloseReason::TransportClose);
            self.end_turn(life, shard);
        }
    }

    /// Nothing more is sent or received; the client opens another connection.
    pub(crate) fn over(&mut self, name: usize) {
        let client = &mut self.clients[name];
        if std::mem::replace(&mut client.is_over, true) {
            return;
        }
        client.ids.clear();
        client.witness.gone(None, self.schedule.now);
        if self.is_busy() {
            self.later(0..100 * MS, Event::Start);
        }
    }
}

/// The front of a Socket.IO packet, with the digit of its Engine.IO message.
fn head(kind: char, namespace: &str) -> String {
    match namespace {
        "/" => format!("4{kind}"),
        _ => format!("4{kind}{namespace},"),
    }
}

/// Namespace, kind, and what comes behind; no kind for what is not a Socket.IO packet.
fn parse(text: &str) -> (&'static str, Option<char>, &str) {
    let Some(rest) = text.strip_prefix('4') else { return (NAMESPACES[0], None, text) };
    let kind = rest.chars().next();
    let rest = &rest[1..];
    match rest.strip_prefix(NAMESPACES[1]) {
        Some(rest) => (NAMESPACES[1], kind, rest.strip_prefix(',').unwrap_or(rest)),
        None => (NAMESPACES[0], kind, rest),
    }
}
