//! What a program may do: each step is one call that the gateway could make at any time.

use std::time::Duration;

use adapter::{Action, CallId, Delivery, Extent, Operation, RoomKinds};
use broker::{ConnectionKey, Dialect, Framing, LinkId, Opening, Parser, PollId};
use bytes::Bytes;
use engineio::{BodyForm, CloseReason, Revision, SessionId, SidKey};
use socketio::{NamespaceName, RoomName};
use websocket::Deflate;

use super::{
    CLIENTS_MAX, SECRET, World,
    client::{Client, TEXTS},
    publication, targets,
};
use crate::program::{Program, text};

/// Pauses, in ms: within a turn, about each deadline, beyond all.
const PAUSES_MS: [u64; 8] = [1, 50, 1_000, 5_000, 10_000, 25_000, 45_000, 100_000];
/// Whom a message or an operation of a back end is for.
const NAMESPACES: [&str; 3] = ["/", "/chat", "/nowhere"];
const ROOMS: [&[&str]; 4] = [&[], &["r1"], &["r1", "r2"], &["empty"]];
/// Bytes a slow link takes before it blocks.
const SLOW_BYTES: [usize; 4] = [0, 1, 10, 300];

impl World {
    /// Does one thing; `None` at the end of the program.
    pub(super) fn step(&mut self, program: &mut Program<'_>) -> Option<()> {
        match program.below(25)? {
            0 => self.open_websocket(program.byte()?),
            1 => self.open_polling(program.byte()?),
            2 => {
                let link = self.link(program)?;
                let text = text(program.piece()?);
                self.text(link, &text);
            }
            3..=5 => {
                let link = self.link(program)?;
                self.text(link, TEXTS[program.below(TEXTS.len())?]);
            }
            6 => {
                let link = self.link(program)?;
                let bytes = program.piece()?;
                if let Some((key, link)) = link {
                    self.shard.handle_binary(key, link, bytes, self.now);
                }
            }
            7 => self.poll(program.byte()?),
            8 => self.start_push(program.byte()?),
            9 => {
                let (client, form) = (program.byte()?, program.byte()?);
                let body = program.piece()?;
                self.push(client, form, body);
            }
            10 => {
                let (client, text) = (program.byte()?, program.below(TEXTS.len())?);
                self.push(client, 2, TEXTS[text].as_bytes());
            }
            11 => {
                let (client, cut) = (program.byte()?, program.below(2)? == 0);
                if let Some(key) = self.client(client).and_then(|client| client.push.take()) {
                    self.shard.push_failed(key, cut, self.now);
                }
            }
            12 => {
                let (client, flags) = (program.byte()?, program.byte()?);
                self.probe(client, flags);
            }
            13 => {
                if let Some((key, link)) = self.link(program)? {
                    self.wire.end(link);
                    self.shard.handle_link_closed(key, link, CloseReason::TransportClose);
                }
            }
            14 => {
                if let Some((key, link)) = self.link(program)? {
                    let (farewell, reason) =
                        (websocket::close_frame(Some(1002)), CloseReason::TransportError);
                    self.shard.handle_link_closing(key, link, farewell, reason, self.now);
                }
            }
            15 => self.lose_poll(program.byte()?),
            16 => self.time_passes(Duration::from_millis(PAUSES_MS[program.below(PAUSES_MS.len())?])),
            17 => self.publish(program)?,
            18 => self.operate(program)?,
            19 => self.call(program)?,
            20 => {
                if let Some(ticket) = self.tickets.pop_front() {
                    self.shard.handle_confirmed(ticket, self.now);
                }
            }
            21 => {
                let link = self.link(program)?;
                let room = SLOW_BYTES[program.below(SLOW_BYTES.len())?];
                if let Some((_, link)) = link {
                    self.wire.set_room(link, room);
                }
            }
            22 => {
                if let Some((key, link)) = self.link(program)? {
                    self.wire.set_room(link, usize::MAX);
                    self.shard.handle_writable(key, link);
                }
            }
            23 => {
                let (link, breaks) = (self.link(program)?, program.below(2)? == 0);
                match link {
                    Some((_, link)) if breaks => self.wire.break_link(link),
                    Some((key, link)) => {
                        let pong = websocket::frame(websocket::Opcode::Pong, b"ping");
                        self.shard.handle_frame(key, link, Some(pong), self.now);
                    }
                    None => {}
                }
            }
            _ => self.end_turn(),
        }
        Some(())
    }

    fn client(&mut self, number: u8) -> Option<&mut Client> {
        let count = self.clients.len().max(1);
        self.clients.get_mut(usize::from(number) % count)
    }

    /// The WebSocket of a client, if it is still there.
    fn link(&mut self, program: &mut Program<'_>) -> Option<Option<(ConnectionKey, LinkId)>> {
        let number = program.byte()?;
        let link = self.client(number).and_then(|client| client.link);
        Some(link.filter(|(key, link)| self.wire.is_open(*key, *link)))
    }

    fn text(&mut self, link: Option<(ConnectionKey, LinkId)>, text: &str) {
        if let Some((key, link)) = link {
            self.shard.handle_text(key, link, text, self.now);
        }
    }

    fn open_websocket(&mut self, flags: u8) {
        if self.clients.len() >= CLIENTS_MAX {
            return;
        }
        let (revision, opening) = opening(flags);
        let link = self.wire.new_link(false, opening.deflate.is_some());
        let key = self.shard.open_websocket(link, opening, None, self.now);
        self.wire.own(key, link);
        let link = Some((key, link));
        self.clients.push(Client { revision, sid: None, link, push: None });
    }

    fn open_polling(&mut self, flags: u8) {
        if self.clients.len() >= CLIENTS_MAX {
            return;
        }
        let (revision, opening) = opening(flags);
        let payload = self.shard.open_polling(opening, self.now);
        let sid = Some(sid_in(&payload.body));
        self.clients.push(Client { revision, sid, link: None, push: None });
    }

    fn poll(&mut self, client: u8) {
        let Some(&mut Client { revision, sid: Some(sid), .. }) = self.client(client) else { return };
        let poll: PollId = self.wire.new_poll(revision);
        if self.shard.poll(&sid, revision, poll, self.now).is_err() {
            self.wire.forget_poll(poll);
        }
    }

    /// A client gives up its poll. One that the shard has ended in this turn is still to be answered.
    fn lose_poll(&mut self, client: u8) {
        let Some(&mut Client { sid: Some(sid), .. }) = self.client(client) else { return };
        if let Some((key, poll)) = self.shard.waiting_poll(&sid) {
            self.wire.forget_poll(poll);
            self.shard.handle_poll_lost(key, poll, self.now);
        }
    }

    fn start_push(&mut self, client: u8) {
        let Some(&mut Client { revision, sid: Some(sid), .. }) = self.client(client) else { return };
        if let Ok(key) = self.shard.push_started(&sid, revision, self.now)
            && let Some(client) = self.client(client)
        {
            client.push = Some(key);
        }
    }

    /// The body of a push; one that has not begun begins.
    fn push(&mut self, client: u8, form: u8, body: &[u8]) {
        if self.client(client).is_some_and(|client| client.push.is_none()) {
            self.start_push(client);
        }
        let Some(key) = self.client(client).and_then(|client| client.push.take()) else { return };
        let form = match form % 4 {
            0 => BodyForm::Binary,
            1 => BodyForm::Form,
            _ => BodyForm::Text,
        };
        // Whether it was taken is between the shard and its client.
        self.shard.push(key, form, body, self.now).ok();
    }

    fn probe(&mut self, client: u8, flags: u8) {
        let Some(&mut Client { revision, sid: Some(sid), link, .. }) = self.client(client) else { return };
        if link.is_some_and(|(key, link)| self.wire.is_open(key, link)) {
            return;
        }
        let agreed = deflate(flags);
        let link = self.wire.new_link(false, agreed.is_some());
        match self.shard.open_probe(&sid, revision, link, agreed, self.now) {
            Ok(key) => {
                self.wire.own(key, link);
                if let Some(client) = self.client(client) {
                    client.link = Some((key, link));
                }
            }
            Err(_) => self.wire.forget_link(link),
        }
    }

    fn publish(&mut self, program: &mut Program<'_>) -> Option<()> {
        let (namespace, rooms) = (NAMESPACES[program.below(3)?], ROOMS[program.below(4)?]);
        let form = program.byte()?;
        let delivery = if form & 1 == 0 { Delivery::Reliable } else { Delivery::Volatile };
        let json = match form >> 1 & 3 {
            0 => "[\"e\"]".to_owned(),
            1 => format!("[\"e\",\"{}\"]", "x".repeat(1_500)),
            2 => "[\"e\",{\"_placeholder\":true,\"num\":0}]".to_owned(),
            _ => "[\"é\",\"\u{2028}😀\"]".to_owned(),
        };
        let attachments =
            if json.contains("_placeholder") { vec![Bytes::from_static(&[1, 2, 3])] } else { Vec::new() };
        let reach = self.shard.deliver(&publication(namespace, rooms, delivery, &json, attachments));
        assert_eq!(reach.matched, reach.written + reach.dropped_slow + reach.dropped_volatile);
        Some(())
    }

    fn operate(&mut self, program: &mut Program<'_>) -> Option<()> {
        let (namespace, rooms) = (NAMESPACES[program.below(3)?], ROOMS[program.below(4)?]);
        let room = || vec![RoomName::new("r2"), RoomName::new("r3")];
        let action = match program.below(8)? {
            0 => Action::Join(room()),
            1 => Action::Leave(room()),
            2 => Action::Disconnect(Extent::Namespace),
            3 => Action::Disconnect(Extent::Connection),
            4 => Action::Count,
            5 => Action::Identify,
            6 => Action::Fetch,
            _ => Action::ListRooms(RoomKinds::All),
        };
        let namespace = NamespaceName::new(namespace);
        let operation = Operation { namespace, targets: targets(rooms), action };
        let outcome = self.shard.operate(&operation, self.now);
        assert!(outcome.matched as usize <= self.clients.len(), "more sockets than clients");
        Some(())
    }

    fn call(&mut self, program: &mut Program<'_>) -> Option<()> {
        let (namespace, rooms) = (NAMESPACES[program.below(3)?], ROOMS[program.below(4)?]);
        let deadline = self.now + Duration::from_millis(PAUSES_MS[program.below(PAUSES_MS.len())?]);
        let publication = publication(namespace, rooms, Delivery::Reliable, "[\"ask\"]", Vec::new());
        let call = CallId(self.calls);
        self.calls += 1;
        // Too many at once are refused, and that is all.
        self.shard.call(&publication.broadcast, call, deadline).ok();
        if program.below(4)? == 0 {
            self.shard.end_call(call);
        }
        Some(())
    }
}

fn opening(flags: u8) -> (Revision, Opening) {
    let revision = if flags & 1 == 0 { Revision::V4 } else { Revision::V3 };
    let parser = if flags & 8 == 0 { Parser::Json } else { Parser::MsgPack };
    let dialect = Dialect::new(parser, Framing { revision, base64_only: flags & 2 != 0 });
    let token = (flags & 4 != 0).then(|| "token".into());
    (revision, Opening { token, deflate: deflate(flags), ..Opening::of(dialect) })
}

/// What is agreed on with some clients: their window is any, or too small for long messages.
fn deflate(flags: u8) -> Option<Deflate> {
    match flags >> 4 & 3 {
        0 => Deflate::negotiate("permessage-deflate"),
        1 => Deflate::negotiate("permessage-deflate; server_max_window_bits=8"),
        _ => None,
    }
}

/// The session that an open packet names.
fn sid_in(body: &[u8]) -> SessionId {
    // Behind it there may be a packet in MessagePack.
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("\"sid\":\"").expect("it names the session");
    let sid = rest.get(..engineio::SESSION_ID_CHARS).expect("a whole sid");
    SidKey::new(&SECRET).verify(sid).expect("the shard made it").0
}
