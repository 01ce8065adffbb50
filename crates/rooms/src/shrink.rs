//! Memory comes back after a wave of sockets has gone.

use slab::Slab;

/// A table shrinks when it is this many times larger than needed.
const SHRINK_FACTOR: usize = 4;
const SHRINK_FLOOR: usize = 64;

/// Whether a table with room for `capacity` entries is much too large for its `len`.
pub fn is_worth_shrinking(capacity: usize, len: usize) -> bool {
    capacity > SHRINK_FLOOR.max(len * SHRINK_FACTOR)
}

/// Gives back what a slab needed for a past crowd. Entries stay where they are: it is cut off behind the last one, which
/// is near the front if those that stay were there before the wave.
///
/// Walks over all vacant places if the slab is much too large: to be called now and then, not after each removal.
pub fn shrink_after_wave<T>(slab: &mut Slab<T>) {
    if is_worth_shrinking(slab.capacity(), slab.len()) {
        slab.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_gives_back_what_a_wave_needed_though_some_stay() {
        let mut slab = Slab::new();
        let keys: Vec<usize> = (0..10_000).map(|number| slab.insert(number)).collect();
        for key in &keys[100..] {
            slab.remove(*key);
        }
        shrink_after_wave(&mut slab);
        assert!(slab.capacity() <= 512, "{}", slab.capacity());
        assert!((0..100).all(|key| slab[key] == key));
        let next = slab.insert(0);
        assert!(next >= 100, "the place of another: {next}");
    }

    #[test]
    fn one_that_stays_at_the_far_end_keeps_its_place() {
        let mut slab = Slab::new();
        let keys: Vec<usize> = (0..1000).map(|number| slab.insert(number)).collect();
        for key in &keys[..999] {
            slab.remove(*key);
        }
        shrink_after_wave(&mut slab);
        assert_eq!(slab[999], 999);
    }
}
