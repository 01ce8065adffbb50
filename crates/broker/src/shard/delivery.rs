//! A broadcast reaches the sockets of this shard.

use std::sync::Arc;

use adapter::{Delivery, Targets};
use rooms::SocketKey;

use super::{Namespace, Shard};
use crate::{encoded::Publication, io::ConnectionKey, outbox::Item};

/// How far a broadcast got on one shard, in sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Sockets that it was for.
    pub matched: u32,
    /// Sockets it was queued for.
    pub written: u32,
    /// Not ready for a volatile message.
    pub dropped_volatile: u32,
    /// Too slow: their outbox was full, and they are closed.
    pub dropped_slow: u32,
}

impl Shard {
    /// Queues a broadcast, wherever it was published, for the sockets here that it is for.
    ///
    /// Costs a reference count and a place in a queue per recipient; the writing is one gathered write per
    /// recipient and turn, in [`Self::flush`].
    pub fn deliver(&mut self, publication: &Publication) -> Reach {
        let broadcast = &publication.broadcast;
        let Some(namespace) = self.find_namespace(broadcast.namespace.as_str()) else {
            return Reach::default();
        };
        let item = Item::new(Arc::clone(&publication.encoded), broadcast.delivery);
        self.queue(namespace, &broadcast.targets, &item, |_| ())
    }

    /// Queues a message for the sockets that `targets` names, and names each that will get it to `queued`.
    #[inline]
    pub(super) fn queue(
        &mut self,
        namespace: u32,
        targets: &Targets,
        item: &Item,
        mut queued: impl FnMut(SocketKey),
    ) -> Reach {
        let mut reach = Reach::default();
        let Namespace { rooms, .. } = &mut self.namespaces[namespace as usize];
        let bytes_max = self.limits.outbox_bytes;
        let mut volatile_dropped = 0;
        let selection = rooms.select(&targets.rooms, &targets.except, |socket, index| {
            let connection = &mut self.connections[index as usize];
            // Closing connections have no sockets any more: only readiness is to be asked for.
            if item.delivery() == Delivery::Volatile && !connection.is_ready() {
                reach.dropped_volatile += 1;
                return;
            }
            match connection.outbox.push(item.clone(), bytes_max, &mut self.spares) {
                Ok(dropped) => {
                    volatile_dropped += dropped;
                    reach.written += 1;
                    queued(socket);
                    if !connection.dirty {
                        connection.dirty = true;
                        self.dirty.push(index);
                    }
                }
                Err(_) => {
                    reach.dropped_slow += 1;
                    self.overflowed.push(ConnectionKey { index, generation: connection.generation });
                }
            }
        });
        reach.matched = selection.matched;
        self.counters.broadcasts += 1;
        self.counters.deliveries += u64::from(reach.written);
        self.counters.packets_out += u64::from(reach.written);
        self.counters.volatile_dropped += u64::from(reach.dropped_volatile + volatile_dropped);
        reach
    }
}
