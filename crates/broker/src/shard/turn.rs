//! The end of a turn: deadlines, and one write per dirty connection.

use std::{io::IoSlice, time::Instant};

use engineio::{CloseReason, Expired, Transport};

use super::{LINK_KEY, Shard, calls::CALLS_KEY, polling::ProbeAnswer};
use crate::{
    compression::{Deflated, Plain},
    dialect::{Dialect, Framing},
    io::{ConnectionKey, Happening, LinkId, Sink},
    outbox::Flushed,
    wheel::Tick,
};

impl Shard {
    /// When [`Self::handle_timeouts`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Arranges for `expired` of [`Self::handle_timeouts`] to be called with `link` at about `at`, and at
    /// most 33 s from now. It cannot be taken back: the owner looks whether it still matters.
    pub fn arm_link(&mut self, link: LinkId, at: Instant) {
        self.wheel.arm(link.0 | LINK_KEY, at);
    }

    /// Does what is due at `now`; names each link whose time has come to `expired`.
    pub fn handle_timeouts(&mut self, now: Instant, mut expired: impl FnMut(LinkId)) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now, &mut due);
        for (key, tick) in due.drain(..) {
            match key & LINK_KEY {
                0 => self.handle_timeout(key, tick, now),
                _ if key == CALLS_KEY => self.expire_calls(tick, now),
                _ => expired(LinkId(key & !LINK_KEY)),
            }
        }
        self.due = due;
    }

    fn handle_timeout(&mut self, index: u32, tick: Tick, now: Instant) {
        match self.connections.get_mut(index as usize) {
            // Armed for another time since, or another connection by now.
            Some(connection) if connection.armed == Some(tick) => connection.armed = None,
            _ => return,
        }
        self.expire(index, now);
        if self.connections.contains(index as usize) {
            self.arm(index);
        }
    }

    /// Does what is due at `now` for one connection, which may end by it.
    pub(super) fn expire(&mut self, index: u32, now: Instant) {
        let connection = &mut self.connections[index as usize];
        if let Some(at) = connection.closing_by {
            if at <= now {
                self.cut_off(index, CloseReason::ForcedClose);
            }
            return;
        }
        if connection.connect_by.is_some_and(|at| at <= now) {
            connection.connect_by = None;
            return self.close(index, CloseReason::ForcedClose, now);
        }
        while let Some(connection) = self.connections.get_mut(index as usize) {
            match connection.session.handle_timeout(&self.engine, now) {
                None => return,
                Some(Expired::Ping) => self.send(index, self.constants.ping.clone()),
                Some(Expired::Poll) => self.send(index, self.constants.noop.clone()),
                Some(Expired::Probe) => self.drop_probe(index),
                Some(Expired::Session(reason)) if connection.session.is_closing() => {
                    // It has been reported when it was closed.
                    let _: CloseReason = reason;
                    return self.remove(index);
                }
                Some(Expired::Session(reason)) => return self.close(index, reason, now),
            }
        }
    }

    /// The link takes bytes again.
    pub fn handle_writable(&mut self, key: ConnectionKey, link: LinkId) {
        let Some(index) = self.index_of(key) else { return };
        let connection = &mut self.connections[index as usize];
        if connection.link == Some(link) && connection.blocked {
            connection.blocked = false;
            self.mark_dirty(index);
        }
    }

    /// Writes what the turn has produced: one gathered write per dirty connection. Call it once at the end of
    /// each turn, before draining [`Self::poll_output`].
    pub fn flush(&mut self, sink: &mut impl Sink) {
        self.close_overflowed();
        self.flush_probes(sink);
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.flush_connection(index, sink);
        }
        self.dirty = dirty;
        self.joined.forget();
        for (poll, payload) in self.late_answers.drain(..) {
            sink.answer(poll, payload);
        }
        for link in self.doomed.drain(..) {
            sink.close(link);
        }
    }

    /// Answers probes, which have no outbox: a fresh WebSocket takes a few bytes, and one that does not is broken.
    fn flush_probes(&mut self, sink: &mut impl Sink) {
        let mut torn = Vec::new();
        for ProbeAnswer { key, link, frame } in std::mem::take(&mut self.probe_answers) {
            if torn.contains(&link) {
                continue;
            }
            // Packets of Engine.IO and frames of WebSocket look the same in all dialects that know probes.
            let bytes = frame.frames(Dialect::Json(Framing::V4));
            if sink.write(link, &[IoSlice::new(bytes)]).ok() != Some(bytes.len()) {
                torn.push(link);
                self.abandon_probe(key, link);
            }
        }
    }

    /// A WebSocket has torn in the middle of a frame: nothing may follow on it.
    fn abandon_probe(&mut self, key: ConnectionKey, link: LinkId) {
        let Some(index) = self.index_of(key) else { return };
        let connection = &mut self.connections[index as usize];
        if connection.probe == Some(link) {
            connection.probe = None;
            connection.session.probe_closed();
            self.doomed.push(link);
        } else if connection.link == Some(link) {
            self.cut_off(index, CloseReason::TransportError);
        }
    }

    fn close_overflowed(&mut self) {
        for key in std::mem::take(&mut self.overflowed) {
            if let Some(index) = self.index_of(key) {
                let queued_bytes = self.connections[index as usize].outbox.queued_bytes();
                self.happening(Happening::SlowClientClosed { queued_bytes });
                self.cut_off(index, CloseReason::TransportError);
            }
        }
    }

    fn flush_connection(&mut self, index: u32, sink: &mut impl Sink) {
        // It may have been closed in this turn, and its place taken already by a connection with an entry of its
        // own: flushing that one twice does no harm.
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        connection.dirty = false;
        let link = match (connection.session.transport(), connection.link, connection.poll) {
            (Transport::WebSocket, Some(link), _) if !connection.blocked => link,
            (Transport::Polling, _, Some(_)) => return self.flush_poll(index, sink),
            // A blocked WebSocket, or a polling session without a poll: what is queued waits.
            _ => return,
        };
        let bytes_out = &mut self.counters.bytes_out;
        let write = |slices: &[IoSlice<'_>]| {
            let taken = sink.write(link, slices)?;
            *bytes_out += taken as u64;
            Ok::<_, std::io::Error>(taken)
        };
        let flushed = match connection.deflate {
            None => {
                let form = Plain(connection.dialect);
                connection.outbox.flush(form, &mut self.spares, &mut self.joined, write)
            }
            Some(agreed) => {
                let form = Deflated(connection.dialect, agreed, &mut self.compressor);
                connection.outbox.flush(form, &mut self.spares, &mut self.joined, write)
            }
        };
        match flushed {
            Ok(Flushed::All) if connection.closing_by.is_none() => {}
            Ok(Flushed::All) => self.cut_off(index, CloseReason::ForcedClose),
            Ok(Flushed::Blocked) => connection.blocked = true,
            Err(_) => self.cut_off(index, CloseReason::TransportError),
        }
    }

    fn flush_poll(&mut self, index: u32, sink: &mut impl Sink) {
        let connection = &mut self.connections[index as usize];
        if connection.outbox.is_empty() {
            return;
        }
        let mut body = connection.dialect.body();
        let Some(poll) = connection.poll.take() else { return };
        connection.session.poll_answered();
        connection.outbox.drain_into(&mut body, &mut self.spares);
        let closing = connection.closing_by.is_some();
        let payload = self.payload(body);
        sink.answer(poll, payload);
        if closing {
            self.remove(index);
        }
    }
}
