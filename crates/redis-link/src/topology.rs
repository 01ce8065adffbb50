//! Which member of a Redis Cluster serves which slot, as far as is known.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::backoff::Backoff;
use crate::dial::{Dialer, SlotRange};
use crate::slots::SLOTS;
use crate::target::Endpoint;
use crate::{LinkConfig, LinkFault};

/// How old the map may become although nothing contradicts it.
const AGE_MAX: Duration = Duration::from_secs(5);
/// The same while a master of it cannot be reached: somebody is about to take its place.
const AGE_MAX_AWAY: Duration = Duration::from_millis(250);
/// Pause between two looks at the map, however often it is contradicted.
const PAUSE_MIN: Duration = Duration::from_millis(100);

type Fetch = Pin<Box<dyn Future<Output = Result<Vec<SlotRange>, LinkFault>> + Send>>;

/// The map of slots and how it is kept.
pub(crate) struct Topology {
    /// By slot: the key of the server.
    owners: Vec<Option<usize>>,
    fetch: Option<Fetch>,
    fetched_at: Option<Instant>,
    next_fetch: Instant,
    /// Contradicted since the fetching began: what comes may be out of date too.
    is_stale: bool,
    backoff: Backoff,
}

impl Topology {
    pub(crate) fn new(config: &LinkConfig, now: Instant) -> Self {
        Self {
            owners: vec![None; usize::from(SLOTS)],
            fetch: None,
            fetched_at: None,
            next_fetch: now,
            is_stale: false,
            backoff: Backoff::new(config),
        }
    }

    /// The server of `slot`.
    pub(crate) fn owner(&self, slot: u16) -> Option<usize> {
        self.owners.get(usize::from(slot)).copied().flatten()
    }

    pub(crate) fn set_owner(&mut self, slot: u16, key: usize) {
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = Some(key);
        }
    }

    /// Forgets what the map said.
    pub(crate) fn clear(&mut self) {
        self.owners.fill(None);
    }

    /// The map was contradicted: it is fetched soon.
    pub(crate) fn set_stale(&mut self, now: Instant) {
        self.is_stale = true;
        let soonest = self.fetched_at.map_or(now, |at| at + PAUSE_MIN);
        self.next_fetch = self.next_fetch.min(soonest.max(now));
    }

    /// A master of the map cannot be reached.
    pub(crate) fn expect_change(&mut self, now: Instant) {
        self.next_fetch = self.next_fetch.min(now + AGE_MAX_AWAY);
    }

    /// Begins to fetch when it is due, from `members`; returns whether it does.
    pub(crate) fn fetch_if_due(&mut self, now: Instant, dialer: &Dialer, members: Vec<Endpoint>) -> bool {
        let is_due = self.fetch.is_none() && self.next_fetch <= now;
        if is_due {
            self.is_stale = false;
            self.fetch = Some(Box::pin(dialer.clone().slots(members)));
        }
        is_due
    }

    /// When [`fetch_if_due`](Self::fetch_if_due) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.fetch.is_none().then_some(self.next_fetch)
    }

    /// Drives the fetching: a new map, or why there is none.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        rng: &mut StdRng,
    ) -> Option<Result<Vec<SlotRange>, LinkFault>> {
        let Poll::Ready(outcome) = self.fetch.as_mut()?.as_mut().poll(cx) else { return None };
        self.fetch = None;
        let now = Instant::now();
        self.fetched_at = Some(now);
        self.next_fetch = match &outcome {
            Ok(_) => {
                self.backoff.reset();
                now + if self.is_stale { PAUSE_MIN } else { AGE_MAX }
            }
            Err(_) => now + self.backoff.next(rng),
        };
        Some(outcome)
    }
}
