//! How many connections the process holds, over all its shards.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The counts of each shard, written by its thread alone and read by all: the system spreads connections
/// unevenly, so a limit of the process cannot be cut into equal parts.
#[derive(Clone, Debug)]
pub(crate) struct Occupancy {
    shards: Arc<[Counts]>,
    max: usize,
}

/// What one shard holds.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Sockets of its own.
    pub(crate) links: AtomicUsize,
    /// Connections that its HTTP tasks hold.
    pub(crate) http: AtomicUsize,
    /// Sessions. One that polls may have no connection at the moment.
    pub(crate) sessions: AtomicUsize,
}

impl Counts {
    fn total(&self) -> usize {
        let sockets = self.links.load(Ordering::Relaxed) + self.http.load(Ordering::Relaxed);
        sockets.max(self.sessions.load(Ordering::Relaxed))
    }
}

impl Occupancy {
    /// `shards` empty shards that may hold `max` connections together.
    pub(crate) fn new(shards: usize, max: usize) -> Self {
        Self { shards: (0..shards).map(|_| Counts::default()).collect(), max }
    }

    /// The limit.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The counts of one shard.
    pub(crate) fn shard(&self, number: u8) -> &Counts {
        &self.shards[usize::from(number)]
    }

    /// Whether there is no room for another connection. Shards that accept in the same instant may each see
    /// the last place free, so the limit may be passed by as many connections as there are shards.
    pub(crate) fn is_full(&self) -> bool {
        self.shards.iter().map(Counts::total).sum::<usize>() >= self.max
    }

    /// Whether there is no room for another session, whose connection has its place already.
    pub(crate) fn is_full_of_sessions(&self) -> bool {
        let sessions = self.shards.iter().map(|counts| counts.sessions.load(Ordering::Relaxed));
        sessions.sum::<usize>() >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_for_all_shards_together() {
        let occupancy = Occupancy::new(2, 4);
        occupancy.shard(0).links.store(1, Ordering::Relaxed);
        occupancy.shard(0).http.store(1, Ordering::Relaxed);
        occupancy.shard(1).links.store(1, Ordering::Relaxed);
        assert!(!occupancy.is_full());
        // Sessions that poll count even while they have no connection.
        occupancy.shard(1).sessions.store(2, Ordering::Relaxed);
        assert!(occupancy.is_full());
    }
}
