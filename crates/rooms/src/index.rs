//! Finds a slab's entry by its name without keeping the name twice.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// Keys of a slab, found by the hash of a name that the slab's entry holds. Names come from clients, so
/// the hash is seeded by the process, and its values never leave it. The standard library's SipHash took 300
/// instructions a look-up, a tenth of a broadcast to ten sockets; this one takes 30.
#[derive(Debug, Default)]
pub(crate) struct Index {
    table: HashTable<u32>,
    state: RandomState,
}

impl Index {
    /// The key whose entry has `name`; `name_of` reads an entry's name.
    pub(crate) fn find<'n>(&self, name: &str, name_of: impl Fn(u32) -> &'n str) -> Option<u32> {
        self.table.find(self.hash(name), |key| name_of(*key) == name).copied()
    }

    /// Adds `key`, whose entry is in the slab already and has a name that is not here yet.
    pub(crate) fn insert<'n>(&mut self, key: u32, name_of: impl Fn(u32) -> &'n str) {
        let state = &self.state;
        let hash = |key: u32| state.hash_one(name_of(key).as_bytes());
        self.table.insert_unique(hash(key), key, |other| hash(*other));
    }

    /// Takes `key` with `name` out.
    pub(crate) fn remove(&mut self, key: u32, name: &str) {
        let hash = self.hash(name);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == key) {
            entry.remove();
        }
    }

    /// Gives back memory that a past crowd needed; `name_of` as for [`Self::insert`].
    pub(crate) fn shrink<'n>(&mut self, name_of: impl Fn(u32) -> &'n str) {
        let state = &self.state;
        self.table.shrink_to_fit(|key| state.hash_one(name_of(*key).as_bytes()));
    }

    pub(crate) fn capacity(&self) -> usize {
        self.table.capacity()
    }

    fn hash(&self, name: &str) -> u64 {
        self.state.hash_one(name.as_bytes())
    }
}
