//! The limit: a loop of `write` calls, and nothing else.
//!
//! It speaks just enough of the protocol for the same clients to be its load: answers that never differ, and for
//! each message one frame that is written to every other member of its room. No Socket.IO state and no queue: a socket
//! that does not take a whole frame is closed, and the clients will say so.
//!
//! A variant gathers what one turn of the loop has for a socket and writes it with one `writev`. Where heartbeats are
//! measured, each socket gets one `write` per pause, and what it answers is read and forgotten: nobody is ever late.

use std::{
    collections::HashMap,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};
use websocket::{Decoder, Inflater, Message, Opcode, frame};

use crate::wire;

const LISTENER: Token = Token(usize::MAX);
/// Connections that may wait to be accepted. With the usual 128 some are lost, and tried again after a second, whenever the
/// machine has no time for the loop.
const BACKLOG: i32 = 4096;
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How late a heartbeat may be, as in the gateway's timer wheel; those of one tick are sent in one turn.
const TICK: Duration = Duration::from_millis(8);

struct Peer {
    stream: TcpStream,
    decoder: Decoder,
    is_upgraded: bool,
    /// What the turn has for this socket, if turns are gathered.
    gathered: Vec<Rc<[u8]>>,
}

/// When a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// At once, one `write` for each.
    AtOnce,
    /// At the end of the turn, with one `writev` per socket.
    Gathered,
}

/// Whose heartbeat is next.
struct Heartbeats {
    /// At which the next share of the peers is due.
    at: Instant,
    /// Ticks between two heartbeats of a peer: each is due at the one that is its index modulo this.
    ticks: usize,
    tick: usize,
}

struct Bare {
    writing: Writing,
    /// The peers with something gathered.
    dirty: Vec<usize>,
    peers: Slab<Peer>,
    rooms: HashMap<String, Vec<usize>>,
    /// Answer to the upgrade request, with the frame of the open packet behind it.
    greeting: Vec<u8>,
    connected: Vec<u8>,
    ping: Vec<u8>,
}

/// Serves until the process is ended; `pause` is that between the heartbeats of a connection, if there are any.
///
/// # Errors
/// When the port or the poll fails.
pub(crate) fn serve(listen: SocketAddr, writing: Writing, pause: Option<Duration>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = listener(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut bare = Bare::new(writing);
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 64 * 1024];
    let mut heartbeats = pause.map(Heartbeats::new);
    loop {
        let timeout = heartbeats.as_ref().map(|next| next.at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => bare.accept(&listener, &poll)?,
                Token(peer) => bare.read(peer, event.is_read_closed(), &mut scratch),
            }
        }
        bare.write_gathered();
        if let Some(heartbeats) = &mut heartbeats {
            heartbeats.send_due(&mut bare);
        }
    }
}

fn listener(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Heartbeats {
    fn new(pause: Duration) -> Self {
        let ticks = usize::try_from(pause.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX).max(1);
        Self { at: Instant::now() + TICK, ticks, tick: 0 }
    }

    fn send_due(&mut self, bare: &mut Bare) {
        while self.at <= Instant::now() {
            for index in (self.tick..bare.peers.capacity()).step_by(self.ticks) {
                if let Some(peer) = bare.peers.get_mut(index).filter(|peer| peer.is_upgraded) {
                    peer.stream.write_all(&bare.ping).ok();
                }
            }
            self.tick = (self.tick + 1) % self.ticks;
            self.at += TICK;
        }
    }
}

impl Bare {
    fn new(writing: Writing) -> Self {
        let open =
            r#"0{"sid":"bare","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        let mut greeting = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            wire::ACCEPT_KEY
        )
        .into_bytes();
        greeting.extend(frame(Opcode::Text, open.as_bytes()));
        let connected = frame(Opcode::Text, br#"40{"sid":"bare"}"#);
        let ping = frame(Opcode::Text, b"2");
        let (dirty, peers, rooms) = (Vec::new(), Slab::new(), HashMap::new());
        Self { writing, dirty, peers, rooms, greeting, connected, ping }
    }

    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    // As every server does: what is written leaves at once.
                    stream.set_nodelay(true)?;
                    let entry = self.peers.vacant_entry();
                    poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
                    entry.insert(Peer {
                        stream,
                        decoder: Decoder::new(),
                        is_upgraded: false,
                        gathered: Vec::new(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, index: usize, is_ending: bool, scratch: &mut [u8]) {
        while let Some(peer) = self.peers.get_mut(index) {
            match peer.stream.read(scratch) {
                Ok(0) => return self.remove(index),
                Ok(_) if !peer.is_upgraded => {
                    peer.is_upgraded = true;
                    peer.stream.write_all(&self.greeting).ok();
                }
                Ok(count) => {
                    self.take(index, &mut scratch[..count]);
                    if count < scratch.len() && !is_ending {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.remove(index),
            }
        }
    }

    fn take(&mut self, index: usize, mut bytes: &mut [u8]) {
        let mut inflater = Inflater::new();
        while !bytes.is_empty()
            && let Some(peer) = self.peers.get_mut(index)
        {
            let mut decoder = std::mem::take(&mut peer.decoder);
            let Ok(step) = decoder.decode(bytes, MESSAGE_BYTES_MAX, &mut inflater) else {
                return self.remove(index);
            };
            let consumed = step.consumed;
            match step.message {
                Some(Message::Text(text)) => self.take_packet(index, &text),
                Some(Message::Close(_)) => {
                    self.write(index, &websocket::close_frame(None));
                    return self.remove(index);
                }
                _ => {}
            }
            if let Some(peer) = self.peers.get_mut(index) {
                peer.decoder = decoder;
            }
            bytes = &mut bytes[consumed..];
        }
    }

    fn take_packet(&mut self, index: usize, packet: &str) {
        if packet == "40" {
            let connected = std::mem::take(&mut self.connected);
            self.write(index, &connected);
            self.connected = connected;
            return;
        }
        let Some((id, rest)) = packet.strip_prefix("42").and_then(|event| event.split_once('[')) else {
            return;
        };
        let mut words = rest.split('"').skip(1).step_by(2);
        match (words.next(), words.next()) {
            (Some("m"), Some(room)) => self.relay(index, room, packet),
            (Some("join"), Some(room)) => self.rooms.entry(room.to_owned()).or_default().push(index),
            _ => {}
        }
        if !id.is_empty() {
            let answer = format!("43{id}[{{\"status\":\"ok\"}}]");
            self.write(index, &frame(Opcode::Text, answer.as_bytes()));
        }
    }

    /// The loop that is the limit.
    fn relay(&mut self, sender: usize, room: &str, packet: &str) {
        let frame: Rc<[u8]> = frame(Opcode::Text, packet.as_bytes()).into();
        for member in self.rooms.get(room).into_iter().flatten().filter(|member| **member != sender) {
            let Some(peer) = self.peers.get_mut(*member) else { continue };
            if self.writing == Writing::Gathered {
                if peer.gathered.is_empty() {
                    self.dirty.push(*member);
                }
                peer.gathered.push(frame.clone());
            // A peer that does not take all of it has no use for the rest.
            } else if peer.stream.write(&frame).is_ok_and(|taken| taken < frame.len()) {
                peer.stream.shutdown(Shutdown::Both).ok();
            }
        }
    }

    fn write_gathered(&mut self) {
        for index in self.dirty.drain(..) {
            let Some(peer) = self.peers.get_mut(index) else { continue };
            let slices: SmallVec<[IoSlice<'_>; 16]> =
                peer.gathered.iter().map(|frame| IoSlice::new(frame)).collect();
            let length: usize = slices.iter().map(|slice| slice.len()).sum();
            if peer.stream.write_vectored(&slices).is_ok_and(|taken| taken < length) {
                peer.stream.shutdown(Shutdown::Both).ok();
            }
            drop(slices);
            peer.gathered.clear();
        }
    }

    fn write(&mut self, index: usize, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.stream.write_all(bytes).ok();
        }
    }

    fn remove(&mut self, index: usize) {
        self.peers.try_remove(index);
    }
}
