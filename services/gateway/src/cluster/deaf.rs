//! For how long what other nodes publish has not come here in full: nobody can count what was lost meanwhile.

use std::time::{Duration, Instant};

/// Spells in which not everything that is wanted was subscribed, the first of which begins with the process.
///
/// They begin when the loss of a connection is noticed: one that is silent is so for
/// `redis.heartbeat_interval_ms` and `redis.heartbeat_timeout_ms` together before that.
#[derive(Debug)]
pub(super) struct Deaf {
    since: Option<Instant>,
    /// Of the spells that are over.
    total: Duration,
    last: Duration,
}

impl Deaf {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: Some(now), total: Duration::ZERO, last: Duration::ZERO }
    }

    /// Takes note of whether something is missed now.
    pub(super) fn note(&mut self, is_deaf: bool, now: Instant) {
        match (is_deaf, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.since = None;
                self.last = now.saturating_duration_since(since);
                self.total += self.last;
            }
            _ => {}
        }
    }

    /// The length of the last spell that is over.
    pub(super) fn last(&self) -> Duration {
        self.last
    }

    /// The length of all spells together, with the one that lasts.
    pub(super) fn total(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_add_up_and_the_one_that_lasts_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deaf = Deaf::new(start);
        deaf.note(true, at(10));
        deaf.note(false, at(40));
        deaf.note(false, at(50));
        assert_eq!(
            (deaf.last(), deaf.total(at(1_000))),
            (Duration::from_millis(40), Duration::from_millis(40))
        );
        deaf.note(true, at(1_000));
        deaf.note(true, at(1_300));
        assert_eq!(deaf.total(at(1_500)), Duration::from_millis(540));
        deaf.note(false, at(1_600));
        assert_eq!(
            (deaf.last(), deaf.total(at(9_000))),
            (Duration::from_millis(600), Duration::from_millis(640))
        );
    }
}
