//! The order of one stream where messages do not take their places at once: those with a name ask first whether
//! they are retries, and the ones behind them wait so long.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::oneshot;

/// Who comes next.
#[derive(Default)]
pub(super) struct Queue {
    /// Fires, or is dropped, when the message before has taken its place or never will.
    before: Option<oneshot::Receiver<Infallible>>,
}

/// One message's place in a [`Queue`].
pub(super) struct Turn {
    before: Option<oneshot::Receiver<Infallible>>,
    after: oneshot::Sender<Infallible>,
}

impl Queue {
    /// The turn of the next message; `None` if it has nothing to wait for and nobody has to wait for it.
    pub(super) fn turn(&mut self, is_named: bool) -> Option<Turn> {
        let before = self
            .before
            .take_if(|before| matches!(before.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        self.before = None;
        if before.is_none() && !is_named {
            return None;
        }
        let (after, next) = oneshot::channel();
        self.before = Some(next);
        Some(Turn { before, after })
    }
}

impl Turn {
    /// Publishes once all before have taken their places; its own is taken at the first poll.
    pub(super) async fn take<F: Future>(self, publish: F) -> F::Output {
        let Self { before, after } = self;
        if let Some(before) = before {
            before.await.ok();
        }
        let mut publish = pin!(publish);
        match futures_util::poll!(publish.as_mut()) {
            Poll::Ready(published) => published,
            Poll::Pending => {
                drop(after);
                publish.await
            }
        }
    }
}
