//! HTTP long-polling of a session, and its move to WebSocket.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use engineio::{BodyForm, CloseReason, HttpFault, Lane, SessionId, Transport, decode_body, v09};
use websocket::Deflate;

use super::Shard;
use crate::{
    body::PollBody,
    dialect::Wire,
    encoded::Encoded,
    io::{ConnectionKey, Happening, LinkId, Payload, PollId},
};

/// Why a request of a polling session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By the error table, as JSON.
    Fault(HttpFault),
    /// 400 with an empty body; the session has ended: a second poll or push beside a running one, or a
    /// body of the wrong kind.
    Offence,
    /// 429; the session has ended: more packets per second than a connection may send.
    TooFast,
    /// For an upgrade: the session has a WebSocket already. The new one is closed; the session lives.
    Busy,
}

impl Shard {
    /// A poll has come. It is answered through the sink, at the next flush if something waits for it.
    ///
    /// # Errors
    /// [`Refusal`]; the poll is then not remembered.
    pub fn poll(
        &mut self,
        sid: &SessionId,
        wire: impl Into<Wire>,
        poll: PollId,
        now: Instant,
    ) -> Result<ConnectionKey, Refusal> {
        let index = self.polling_session(sid, wire.into(), now)?;
        self.begin_09(index);
        let connection = &mut self.connections[index as usize];
        if let Err(fault) = connection.session.handle_poll(&self.engine, now) {
            self.handle_fault(index, Lane::Main, fault, now);
            return Err(Refusal::Offence);
        }
        if let Some(replaced) = connection.poll.replace(poll) {
            // Of 0.9, where the newer poll counts.
            let payload = self.lone_packet(index, &self.constants.noop.clone());
            self.late_answers.push((replaced, payload));
        }
        self.arm(index);
        let connection = &mut self.connections[index as usize];
        let key = ConnectionKey { index, generation: connection.generation };
        if connection.session.is_closing() {
            connection.closing_by = Some(now);
            self.send(index, self.constants.noop.clone());
            self.send(index, self.constants.close.clone());
        } else if connection.session.release_poll() && connection.outbox.is_empty() {
            self.send(index, self.constants.noop.clone());
        }
        self.mark_dirty(index);
        Ok(key)
    }

    /// The poll that waits for an answer in the session of this sid.
    pub fn waiting_poll(&self, sid: &SessionId) -> Option<(ConnectionKey, PollId)> {
        let index = self.find_sid(sid)?;
        let connection = &self.connections[index as usize];
        let key = ConnectionKey { index, generation: connection.generation };
        connection.poll.map(|poll| (key, poll))
    }

    /// The client gave a waiting poll up. That ends the session, unless it is one of 0.9, which waits for the next.
    pub fn handle_poll_lost(&mut self, key: ConnectionKey, poll: PollId, now: Instant) {
        let Some(index) = self.index_of(key) else { return };
        let connection = &mut self.connections[index as usize];
        if connection.poll == Some(poll) {
            connection.poll = None;
            connection.session.poll_answered();
            match (connection.closing_by, connection.dialect.wire()) {
                (Some(_), _) => self.remove(index),
                (None, Wire::V09) => self.arm(index),
                (None, Wire::Engine(_)) => self.close(index, CloseReason::TransportError, now),
            }
        }
    }

    /// A push begins; its body is still to come.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn push_started(
        &mut self,
        sid: &SessionId,
        wire: impl Into<Wire>,
        now: Instant,
    ) -> Result<ConnectionKey, Refusal> {
        let index = self.polling_session(sid, wire.into(), now)?;
        let connection = &mut self.connections[index as usize];
        if connection.session.is_closing() {
            return Err(Refusal::Fault(HttpFault::SessionUnknown));
        }
        let key = ConnectionKey { index, generation: connection.generation };
        match connection.session.pushing().begin() {
            Ok(()) => Ok(key),
            Err(fault) => {
                self.handle_fault(index, Lane::Main, fault, now);
                Err(Refusal::Offence)
            }
        }
    }

    /// A push has ended without a body to use: too large (the session lives), or cut (it does not).
    pub fn push_failed(&mut self, key: ConnectionKey, cut: bool, now: Instant) {
        let Some(index) = self.index_of(key) else { return };
        self.connections[index as usize].session.pushing().end();
        if cut {
            self.close(index, CloseReason::TransportError, now);
        }
    }

    /// The body of a push has come; its packets are handled in order.
    ///
    /// # Errors
    /// [`Refusal::Offence`] for a binary body on revision 4; [`Refusal::TooFast`]; [`Refusal::Fault`] if the session
    /// has gone meanwhile. A packet that is none ends the session, but the push is answered as usual.
    pub fn push(
        &mut self,
        key: ConnectionKey,
        form: BodyForm,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let index = self.index_of(key).ok_or(Refusal::Fault(HttpFault::SessionUnknown))?;
        let connection = &mut self.connections[index as usize];
        connection.session.pushing().end();
        if connection.closing_by.is_some() {
            // It was closed while the body was coming; a CONNECT in it would join and never leave.
            return Err(Refusal::Fault(HttpFault::SessionUnknown));
        }
        let Wire::Engine(revision) = connection.dialect.wire() else {
            return self.handle_packets(index, v09::decode_body(form, body), now);
        };
        // Text bodies of clients 1.x are encoded twice.
        let mut encoding = connection.pushed_text;
        let packets = decode_body(revision, form, body).map(|packet| match form {
            BodyForm::Text | BodyForm::Form => packet.map(|packet| encoding.undo(packet)),
            BodyForm::Binary => packet,
        });
        let handled = self.handle_packets(index, packets, now);
        if let Some(index) = self.index_of(key) {
            self.connections[index as usize].pushed_text = encoding;
        }
        handled
    }

    fn polling_session(&mut self, sid: &SessionId, wire: Wire, now: Instant) -> Result<u32, Refusal> {
        let unknown = Refusal::Fault(HttpFault::SessionUnknown);
        // The wheel may be a tick behind, and a request is no sign of life: what is overdue happens first.
        let index = self.find_sid(sid).ok_or(unknown)?;
        self.expire(index, now);
        let index = self.find_sid(sid).ok_or(unknown)?;
        let connection = &self.connections[index as usize];
        if connection.closing_by.is_some() {
            return Err(unknown);
        }
        let fits = connection.session.transport() == Transport::Polling && connection.dialect.wire() == wire;
        if fits { Ok(index) } else { Err(Refusal::Fault(HttpFault::BadRequest)) }
    }

    /// Whether a WebSocket may be opened for the session of this sid.
    ///
    /// # Errors
    /// [`Refusal::Fault`] if there is no such session, or it speaks another revision.
    pub fn check_upgrade(&self, sid: &SessionId, wire: impl Into<Wire>) -> Result<(), Refusal> {
        let wire = wire.into();
        let unknown = Refusal::Fault(HttpFault::SessionUnknown);
        let index = self.find_sid(sid).ok_or(unknown)?;
        let connection = &self.connections[index as usize];
        if connection.closing_by.is_some() || connection.session.is_closing() {
            return Err(unknown);
        }
        match connection.dialect.wire() == wire {
            true => Ok(()),
            false => Err(Refusal::Fault(HttpFault::BadRequest)),
        }
    }

    /// Opens the WebSocket `link` beside a polling session, or of 0.9 for one that has been handshaken; its upgrade
    /// request is the caller's to answer, with what was agreed on in `deflate`.
    ///
    /// # Errors
    /// [`Refusal::Fault`] as [`Self::check_upgrade`], or [`Refusal::Busy`]; the link is then the caller's
    /// to answer and close.
    pub fn open_probe(
        &mut self,
        sid: &SessionId,
        wire: impl Into<Wire>,
        link: LinkId,
        deflate: Option<Deflate>,
        now: Instant,
    ) -> Result<ConnectionKey, Refusal> {
        let wire = wire.into();
        self.check_upgrade(sid, wire)?;
        let index = self.find_sid(sid).ok_or(Refusal::Fault(HttpFault::SessionUnknown))?;
        if wire == Wire::V09 {
            return self.open_websocket_09(index, link, deflate, now);
        }
        let connection = &mut self.connections[index as usize];
        if !self.engine.allow_upgrades || !connection.session.probe_opened(&self.engine, now) {
            return Err(Refusal::Busy);
        }
        connection.probe = Some(link);
        connection.deflate = deflate;
        let key = ConnectionKey { index, generation: connection.generation };
        self.arm(index);
        Ok(key)
    }

    /// `3probe` on the probe; and the waiting poll is released so that the client can stop polling.
    pub(super) fn answer_probe(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if let Some(link) = connection.probe {
            let key = ConnectionKey { index, generation: connection.generation };
            self.probe_answers.push(ProbeAnswer { key, link, frame: self.constants.probe_pong.clone() });
        }
        self.release_poll(index);
    }

    /// The probe is the transport now. What waits in the outbox goes over it, in order.
    pub(super) fn complete_upgrade(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.link = connection.probe.take();
        connection.blocked = false;
        if let Some(poll) = connection.poll.take() {
            // Real clients have no poll waiting here. It must not take what the WebSocket gets; the reference
            // server ends it with a close.
            connection.session.poll_answered();
            let payload = self.lone_packet(index, &self.constants.close.clone());
            self.late_answers.push((poll, payload));
        }
        self.happening(Happening::Upgraded);
        self.mark_dirty(index);
    }

    fn release_poll(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if connection.session.release_poll() && connection.outbox.is_empty() {
            self.send(index, self.constants.noop.clone());
        }
    }

    /// Closes the probe; polling goes on.
    pub(super) fn drop_probe(&mut self, index: u32) {
        let close_frame = self.constants.close_frame.clone();
        self.close_probe(index, close_frame);
    }

    /// Closes the probe, if there is one, with `farewell` as its last frame.
    pub(super) fn close_probe(&mut self, index: u32, farewell: Arc<Encoded>) {
        let connection = &mut self.connections[index as usize];
        connection.session.probe_closed();
        if let Some(link) = connection.probe.take() {
            let key = ConnectionKey { index, generation: connection.generation };
            self.probe_answers.push(ProbeAnswer { key, link, frame: farewell });
            self.doomed.push(link);
        }
    }

    /// The answer to a poll that gets one packet beside the outbox.
    pub(super) fn lone_packet(&mut self, index: u32, packet: &Encoded) -> Payload {
        let mut body = self.connections[index as usize].dialect.body();
        packet.add_to(&mut body);
        self.payload(body)
    }

    pub(super) fn payload(&mut self, body: PollBody) -> Payload {
        let (body, form) = body.finish();
        self.counters.bytes_out += body.len() as u64;
        Payload { body: Bytes::from(body), form }
    }
}

/// A packet for a WebSocket that is not its session's transport yet.
#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub(super) key: ConnectionKey,
    pub(super) link: LinkId,
    pub(super) frame: Arc<Encoded>,
}
