//! The beginning and the end of connections.

use std::{
    hash::BuildHasher,
    sync::Arc,
    time::{Duration, Instant},
};

use admission::{Bucket, Place};
use bytes::Bytes;
use engineio::{BodyForm, CloseReason, Query, Revision, Transport, open_packet, v09};
use smallvec::SmallVec;
use socketio::Assembler;
use websocket::Deflate;

use super::Shard;
use crate::{
    connection::Connection,
    dialect::{Dialect, Framing, Parser, Wire},
    double_encoding::TextEncoding,
    encoded::Encoded,
    handshake::{HandshakeRecord, query_value},
    io::{ConnectionKey, Happening, LinkId, Output, Payload},
    outbox::Outbox,
    session::Session,
};

/// How long a closing WebSocket may take to accept what was queued for it.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// What a handshake asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What its client speaks.
    pub dialect: Dialect,
    /// `token=`, by which a client of revision 3 or of 0.9 is let into `/`: the server joins it there, so there is
    /// no packet that could carry it. `None` on revision 4.
    pub token: Option<Box<str>>,
    /// `t=`, which tells the oldest clients of revision 3 from later ones. `None` on revision 4.
    pub cache_buster: Option<Box<str>>,
    /// What was agreed on if messages may be compressed; set by whoever has answered the request for a WebSocket.
    pub deflate: Option<Deflate>,
    /// The request, for those who fetch its sockets; set by whoever has read it.
    pub handshake: Option<HandshakeRecord>,
    /// The session's place among those of its client's address; set by whoever counts them.
    pub place: Option<Place>,
}

impl Opening {
    /// A client of which nothing more is known than what it speaks.
    pub const fn of(dialect: Dialect) -> Self {
        Self { dialect, token: None, cache_buster: None, deflate: None, handshake: None, place: None }
    }

    /// A client of Socket.IO 0.9; `raw` is the query of its handshake.
    pub fn v09(raw: &str) -> Self {
        Self { token: query_value(raw, "token").map(Into::into), ..Self::of(Dialect::V09) }
    }

    /// A client of Engine.IO that came in where `parser` is spoken; `raw` is the text that `query` was read from.
    pub fn new(parser: Parser, query: &Query, raw: &str) -> Self {
        let of_revision_3 = |key| match query.revision {
            Revision::V3 => query_value(raw, key).map(Into::into),
            Revision::V4 => None,
        };
        let (token, cache_buster) = (of_revision_3("token"), of_revision_3("t"));
        let framing = Framing { revision: query.revision, base64_only: query.base64 };
        Self { token, cache_buster, ..Self::of(Dialect::new(parser, framing)) }
    }
}

impl Shard {
    /// Opens a session whose only transport is the WebSocket `link`.
    ///
    /// `greeting` goes out before the `open` packet, in the same write: the answer to the upgrade request.
    pub fn open_websocket(
        &mut self,
        link: LinkId,
        mut opening: Opening,
        greeting: Option<Bytes>,
        now: Instant,
    ) -> ConnectionKey {
        let (index, open) = self.insert(Transport::WebSocket, &mut opening, Some(link), now);
        if let Some(greeting) = greeting {
            self.send(index, Arc::new(Encoded::raw(greeting)));
        }
        self.send(index, Arc::new(open));
        self.connect_main_namespace(index, opening.token.as_deref(), now);
        self.key(index)
    }

    /// Opens a polling session; the payload is the answer to its handshake.
    pub fn open_polling(&mut self, mut opening: Opening, now: Instant) -> Payload {
        let (index, open) = self.insert(Transport::Polling, &mut opening, None, now);
        if opening.dialect == Dialect::V09 {
            // No packet, and no transport either: it comes with the next request.
            return Payload { body: Bytes::copy_from_slice(open.text().as_bytes()), form: BodyForm::Text };
        }
        let mut body = opening.dialect.body();
        open.add_to(&mut body);
        // A client of revision 3 may find the answer of its main namespace in the same payload.
        self.connect_main_namespace(index, opening.token.as_deref(), now);
        self.connections[index as usize].outbox.drain_into(&mut body, &mut self.spares);
        self.payload(body)
    }

    pub(super) fn insert(
        &mut self,
        transport: Transport,
        opening: &mut Opening,
        link: Option<LinkId>,
        now: Instant,
    ) -> (u32, Encoded) {
        let sid = self.sid_key.mint(self.owner, &mut self.rng);
        let open = match opening.dialect.wire() {
            Wire::Engine(_) => open_packet(sid.as_str(), self.engine.upgrades_from(transport), &self.engine),
            Wire::V09 => v09::handshake_line(sid.as_str(), &self.engine),
        };
        self.generation = self.generation.wrapping_add(1);
        let connect_timeout = Duration::from_millis(self.limits.connect_timeout_ms.into());
        let bytes_max = self.limits.handshake_bytes.into();
        let handshake = opening.handshake.take().and_then(|handshake| handshake.limited(bytes_max));
        let pushed_text = match opening.dialect.wire() {
            Wire::Engine(Revision::V3) => {
                TextEncoding::of_query(opening.cache_buster.as_deref(), self.engine.eio3_guess_encoding)
            }
            Wire::Engine(Revision::V4) | Wire::V09 => TextEncoding::Once,
        };
        let index = self.connections.insert(Connection {
            session: Session::open(opening.dialect.wire(), transport, &self.engine, now),
            sid,
            generation: self.generation,
            handshake,
            place: opening.place.take(),
            packets: Bucket::default(),
            dialect: opening.dialect,
            deflate: opening.deflate,
            pushed_text,
            outbox: Outbox::default(),
            assembler: Assembler::new(),
            sockets: SmallVec::new(),
            link,
            probe: None,
            poll: None,
            connect_by: Some(now + connect_timeout),
            closing_by: None,
            armed: None,
            held: None,
            dirty: false,
            blocked: false,
            has_left: false,
        });
        let index = u32::try_from(index).expect("connections are limited below 2^31");
        let (connections, state) = (&self.connections, &self.sid_hash);
        let hash = |index: &u32| state.hash_one(connections[*index as usize].sid);
        self.sids.insert_unique(hash(&index), index, hash);
        self.arm(index);
        self.happening(Happening::SessionOpened(transport));
        (index, Encoded::packet(|out| out.extend_from_slice(open.as_bytes())))
    }

    fn key(&self, index: u32) -> ConnectionKey {
        ConnectionKey { index, generation: self.connections[index as usize].generation }
    }

    /// A WebSocket is gone: end of stream, or broken if `reason` says so.
    pub fn handle_link_closed(&mut self, key: ConnectionKey, link: LinkId, reason: CloseReason) {
        // The owner may give the number to another link before this turn ends.
        self.probe_answers.retain(|answer| answer.link != link);
        self.doomed.retain(|doomed| *doomed != link);
        let Some(index) = self.index_of(key) else { return };
        let connection = &mut self.connections[index as usize];
        if connection.probe == Some(link) {
            connection.probe = None;
            connection.session.probe_closed();
        } else if connection.link == Some(link) {
            connection.link = None;
            if connection.closing_by.is_none() {
                self.end_session(index, reason);
            }
            self.remove(index);
        }
    }

    /// A WebSocket ends by a close frame, from the client or for a fault of its: `farewell` is the close frame
    /// that goes out behind what is queued.
    pub fn handle_link_closing(
        &mut self,
        key: ConnectionKey,
        link: LinkId,
        farewell: Vec<u8>,
        reason: CloseReason,
        now: Instant,
    ) {
        let Some(index) = self.index_of(key) else { return };
        let connection = &mut self.connections[index as usize];
        if connection.probe == Some(link) {
            self.close_probe(index, Arc::new(Encoded::raw(farewell)));
        } else if connection.link == Some(link) && connection.closing_by.is_none() {
            connection.held = None;
            self.end_session(index, reason);
            self.close_websocket(index, Arc::new(Encoded::raw(farewell)), now);
        }
    }

    /// Ends a session for `reason`: its sockets leave at once; its transport is told as far as the
    /// protocol has words for it.
    pub(super) fn close(&mut self, index: u32, reason: CloseReason, now: Instant) {
        self.close_with(index, reason, self.constants.close_frame.clone(), now);
    }

    /// The same with another last frame for a WebSocket.
    pub(super) fn close_with(
        &mut self,
        index: u32,
        reason: CloseReason,
        farewell: Arc<Encoded>,
        now: Instant,
    ) {
        let connection = &mut self.connections[index as usize];
        if connection.closing_by.is_some() || connection.session.is_closing() {
            return;
        }
        connection.held = None;
        self.drop_probe(index);
        self.end_session(index, reason);
        match self.connections[index as usize].session.transport() {
            Transport::WebSocket => self.close_websocket(index, farewell, now),
            Transport::Polling => self.close_polling(index, reason, now),
        }
    }

    /// The session is over for everyone but its transport.
    fn end_session(&mut self, index: u32, reason: CloseReason) {
        self.end_sockets(index);
        let session = &mut self.connections[index as usize].session;
        let transport = session.transport();
        if session.pushing().is_running() {
            self.outputs.push_back(Output::CutPush(self.key(index)));
        }
        self.happening(Happening::SessionClosed(transport, reason));
    }

    fn close_websocket(&mut self, index: u32, close_frame: Arc<Encoded>, now: Instant) {
        self.send(index, close_frame);
        self.connections[index as usize].closing_by = Some(now + CLOSE_GRACE);
        self.arm(index);
    }

    fn close_polling(&mut self, index: u32, reason: CloseReason, now: Instant) {
        let orderly = matches!(reason, CloseReason::ForcedClose | CloseReason::ShuttingDown);
        let connection = &mut self.connections[index as usize];
        if connection.poll.is_some() {
            // The client that closes hears a noop, any other the close.
            let last = match reason {
                CloseReason::TransportClose => self.constants.noop.clone(),
                _ => self.constants.close.clone(),
            };
            connection.closing_by = Some(now);
            self.send(index, last);
        } else if orderly && connection.session.close_on_next_poll(now) {
            connection.connect_by = None;
            self.arm(index);
        } else {
            self.remove(index);
        }
    }

    /// Ends a session that cannot be told any more, and cuts its transport off.
    pub(super) fn cut_off(&mut self, index: u32, reason: CloseReason) {
        let connection = &mut self.connections[index as usize];
        self.doomed.extend(connection.probe.take());
        self.doomed.extend(connection.link.take());
        if let Some(poll) = connection.poll.take() {
            let payload = self.lone_packet(index, &self.constants.close.clone());
            self.late_answers.push((poll, payload));
        }
        if self.connections[index as usize].closing_by.is_none() {
            self.end_session(index, reason);
        }
        self.remove(index);
    }

    /// Forgets a connection whose sockets and transports are gone.
    pub(super) fn remove(&mut self, index: u32) {
        let hash = self.sid_hash.hash_one(self.connections[index as usize].sid);
        if let Ok(entry) = self.sids.find_entry(hash, |other| *other == index) {
            entry.remove();
        }
        self.connections.remove(index as usize);
    }

    /// Ends up to `count` sessions because the server is going away; true while there are more.
    ///
    /// Clients see `transport close` and reconnect, elsewhere.
    pub fn drain(&mut self, count: usize, now: Instant) -> bool {
        let open = |(_, connection): &(usize, &Connection)| {
            connection.closing_by.is_none() && !connection.session.is_closing()
        };
        let from = self.drained_to;
        let rest = self.connections.iter().filter(open).filter(|(index, _)| *index >= from);
        let chosen: Vec<usize> = rest.map(|(index, _)| index).take(count).collect();
        for index in &chosen {
            self.close(u32::try_from(*index).unwrap_or(u32::MAX), CloseReason::ShuttingDown, now);
        }
        self.drained_to = chosen.last().map_or(0, |last| last + 1);
        self.connections.iter().any(|entry| open(&entry))
    }
}
