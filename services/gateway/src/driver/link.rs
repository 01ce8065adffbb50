//! The sockets of a shard from accept to end: request head, WebSocket frames, farewell.

use std::{
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use admission::{Place, ProxyProtocol};
use broker::{ConnectionKey, Flow, LinkId, Refusal, Wire};
use engineio::{CloseReason, HttpFault, v09};
use mio::{Token, net::TcpStream};
use websocket::{Decoder, Fault, Message, Opcode};

use super::{ACCEPTS_PER_TURN, Driver, READ_BYTES_PER_TURN, proxy_header::LATE};
use crate::{
    inbox::{Adoption, Purpose},
    socket::Socket,
    upgrade::Refused,
};

/// How long the other side may take to close after we did. Its last bytes are read and dropped meanwhile:
/// closing with bytes unread would reset the connection and could take our last ones back.
const LINGER: Duration = Duration::from_secs(2);

/// One socket.
pub(super) struct Link {
    pub(super) socket: Socket,
    /// The other end: the client, or a proxy in front of it.
    pub(super) peer: IpAddr,
    /// Its place among the connections of that address.
    pub(super) place: Option<Place>,
    decoder: Decoder,
    state: State,
    /// Whether the other side has been seen to end. No further event announces it: it has to be read to.
    hung_up: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Its PROXY header is still to come, until then.
    ProxyHeader(Instant),
    /// Its request is still to come, until then.
    Head(Instant),
    /// A WebSocket of this connection.
    Open(ConnectionKey),
    /// As above, and not read for now.
    Paused(ConnectionKey),
    /// Everything is written; the other side is to end until then.
    Lingering(Instant),
    /// The other side has ended.
    Ended,
}

impl Link {
    /// Its PROXY header has come: its request is next, within the time that both have.
    pub(super) fn await_head(&mut self) {
        if let State::ProxyHeader(deadline) = self.state {
            self.state = State::Head(deadline);
        }
    }

    pub(super) fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// What became of the bytes of one read.
enum Taken {
    /// Read on.
    More,
    /// Do not read on for now, or for ever.
    Enough,
}

impl Driver {
    /// Takes the connections that wait, up to a turn's worth.
    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, remote)) => self.accepted(stream, remote.ip(), now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The connection was gone before we took it, or the system has no more files: the next one
                // is taken with the next event.
                Err(error) => {
                    telemetry::emit(&telemetry::AcceptFailed { port: "client", error: error.to_string() });
                    return;
                }
            }
        }
        self.unaccepted = true;
    }

    fn accepted(&mut self, stream: TcpStream, peer: IpAddr, now: Instant) {
        if self.is_full() {
            self.metrics.request_refused(telemetry::Refusal::ConnectionLimit);
            let connections = u32::try_from(self.context.occupancy.max()).unwrap_or(u32::MAX);
            telemetry::emit(&telemetry::ConnectionLimitReached { connections });
            // A fresh socket takes a line; if not, it is closed all the same.
            Socket::Plain(stream).write(&[io::IoSlice::new(crate::http::BUSY)]).ok();
            return;
        }
        let has_header =
            self.context.client.proxy_protocol != ProxyProtocol::Off && self.context.is_proxy(peer);
        let Ok(place) = self.context.place_of_connection(peer, now) else {
            return self.turn_away(stream);
        };
        if self.context.tls.is_some() && !has_header {
            return self.serve_tls(stream, peer, place);
        }
        let deadline = now + self.context.request_timeout;
        let state = if has_header { State::ProxyHeader(deadline) } else { State::Head(deadline) };
        if let Some(link) = self.insert_link(Socket::Plain(stream), peer, place, state) {
            self.shard.arm_link(link, deadline);
        }
    }

    /// Refuses a connection whose address is at a limit.
    pub(super) fn turn_away(&self, stream: TcpStream) {
        // One that would have spoken TLS understands nothing before its handshake.
        if self.context.tls.is_none() {
            Socket::Plain(stream).write(&[io::IoSlice::new(crate::places::TOO_MANY)]).ok();
        }
    }

    fn insert_link(
        &mut self,
        socket: Socket,
        peer: IpAddr,
        place: Option<Place>,
        state: State,
    ) -> Option<LinkId> {
        let entry = self.links.vacant_entry();
        let link = LinkId(u32::try_from(entry.key()).ok()?);
        let mut socket = socket;
        if let Err(error) = socket.register(self.readiness.registry(), Token(entry.key())) {
            telemetry::emit(&telemetry::AcceptFailed { port: "client", error: error.to_string() });
            return None;
        }
        entry.insert(Link { socket, peer, place, decoder: Decoder::new(), state, hung_up: false });
        Some(link)
    }

    /// Takes a socket out of this shard's poll.
    pub(super) fn release(&mut self, link: LinkId) -> Option<Link> {
        let mut link = self.links.try_remove(link.0 as usize)?;
        link.socket.deregister(self.readiness.registry()).ok();
        Some(link)
    }

    /// Takes over a WebSocket whose request was read elsewhere.
    pub(super) fn adopt(&mut self, adoption: Adoption, now: Instant) {
        let Adoption { socket, peer, place, ahead, greeting, purpose } = adoption;
        let Some(link) = self.insert_link(socket, peer, place, State::Head(now)) else { return };
        self.begin(link, purpose, greeting, now);
        let mut ahead = ahead.to_vec();
        if !ahead.is_empty() {
            self.take_frames(link, &mut ahead, now);
        }
        self.read_link(link, now);
    }

    /// Makes a socket the WebSocket that its request asked for.
    pub(super) fn begin(
        &mut self,
        link: LinkId,
        purpose: Purpose,
        greeting: Option<bytes::Bytes>,
        now: Instant,
    ) {
        let deflate = match &purpose {
            Purpose::Open(opening) => opening.deflate,
            Purpose::Probe { deflate, .. } => *deflate,
            Purpose::Farewell => None,
        };
        let key = match purpose {
            Purpose::Open(opening) => Ok(self.shard.open_websocket(link, opening, greeting, now)),
            Purpose::Probe { sid, wire, .. } => {
                let opened = self.shard.open_probe(&sid, wire, link, deflate, now);
                match (wire, opened) {
                    (Wire::V09, Err(_)) => return self.bid_farewell(link, greeting, now),
                    (_, opened) => {
                        if let Some(greeting) = greeting {
                            self.answer_probe_request(link, greeting, opened);
                        }
                        opened
                    }
                }
            }
            Purpose::Farewell => return self.bid_farewell(link, greeting, now),
        };
        let Some(found) = self.links.get_mut(link.0 as usize) else { return };
        if deflate.is_some() {
            found.decoder = Decoder::with_deflate();
        }
        match key {
            Ok(key) => found.state = State::Open(key),
            Err(_) => self.finish(link, now),
        }
    }

    /// Tells a client of 0.9 over its new WebSocket to begin anew: it understands no other answer.
    fn bid_farewell(&mut self, link: LinkId, greeting: Option<bytes::Bytes>, now: Instant) {
        self.metrics.request_refused(HttpFault::SessionUnknown);
        if let Some(found) = self.links.get_mut(link.0 as usize) {
            let greeting = greeting.unwrap_or_default();
            let advice = websocket::frame(Opcode::Text, v09::NOT_HANDSHAKEN.as_bytes());
            let close = websocket::close_frame(None);
            let slices = [&greeting[..], &advice, &close].map(io::IoSlice::new);
            // As above: a fresh socket takes these few bytes.
            found.socket.write(&slices).ok();
        }
        self.finish(link, now);
    }

    /// The WebSocket of an upgrade is answered at once, whatever becomes of it.
    fn answer_probe_request(
        &mut self,
        link: LinkId,
        greeting: bytes::Bytes,
        opened: Result<ConnectionKey, Refusal>,
    ) {
        let answer = match opened {
            Ok(_) => greeting,
            // The reference server accepts a second WebSocket and closes it.
            Err(Refusal::Busy | Refusal::Offence | Refusal::TooFast) => {
                [&greeting[..], &websocket::close_frame(None)].concat().into()
            }
            Err(Refusal::Fault(fault)) => {
                self.metrics.request_refused(fault);
                Refused::Fault(fault).response()
            }
        };
        if let Some(found) = self.links.get_mut(link.0 as usize) {
            // A fresh socket takes these few bytes; if it is broken, reading will tell.
            found.socket.write(&[io::IoSlice::new(&answer)]).ok();
        }
    }

    pub(super) fn handle_writable(&mut self, link: LinkId) {
        let Some(found) = self.links.get_mut(link.0 as usize) else { return };
        if found.socket.handle_writable().is_ok()
            && let State::Open(key) | State::Paused(key) = found.state
        {
            self.shard.handle_writable(key, link);
        }
    }

    /// Remembers that the other side has ended, until its last bytes have been read.
    pub(super) fn note_hang_up(&mut self, link: LinkId) {
        if let Some(found) = self.links.get_mut(link.0 as usize) {
            found.hung_up = true;
        }
    }

    /// Reads what a link has, up to a turn's worth.
    pub(super) fn read_link(&mut self, link: LinkId, now: Instant) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut total = 0;
        while let Some(found) = self.links.get_mut(link.0 as usize) {
            if matches!(found.state, State::Paused(_)) {
                break;
            }
            if matches!(found.state, State::ProxyHeader(_))
                && !self.take_proxy_header(link, &mut scratch, now)
            {
                break;
            }
            let Some(found) = self.links.get_mut(link.0 as usize) else { break };
            let short_is_last = found.socket.short_read_is_last() && !found.hung_up;
            match found.socket.read(&mut scratch) {
                Ok(0) => {
                    self.handle_end(link, CloseReason::TransportClose);
                    break;
                }
                Ok(count) => {
                    total += count;
                    self.received_bytes += count as u64;
                    let taken = self.take(link, &mut scratch[..count], now);
                    // A short read has emptied the socket; what comes later is another event.
                    if matches!(taken, Taken::Enough) || short_is_last && count < scratch.len() {
                        break;
                    }
                    if total >= READ_BYTES_PER_TURN {
                        self.unread.push_back(link);
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.handle_end(link, CloseReason::TransportError);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn take(&mut self, link: LinkId, bytes: &mut [u8], now: Instant) -> Taken {
        match self.links.get(link.0 as usize).map(|found| found.state) {
            Some(State::Head(_)) => match self.take_head(link, bytes, now) {
                Some(length) if length < bytes.len() => self.take_frames(link, &mut bytes[length..], now),
                Some(_) => Taken::More,
                None => Taken::Enough,
            },
            Some(State::Open(_)) => self.take_frames(link, bytes, now),
            Some(State::Lingering(_)) => Taken::More,
            Some(State::ProxyHeader(_) | State::Paused(_) | State::Ended) | None => Taken::Enough,
        }
    }

    /// Takes in bytes of an open WebSocket.
    fn take_frames(&mut self, link: LinkId, bytes: &mut [u8], now: Instant) -> Taken {
        let message_bytes_max = self.shard.engine().max_payload_bytes as usize;
        let (mut at, total) = (0, bytes.len());
        let mut flow = Flow::Continue;
        // What frames that are no message come to: they hold nothing up.
        let mut paced = Flow::Continue;
        while at < bytes.len() {
            let Some(found) = self.links.get_mut(link.0 as usize) else { return Taken::Enough };
            // Frames behind one that has to wait are handed over too: the shard keeps their packets.
            let (State::Open(key) | State::Paused(key)) = found.state else { return Taken::Enough };
            match found.decoder.decode(&mut bytes[at..], message_bytes_max, &mut self.inflater) {
                Ok(step) => {
                    at += step.consumed;
                    match step.message {
                        Some(Message::Text(text)) => flow = self.shard.handle_text(key, link, &text, now),
                        Some(Message::Binary(data)) => flow = self.shard.handle_binary(key, link, &data, now),
                        Some(Message::Ping(data)) => {
                            let pong = websocket::frame(Opcode::Pong, &data);
                            paced = self.shard.handle_frame(key, link, Some(pong), now);
                        }
                        Some(Message::Pong) => paced = self.shard.handle_frame(key, link, None, now),
                        // What is left begins another frame: a fragment has ended, and not the input.
                        None if at < total => paced = self.shard.handle_frame(key, link, None, now),
                        None => {}
                        Some(Message::Close(code)) => {
                            let echo = websocket::close_frame(code);
                            self.shard.handle_link_closing(key, link, echo, CloseReason::TransportClose, now);
                            flow = Flow::Closed;
                        }
                    }
                }
                Err(fault) => {
                    self.refuse_frame(key, link, &fault, now);
                    flow = Flow::Closed;
                }
            }
            if flow == Flow::Closed || paced == Flow::Closed {
                return Taken::Enough;
            }
        }
        match (flow, self.links.get_mut(link.0 as usize)) {
            (Flow::Hold, Some(found)) => {
                if let State::Open(key) = found.state {
                    found.state = State::Paused(key);
                }
                Taken::Enough
            }
            (Flow::Continue, Some(_)) => Taken::More,
            _ => Taken::Enough,
        }
    }

    fn refuse_frame(&mut self, key: ConnectionKey, link: LinkId, fault: &Fault, now: Instant) {
        self.metrics.peer_fault(telemetry::FaultCause::Frame);
        let farewell = websocket::close_frame(Some(fault.close_code()));
        self.shard.handle_link_closing(key, link, farewell, CloseReason::TransportError, now);
    }

    /// What held a link back is over.
    pub(super) fn resume(&mut self, link: LinkId) {
        if let Some(found) = self.links.get_mut(link.0 as usize)
            && let State::Paused(key) = found.state
        {
            found.state = State::Open(key);
            self.unread.push_back(link);
        }
    }

    /// The other side has ended, or the socket is broken.
    pub(super) fn handle_end(&mut self, link: LinkId, reason: CloseReason) {
        let Some(found) = self.links.get_mut(link.0 as usize) else { return };
        let state = std::mem::replace(&mut found.state, State::Ended);
        if let State::Open(key) | State::Paused(key) = state {
            self.shard.handle_link_closed(key, link, reason);
        }
        // The shard may still name this link when it is flushed: the number is free after that.
        self.ended.push(link);
    }

    /// Nothing more is written to a link: hear the other side out.
    pub(super) fn linger(&mut self, link: LinkId, now: Instant) {
        if let Some(found) = self.links.get_mut(link.0 as usize) {
            let deadline = now + LINGER;
            found.state = State::Lingering(deadline);
            self.shard.arm_link(link, deadline);
            self.unread.push_back(link);
        }
    }

    /// Ends our side of a link that no session owns.
    pub(super) fn finish(&mut self, link: LinkId, now: Instant) {
        let Some(found) = self.links.get_mut(link.0 as usize) else { return };
        match found.socket.finish() {
            Ok(()) => self.linger(link, now),
            Err(_) => drop(self.release(link)),
        }
    }

    /// The time of a link may be over.
    pub(super) fn expire_link(&mut self, link: LinkId, now: Instant) {
        let Some(found) = self.links.get(link.0 as usize) else { return };
        match found.state {
            State::ProxyHeader(deadline) if deadline <= now => self.refuse_proxy_header(link, LATE),
            State::Head(deadline) if deadline <= now => {
                self.metrics.request_refused(telemetry::Refusal::MalformedRequest);
                drop(self.release(link));
            }
            State::Lingering(deadline) if deadline <= now => drop(self.release(link)),
            // The wheel's horizon came first.
            State::ProxyHeader(deadline) | State::Head(deadline) | State::Lingering(deadline) => {
                self.shard.arm_link(link, deadline);
            }
            State::Open(_) | State::Paused(_) | State::Ended => {}
        }
    }
}
