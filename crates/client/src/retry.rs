//! When a call is tried again.

use std::time::Duration;

/// When a call is tried again, after the server said UNAVAILABLE or the connection was lost.
///
/// Between two tries lies a random pause, from nothing up to a bound that doubles with each (full jitter), so that many
/// callers do not come back at one time. The deadline of the call ends it. Messages carry an idempotency key, by
/// which the server knows what it has published already.
#[derive(Clone, Debug)]
pub struct Retries {
    /// Tries again so many times at most.
    pub retries_max: u32,
    /// The bound of the first pause.
    pub pause_first: Duration,
    /// The bound that no pause goes beyond.
    pub pause_max: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            retries_max: u32::MAX,
            pause_first: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
        }
    }
}

impl Retries {
    /// The bound of the pause before retry number `nth`, from 0.
    fn bound(&self, nth: u32) -> Duration {
        self.pause_first.saturating_mul(2_u32.saturating_pow(nth)).min(self.pause_max)
    }

    /// The pause before retry number `nth`, from 0; `None` if there is none.
    pub(crate) fn pause(&self, nth: u32) -> Option<Duration> {
        (nth < self.retries_max).then(|| self.bound(nth).mul_f64(rand::random()))
    }
}

/// A name for one message or batch: 128 random bits.
pub(crate) fn idempotency_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_end() {
        let retries = Retries {
            retries_max: 40,
            pause_first: Duration::from_millis(50),
            pause_max: Duration::from_millis(300),
        };
        let bounds: Vec<_> = (0..5).map(|nth| retries.bound(nth).as_millis()).collect();
        assert_eq!(bounds, [50, 100, 200, 300, 300]);
        assert!(retries.pause(39).unwrap() <= Duration::from_millis(300));
        assert_eq!(retries.pause(40), None);
    }

    #[test]
    fn keys_have_one_length_and_differ() {
        let (one, other) = (idempotency_key(), idempotency_key());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert_ne!(one, other);
    }
}
