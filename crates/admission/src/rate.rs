//! How often something may happen: a bucket of tokens, kept as one time.

use std::time::{Duration, Instant};

/// So many per second, and as many at once after a second of rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time in which one token comes back.
    interval: Duration,
    /// The time in which an empty bucket fills, less one token's.
    slack: Duration,
}

/// What is left of a [`Rate`]. A fresh one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it will be full again.
    full_at: Option<Instant>,
}

impl Rate {
    /// `per_second` per second; `None` for 0, which is no limit.
    pub fn new(per_second: u32) -> Option<Self> {
        let interval = Duration::from_nanos(1_000_000_000 / u64::from(per_second).max(1));
        (per_second > 0).then(|| Self { interval, slack: interval * (per_second - 1) })
    }

    /// Takes a token; false if there is none.
    #[inline]
    pub fn take(&self, bucket: &mut Bucket, now: Instant) -> bool {
        let full_at = bucket.full_at.map_or(now, |full_at| full_at.max(now));
        let admitted = full_at.saturating_duration_since(now) <= self.slack;
        if admitted {
            bucket.full_at = Some(full_at + self.interval);
        }
        admitted
    }
}

impl Bucket {
    /// Whether it is as good as a fresh one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// How many of `asked` are admitted at once.
    fn admitted(rate: Rate, bucket: &mut Bucket, asked: u32, now: Instant) -> u32 {
        (0..asked).map(|_| u32::from(rate.take(bucket, now))).sum()
    }

    #[test]
    fn a_second_of_rest_is_good_for_exactly_a_seconds_worth() {
        let start = Instant::now();
        for per_second in [1, 3, 7, 1000, 20_000, 300_001] {
            let rate = Rate::new(per_second).unwrap();
            let mut bucket = Bucket::default();
            assert_eq!(admitted(rate, &mut bucket, per_second + 1, start), per_second);
            assert_eq!(admitted(rate, &mut bucket, per_second + 1, start + ms(1001)), per_second);
        }
    }

    #[test]
    fn tokens_come_back_one_by_one() {
        let start = Instant::now();
        let rate = Rate::new(4).unwrap();
        let mut bucket = Bucket::default();
        assert_eq!(admitted(rate, &mut bucket, 9, start), 4);
        for (at, expected) in [(249, 0), (250, 1), (250, 0), (999, 2), (60_000, 4)] {
            assert_eq!(admitted(rate, &mut bucket, expected + 1, start + ms(at)), expected, "at {at} ms");
        }
        assert!(!bucket.is_full(start + ms(60_999)) && bucket.is_full(start + ms(61_000)));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let start = Instant::now() + ms(1000);
        let rate = Rate::new(2).unwrap();
        let mut bucket = Bucket::default();
        assert_eq!(admitted(rate, &mut bucket, 9, start), 2);
        assert_eq!(admitted(rate, &mut bucket, 9, start), 0);
        assert_eq!(admitted(rate, &mut bucket, 9, start - ms(900)), 0);
    }

    #[test]
    fn a_rate_of_0_is_none() {
        assert_eq!(Rate::new(0), None);
    }
}
