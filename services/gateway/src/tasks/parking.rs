//! Where the tasks of a thread wait for sockets and for time.
//!
//! It is found by the thread, not by a reference: `hyper` wants streams and timers that could be sent to another
//! thread, which they never are.

use std::{cell::RefCell, collections::BTreeMap, io, task::Waker, time::Instant};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};
use rooms::shrink_after_wave;
use slab::Slab;

/// Tokens of the thread's poll from here on are sockets of tasks.
pub(crate) const FIRST_TOKEN: usize = 1 << (usize::BITS - 2);

thread_local! {
    static PARKING: RefCell<Parking> = const { RefCell::new(Parking::new()) };
}

struct Parking {
    registry: Option<Registry>,
    sockets: Slab<Parked>,
    /// Who waits until when; the number tells apart who waits for the same moment.
    alarms: BTreeMap<AlarmKey, Waker>,
    next_alarm: u64,
}

/// One socket of a task.
#[derive(Default)]
struct Parked {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Nothing to read is known of until the next event.
    drained: bool,
    /// The other side has ended: no further event announces it.
    hung_up: bool,
}

/// A waiter for a moment.
type AlarmKey = (Instant, u64);

/// Which way a task waits for its socket.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Read,
    Write,
}

impl Parking {
    const fn new() -> Self {
        Self { registry: None, sockets: Slab::new(), alarms: BTreeMap::new(), next_alarm: 0 }
    }
}

/// Makes `registry` the poll of this thread's tasks.
pub(super) fn open(registry: Registry) {
    PARKING.with_borrow_mut(|parking| parking.registry = Some(registry));
}

/// Wakes the task whose socket `event` is for, which has a token from [`FIRST_TOKEN`] on.
pub(crate) fn handle_event(event: &Event) {
    let closed = event.is_read_closed() || event.is_error();
    let wakers = PARKING.with_borrow_mut(|parking| {
        let socket = parking.sockets.get_mut(event.token().0.wrapping_sub(FIRST_TOKEN))?;
        socket.hung_up |= closed;
        let readable = event.is_readable() || closed;
        socket.drained &= !readable;
        let writable = event.is_writable() || event.is_write_closed() || event.is_error();
        let reader = readable.then(|| socket.reader.take());
        let writer = writable.then(|| socket.writer.take());
        Some([reader.flatten(), writer.flatten()])
    });
    wakers.into_iter().flatten().flatten().for_each(Waker::wake);
}

/// When [`expire`] has somebody to wake.
pub(crate) fn next_alarm() -> Option<Instant> {
    PARKING.with_borrow(|parking| parking.alarms.first_key_value().map(|((at, _), _)| *at))
}

/// Wakes the tasks whose time has come.
pub(crate) fn expire(now: Instant) {
    while let Some(waker) = PARKING.with_borrow_mut(|parking| {
        let next = parking.alarms.first_entry().filter(|next| next.key().0 <= now)?;
        Some(next.remove())
    }) {
        waker.wake();
    }
}

/// Gives back what a past crowd needed.
pub(crate) fn shrink() {
    PARKING.with_borrow_mut(|parking| shrink_after_wave(&mut parking.sockets));
}

/// A place for one socket.
pub(super) struct Place(usize);

impl Place {
    /// A place for `stream`, which hangs on the thread's poll from now on.
    ///
    /// # Errors
    /// When the system's poll has no room, or the thread has no tasks.
    pub(super) fn take(stream: &mut TcpStream) -> io::Result<Self> {
        PARKING.with_borrow_mut(|parking| {
            let registry = parking.registry.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            let entry = parking.sockets.vacant_entry();
            let token = Token(FIRST_TOKEN + entry.key());
            registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let place = Self(entry.key());
            // What is there already comes as an event. So a request that was read ahead is begun before its
            // connection is seen to end: a poll that is given up at once still reaches its session.
            entry.insert(Parked { drained: true, ..Parked::default() });
            Ok(place)
        })
    }

    /// Gives the place back; `stream` hangs on no poll any more.
    pub(super) fn leave(self, stream: &mut TcpStream) {
        PARKING.with_borrow(|parking| {
            if let Some(registry) = &parking.registry {
                registry.deregister(stream).ok();
            }
        });
    }

    /// Lets the next event wake `waker`.
    pub(super) fn wait(&self, way: Way, waker: &Waker) {
        let waker = waker.clone();
        // The one that it replaces is dropped when nothing is borrowed any more.
        let _replaced = PARKING.with_borrow_mut(|parking| {
            let socket = parking.sockets.get_mut(self.0)?;
            match way {
                Way::Read => socket.reader.replace(waker),
                Way::Write => socket.writer.replace(waker),
            }
        });
    }

    /// A read took less than it could have: there is nothing more until the next event, unless the end has come.
    pub(super) fn note_drained(&self) {
        PARKING.with_borrow_mut(|parking| {
            if let Some(socket) = parking.sockets.get_mut(self.0) {
                socket.drained = !socket.hung_up;
            }
        });
    }

    /// Whether a read would find nothing.
    pub(super) fn is_drained(&self) -> bool {
        PARKING.with_borrow(|parking| parking.sockets.get(self.0).is_some_and(|socket| socket.drained))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // At the end of the thread the places may be gone already.
        PARKING.try_with(|parking| parking.borrow_mut().sockets.try_remove(self.0)).ok();
    }
}

/// A place to wait for a moment.
#[derive(Debug, Default)]
pub(super) struct AlarmPlace(Option<AlarmKey>);

impl AlarmPlace {
    /// Lets `waker` be woken at `at`.
    pub(super) fn wait(&mut self, at: Instant, waker: &Waker) {
        let waker = waker.clone();
        let key = &mut self.0;
        let _replaced = PARKING.with_borrow_mut(|parking| {
            let key = key.get_or_insert_with(|| {
                parking.next_alarm += 1;
                (at, parking.next_alarm)
            });
            parking.alarms.insert(*key, waker)
        });
    }
}

impl Drop for AlarmPlace {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            PARKING.try_with(|parking| parking.borrow_mut().alarms.remove(&key)).ok();
        }
    }
}
