//! Memory of a crowd that has gone is given back.

use std::hash::BuildHasher as _;

use rooms::{is_worth_shrinking, shrink_after_wave};

use super::{Namespace, Shard};

impl Shard {
    /// Gives back what a past crowd needed; to be called now and then.
    pub fn shrink(&mut self) {
        shrink_after_wave(&mut self.connections);
        if is_worth_shrinking(self.sids.capacity(), self.sids.len()) {
            let (hash, connections) = (&self.sid_hash, &self.connections);
            self.sids.shrink_to_fit(|index| hash.hash_one(connections[*index as usize].sid));
        }
        self.namespaces.iter_mut().for_each(|(_, namespace)| namespace.shrink());
        self.shrink_buffers();
    }

    /// Each holds something of many connections for the length of a turn, and is empty between turns.
    fn shrink_buffers(&mut self) {
        let connections = self.connections.len();
        self.spares.shrink(connections);
        self.due.shrink_to(connections);
        self.dirty.shrink_to(connections);
        self.overflowed.shrink_to(connections);
        self.doomed.shrink_to(connections);
        self.probe_answers.shrink_to(connections);
        self.late_answers.shrink_to(connections);
        self.outputs.shrink_to(connections);
    }
}

impl Namespace {
    fn shrink(&mut self) {
        self.rooms.shrink();
        if is_worth_shrinking(self.auths.capacity(), self.auths.len()) {
            self.auths.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, IoSlice},
        time::Instant,
    };

    use adapter::{Broadcast, Delivery, Event, Subscriptions, Targets};
    use bytes::Bytes;
    use engineio::{CloseReason, EngineConfig, Owner, SidKey};
    use rand::{SeedableRng, rngs::StdRng};
    use socketio::NamespaceName;

    use super::*;
    use crate::{
        ConnectionKey, Dialect, Framing, LimitsConfig, LinkId, NamespaceConfig, Opening, Payload, PollId,
        Publication, ShardConfig, Sink,
    };

    const CROWD: u32 = 5000;
    const STAY: u32 = 20;

    /// Clients that read whatever they get.
    struct Readers;

    impl Sink for Readers {
        fn write(&mut self, _: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }

        fn close(&mut self, _: LinkId) {}

        fn answer(&mut self, _: PollId, _: Payload) {}
    }

    fn end_turn(shard: &mut Shard) {
        shard.flush(&mut Readers);
        while shard.poll_output().is_some() {}
    }

    fn shard(now: Instant) -> Shard {
        let config = ShardConfig {
            engine: EngineConfig::default(),
            limits: LimitsConfig::default(),
            namespaces: vec![NamespaceConfig::dev()],
            owner: Owner { node: 1, shard: 2 },
            sid_key: SidKey::new(&[7; 32]),
            subscriptions: Subscriptions::NotNeeded,
            deflate_bytes_min: 1024,
        };
        Shard::new(config, StdRng::seed_from_u64(1), now)
    }

    /// Lets a crowd connect within one turn, send what it authenticates with, and get two messages at once.
    fn assemble(shard: &mut Shard, now: Instant) -> Vec<(ConnectionKey, LinkId)> {
        let opening = || Opening::of(Dialect::Json(Framing::V4));
        let open = |link| (shard.open_websocket(link, opening(), None, now), link);
        let crowd: Vec<_> = (0..CROWD).map(LinkId).map(open).collect();
        for (key, link) in &crowd {
            shard.handle_text(*key, *link, r#"40{"token":"a"}"#, now);
        }
        let publication = Publication::new(Broadcast {
            namespace: NamespaceName::main(),
            targets: Targets { rooms: Vec::new(), except: Vec::new() },
            delivery: Delivery::Reliable,
            event: Event { json: Bytes::from_static(b"[\"e\"]"), attachments: Vec::new() },
        });
        assert_eq!(shard.deliver(&publication).written, CROWD);
        crowd
    }

    /// What a shard keeps room for, by name.
    fn room(shard: &Shard) -> [(&'static str, usize); 7] {
        let namespace = &shard.namespaces[0];
        [
            ("connections", shard.connections.capacity()),
            ("sids", shard.sids.capacity()),
            ("auths", namespace.auths.capacity()),
            ("spares", shard.spares.len()),
            ("dirty", shard.dirty.capacity()),
            ("due", shard.due.capacity()),
            ("outputs", shard.outputs.capacity()),
        ]
    }

    #[test]
    fn what_a_crowd_needed_is_given_back_though_some_stay() {
        let now = Instant::now();
        let mut shard = shard(now);
        let crowd = assemble(&mut shard, now);
        end_turn(&mut shard);
        // Their heartbeats come at once, too.
        let due = shard.poll_timeout().unwrap() + 2 * crate::TICK;
        shard.handle_timeouts(due, |_| ());
        end_turn(&mut shard);
        for (name, capacity) in room(&shard) {
            assert!(capacity >= 1000, "{name} are not what a crowd needs room for: {capacity}");
        }
        for (key, link) in &crowd[STAY as usize..] {
            shard.handle_link_closed(*key, *link, CloseReason::TransportClose);
        }
        end_turn(&mut shard);
        assert_eq!(shard.connection_count(), STAY as usize);
        shard.shrink();
        for (name, capacity) in room(&shard) {
            assert!(capacity <= 64, "{name}: {capacity}");
        }
        // Those that stay are served as before.
        let (key, link) = crowd[0];
        shard.handle_text(key, link, "3", due);
        assert_eq!(shard.socket_count(), STAY as usize);
    }
}
