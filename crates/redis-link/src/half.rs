//! One of the two connections to a server: waiting, dialing or up.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use rand::rngs::StdRng;

use crate::backoff::Backoff;
use crate::socket::Socket;
use crate::{LinkConfig, LinkFault};

/// A connection on its way.
pub(crate) type Dial = Pin<Box<dyn Future<Output = Result<Socket, LinkFault>> + Send>>;

/// One connection that is made again whenever it ends.
///
/// ```text
/// Waiting ──due──▶ Dialing ──▶ Up
///    ▲                │         │
///    └────── fault ───┴─────────┘
/// ```
pub(crate) struct Half<C> {
    state: State<C>,
    backoff: Backoff,
    was_up: bool,
}

enum State<C> {
    Waiting(Instant),
    Dialing(Dial),
    Up(C),
}

impl<C> Half<C> {
    pub(crate) fn new(config: &LinkConfig, now: Instant) -> Self {
        Self { state: State::Waiting(now), backoff: Backoff::new(config), was_up: false }
    }

    /// The connection, if it is up.
    pub(crate) fn up(&mut self) -> Option<&mut C> {
        match &mut self.state {
            State::Up(connection) => Some(connection),
            _ => None,
        }
    }

    /// The same, to be looked at only.
    pub(crate) fn connection(&self) -> Option<&C> {
        match &self.state {
            State::Up(connection) => Some(connection),
            _ => None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Begins to dial when the pause is over; returns whether it does.
    pub(crate) fn dial_if_due(&mut self, now: Instant, dial: impl FnOnce() -> Dial) -> bool {
        let is_due = matches!(self.state, State::Waiting(until) if until <= now);
        if is_due {
            self.state = State::Dialing(dial());
        }
        is_due
    }

    /// When [`dial_if_due`](Self::dial_if_due) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(until) => Some(until),
            _ => None,
        }
    }

    /// Drives the dialing; the new connection's socket once, or why there is none.
    pub(crate) fn poll_dial(&mut self, cx: &mut Context<'_>) -> Option<Result<Socket, LinkFault>> {
        match &mut self.state {
            State::Dialing(dial) => match dial.as_mut().poll(cx) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            },
            _ => None,
        }
    }

    /// Takes a connection into use; returns whether there was one before.
    pub(crate) fn set_up(&mut self, connection: C) -> bool {
        self.state = State::Up(connection);
        std::mem::replace(&mut self.was_up, true)
    }

    /// Ends whatever there is and waits before dialing again. The connection, if it was up.
    pub(crate) fn set_down(&mut self, now: Instant, rng: &mut StdRng) -> Option<C> {
        let until = now + self.backoff.next(rng);
        match std::mem::replace(&mut self.state, State::Waiting(until)) {
            State::Up(connection) => Some(connection),
            _ => None,
        }
    }

    /// The connection has proven that it works.
    pub(crate) fn proven(&mut self) {
        self.backoff.reset();
    }
}
