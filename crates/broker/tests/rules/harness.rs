//! A shard in memory: virtual time, and a sink that keeps what each client receives.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    sync::Arc,
    time::{Duration, Instant},
};

use adapter::{Broadcast, Delivery, Event, Subscriptions, Targets};
use broker::{
    ConnectionKey, Dialect, Flow, Framing, Happening, LimitsConfig, LinkId, NamespaceConfig, Opening, Output,
    Payload, PollId, Publication, Reach, Refusal, Shard, ShardConfig, Sink,
};
use bytes::Bytes;
use engineio::{BodyForm, CloseReason, EngineConfig, Owner, SessionId, SidKey, Transport};
use rand::{SeedableRng, rngs::StdRng};
use socketio::{NamespaceName, RoomName};

pub(crate) const V4: Opening = Opening::of(Dialect::Json(Framing::V4));
pub(crate) const V3: Opening = Opening::of(Dialect::Json(Framing::V3));

pub(crate) struct Broker {
    pub(crate) shard: Shard,
    pub(crate) now: Instant,
    pub(crate) wire: Wire,
    outputs: Vec<Output>,
    links: u32,
    polls: u32,
}

/// A client's WebSocket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) key: ConnectionKey,
    pub(crate) link: LinkId,
}

/// A client's polling session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polling {
    pub(crate) sid: SessionId,
    pub(crate) wire: broker::Wire,
}

/// What clients have received, and what their links are ready to take.
#[derive(Default)]
pub(crate) struct Wire {
    links: HashMap<LinkId, Link>,
    answers: HashMap<PollId, Payload>,
}

pub(crate) struct Link {
    /// Everything written since the last look.
    pub(crate) bytes: Vec<u8>,
    /// Bytes that it takes before it blocks.
    pub(crate) room: usize,
    /// Whether writing fails.
    pub(crate) broken: bool,
    pub(crate) closed: bool,
    /// How often it was written to.
    pub(crate) writes: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self { bytes: Vec::new(), room: usize::MAX, broken: false, closed: false, writes: 0 }
    }
}

impl Wire {
    pub(crate) fn link(&mut self, link: LinkId) -> &mut Link {
        self.links.entry(link).or_default()
    }
}

impl Sink for Wire {
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let link = self.link(link);
        assert!(!link.closed, "written to after its close");
        link.writes += 1;
        if link.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let taken = offered.len().min(link.room);
        link.room -= taken;
        link.bytes.extend_from_slice(&offered[..taken]);
        Ok(taken)
    }

    fn close(&mut self, link: LinkId) {
        assert!(!std::mem::replace(&mut self.link(link).closed, true), "closed twice");
    }

    fn answer(&mut self, poll: PollId, payload: Payload) {
        assert_eq!(self.answers.insert(poll, payload), None, "answered twice");
    }
}

/// What a shard has by default, in `--dev`.
pub(crate) fn config() -> ShardConfig {
    ShardConfig {
        engine: EngineConfig::default(),
        limits: LimitsConfig::default(),
        namespaces: vec![NamespaceConfig::dev()],
        owner: Owner { node: 1, shard: 2 },
        sid_key: SidKey::new(&[7; 32]),
        subscriptions: Subscriptions::NotNeeded,
        deflate_bytes_min: 1024,
    }
}

/// A namespace that anyone may connect to and do nothing in.
pub(crate) fn bare(name: &str) -> NamespaceConfig {
    NamespaceConfig {
        name: name.into(),
        may_join: None,
        may_leave: None,
        events: Vec::new(),
        ..NamespaceConfig::dev()
    }
}

impl Broker {
    pub(crate) fn new(config: ShardConfig) -> Self {
        let now = Instant::now();
        Self {
            shard: Shard::new(config, StdRng::seed_from_u64(1), now),
            now,
            wire: Wire::default(),
            outputs: Vec::new(),
            links: 0,
            polls: 0,
        }
    }

    pub(crate) fn dev() -> Self {
        Self::new(config())
    }

    pub(crate) fn with_namespaces(namespaces: Vec<NamespaceConfig>) -> Self {
        Self::new(ShardConfig { namespaces, ..config() })
    }

    /// Ends a turn, as the driver does.
    pub(crate) fn turn(&mut self) {
        self.shard.flush(&mut self.wire);
        while let Some(output) = self.shard.poll_output() {
            self.outputs.push(output);
        }
    }

    /// Lets time pass, with a turn at each deadline on the way.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        while let Some(next) = self.shard.poll_timeout().filter(|next| *next <= target) {
            self.now = self.now.max(next);
            self.shard.handle_timeouts(self.now, |_| ());
            self.turn();
        }
        self.now = target;
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.advance(Duration::from_millis(ms));
    }

    pub(crate) fn new_link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    /// Opens a WebSocket; what it receives at once is still to be looked at.
    pub(crate) fn open(&mut self, opening: Opening) -> Socket {
        let link = self.new_link();
        let key = self.shard.open_websocket(link, opening, None, self.now);
        self.turn();
        Socket { key, link }
    }

    /// Opens a WebSocket and connects to `/`; returns its socket id.
    pub(crate) fn connect(&mut self) -> (Socket, String) {
        let socket = self.open(V4);
        self.send(socket, "40");
        let received = self.received(socket);
        (socket, sid_in(received.last().unwrap()))
    }

    /// Connects to `/` and joins a room.
    pub(crate) fn connect_in(&mut self, room: &str) -> Socket {
        let (socket, _) = self.connect();
        self.send(socket, &format!(r#"420["join","{room}"]"#));
        assert_eq!(self.received(socket), [r#"430[{"status":"ok"}]"#]);
        socket
    }

    pub(crate) fn send(&mut self, socket: Socket, text: &str) -> Flow {
        let flow = self.shard.handle_text(socket.key, socket.link, text, self.now);
        self.turn();
        flow
    }

    pub(crate) fn send_binary(&mut self, socket: Socket, bytes: &[u8]) -> Flow {
        let flow = self.shard.handle_binary(socket.key, socket.link, bytes, self.now);
        self.turn();
        flow
    }

    /// The messages received since the last look: texts as they are, binaries as `<hex>`, a close frame as
    /// `CLOSE`.
    pub(crate) fn received(&mut self, socket: Socket) -> Vec<String> {
        messages(&std::mem::take(&mut self.wire.link(socket.link).bytes))
    }

    /// Whether the shard has closed the link.
    pub(crate) fn is_closed(&mut self, socket: Socket) -> bool {
        self.wire.link(socket.link).closed
    }

    pub(crate) fn open_polling(&mut self, opening: Opening) -> Polling {
        let wire = opening.dialect.wire();
        let payload = self.shard.open_polling(opening, self.now);
        self.turn();
        let text = String::from_utf8_lossy(&payload.body);
        let (sid, _) = SidKey::new(&[7; 32]).verify(&sid_in(&text)).unwrap();
        Polling { sid, wire }
    }

    /// Shakes hands with a client of 0.9, which has no transport then.
    pub(crate) fn handshake_09(&mut self) -> Polling {
        let payload = self.shard.open_polling(Opening::of(Dialect::V09), self.now);
        let line = String::from_utf8(payload.body.to_vec()).unwrap();
        let (sid, rest) = line.split_once(':').unwrap();
        assert_eq!(rest, "45:45:websocket,xhr-polling,jsonp-polling");
        Polling { sid: SidKey::new(&[7; 32]).verify(sid).unwrap().0, wire: broker::Wire::V09 }
    }

    /// Opens a polling session and connects to `/`.
    pub(crate) fn connect_polling(&mut self) -> Polling {
        let polling = self.open_polling(V4);
        assert_eq!(self.push(polling, "40"), Ok(()));
        let poll = self.poll(polling).unwrap();
        assert!(self.answer(poll).unwrap().starts_with("40{"));
        polling
    }

    pub(crate) fn new_poll(&mut self) -> PollId {
        self.polls += 1;
        PollId(self.polls)
    }

    pub(crate) fn poll(&mut self, polling: Polling) -> Result<PollId, Refusal> {
        let poll = self.new_poll();
        let result = self.shard.poll(&polling.sid, polling.wire, poll, self.now);
        self.turn();
        result.map(|_| poll)
    }

    /// The text that a poll was answered with, if it was.
    pub(crate) fn answer(&mut self, poll: PollId) -> Option<String> {
        self.payload(poll).map(|payload| String::from_utf8(payload.body.to_vec()).unwrap())
    }

    pub(crate) fn payload(&mut self, poll: PollId) -> Option<Payload> {
        self.wire.answers.remove(&poll)
    }

    pub(crate) fn push(&mut self, polling: Polling, body: &str) -> Result<(), Refusal> {
        let key = self.shard.push_started(&polling.sid, polling.wire, self.now)?;
        let result = self.shard.push(key, BodyForm::Text, body.as_bytes(), self.now);
        self.turn();
        result
    }

    /// Opens a WebSocket beside polling.
    pub(crate) fn probe(&mut self, polling: Polling) -> Result<Socket, Refusal> {
        let link = self.new_link();
        let key = self.shard.open_probe(&polling.sid, polling.wire, link, None, self.now);
        self.turn();
        key.map(|key| Socket { key, link })
    }

    /// Publishes from outside to rooms of `/`, without ending the turn.
    pub(crate) fn deliver(&mut self, rooms: &[&str], json: &str, delivery: Delivery) -> Reach {
        self.shard.deliver(&publication(rooms, json, delivery))
    }

    /// Publishes from outside to rooms of `/`.
    pub(crate) fn publish(&mut self, rooms: &[&str], json: &str) -> Reach {
        let reach = self.deliver(rooms, json, Delivery::Reliable);
        self.turn();
        reach
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// What has happened since the last look but the opening of sessions; other outputs are dropped.
    pub(crate) fn happenings(&mut self) -> Vec<Happening> {
        let happening = |output| match output {
            Output::Happening(Happening::SessionOpened(_)) => None,
            Output::Happening(happening) => Some(happening),
            _ => None,
        };
        self.outputs().into_iter().filter_map(happening).collect()
    }

    /// What clients have published since the last look; other outputs are dropped.
    pub(crate) fn published(&mut self) -> Vec<Arc<Publication>> {
        let published = |output| match output {
            Output::Publish(publication) => Some(publication),
            _ => None,
        };
        self.outputs().into_iter().filter_map(published).collect()
    }

    pub(crate) fn assert_empty(&self) {
        let left = (self.shard.connection_count(), self.shard.socket_count(), self.shard.room_count());
        assert_eq!(left, (0, 0, 0), "connections, sockets, rooms");
    }
}

pub(crate) fn publication(rooms: &[&str], json: &str, delivery: Delivery) -> Publication {
    Publication::new(Broadcast {
        namespace: NamespaceName::main(),
        targets: Targets { rooms: rooms.iter().map(RoomName::new).collect(), except: Vec::new() },
        delivery,
        event: Event { json: Bytes::copy_from_slice(json.as_bytes()), attachments: Vec::new() },
    })
}

pub(crate) fn websocket_closed(reason: CloseReason) -> Happening {
    Happening::SessionClosed(Transport::WebSocket, reason)
}

pub(crate) fn polling_closed(reason: CloseReason) -> Happening {
    Happening::SessionClosed(Transport::Polling, reason)
}

/// The value of `"sid"` in a packet.
pub(crate) fn sid_in(packet: &str) -> String {
    let (_, rest) = packet.split_once(r#""sid":""#).expect(packet);
    rest.split_once('"').expect(packet).0.to_owned()
}

/// Splits what a server wrote into its frames.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (len, rest) = match second {
            126 => (usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap())), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            len => (usize::from(*len), rest),
        };
        let (payload, rest) = rest.split_at(len);
        messages.push(match first {
            0x81 => String::from_utf8(payload.to_vec()).unwrap(),
            0x82 => format!("<{}>", payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            0x88 => "CLOSE".to_owned(),
            other => panic!("frame with first byte {other:#x}"),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
    messages
}
