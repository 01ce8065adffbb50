//! Whether something still goes on, for all who wait for a server.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Without any progress for this long, what is missing is lost. Under valgrind a message for thousands takes a
/// second.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far something is, and since when.
pub(crate) struct Progress {
    count: u64,
    at: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { count: 0, at: Instant::now() }
    }

    /// Notes how far things are; false if they have stood still for too long.
    pub(crate) fn goes_on(&mut self, count: u64) -> bool {
        if count != self.count {
            *self = Self { count, at: Instant::now() };
        }
        self.at.elapsed() < PATIENCE
    }

    /// As [`Self::goes_on`], for what cannot be counted as lost.
    pub(crate) fn check(&mut self, count: u64, what: &str) -> anyhow::Result<()> {
        if !self.goes_on(count) {
            bail!("{what} has stood at {count} for {PATIENCE:?}");
        }
        Ok(())
    }
}
