//! The one place where a shard's thread waits: for its sockets, its tasks, its inbox and the time.

use std::{
    io,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Registry, Token};

use crate::tasks::Tasks;

/// The bell of the thread was rung while it slept. It carries nothing: the bell itself is asked.
pub(super) const BELL: Token = Token(usize::MAX - 1);

/// The poll that everything of a shard hangs on, and what may ring at it.
pub(super) struct Readiness {
    poll: Poll,
    pub(super) tasks: Tasks,
}

impl Readiness {
    /// A poll without sockets. To be called on the shard's thread.
    ///
    /// # Errors
    /// When the system has no more files or memory.
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let tasks = Tasks::new(poll.registry(), BELL)?;
        Ok(Self { poll, tasks })
    }

    /// Where sockets are registered.
    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Takes what is ready, as much as `events` holds. If that is nothing it waits: until `deadline`, if there
    /// is one to wait for, or until the bell is rung.
    ///
    /// # Errors
    /// When the system's poll fails.
    pub(super) fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) -> io::Result<()> {
        let patience = match deadline {
            Some(deadline) if self.tasks.lie_down() => deadline.saturating_duration_since(Instant::now()),
            _ => Duration::ZERO,
        };
        let taken = self.poll.poll(events, Some(patience));
        self.tasks.rise();
        match taken {
            // A signal: the turn that follows finds nothing to do.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            taken => taken,
        }
    }
}
