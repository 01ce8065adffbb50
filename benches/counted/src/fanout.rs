//! Rooms, and a whole shard whose sockets take everything at once.

use std::{
    hint::black_box,
    io::{self, IoSlice},
    time::Instant,
};

use adapter::Subscriptions;
use broker::{
    ConnectionKey, Dialect, Flow, Framing, LimitsConfig, LinkId, NamespaceConfig, Opening, Payload, PollId,
    Publication, Shard, ShardConfig, Sink,
};
use engineio::{CloseReason, EngineConfig, Owner, SidKey};
use rand::{SeedableRng, rngs::StdRng};
use rooms::{Joined, Registry};
use socketio::{RoomName, SocketId};

use crate::{Bench, Counted, codecs::broadcast};

pub(crate) const BENCHES: [Bench; 6] = [
    ("select_of_a_room_of_1000", select_room),
    ("select_of_two_rooms_but_one_of_1000", select_union),
    ("publication", publication),
    ("deliver_to_a_room_of_1000", || deliver(1)),
    ("deliver_8_in_a_turn_to_a_room_of_1000", || deliver(8)),
    ("connect_and_close", connect_and_close),
];

const MEMBERS: u32 = 1000;
const OPENING: Opening = Opening::of(Dialect::Json(Framing::V4));

/// Takes all and keeps nothing.
struct Void;

impl Sink for Void {
    fn write(&mut self, _: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(black_box(slices).iter().map(|slice| slice.len()).sum())
    }

    fn close(&mut self, _: LinkId) {}

    fn answer(&mut self, _: PollId, _: Payload) {}
}

fn select_room() -> Counted {
    let (mut registry, rooms) = registry();
    Counted::new(MEMBERS, move || {
        let selection = registry.select(&rooms[..1], &[], |socket, connection| {
            black_box((socket, connection));
        });
        assert_eq!(selection.matched, MEMBERS);
    })
}

fn select_union() -> Counted {
    let (mut registry, rooms) = registry();
    Counted::new(MEMBERS, move || {
        // The second room is half of the first, the third one member of it.
        let selection = registry.select(&rooms[..2], &rooms[2..], |socket, connection| {
            black_box((socket, connection));
        });
        assert_eq!(selection.matched, MEMBERS - 1);
    })
}

fn registry() -> (Registry, [RoomName; 3]) {
    let mut registry = Registry::default();
    let mut rng = StdRng::seed_from_u64(1);
    let rooms = ["all", "half", "one"].map(RoomName::new);
    for member in 0..MEMBERS {
        let socket = registry.add(SocketId::random(&mut rng), member).expect("ids differ");
        let count = match member {
            0 => 3,
            even if even % 2 == 0 => 2,
            _ => 1,
        };
        for room in &rooms[..count] {
            assert_ne!(registry.join(socket, room), Joined::Already);
        }
    }
    (registry, rooms)
}

fn publication() -> Counted {
    let broadcast = broadcast();
    Counted::new(1, move || {
        black_box(Publication::new(black_box(broadcast.clone())));
    })
}

/// Messages of one turn to all members, and their writing.
fn deliver(messages: u32) -> Counted {
    let mut shard = shard();
    let now = Instant::now();
    for member in 0..MEMBERS {
        let (key, link) = connect(&mut shard, member, now);
        assert_eq!(shard.handle_text(key, link, r#"420["join","r0"]"#, now), Flow::Continue);
    }
    settle(&mut shard);
    let publication = Publication::new(broadcast());
    Counted::new(messages * MEMBERS, move || {
        for _ in 0..messages {
            black_box(shard.deliver(&publication));
        }
        shard.flush(&mut Void);
    })
}

fn connect_and_close() -> Counted {
    let mut shard = shard();
    let now = Instant::now();
    Counted::new(10, move || {
        for link in 0..10 {
            let (key, link) = connect(&mut shard, link, now);
            settle(&mut shard);
            shard.handle_link_closed(key, link, CloseReason::TransportClose);
            settle(&mut shard);
        }
    })
}

fn shard() -> Shard {
    let config = ShardConfig {
        engine: EngineConfig::default(),
        limits: LimitsConfig::default(),
        namespaces: vec![NamespaceConfig::dev()],
        owner: Owner { node: 1, shard: 2 },
        sid_key: SidKey::new(&[7; 32]),
        subscriptions: Subscriptions::NotNeeded,
        deflate_bytes_min: 1024,
    };
    Shard::new(config, StdRng::seed_from_u64(1), Instant::now())
}

fn connect(shard: &mut Shard, link: u32, now: Instant) -> (ConnectionKey, LinkId) {
    let link = LinkId(link);
    let key = shard.open_websocket(link, OPENING, None, now);
    assert_eq!(shard.handle_text(key, link, "40", now), Flow::Continue);
    (key, link)
}

/// Ends a turn, as the driver does.
fn settle(shard: &mut Shard) {
    shard.flush(&mut Void);
    while shard.poll_output().is_some() {}
}
