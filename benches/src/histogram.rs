//! Latencies in buckets of 3 % width, so that millions of them cost nothing to keep.

use std::time::Duration;

/// Buckets per power of two.
const STEPS: u32 = 32;

/// How often each latency occurred.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * STEPS as usize], total: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanos)] += 1;
        self.total += 1;
    }

    /// The latency that `share` of all do not exceed, to 3 %; `None` if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.map(|bucket| Duration::from_nanos(highest_of(bucket)))
    }
}

/// Up to 64 ns each nanosecond has a bucket; above, each power of two has `STEPS`.
fn bucket_of(nanos: u64) -> usize {
    let steps = u64::from(STEPS);
    let shift = nanos.checked_ilog2().unwrap_or(0).saturating_sub(STEPS.ilog2());
    (u64::from(shift) * steps + (nanos >> shift)) as usize
}

fn highest_of(bucket: usize) -> u64 {
    let steps = STEPS as usize;
    let shift = (bucket / steps).saturating_sub(1);
    let step = bucket - shift * steps;
    ((step as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        for nanos in (0..10_000).chain([1 << 20, (1 << 20) + 12_345, 1 << 40, u64::MAX >> 2]) {
            let highest = highest_of(bucket_of(nanos));
            assert!(highest >= nanos, "{nanos}");
            assert!(highest - nanos <= nanos / 32, "{nanos} {highest}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=60).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        for (share, expected) in [(0.0, 1), (0.5, 30), (0.99, 60), (1.0, 60)] {
            assert_eq!(histogram.quantile(share), Some(Duration::from_nanos(expected)), "{share}");
        }
    }
}
