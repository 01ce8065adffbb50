//! The deadlines of one session: one table, no task and no timer object each.

use std::time::Instant;

/// What a session may be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Revision 4: the next ping is to be sent. Revision 3: the client's ping is late.
    Heartbeat,
    /// The client's WebSocket has not become the session's transport in time.
    UpgradeLate,
    /// A close over polling has not been fetched in time.
    CloseLate,
}

const COUNT: usize = 3;

/// A deadline, or none, for each [`Timer`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers([Option<Instant>; COUNT]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// Clears and names one timer that is due at `now`, with the time at which it was due.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        [Timer::Heartbeat, Timer::UpgradeLate, Timer::CloseLate].into_iter().find_map(|timer| {
            let at = self.0[timer as usize].filter(|at| *at <= now)?;
            self.clear(timer);
            Some((timer, at))
        })
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}
