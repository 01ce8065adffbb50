//! At most one line per second for things that may happen a thousand times a second.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Shortest time between two lines of one kind, in ms.
const PAUSE_MS: u64 = 1000;

/// When a kind of line was last admitted, and how many have been held back since.
#[derive(Debug, Default)]
pub struct Repeats {
    /// The time from which the next line is admitted, in ms.
    next_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Repeats {
    pub(crate) const fn new() -> Self {
        Self { next_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether a line may be written at `now_ms`; if so, how many were held back before it.
    ///
    /// Threads may race for the same second: one of them wins, the others count as held back.
    pub(crate) fn admit(&self, now_ms: u64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        let won = now_ms >= next
            && self
                .next_ms
                .compare_exchange(next, now_ms + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Time since the first line of this process, in ms.
pub(crate) fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX - PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_line_within_a_second_is_counted_instead_of_written() {
        let repeats = Repeats::new();
        let cases = [
            (0, Some(0)),
            (1, None),
            (999, None),
            (1000, Some(2)),
            (1500, None),
            (9000, Some(1)),
            (10_000, Some(0)),
        ];
        for (now_ms, expected) in cases {
            assert_eq!(repeats.admit(now_ms), expected, "at {now_ms} ms");
        }
    }
}
