//! A task that wakes itself by what it does, and is not polled again for that.
//!
//! A call that is answered by the task of its connection wakes the connection, which is the same task, and which looks at
//! its streams in its next pass in any case. Polled once more for nothing, a unary publish took 1,600 instructions more.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// ```text
///          poll                 wake
///  IDLE ─────────▶ IN_PASS ─────────────▶ WOKEN
///   ▲                │ ▲   next pass        │ │
///   ├────────────────┘ └────────────────────┘ │
///   └─────────── polled once more ────────────┘
/// ```
#[derive(Debug, Default)]
pub(super) struct Passes {
    state: AtomicU8,
    /// Of the task.
    task: AtomicWaker,
}

const IDLE: u8 = 0;
const IN_PASS: u8 = 1;
const WOKEN: u8 = 2;

impl Passes {
    /// A pass begins that looks at everything that may be ready: what has woken the task before is no cause for another.
    pub(super) fn begin(&self) {
        self.state.swap(IN_PASS, Ordering::AcqRel);
    }
}

impl Wake for Passes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(IN_PASS, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(IDLE) {
            self.task.wake();
        }
    }
}

/// Polls `future`, which goes about its work in `passes`.
pub(super) async fn in_passes<F: Future>(passes: Arc<Passes>, future: F) -> F::Output {
    let waker = Waker::from(Arc::clone(&passes));
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        passes.task.register(context.waker());
        passes.begin();
        let polled = poll_with(&waker, future.as_mut());
        if passes.state.swap(IDLE, Ordering::AcqRel) == WOKEN {
            // Not here: a task that has used up its time is to let others run.
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}

fn poll_with<F: Future>(waker: &Waker, future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a task that does `polled` when it is polled has been woken then.
    fn wakes(polled: impl Fn(&Passes, &Waker)) -> usize {
        let (passes, count) = (Arc::<Passes>::default(), Arc::<Count>::default());
        let mut inner = None;
        let future = std::future::poll_fn(|context| {
            polled(&passes, context.waker());
            inner = Some(context.waker().clone());
            Poll::<()>::Pending
        });
        let mut future = Box::pin(in_passes(passes.clone(), future));
        let waker = Waker::from(count.clone());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(future);
        let woken = count.0.load(Ordering::Relaxed);
        inner.as_ref().unwrap().wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), woken + 1, "what comes later wakes it");
        woken
    }

    #[test]
    fn what_wakes_a_task_before_its_last_pass_is_no_cause_for_another() {
        let woken = wakes(|passes, waker| {
            waker.wake_by_ref();
            passes.begin();
        });
        assert_eq!(woken, 0);
    }

    #[test]
    fn what_wakes_it_in_its_last_pass_is() {
        let woken = wakes(|passes, waker| {
            passes.begin();
            waker.wake_by_ref();
            waker.wake_by_ref();
        });
        assert_eq!(woken, 1);
    }
}
