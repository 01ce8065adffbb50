//! A whole shard, driven by a program: clients of every kind, back ends, slow and broken links, and time.
//!
//! Beside them lives a bystander, a client that keeps all rules: whatever the others do, it gets what is published to
//! it, once and in order. And when nobody does anything any more, nothing is left of anyone.

mod client;
mod steps;
mod wire;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use adapter::{Broadcast, Delivery, Event, Subscriptions, Targets, Ticket};
use broker::{
    AuthConfig, ConnectionKey, Dialect, Framing, LimitsConfig, LinkId, NamespaceConfig, Opening, Output,
    Publication, Shard, ShardConfig,
};
use bytes::Bytes;
use engineio::{EngineConfig, Owner, SidKey};
use rand::{SeedableRng, rngs::StdRng};
use socketio::{NamespaceName, RoomName};

use self::{client::Client, wire::Wire};
use crate::program::Program;

const SECRET: [u8; 32] = [7; 32];
/// What may wait for one client, and the longest message that any step makes.
const OUTBOX_BYTES: u32 = 4_000;
const MESSAGE_BYTES_MAX: usize = 2_000;
/// Short enough that the bystander gets something compressed, and too long for all but messages.
const DEFLATE_BYTES_MIN: u32 = 32;
/// Clients of one program; more would only take longer.
const CLIENTS_MAX: usize = 12;
/// Steps of one program, likewise.
const STEPS_MAX: usize = 2_000;
/// The SHA-256 of `bystander`.
const TOKEN_HASH: &str = "f15b96b642b88923c2c35cfe09756bb3c87aa0f2d589059d5674d15e518ad3ca";

/// The first byte chooses whether joins wait for subscriptions.
pub(crate) fn shard(bytes: &[u8]) {
    let mut program = Program::new(bytes);
    let Some(selector) = program.byte() else { return };
    let mut world =
        World::new(if selector & 1 == 0 { Subscriptions::NotNeeded } else { Subscriptions::Confirmed });
    for step in 0..STEPS_MAX {
        if world.step(&mut program).is_none() {
            break;
        }
        world.check_memory();
        if step % 64 == 63 {
            world.check_bystander();
        }
    }
    world.end_turn();
    world.check_bystander();
    world.leave();
}

struct World {
    shard: Shard,
    now: Instant,
    wire: Wire,
    clients: Vec<Client>,
    /// Subscriptions that are asked for and not in force.
    tickets: VecDeque<Ticket>,
    calls: u64,
    bystander: (ConnectionKey, LinkId),
    ticks: u32,
}

impl World {
    fn new(subscriptions: Subscriptions) -> Self {
        let engine = EngineConfig {
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            max_payload_bytes: 2_000,
            allow_eio3: true,
            ..EngineConfig::default()
        };
        let limits = LimitsConfig {
            outbox_bytes: OUTBOX_BYTES,
            namespaces_per_connection: 2,
            rooms_per_socket: 3,
            room_name_bytes: 8,
            attachments_per_packet: 2,
            pending_calls_max: 3,
            ..LimitsConfig::default()
        };
        let open = |name: &str| NamespaceConfig { name: name.into(), ..NamespaceConfig::dev() };
        let auth = AuthConfig::Tokens(vec![TOKEN_HASH.into()]);
        let config = ShardConfig {
            engine,
            limits,
            namespaces: vec![NamespaceConfig { auth, ..open("/quiet") }, open("/"), open("/chat")],
            owner: Owner { node: 1, shard: 2 },
            sid_key: SidKey::new(&SECRET),
            subscriptions,
            deflate_bytes_min: DEFLATE_BYTES_MIN,
        };
        let now = Instant::now();
        let mut shard = Shard::new(config, StdRng::seed_from_u64(1), now);
        let mut wire = Wire::default();
        let link = wire.new_link(true, true);
        let deflate = websocket::Deflate::negotiate("permessage-deflate");
        let opening = Opening { deflate, ..Opening::of(Dialect::Json(Framing::V4)) };
        let key = shard.open_websocket(link, opening, None, now);
        let mut world = Self {
            shard,
            now,
            wire,
            clients: Vec::new(),
            tickets: VecDeque::new(),
            calls: 0,
            bystander: (key, link),
            ticks: 0,
        };
        world.settle_bystander();
        world
    }

    /// Lets the bystander join its namespace and room.
    fn settle_bystander(&mut self) {
        let (key, link) = self.bystander;
        for text in ["40/quiet,{\"token\":\"bystander\"}", "42/quiet,[\"join\",\"room\"]"] {
            self.shard.handle_text(key, link, text, self.now);
            self.end_turn();
            while let Some(ticket) = self.tickets.pop_front() {
                self.shard.handle_confirmed(ticket, self.now);
            }
            self.end_turn();
        }
        let texts = self.wire.texts(link);
        assert!(texts.iter().any(|text| text.starts_with("40/quiet,{\"sid\":")), "{texts:?}");
    }

    /// Ends a turn, as the driver does.
    fn end_turn(&mut self) {
        self.shard.flush(&mut self.wire);
        self.wire.end_turn();
        while let Some(output) = self.shard.poll_output() {
            if let Output::Subscribe(_, Some(ticket)) = output {
                self.tickets.push_back(ticket);
            }
        }
    }

    /// Lets time pass, with a turn at each deadline on the way; the bystander answers its pings.
    fn time_passes(&mut self, pause: Duration) {
        let end = self.now + pause;
        while let Some(next) = self.shard.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.shard.handle_timeouts(self.now, |_| ());
            self.end_turn();
            self.answer_pings();
            let next = self.shard.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "due again at once");
        }
        self.now = end;
    }

    fn answer_pings(&mut self) {
        let (key, link) = self.bystander;
        for text in self.wire.texts(link) {
            assert_eq!(text, "2", "not meant for the bystander");
            self.shard.handle_text(key, link, "3", self.now);
        }
    }

    /// What waits is bounded, whatever the clients do not read.
    fn check_memory(&self) {
        let connections = self.shard.connection_count() as u64;
        let bytes_max = connections * (u64::from(OUTBOX_BYTES) + MESSAGE_BYTES_MAX as u64);
        assert!(self.shard.outbox_bytes() <= bytes_max, "{} bytes wait", self.shard.outbox_bytes());
        assert!(connections <= self.clients.len() as u64 + 1, "more connections than were opened");
        // Two namespaces each, and the bystander.
        assert!(self.shard.socket_count() as u64 <= connections * 2, "more sockets than may be");
        assert!(self.shard.room_count() <= self.shard.socket_count() * 3, "more rooms than may be");
    }

    /// What is published to the bystander reaches it.
    fn check_bystander(&mut self) {
        self.ticks += 1;
        let json = format!("[\"tick\",{},\"{}\"]", self.ticks, "again ".repeat(5));
        let reach =
            self.shard.deliver(&publication("/quiet", &["room"], Delivery::Reliable, &json, Vec::new()));
        assert_eq!((reach.matched, reach.written), (1, 1));
        self.end_turn();
        let expected = format!("42/quiet,{json}");
        let texts = self.wire.texts(self.bystander.1);
        assert_eq!(texts, [expected], "the bystander was disturbed");
    }

    /// Everyone falls silent, the bystander too: nothing stays.
    fn leave(mut self) {
        let end = self.now + Duration::from_secs(300);
        while let Some(next) = self.shard.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.shard.handle_timeouts(self.now, |_| ());
            self.end_turn();
            self.wire.texts(self.bystander.1);
        }
        let left = (self.shard.connection_count(), self.shard.socket_count(), self.shard.room_count());
        assert_eq!(left, (0, 0, 0), "connections, sockets, rooms");
        assert_eq!(self.shard.outbox_bytes(), 0);
        self.wire.assert_empty();
    }
}

fn publication(
    namespace: &str,
    rooms: &[&str],
    delivery: Delivery,
    json: &str,
    attachments: Vec<Bytes>,
) -> Publication {
    Publication::new(Broadcast {
        namespace: NamespaceName::new(namespace),
        targets: targets(rooms),
        delivery,
        event: Event { json: Bytes::copy_from_slice(json.as_bytes()), attachments },
    })
}

fn targets(rooms: &[&str]) -> Targets {
    Targets { rooms: rooms.iter().map(RoomName::new).collect(), except: Vec::new() }
}
