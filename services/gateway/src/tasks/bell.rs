//! How a thread that may be asleep in its poll is told that there is something to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Wake,
};

/// The thread runs, and will look at the bell before it sleeps.
const AWAKE: u8 = 0;
/// The thread sleeps, or is about to: only the poll wakes it.
const ASLEEP: u8 = 1;
/// Somebody rang since the thread last looked.
const RUNG: u8 = 2;

/// A bell at the poll of one thread. Ringing it makes a system call only if the thread sleeps.
///
/// ```text
///            ring                 ring: wakes the poll
///   AWAKE ─────────▶ RUNG ◀──────────────────────── ASLEEP
///     ▲ ◀── was_rung ──┘                               │ ▲
///     └──────────────── rise ──────────────────────────┘ │
///     └──────────────── lie_down ────────────────────────┘
/// ```
///
/// Everything is in one atomic, so a ring either finds the thread asleep and wakes it, or keeps it from sleeping.
pub(super) struct Bell {
    state: AtomicU8,
    poll: mio::Waker,
}

impl Bell {
    pub(super) fn new(poll: mio::Waker) -> Self {
        Self { state: AtomicU8::new(AWAKE), poll }
    }

    /// Whether the thread may sleep: nobody has rung.
    pub(super) fn lie_down(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The thread is awake, whoever woke it; a ring stays heard.
    pub(super) fn rise(&self) {
        // A failure is a ring, which is kept.
        self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire).ok();
    }

    /// Whether somebody rang since the last call. What was done before the ring is visible now.
    pub(super) fn was_rung(&self) -> bool {
        // The look comes first: most turns of a busy shard end here.
        self.state.load(Ordering::Relaxed) == RUNG && self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            // It fails only if the poll is gone, and its thread with it.
            self.poll.wake().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::AtomicU32,
        thread,
        time::{Duration, Instant},
    };

    use mio::{Events, Poll, Token};

    use super::*;

    /// How long a test waits for what must happen.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn bell() -> io::Result<(Poll, Arc<Bell>)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), Token(0))?;
        Ok((poll, Arc::new(Bell::new(waker))))
    }

    /// Whether the poll has been woken.
    fn is_woken(poll: &mut Poll, patience: Duration) -> bool {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(patience)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_ring_keeps_a_thread_from_sleeping_and_costs_no_system_call() {
        let (mut poll, bell) = bell().unwrap();
        bell.wake_by_ref();
        assert!(!bell.lie_down());
        assert!(!is_woken(&mut poll, Duration::ZERO));
        assert!(bell.was_rung());
        assert!(!bell.was_rung());
        assert!(bell.lie_down());
    }

    #[test]
    fn a_ring_wakes_a_sleeping_thread_and_is_heard_after_it_rose() {
        let (mut poll, bell) = bell().unwrap();
        assert!(bell.lie_down());
        bell.wake_by_ref();
        assert!(is_woken(&mut poll, PATIENCE));
        bell.rise();
        assert!(bell.was_rung());
    }

    #[test]
    fn whoever_rose_by_itself_is_not_rung_for_through_the_poll() {
        let (mut poll, bell) = bell().unwrap();
        assert!(bell.lie_down());
        bell.rise();
        assert!(!bell.was_rung());
        bell.wake_by_ref();
        assert!(!is_woken(&mut poll, Duration::ZERO));
    }

    #[test]
    fn no_ring_of_another_thread_is_lost() {
        const RINGS: u32 = 20_000;
        let (mut poll, bell) = bell().unwrap();
        let (given, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let ringer = thread::spawn({
            let (bell, given, seen) = (bell.clone(), given.clone(), seen.clone());
            move || {
                for count in 1..=RINGS {
                    given.store(count, Ordering::Relaxed);
                    bell.wake_by_ref();
                    // The next ring meets the thread wherever it is on its way back to sleep.
                    let late = Instant::now() + PATIENCE;
                    while seen.load(Ordering::Relaxed) < count {
                        assert!(Instant::now() < late, "ring {count} was lost");
                        thread::yield_now();
                    }
                }
            }
        });
        while seen.load(Ordering::Relaxed) < RINGS && !ringer.is_finished() {
            if bell.lie_down() {
                is_woken(&mut poll, PATIENCE);
            }
            bell.rise();
            if bell.was_rung() {
                seen.store(given.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        ringer.join().unwrap();
    }
}
