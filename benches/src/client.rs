//! One simulated browser: a non-blocking socket with as little beside it as counting needs.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::{self, centrifuge, polling};

/// What is spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Socket.IO over WebSocket.
    WebSocket,
    /// Socket.IO over HTTP long-polling, one request at a time on one connection.
    Polling,
    /// Centrifuge's JSON protocol over WebSocket.
    Centrifuge,
}

/// Something that the server has sent, or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// The namespace `/` has been joined.
    Ready,
    /// A message of a room.
    Event { room: u32, sequence: u32 },
    /// The answer to the request with this id.
    Ack(u32),
    /// A heartbeat, answered already.
    Ping,
    /// A packet that nobody has asked for, or a message that was changed on its way.
    Unexpected,
    /// The end of the stream.
    Closed,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    Opening,
    Joining,
    Ready,
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    dialect: Dialect,
    phase: Phase,
    /// The start of a frame whose rest is still to come.
    partial: Vec<u8>,
    unsent: Vec<u8>,
    /// With polling: the session's path and the packets of the next POST.
    polling: Option<Box<polling::Session>>,
    /// The node it is connected to.
    pub(crate) node: usize,
    /// The number of the next message of its room.
    pub(crate) expected: u32,
}

impl Client {
    /// Begins to connect, from an address of its own choice so that ports suffice.
    pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr, dialect: Dialect) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(from, 0)).into())?;
        match socket.connect(&to.into()) {
            // EINPROGRESS has no kind of its own.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && error.raw_os_error() != Some(115) => {
                return Err(error);
            }
            _ => {}
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            dialect,
            phase: Phase::Connecting,
            partial: Vec::new(),
            unsent: Vec::new(),
            polling: (dialect == Dialect::Polling).then(Box::default),
            node: 0,
            expected: 0,
        })
    }

    /// Sends a packet; what the socket does not take waits until it is writable.
    pub(crate) fn send(&mut self, packet: &str) -> io::Result<()> {
        self.queue(packet);
        self.flush()
    }

    /// Prepares a packet that [`Self::flush`] sends.
    pub(crate) fn queue(&mut self, packet: &str) {
        match &mut self.polling {
            Some(session) => session.queue(packet),
            None => wire::put_text(&mut self.unsent, packet),
        }
    }

    /// Asks to become a member of a room, which is answered.
    pub(crate) fn join(&mut self, room: u32) -> io::Result<()> {
        match self.dialect {
            Dialect::Centrifuge => self.send(&centrifuge::subscribe(room)),
            _ => self.send(&wire::request(0, "join", &format!("r{room}"))),
        }
    }

    /// Prepares a message that [`Self::flush`] publishes; it is longer than usual by `padding` bytes.
    pub(crate) fn queue_message(&mut self, room: u32, sequence: u32, padding: usize) {
        let message = match self.dialect {
            Dialect::Centrifuge => centrifuge::publish(room, sequence, padding),
            _ => wire::event(room, sequence, padding),
        };
        self.queue(&message);
    }

    /// Begins the end, as a browser does; only over WebSocket.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        wire::put_close(&mut self.unsent);
        self.flush()
    }

    pub(crate) fn handle_writable(&mut self) -> io::Result<()> {
        if self.phase == Phase::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.phase = Phase::Upgrading;
            match self.dialect {
                Dialect::WebSocket => {
                    self.unsent.extend(wire::upgrade_request("/socket.io/?EIO=4&transport=websocket"))
                }
                Dialect::Centrifuge => self.unsent.extend(wire::upgrade_request("/connection/websocket")),
                Dialect::Polling => {
                    self.phase = Phase::Opening;
                    self.unsent.extend(polling::first_request());
                }
            }
        }
        self.flush()
    }

    /// Reads all that there is and hands it to `handle`; up to the end of the stream if that `is_ending`.
    pub(crate) fn handle_readable(
        &mut self,
        is_ending: bool,
        scratch: &mut [u8],
        handle: &mut impl FnMut(&mut Self, Arrived) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return handle(self, Arrived::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return handle(self, Arrived::Closed);
                }
                Err(error) => return Err(error),
            };
            let bytes = &scratch[..count];
            if self.partial.is_empty() {
                let taken = self.take(bytes, handle)?;
                self.partial.extend(&bytes[taken..]);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend(bytes);
                let taken = self.take(&whole, handle)?;
                whole.drain(..taken);
                self.partial = whole;
            }
            if self.partial.is_empty() {
                // Thousands of idle clients keep no buffers.
                self.partial = Vec::new();
            }
            // A short read has emptied the socket; but an end that came with those bytes makes no further event.
            if count < scratch.len() && !is_ending {
                return Ok(());
            }
        }
    }

    /// Sends what is prepared, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.phase == Phase::Connecting {
            return Ok(());
        }
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    /// Takes whole frames out of `bytes`; returns how many bytes they were.
    fn take(
        &mut self,
        bytes: &[u8],
        handle: &mut impl FnMut(&mut Self, Arrived) -> io::Result<()>,
    ) -> io::Result<usize> {
        if self.dialect == Dialect::Polling {
            return self.take_responses(bytes, handle);
        }
        let mut at = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return Err(io::Error::other("the server refuses a WebSocket"));
            }
            self.phase = Phase::Opening;
            at = end + 4;
            if self.dialect == Dialect::Centrifuge {
                self.send(centrifuge::CONNECT)?;
            }
        }
        while let Some(frame) = wire::first_frame(&bytes[at..]) {
            at += frame.length;
            if frame.is_close {
                continue;
            }
            match self.dialect {
                // Several replies may share a frame.
                Dialect::Centrifuge => {
                    for reply in frame.payload.split(|byte| *byte == b'\n').filter(|reply| !reply.is_empty())
                    {
                        self.take_reply(reply, handle)?;
                    }
                }
                _ => self.take_packet(frame.payload, handle)?,
            }
        }
        Ok(at)
    }

    /// Takes whole responses out of `bytes`, and sends the next request for each.
    fn take_responses(
        &mut self,
        bytes: &[u8],
        handle: &mut impl FnMut(&mut Self, Arrived) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut at = 0;
        while let Some((body, length)) = polling::first_response(&bytes[at..])? {
            at += length;
            // The answer to a POST is `ok`, no packet.
            if body != b"ok" {
                for packet in body.split(|byte| *byte == polling::SEPARATOR) {
                    self.take_packet(packet, handle)?;
                }
            }
            if let Some(session) = &mut self.polling {
                session.next_request(&mut self.unsent);
            }
            self.flush()?;
        }
        Ok(at)
    }

    fn take_reply(
        &mut self,
        reply: &[u8],
        handle: &mut impl FnMut(&mut Self, Arrived) -> io::Result<()>,
    ) -> io::Result<()> {
        let arrived = match centrifuge::Reply::parse(reply) {
            centrifuge::Reply::Connected => {
                self.phase = Phase::Ready;
                Arrived::Ready
            }
            centrifuge::Reply::Subscribed => Arrived::Ack(0),
            centrifuge::Reply::Published => return Ok(()),
            centrifuge::Reply::Ping => {
                self.send("{}")?;
                Arrived::Ping
            }
            centrifuge::Reply::Message { room, sequence } => Arrived::Event { room, sequence },
            centrifuge::Reply::Unexpected => Arrived::Unexpected,
        };
        handle(self, arrived)
    }

    fn take_packet(
        &mut self,
        packet: &[u8],
        handle: &mut impl FnMut(&mut Self, Arrived) -> io::Result<()>,
    ) -> io::Result<()> {
        let arrived = match (self.phase, packet) {
            (Phase::Opening, [b'0', open @ ..]) => {
                self.phase = Phase::Joining;
                if let Some(session) = &mut self.polling {
                    session.open(open)?;
                }
                return self.send("40");
            }
            (Phase::Joining, [b'4', b'0', ..]) => {
                self.phase = Phase::Ready;
                Arrived::Ready
            }
            (_, [b'2']) => {
                self.send("3")?;
                Arrived::Ping
            }
            (Phase::Ready, [b'4', b'2', ..]) => match wire::parse_event(packet) {
                Some((room, sequence)) => Arrived::Event { room, sequence },
                None => Arrived::Unexpected,
            },
            (Phase::Ready, [b'4', b'3', rest @ ..]) => {
                // A refusal is an answer too, but none that a workload counts.
                let refused = rest.windows(7).any(|window| window == b"\"error\"");
                wire::parse_ack(rest).filter(|_| !refused).map_or(Arrived::Unexpected, Arrived::Ack)
            }
            _ => Arrived::Unexpected,
        };
        handle(self, arrived)
    }
}
