//! Pauses between attempts to connect.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};

use crate::LinkConfig;

/// Doublings after which the bound has long been the largest.
const DOUBLINGS_MAX: u32 = 20;

/// Random pauses below a bound that doubles with each failure: "full jitter", so that many gateways whose Redis
/// came back do not all return in the same instant.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(config: &LinkConfig) -> Self {
        Self { min_ms: config.reconnect_min_ms.into(), max_ms: config.reconnect_max_ms.into(), failures: 0 }
    }

    /// The pause after one more failure.
    pub(crate) fn next(&mut self, rng: &mut StdRng) -> Duration {
        let bound_ms = self.min_ms.saturating_mul(1 << self.failures).min(self.max_ms);
        self.failures = (self.failures + 1).min(DOUBLINGS_MAX);
        Duration::from_micros(rng.random_range(0..=bound_ms.saturating_mul(1000)))
    }

    /// To be called after a success that has lasted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pauses_stay_below_a_bound_that_doubles_up_to_the_largest() {
        let config = LinkConfig { reconnect_min_ms: 50, reconnect_max_ms: 2000, ..LinkConfig::default() };
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(&config);
            for bound in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
                assert!(backoff.next(&mut rng) <= Duration::from_millis(bound), "seed {seed}, bound {bound}");
            }
            for _ in 0..100 {
                assert!(backoff.next(&mut rng) <= Duration::from_millis(2000), "seed {seed}");
            }
            backoff.reset();
            assert!(backoff.next(&mut rng) <= Duration::from_millis(50), "seed {seed}");
        }
    }
}
