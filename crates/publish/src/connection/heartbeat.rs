//! Whether the other side of a connection is still there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// How long after one sign of life the next is asked for, and how long that may take.
const PAUSE: Duration = Duration::from_secs(20);

/// Asks for signs of life.
pub(crate) struct Heartbeat {
    /// `None` if somebody else has it: then nothing is asked.
    pings: Option<PingPong>,
    alarm: Pin<Box<Sleep>>,
    is_asked: bool,
}

impl Heartbeat {
    pub(crate) fn new(pings: Option<PingPong>) -> Self {
        Self { pings, alarm: Box::pin(sleep(PAUSE)), is_asked: false }
    }

    /// Waits until a sign of life is missed.
    pub(crate) async fn missed(&mut self) {
        poll_fn(|context| self.poll_missed(context)).await;
    }

    fn poll_missed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            // Errors are those of the connection, which its other calls meet too.
            if self.is_asked && pings.poll_pong(context).is_ready() {
                self.is_asked = false;
                self.alarm.as_mut().reset(Instant::now() + PAUSE);
            }
            ready!(self.alarm.as_mut().poll(context));
            if self.is_asked || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.is_asked = true;
            self.alarm.as_mut().reset(Instant::now() + PAUSE);
        }
    }
}
