//! How much one address may take: connections and sessions at once, and new ones per second.
//!
//! Counted in a table that all threads share, cut into [`STRIPES`] by the hash of the address, each behind a lock of its own. A
//! lock is held for one look-up when a connection or session begins and one when it ends: nothing in the path of a message comes
//! here. Atomics would not do: an entry has to appear and to vanish with its address. Counts per thread would not do either: the
//! system spreads the connections of one address over the threads as it likes.

use core::net::IpAddr;
use std::{
    collections::{HashMap, hash_map},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    prefix::{Prefix, contains},
    rate::{Bucket, Rate},
};

/// Parts of the table; far more than threads, so that two of them seldom meet.
const STRIPES: usize = 64;
/// Addresses that are remembered at once. What comes from further ones is admitted uncounted: `limits.connections` holds for
/// them too, and to refuse them would let one who has many addresses lock everybody else out.
pub const ADDRESSES_MAX: usize = 262_144;
/// A stripe with room for no more than so many addresses keeps it.
const ENTRIES_KEPT: usize = 16;
/// Shortest time between two searches of a full stripe for what can be forgotten.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What one address may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Connections at once, and sessions at once; 0 is no limit.
    pub open_max: u32,
    /// New connections per second, and new sessions; 0 is no limit.
    pub new_per_second: u32,
    /// IPv6 addresses that agree in so many bits are one.
    pub ipv6_prefix_bits: u8,
    /// Addresses without limits.
    pub unlimited: Vec<Prefix>,
}

/// What is counted, each by itself: a polling client has a session with up to two connections, and a client behind a proxy that
/// speaks HTTP has a session on a connection of the proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TCP connection.
    Connection,
    /// A session of Engine.IO.
    Session,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many are open as may be.
    #[error("too many at once")]
    TooMany,
    /// As many have come in the last second as may.
    #[error("too many per second")]
    TooFast,
}

/// The counts of all addresses.
pub struct Quotas {
    open_max: u32,
    rate: Option<Rate>,
    ipv6_prefix_bits: u8,
    unlimited: Vec<Prefix>,
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

/// A part of the table.
#[derive(Default)]
struct Stripe {
    entries: HashMap<Prefix, Entry>,
    swept_at: Option<Instant>,
}

/// What an address has taken, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Entry([Usage; 2]);

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    open: u32,
    new: Bucket,
}

/// A place among those of an address; given back when the last copy is dropped.
#[derive(Clone)]
pub struct Place(Arc<Taken>);

struct Taken {
    quotas: Arc<Quotas>,
    address: Prefix,
    kind: Kind,
}

impl Quotas {
    /// Counts from 0.
    pub fn new(config: QuotaConfig) -> Self {
        Self {
            open_max: config.open_max,
            rate: Rate::new(config.new_per_second),
            ipv6_prefix_bits: config.ipv6_prefix_bits,
            unlimited: config.unlimited,
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes a place for something of `kind` that begins now; `None` if nothing is counted for this address.
    ///
    /// # Errors
    /// [`Refused`]; nothing is taken then.
    pub fn take(
        self: &Arc<Self>,
        kind: Kind,
        address: IpAddr,
        now: Instant,
    ) -> Result<Option<Place>, Refused> {
        if self.open_max == 0 && self.rate.is_none() || contains(&self.unlimited, address) {
            return Ok(None);
        }
        // IPv4 has no more than 32 bits: each address by itself.
        let bits = if address.to_canonical().is_ipv4() { 32 } else { self.ipv6_prefix_bits };
        let address = Prefix::around(address, bits);
        let mut stripe = self.stripe(&address);
        let Some(entry) = stripe.entry(address, now) else { return Ok(None) };
        let usage = &mut entry.0[kind as usize];
        if self.open_max > 0 && usage.open >= self.open_max {
            return Err(Refused::TooMany);
        }
        if self.rate.is_some_and(|rate| !rate.take(&mut usage.new, now)) {
            return Err(Refused::TooFast);
        }
        usage.open = usage.open.saturating_add(1);
        drop(stripe);
        Ok(Some(Place(Arc::new(Taken { quotas: self.clone(), address, kind }))))
    }

    /// How many addresses are remembered.
    pub fn address_count(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).entries.len()).sum()
    }

    /// Forgets the addresses that need not be remembered, and gives back what a past crowd of them needed; to be called now and
    /// then.
    pub fn shrink(&self, now: Instant) {
        self.stripes.iter().for_each(|stripe| lock(stripe).shrink(now));
    }

    fn stripe(&self, address: &Prefix) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one(address);
        // As many as fit into any integer.
        lock(&self.stripes[hash as usize % STRIPES])
    }

    fn give_back(&self, address: Prefix, kind: Kind) {
        let mut stripe = self.stripe(&address);
        let hash_map::Entry::Occupied(mut entry) = stripe.entries.entry(address) else { return };
        let usage = &mut entry.get_mut().0[kind as usize];
        usage.open = usage.open.saturating_sub(1);
        // With a rate it is known later whether the address has rested; a sweep finds it then.
        if self.rate.is_none() && entry.get().is_unused() {
            entry.remove();
        }
    }
}

/// A thread that panicked has left counts that are right: each is changed in one step.
fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stripe {
    /// The entry of an address, new if there is none; `None` if there is no room for it.
    fn entry(&mut self, address: Prefix, now: Instant) -> Option<&mut Entry> {
        const ENTRIES_MAX: usize = ADDRESSES_MAX / STRIPES;
        let is_full = |entries: &HashMap<_, _>| entries.len() >= ENTRIES_MAX;
        if !self.entries.contains_key(&address) {
            if self.entries.len() == self.entries.capacity() || is_full(&self.entries) {
                self.sweep(now);
            }
            if is_full(&self.entries) {
                return None;
            }
        }
        Some(self.entries.entry(address).or_default())
    }

    fn shrink(&mut self, now: Instant) {
        // A few are no crowd, and not worth a walk.
        if self.entries.capacity() > ENTRIES_KEPT {
            self.sweep(now);
            if self.entries.capacity() > ENTRIES_KEPT.max(4 * self.entries.len()) {
                self.entries.shrink_to(2 * self.entries.len());
            }
        }
    }

    /// Forgets the addresses that have nothing open and have rested. To be called before the table grows, so that its
    /// cost is shared by as many as have come since.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_PAUSE) {
            self.swept_at = Some(now);
            self.entries.retain(|_, entry| {
                !(entry.is_unused() && entry.0.iter().all(|usage| usage.new.is_full(now)))
            });
        }
    }
}

impl Entry {
    fn is_unused(&self) -> bool {
        self.0.iter().all(|usage| usage.open == 0)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.quotas.give_back(self.address, self.kind);
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?} of {})", self.0.kind, self.0.address)
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quotas({} addresses)", self.address_count())
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use Kind::{Connection, Session};

    const ADA: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const BOB: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn quotas(open_max: u32, new_per_second: u32) -> Arc<Quotas> {
        let unlimited = vec!["127.0.0.0/8".parse().unwrap()];
        Arc::new(Quotas::new(QuotaConfig { open_max, new_per_second, ipv6_prefix_bits: 64, unlimited }))
    }

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_over_the_limit_is_refused_until_a_place_is_given_back() {
        let (quotas, now) = (quotas(2, 0), Instant::now());
        let take = |kind, address| quotas.take(kind, address, now);
        let first = take(Connection, ADA).unwrap();
        let second = take(Connection, ADA).unwrap();
        assert_eq!(take(Connection, ADA), Err(Refused::TooMany));
        // Sessions are counted by themselves, and so are other addresses.
        let others = [take(Session, ADA), take(Session, ADA), take(Connection, BOB)];
        assert!(others.iter().all(|place| matches!(place, Ok(Some(_)))));
        assert_eq!(take(Session, ADA), Err(Refused::TooMany));
        let copy = first.clone();
        drop(first);
        assert_eq!(take(Connection, ADA), Err(Refused::TooMany));
        drop(copy);
        assert!(take(Connection, ADA).is_ok());
        drop((second, others));
        assert_eq!(quotas.address_count(), 0);
    }

    #[test]
    fn one_over_the_rate_is_refused_until_time_has_passed() {
        let (quotas, start) = (quotas(0, 2), Instant::now());
        let take = |kind, seconds| quotas.take(kind, ADA, start + second(seconds)).map(drop);
        assert_eq!([take(Connection, 0), take(Connection, 0)], [Ok(()), Ok(())]);
        assert_eq!(take(Connection, 0), Err(Refused::TooFast));
        assert_eq!(take(Session, 0), Ok(()));
        assert_eq!([take(Connection, 1), take(Connection, 1)], [Ok(()), Ok(())]);
        assert_eq!(take(Connection, 1), Err(Refused::TooFast));
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let (quotas, start) = (quotas(1, 2), Instant::now());
        let place = quotas.take(Connection, ADA, start).unwrap();
        for _ in 0..9 {
            assert_eq!(quotas.take(Connection, ADA, start), Err(Refused::TooMany));
        }
        drop(place);
        let place = quotas.take(Connection, ADA, start);
        assert!(place.is_ok(), "refused ones count for the rate");
        drop(place);
        for _ in 0..9 {
            assert_eq!(quotas.take(Connection, ADA, start), Err(Refused::TooFast));
        }
        assert!(quotas.take(Connection, ADA, start + second(1)).is_ok(), "too fast ones count as open");
    }

    #[test]
    fn ipv6_addresses_of_one_prefix_are_one_and_mapped_ones_are_ipv4() {
        let (quotas, now) = (quotas(1, 0), Instant::now());
        let take = |address: &str| quotas.take(Connection, address.parse().unwrap(), now);
        let _held = [take("2001:db8:0:1::1").unwrap(), take("192.0.2.1").unwrap()];
        assert_eq!(take("2001:db8:0:1:ffff::9"), Err(Refused::TooMany));
        assert!(take("2001:db8:0:2::1").is_ok());
        assert_eq!(take("::ffff:192.0.2.1"), Err(Refused::TooMany));
        assert!(take("192.0.2.0").is_ok() && take("::ffff:192.0.2.2").is_ok());
    }

    #[test]
    fn addresses_without_limits_and_limits_of_0_count_nothing() {
        let now = Instant::now();
        let limited = quotas(1, 1);
        for _ in 0..9 {
            assert_eq!(limited.take(Connection, Ipv4Addr::LOCALHOST.into(), now), Ok(None));
            assert_eq!(quotas(0, 0).take(Connection, ADA, now), Ok(None));
        }
        assert_eq!(limited.address_count(), 0);
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let (quotas, start) = (quotas(1, 1), Instant::now());
        let address = |number: u32| IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64));
        let everybody: Vec<_> =
            (0..400_000).map(|number| quotas.take(Connection, address(number), start).unwrap()).collect();
        let counted = everybody.iter().flatten().count();
        assert!(counted <= ADDRESSES_MAX && counted > ADDRESSES_MAX / 2, "{counted}");
        assert_eq!(quotas.address_count(), counted);
        drop(everybody);
        // Later ones find the table full of those that have gone.
        let later: Vec<_> = (400_000..500_000)
            .map(|number| quotas.take(Connection, address(number), start + second(5)).unwrap())
            .collect();
        assert_eq!(later.iter().flatten().count(), later.len());
        assert!(quotas.address_count() <= ADDRESSES_MAX);
    }

    #[test]
    fn a_crowd_of_addresses_that_has_gone_is_forgotten_though_nobody_comes() {
        let room = |quotas: &Quotas| -> usize {
            quotas.stripes.iter().map(|stripe| lock(stripe).entries.capacity()).sum()
        };
        for new_per_second in [0, 1] {
            let (quotas, start) = (quotas(1, new_per_second), Instant::now());
            let address = |number: u32| IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64));
            let take = |number| quotas.take(Connection, address(number), start).unwrap();
            let mut everybody: Vec<_> = (0..50_000).map(take).collect();
            assert!(room(&quotas) > 50_000);
            everybody.truncate(100);
            quotas.shrink(start + second(5));
            assert_eq!(quotas.address_count(), 100);
            let kept = room(&quotas);
            assert!(kept <= STRIPES * 2 * ENTRIES_KEPT, "{kept}");
            assert_eq!(quotas.take(Connection, address(99), start + second(6)), Err(Refused::TooMany));
        }
    }
}
