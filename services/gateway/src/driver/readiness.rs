//! The poll that all sockets of a shard hang on, watched by the shard's runtime as one file.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use mio::{Events, Poll, Registry};
use tokio::io::{Interest, unix::AsyncFd};

/// A poll inside the runtime's poll.
pub(super) struct Readiness(AsyncFd<OwnPoll>);

struct OwnPoll(Poll);

impl AsRawFd for OwnPoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Readiness {
    /// A poll without sockets. To be called on the shard's runtime.
    ///
    /// # Errors
    /// When the system has no more files or memory.
    #[expect(unsafe_code, reason = "the runtime has no safe way to watch a file of another kind")]
    pub(super) fn new() -> io::Result<Self> {
        let poll = OwnPoll(Poll::new()?);
        // SAFETY: the file is the poll's own. It is open, and stays open and the same, until the poll is
        // dropped, which `AsyncFd` does only after it has deregistered the file.
        let watched = unsafe { AsyncFd::register_with_interest(poll, Interest::READABLE) };
        Ok(Self(watched.map_err(io::Error::from)?))
    }

    /// Where sockets are registered.
    pub(super) fn registry(&self) -> &Registry {
        self.0.get_ref().0.registry()
    }

    /// Waits until a socket is ready.
    ///
    /// # Errors
    /// When the runtime is going away.
    pub(super) async fn ready(&self) -> io::Result<()> {
        // Cleared before the events are taken: whatever comes later sets it again.
        self.0.readable().await?.clear_ready();
        Ok(())
    }

    /// Takes the sockets that are ready now, as many as `events` holds.
    ///
    /// # Errors
    /// When the system's poll fails.
    pub(super) fn take(&mut self, events: &mut Events) -> io::Result<()> {
        loop {
            match self.0.get_mut().0.poll(events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                taken => return taken,
            }
        }
    }
}
