//! The one queue of everything that is going to happen, in virtual time, and the trace of what has.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// Virtual time since the start.
pub(crate) type Micros = u64;

pub(crate) const MS: Micros = 1000;

/// Events `E` in order of time, then of arrival; on a path `P` nothing is overtaken.
pub(crate) struct Schedule<E, P> {
    pub(crate) now: Micros,
    origin: Instant,
    queue: BinaryHeap<Reverse<(Micros, u64)>>,
    events: BTreeMap<u64, E>,
    scheduled: u64,
    /// When the last thing sent on a path arrives.
    paths: BTreeMap<P, Micros>,
    trace: DefaultHasher,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next<E, T> {
    Event(E),
    /// A timer that is due before any event.
    Timer(T),
    /// Nothing until the end that was asked for.
    Nothing,
}

impl<E, P: Ord> Schedule<E, P> {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            origin: Instant::now(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            paths: BTreeMap::new(),
            trace: DefaultHasher::new(),
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.origin + Duration::from_micros(self.now)
    }

    /// When `instant` is, rounded up.
    pub(crate) fn micros(&self, instant: Instant) -> Micros {
        let micros = instant.saturating_duration_since(self.origin).as_nanos().div_ceil(1000);
        Micros::try_from(micros).expect("histories are short")
    }

    pub(crate) fn at(&mut self, at: Micros, event: E) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled)));
        self.events.insert(self.scheduled, event);
    }

    /// At `at`, or when what was sent on the same path before has arrived.
    pub(crate) fn along(&mut self, path: P, at: Micros, event: E) {
        let last = self.paths.entry(path).or_default();
        *last = at.max(*last);
        let at = *last;
        self.at(at, event);
    }

    /// Moves time on to the next event or to `timer`, whichever is first, or to `end`.
    pub(crate) fn next<T>(&mut self, timer: Option<(Micros, T)>, end: Micros) -> Next<E, T> {
        let queued = self.queue.peek().map(|Reverse((at, _))| *at);
        match (queued, timer) {
            (Some(at), timer) if at <= end && timer.as_ref().is_none_or(|(due, _)| at <= *due) => {
                let Reverse((_, number)) = self.queue.pop().expect("it was seen");
                let event = self.events.remove(&number).expect("every number has its event");
                self.now = at;
                self.note((number, std::mem::discriminant(&event)));
                Next::Event(event)
            }
            (_, Some((due, timer))) if due <= end => {
                self.now = self.now.max(due);
                Next::Timer(timer)
            }
            _ => {
                self.now = end;
                Next::Nothing
            }
        }
    }

    pub(crate) fn note(&mut self, what: impl Hash) {
        (self.now, what).hash(&mut self.trace);
    }

    /// The hash of all that has happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }
}
