//! One timer wheel for all deadlines of a shard: two instructions to arm, nothing to cancel.

use std::time::{Duration, Instant};

/// How late a deadline may be noticed.
pub const TICK: Duration = Duration::from_millis(8);

const SLOTS: usize = 4096;
const WORDS: usize = SLOTS / 64;

/// The number of a tick since the wheel was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

/// Keys by the tick at which they are to be looked at again.
///
/// The wheel is lazy: keys are never taken out. Whoever arms a key remembers the tick and ignores the key
/// when it comes at another one; and arms it again when its deadline has moved or lies beyond the wheel's
/// horizon of 33 s. So a heartbeat that is put off with each pong costs nothing until it fires.
#[derive(Debug)]
pub(crate) struct Wheel {
    origin: Instant,
    /// All ticks up to this one have been expired.
    done: u64,
    slots: Vec<Vec<u32>>,
    occupied: [u64; WORDS],
    /// The first occupied tick, which every turn asks for.
    first: Option<u64>,
}

impl Wheel {
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, done: 0, slots: vec![Vec::new(); SLOTS], occupied: [0; WORDS], first: None }
    }

    /// Arranges for `key` to come out of [`Self::expire`] at the returned tick: the first one not before
    /// `at`, or the horizon if that is earlier.
    pub(crate) fn arm(&mut self, key: u32, at: Instant) -> Tick {
        let tick = self.tick_after(at).clamp(self.done + 1, self.done + SLOTS as u64 - 1);
        let slot = slot_of(tick);
        self.slots[slot].push(key);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.first = Some(self.first.map_or(tick, |first| first.min(tick)));
        Tick(tick)
    }

    /// Calls `expired` with each key that is due at `now`, and the tick it was armed for.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<(u32, Tick)>) {
        let last = self.tick_before(now);
        while self.done < last {
            // The armed slots all lie within one turn of the wheel: whatever is beyond needs no visit.
            let Some(next) = self.first else {
                self.done = last;
                return;
            };
            self.done = next.min(last);
            if next <= last {
                let slot = slot_of(next);
                self.occupied[slot / 64] &= !(1 << (slot % 64));
                due.extend(std::mem::take(&mut self.slots[slot]).into_iter().map(|key| (key, Tick(next))));
                self.first = self.next_occupied();
            }
        }
    }

    /// When [`Self::expire`] has something to do next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.first.map(|tick| self.origin + ticks(tick))
    }

    /// Whether a key armed for `tick` would come too late for `at`.
    pub(crate) fn is_later(&self, tick: Tick, at: Instant) -> bool {
        tick.0 > self.tick_after(at)
    }

    fn next_occupied(&self) -> Option<u64> {
        let first = slot_of(self.done + 1);
        let behind = self.occupied[first / 64] & (u64::MAX << (first % 64));
        let (mut word, mut bits) = (first / 64, behind);
        for _ in 0..=WORDS {
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(self.done + 1 + ((slot + SLOTS - first) % SLOTS) as u64);
            }
            word = (word + 1) % WORDS;
            bits = self.occupied[word];
        }
        None
    }

    fn tick_after(&self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(passed.div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
    }

    fn tick_before(&self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(passed / TICK.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn slot_of(tick: u64) -> usize {
    usize::try_from(tick % SLOTS as u64).expect("less than SLOTS")
}

fn ticks(count: u64) -> Duration {
    Duration::from_nanos(count.saturating_mul(TICK.as_nanos() as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expire(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now, &mut due);
        due.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_key_comes_out_once_and_not_before_its_time() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.arm(7, start + 20 * TICK);
        assert_eq!(wheel.next(), Some(start + 20 * TICK));
        assert_eq!(expire(&mut wheel, start + 19 * TICK), Vec::<u32>::new());
        assert_eq!(expire(&mut wheel, start + 20 * TICK), [7]);
        assert_eq!(expire(&mut wheel, start + 9999 * TICK), Vec::<u32>::new());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn what_lies_beyond_the_horizon_comes_out_at_the_horizon() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.arm(1, start + Duration::from_secs(3600));
        assert_eq!(wheel.next(), Some(start + 4095 * TICK));
        assert_eq!(expire(&mut wheel, start + 4095 * TICK), [1]);
    }

    #[test]
    fn the_past_is_due_at_the_next_tick() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        assert_eq!(expire(&mut wheel, start + 100 * TICK), Vec::<u32>::new());
        wheel.arm(1, start);
        assert_eq!(expire(&mut wheel, start + 101 * TICK), [1]);
    }

    proptest! {
        #[test]
        fn every_key_comes_out_in_its_tick(
            delays in prop::collection::vec(1..4000_u32, 1..50),
            steps in prop::collection::vec(1..700_u32, 1..40),
        ) {
            let start = Instant::now();
            let mut wheel = Wheel::new(start);
            for (key, delay) in delays.iter().enumerate() {
                wheel.arm(key as u32, start + *delay * TICK);
            }
            let (mut at, mut seen) = (0, vec![None; delays.len()]);
            for step in steps {
                at += step;
                for key in expire(&mut wheel, start + at * TICK) {
                    prop_assert_eq!(seen[key as usize].replace(at), None);
                    prop_assert!(delays[key as usize] <= at && delays[key as usize] > at - step);
                }
            }
            for (key, delay) in delays.iter().enumerate() {
                prop_assert_eq!(seen[key].is_some(), *delay <= at);
            }
        }
    }
}
