//! The clients: their transports as the real client drives them, and what comes over these.

mod acts;

use std::collections::BTreeMap;

use broker::Payload;
use engineio::{Data, Packet as EnginePacket, PacketKind, Revision, SessionId, decode_body};
use rand::Rng;

use crate::{
    model::Witness,
    schedule::MS,
    server::{Packet, Served, Up, push_body, session_id},
    world::{Event, NAMESPACES, Path, World},
};

/// One connection, from its opening to its end; a client that goes on opens another.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) revision: Revision,
    pub(crate) witness: Witness,
    pub(crate) served: Served,
    /// The ids of its sockets, by namespace.
    pub(crate) ids: BTreeMap<&'static str, String>,
    transport: Transport,
    may_upgrade: bool,
    is_over: bool,
    /// Whether it has stopped reading for good.
    is_stuck: bool,
    sid: Option<SessionId>,
    poll_running: bool,
    push_running: bool,
    to_push: Vec<Packet>,
    /// Bytes of the WebSocket that make no whole frame yet.
    bytes: Vec<u8>,
    /// The event whose attachment is still to come.
    pending: Option<usize>,
    asked: BTreeMap<u64, Asked>,
    asked_count: u64,
    /// When it last asked to connect to each namespace.
    connecting: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Polling,
    /// The WebSocket beside polling is being opened or probed.
    Probing,
    /// The probe was answered: polls and pushes end, and none begins.
    Pausing,
    WebSocket,
}

/// What an acknowledgement is awaited for; the number tells whether something newer was asked since.
#[derive(Clone, Debug)]
struct Asked {
    namespace: &'static str,
    room: String,
    joins: bool,
    since: u64,
}

/// What a client receives.
#[derive(Debug)]
pub(crate) enum Down {
    Bytes(Vec<u8>),
    LinkClosed,
    ProbeOpen,
    /// To the handshake, or to a poll.
    Answer(Payload),
    Pushed,
    /// A poll or a push was refused.
    Refused,
}

impl Connection {
    /// Whether everything sent to it has to arrive.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.is_over && !self.is_stuck
    }

    /// Everything that a healthy connection has asked for has been answered by now.
    pub(crate) fn assert_answered(&self) {
        if self.is_healthy() {
            assert!(self.asked.is_empty(), "no answer to {:?}", self.asked);
            assert!(self.connecting.keys().all(|namespace| self.ids.contains_key(namespace)), "no CONNECT");
            assert_ne!(self.transport, Transport::Pausing, "an upgrade has stopped half-way");
        }
    }

    fn is_websocket(&self) -> bool {
        self.transport == Transport::WebSocket
    }
}

impl World {
    pub(crate) fn start(&mut self) {
        if !self.is_busy() {
            return;
        }
        let revision = if self.rng.random_bool(0.2) { Revision::V3 } else { Revision::V4 };
        let name = self.connections.len();
        let shard = self.rng.random_range(0..self.nodes.len());
        let transport = if self.rng.random_bool(0.4) { Transport::WebSocket } else { Transport::Polling };
        let mut witness = Witness {
            shard,
            surely: BTreeMap::new(),
            maybe: BTreeMap::new(),
            received: Vec::new(),
            is_complete: false,
        };
        if revision == Revision::V3 {
            // The server connects it by itself.
            witness.maybe.entry(("/", String::new())).or_default().begin(self.schedule.now);
        }
        let may_upgrade = self.rng.random_bool(0.6);
        self.connections.push(Connection {
            revision,
            witness,
            served: Served::default(),
            ids: BTreeMap::new(),
            transport,
            may_upgrade,
            is_over: false,
            is_stuck: false,
            sid: None,
            poll_running: false,
            push_running: false,
            to_push: Vec::new(),
            bytes: Vec::new(),
            pending: None,
            asked: BTreeMap::new(),
            asked_count: 0,
            connecting: BTreeMap::new(),
        });
        match transport {
            Transport::WebSocket => self.up(name, Up::OpenWebSocket),
            _ => self.later(0..10 * MS, Event::Up(name, Up::OpenPolling)),
        }
    }

    /// Sends something on the WebSocket.
    fn up(&mut self, name: usize, up: Up) {
        self.along(Path::Up(name), 0..10 * MS, Event::Up(name, up));
    }

    /// Sends a packet on whatever transport there is.
    fn send(&mut self, name: usize, packet: Packet) {
        let connection = &mut self.connections[name];
        match connection.transport {
            Transport::WebSocket => self.up(name, Up::Packet(packet)),
            _ => {
                connection.to_push.push(packet);
                self.push(name);
            }
        }
    }

    fn send_text(&mut self, name: usize, text: impl Into<String>) {
        self.send(name, Packet::Text(text.into()));
    }

    fn push(&mut self, name: usize) {
        let connection = &mut self.connections[name];
        let Some(sid) = connection.sid else { return };
        let pushes = matches!(connection.transport, Transport::Polling | Transport::Probing);
        if connection.is_over || !pushes || connection.push_running || connection.to_push.is_empty() {
            return;
        }
        connection.push_running = true;
        let packets = std::mem::take(&mut connection.to_push);
        let body = push_body(connection.revision, &packets);
        self.later(0..10 * MS, Event::Up(name, Up::Push(sid, body)));
    }

    fn poll_again(&mut self, name: usize) {
        let connection = &mut self.connections[name];
        let Some(sid) = connection.sid else { return };
        let polls = matches!(connection.transport, Transport::Polling | Transport::Probing);
        if !connection.is_over && polls && !connection.poll_running {
            connection.poll_running = true;
            self.later(0..10 * MS, Event::Up(name, Up::Poll(sid)));
        }
    }

    /// Takes the WebSocket once nothing runs on polling any more.
    fn upgrade_if_paused(&mut self, name: usize) {
        let connection = &mut self.connections[name];
        let is_paused = !connection.poll_running && !connection.push_running;
        if connection.transport == Transport::Pausing && is_paused && !connection.is_over {
            connection.transport = Transport::WebSocket;
            self.send_text(name, "5");
            for packet in std::mem::take(&mut self.connections[name].to_push) {
                self.send(name, packet);
            }
        }
    }

    pub(crate) fn arrive_down(&mut self, name: usize, down: Down) {
        if self.connections[name].is_over {
            return;
        }
        match down {
            Down::Bytes(bytes) => {
                self.connections[name].bytes.extend(bytes);
                while let Some(frame) = take_frame(&mut self.connections[name].bytes) {
                    self.receive_frame(name, frame);
                }
            }
            Down::LinkClosed if self.connections[name].is_websocket() => self.over(name),
            // The probe came to nothing; polling goes on.
            Down::LinkClosed => {
                self.connections[name].transport = Transport::Polling;
                self.poll_again(name);
                self.push(name);
            }
            Down::ProbeOpen => self.up(name, Up::Packet(Packet::Text("2probe".to_owned()))),
            Down::Answer(payload) => {
                self.connections[name].poll_running = false;
                for packet in decode_body(self.connections[name].revision, payload.form, &payload.body) {
                    self.receive(name, packet.unwrap());
                }
                self.poll_again(name);
                self.upgrade_if_paused(name);
            }
            Down::Pushed => {
                self.connections[name].push_running = false;
                self.push(name);
                self.upgrade_if_paused(name);
            }
            Down::Refused => self.over(name),
        }
    }

    fn receive_frame(&mut self, name: usize, (opcode, payload): (u8, Vec<u8>)) {
        let revision = self.connections[name].revision;
        match opcode {
            0x81 => {
                let text = String::from_utf8(payload).unwrap();
                self.receive(name, EnginePacket::decode_text(revision, &text).unwrap());
            }
            0x82 => self.receive(name, EnginePacket::decode_binary(revision, &payload).unwrap().unwrap()),
            0x88 => self.over(name),
            _ => panic!("frame with first byte {opcode:#x}"),
        }
    }

    fn receive(&mut self, name: usize, packet: EnginePacket<'_>) {
        if self.connections[name].is_over {
            return;
        }
        match (packet.kind, packet.data) {
            (PacketKind::Open, Data::Text(text)) => self.opened(name, &text),
            (PacketKind::Ping, _) => self.send_text(name, "3"),
            (PacketKind::Pong, Data::Text(text)) if text == "probe" => {
                self.connections[name].transport = Transport::Pausing;
                self.upgrade_if_paused(name);
            }
            (PacketKind::Message, Data::Text(text)) => self.receive_message(name, &text),
            (PacketKind::Message, Data::Binary(bytes)) => {
                assert_eq!(&bytes[..], [1, 2, 3], "the attachment of another message");
                let id = self.connections[name].pending.take().expect("an attachment was announced");
                self.record(name, id);
            }
            (PacketKind::Close, _) => self.over(name),
            (PacketKind::Noop | PacketKind::Pong, _) => {}
            other => panic!("{other:?}"),
        }
    }

    fn opened(&mut self, name: usize, json: &str) {
        let (_, rest) = json.split_once(r#""sid":""#).unwrap();
        let sid = session_id(rest.split_once('"').unwrap().0);
        let connection = &mut self.connections[name];
        connection.sid = Some(sid);
        self.later(0..100 * MS, Event::Act(name));
        match self.connections[name].revision {
            Revision::V4 => self.connect(name, "/"),
            Revision::V3 => self.later(0..400 * MS, Event::Ping(name)),
        }
        if self.rng.random_bool(0.4) {
            self.connect(name, "/b");
        }
        let connection = &self.connections[name];
        if connection.transport == Transport::Polling && connection.may_upgrade {
            self.connections[name].transport = Transport::Probing;
            self.along(Path::Up(name), 0..30 * MS, Event::Up(name, Up::Probe(sid)));
        }
    }

    fn connect(&mut self, name: usize, namespace: &'static str) {
        self.witness(name, true, namespace, "", |it, now| it.begin(now));
        let now = self.schedule.now;
        self.connections[name].connecting.insert(namespace, now);
        self.send_text(name, head('0', namespace));
    }

    fn receive_message(&mut self, name: usize, text: &str) {
        let (namespace, kind, rest) = parse(text);
        match kind {
            '0' => self.connected(name, namespace, rest),
            '2' => self.record(name, message_id(rest)),
            '5' => {
                let pending = self.connections[name].pending.replace(message_id(rest));
                assert_eq!(pending, None, "attachments are missing");
            }
            '3' => self.acknowledged(name, rest),
            _ => panic!("{text}"),
        }
    }

    fn connected(&mut self, name: usize, namespace: &'static str, data: &str) {
        let sid = self.connections[name].sid.unwrap();
        let id = match (data.split_once(r#""sid":""#), namespace) {
            (Some((_, rest)), _) => rest.split_once('"').unwrap().0.to_owned(),
            (None, "/") => sid.as_str().to_owned(),
            (None, _) => format!("{namespace}#{}", sid.as_str()),
        };
        // The namespace was left before this connect, and by now that has been handled.
        let since = self.connections[name].connecting.get(namespace).copied().unwrap_or(0);
        let maybe = &mut self.connections[name].witness.maybe;
        let old = maybe.iter_mut().filter(|((name, room), _)| *name == namespace && !room.is_empty());
        old.for_each(|(_, intervals)| intervals.end(self.schedule.now));
        maybe.entry((namespace, id.clone())).or_default().begin(since);
        for room in ["", &id] {
            self.witness(name, false, namespace, room, |it, now| it.begin(now));
        }
        self.connections[name].ids.insert(namespace, id);
    }

    fn acknowledged(&mut self, name: usize, rest: &str) {
        let digits = rest.find('[').unwrap();
        assert_eq!(&rest[digits..], r#"[{"status":"ok"}]"#);
        let number: u64 = rest[..digits].parse().unwrap();
        let Some(asked) = self.connections[name].asked.remove(&number) else { return };
        let newer = self.connections[name].asked.values().any(|other| {
            other.since > asked.since && other.namespace == asked.namespace && other.room == asked.room
        });
        if newer || !self.connections[name].ids.contains_key(asked.namespace) {
            return;
        }
        match asked.joins {
            true => self.witness(name, false, asked.namespace, &asked.room, |it, now| it.begin(now)),
            false => self.witness(name, true, asked.namespace, &asked.room, |it, now| it.end(now)),
        }
    }

    fn record(&mut self, name: usize, id: usize) {
        self.note(id);
        self.connections[name].witness.received.push(id);
    }

    fn witness(
        &mut self,
        name: usize,
        is_maybe: bool,
        namespace: &'static str,
        room: &str,
        change: impl Fn(&mut crate::intervals::Intervals, u64),
    ) {
        let witness = &mut self.connections[name].witness;
        let known = if is_maybe { &mut witness.maybe } else { &mut witness.surely };
        change(known.entry((namespace, room.to_owned())).or_default(), self.schedule.now);
    }

    pub(crate) fn ping(&mut self, name: usize) {
        if !self.connections[name].is_over {
            self.send_text(name, "2");
            self.later(400 * MS..600 * MS, Event::Ping(name));
        }
    }

    /// Nothing more is sent or received; the client opens another connection.
    fn over(&mut self, name: usize) {
        let connection = &mut self.connections[name];
        connection.is_over = true;
        connection.ids.clear();
        let Witness { surely, maybe, .. } = &mut connection.witness;
        surely.values_mut().chain(maybe.values_mut()).for_each(|intervals| intervals.end(self.schedule.now));
        self.later(0..150 * MS, Event::Start);
    }
}

/// The front of a Socket.IO packet, with the digit of its Engine.IO message.
fn head(kind: char, namespace: &str) -> String {
    match namespace {
        "/" => format!("4{kind}"),
        _ => format!("4{kind}{namespace},"),
    }
}

/// Namespace, kind, and what comes behind.
fn parse(text: &str) -> (&'static str, char, &str) {
    let kind = text.chars().next().unwrap();
    let rest = &text[1..];
    let rest = if kind == '5' { rest.strip_prefix("1-").unwrap() } else { rest };
    match rest.strip_prefix(&format!("{},", NAMESPACES[1])) {
        Some(rest) => (NAMESPACES[1], kind, rest),
        None => (NAMESPACES[0], kind, rest),
    }
}

/// The number in `["m",17…]`.
pub(crate) fn message_id(json: &str) -> usize {
    let rest = json.strip_prefix(r#"["m","#).expect(json);
    rest.split(',').next().unwrap().parse().expect(json)
}

/// Takes one whole frame off the front: its first byte and its payload.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => panic!("no message is that long"),
        length => (2, usize::from(length)),
    };
    if bytes.len() < header + length {
        return None;
    }
    let rest = bytes.split_off(header + length);
    let frame = std::mem::replace(bytes, rest);
    Some((frame[0], frame[header..].to_vec()))
}
