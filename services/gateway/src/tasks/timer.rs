//! Time for tasks, noticed by the shard's thread when its poll returns.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::parking::AlarmPlace;

/// The time was over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// What `future` comes to.
///
/// # Errors
/// [`TimedOut`] if it is not ready within `patience`.
pub(crate) async fn timeout<F: Future>(patience: Duration, future: F) -> Result<F::Output, TimedOut> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = Alarm::at(Instant::now() + patience) => Err(TimedOut),
    }
}

/// The timer of `hyper`'s connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HyperTimer;

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Alarm::at(deadline))
    }
}

/// Ready once a moment has come.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: Instant,
    place: AlarmPlace,
}

impl Alarm {
    pub(crate) fn at(at: Instant) -> Self {
        Self { at, place: AlarmPlace::default() }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            return Poll::Ready(());
        }
        let at = self.at;
        self.place.wait(at, cx.waker());
        Poll::Pending
    }
}

impl hyper::rt::Sleep for Alarm {}
