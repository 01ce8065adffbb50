//! How many messages per second an identity may publish, with a burst.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A rate as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Messages per second in the long run.
    pub messages_per_second: NonZeroU32,
    /// Messages at once after a pause. Default: as many as one second brings.
    pub burst: Option<NonZeroU32>,
}

/// A bucket that holds `burst` tokens and gains `messages_per_second` of them.
///
/// It is kept as one number, the time at which it would be full again (the "theoretical arrival time" of the
/// generic cell rate algorithm), so that taking tokens is one compare-and-swap and no lock.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// What one message costs, in ns.
    cost: u64,
    /// How far in the future `full_at` may lie, in ns.
    depth: u64,
    burst: u64,
    /// In ns since a start that all callers share.
    full_at: AtomicU64,
}

/// Why messages may not be published now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// There will be room for them after this time.
    Wait(Duration),
    /// They are more than the burst, and there will never be room.
    Never {
        /// The most there is ever room for.
        burst: u64,
    },
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: Rate) -> Self {
        let burst = u64::from(rate.burst.unwrap_or(rate.messages_per_second).get());
        let cost = NANOS_PER_SECOND / u64::from(rate.messages_per_second.get());
        Self { cost, depth: cost.saturating_mul(burst), burst, full_at: AtomicU64::new(0) }
    }

    /// Takes `messages` tokens at `now`, a time since a start that all calls share; all of them or none.
    pub(crate) fn take(&self, messages: u64, now: Duration) -> Result<(), Excess> {
        if messages > self.burst {
            return Err(Excess::Never { burst: self.burst });
        }
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let latest = now.saturating_add(self.depth);
        let next = |full_at: u64| full_at.max(now).saturating_add(self.cost.saturating_mul(messages));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(next(full_at)).filter(|next| *next <= latest)
        });
        taken.map(drop).map_err(|full_at| Excess::Wait(Duration::from_nanos(next(full_at) - latest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(messages_per_second: u32, burst: Option<u32>) -> Bucket {
        let limit = |value| NonZeroU32::new(value).unwrap();
        Bucket::new(Rate { messages_per_second: limit(messages_per_second), burst: burst.map(limit) })
    }

    #[test]
    fn a_burst_goes_through_and_one_more_is_told_how_long_to_wait() {
        let bucket = bucket(10, Some(3));
        let start = Duration::from_secs(7);
        for _ in 0..3 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        let wait = Duration::from_millis(100);
        assert_eq!(bucket.take(1, start), Err(Excess::Wait(wait)));
        assert_eq!(
            bucket.take(1, start + wait - Duration::from_nanos(1)),
            Err(Excess::Wait(Duration::from_nanos(1)))
        );
        assert_eq!(bucket.take(1, start + wait), Ok(()));
    }

    #[test]
    fn a_pause_fills_the_bucket_up_to_the_burst_and_no_further() {
        let bucket = bucket(1000, None);
        assert_eq!(bucket.take(1000, Duration::ZERO), Ok(()));
        assert_eq!(bucket.take(1000, Duration::from_secs(3600)), Ok(()));
        assert_eq!(bucket.take(1, Duration::from_secs(3600)), Err(Excess::Wait(Duration::from_millis(1))));
    }

    #[test]
    fn a_batch_is_taken_whole_or_not_at_all() {
        let bucket = bucket(1, Some(4));
        assert_eq!(bucket.take(5, Duration::ZERO), Err(Excess::Never { burst: 4 }));
        assert_eq!(bucket.take(3, Duration::ZERO), Ok(()));
        assert_eq!(bucket.take(2, Duration::ZERO), Err(Excess::Wait(Duration::from_secs(1))));
        assert_eq!(bucket.take(1, Duration::ZERO), Ok(()));
    }

    #[test]
    fn a_clock_that_stands_or_ends_does_no_harm() {
        let bucket = bucket(u32::MAX, Some(u32::MAX));
        for _ in 0..3 {
            bucket.take(u64::from(u32::MAX), Duration::MAX).unwrap();
        }
    }
}
