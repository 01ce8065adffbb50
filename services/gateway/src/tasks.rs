//! The asynchronous tasks of a shard's thread: HTTP connections, and whatever must not keep the shard waiting.
//!
//! The thread has no runtime. Its only wait is the driver's poll, on which the sockets of tasks hang beside those of
//! WebSockets; [`parking`] says which task to wake for what. So a thread that serves WebSockets alone never looks
//! at a task, and one with both makes one system call to wait for everything.

mod bell;
pub(crate) mod parking;
mod socket;
mod timer;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use mio::{Registry, Token};
use tokio::task::{LocalEnterGuard, LocalSet};

use self::bell::Bell;
pub(crate) use self::{
    socket::TaskSocket,
    timer::{Alarm, HyperTimer, timeout},
};

/// The tasks of one thread, and the bell that is rung for them and for the thread's inbox.
pub(crate) struct Tasks {
    set: LocalSet,
    bell: Arc<Bell>,
    waker: Waker,
}

impl Tasks {
    /// Rings reach a sleeping poll under `token`. To be called on the thread that will run the tasks.
    ///
    /// # Errors
    /// When the system has no more files.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        parking::open(registry.try_clone()?);
        let bell = Arc::new(Bell::new(mio::Waker::new(registry, token)?));
        let mut tasks = Self { set: LocalSet::new(), waker: Waker::from(bell.clone()), bell };
        // The set rings only once it has been asked for the first time.
        tasks.run();
        Ok(tasks)
    }

    /// Lets `spawn_local` find these tasks for as long as the guard lives.
    pub(crate) fn enter(&self) -> LocalEnterGuard {
        self.set.enter()
    }

    /// What rings the bell.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether the thread may go to sleep; if so, rings wake it until [`Self::rise`].
    pub(crate) fn lie_down(&self) -> bool {
        self.bell.lie_down()
    }

    /// The thread is awake.
    pub(crate) fn rise(&self) {
        self.bell.rise();
    }

    /// Whether the bell was rung since the last call.
    pub(crate) fn was_rung(&self) -> bool {
        self.bell.was_rung()
    }

    /// Runs the tasks that have been woken. The bell is rung again if some have to wait for their turn.
    pub(crate) fn run(&mut self) {
        match Pin::new(&mut self.set).poll(&mut Context::from_waker(&self.waker)) {
            // Whether any tasks are left does not matter here.
            Poll::Ready(()) | Poll::Pending => {}
        }
    }
}
