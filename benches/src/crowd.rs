//! All simulated browsers of a run: one thread, one poll.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::{
    client::{Arrived, Client, Dialect},
    progress::Progress,
    server::{Kind, Server},
};

/// Connections per source address, of 28,000 local ports.
const CONNECTIONS_PER_ADDRESS: u32 = 7_000;
/// Source addresses: 127.0.0.2 and so on.
const ADDRESSES: u32 = 250;
/// Connections opened by all crowds: each takes the next addresses, because the system holds the ports of ended
/// connections for a minute.
static OPENED: AtomicU32 = AtomicU32::new(0);
/// Connections on their way at once, below the usual backlog of a listener.
const OPENING_MAX: usize = 256;
const EVENTS_PER_TURN: usize = 1024;
const SCRATCH_BYTES: usize = 256 * 1024;

/// What a browser does once it is connected.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// Where it connects, of as many nodes as there are.
    pub(crate) node: usize,
    /// What it joins.
    pub(crate) rooms: Range<u32>,
}

/// Browsers, by the number they got when they were opened.
pub(crate) struct Crowd {
    /// By node.
    addresses: Vec<SocketAddr>,
    dialect: Dialect,
    poll: Poll,
    events: Events,
    clients: Slab<Client>,
    scratch: Vec<u8>,
}

impl Crowd {
    /// Nobody yet; those who come will use WebSockets.
    pub(crate) fn new(server: &Server) -> io::Result<Self> {
        let is_centrifuge = server.kind == Kind::Centrifuge;
        Self::speaking(server, if is_centrifuge { Dialect::Centrifuge } else { Dialect::WebSocket })
    }

    /// As [`Self::new`], in a given dialect.
    pub(crate) fn speaking(server: &Server, dialect: Dialect) -> io::Result<Self> {
        Ok(Self {
            addresses: server.clients.clone(),
            dialect,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            clients: Slab::new(),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Begins one connection, with one of the nodes.
    pub(crate) fn open(&mut self, node: usize) -> anyhow::Result<usize> {
        let node = node % self.addresses.len();
        let opened = OPENED.fetch_add(1, Ordering::Relaxed);
        // The process before this one has left ports behind, too.
        let place = opened / CONNECTIONS_PER_ADDRESS + std::process::id().wrapping_mul(7) % ADDRESSES;
        let address = u8::try_from(place % ADDRESSES).unwrap_or_default();
        let mut client =
            Client::connect(Ipv4Addr::new(127, 0, 0, 2 + address), self.addresses[node], self.dialect)
                .with_context(|| format!("cannot open connection {opened}"))?;
        client.node = node;
        let index = self.clients.insert(client);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut self.clients[index].stream, Token(index), interest)?;
        Ok(index)
    }

    /// Lets a browser read nothing any more.
    pub(crate) fn stall(&mut self, index: usize) -> anyhow::Result<()> {
        let client = self.clients.get_mut(index).context("the server has closed it")?;
        Ok(self.poll.registry().deregister(&mut client.stream)?)
    }

    /// Sends a packet as one of the browsers.
    pub(crate) fn send(&mut self, index: usize, packet: &str) -> anyhow::Result<()> {
        self.client(index)?.send(packet).context("cannot send")
    }

    /// Prepares a message that [`Self::flush`] sends, together with others.
    pub(crate) fn queue_message(
        &mut self,
        index: usize,
        room: u32,
        sequence: u32,
        padding: usize,
    ) -> anyhow::Result<()> {
        self.client(index)?.queue_message(room, sequence, padding);
        Ok(())
    }

    /// Sends what was prepared.
    pub(crate) fn flush(&mut self, index: usize) -> anyhow::Result<()> {
        self.client(index)?.flush().context("cannot send")
    }

    /// The number of the next answer that one of the browsers is owed.
    pub(crate) fn expected(&mut self, index: usize) -> anyhow::Result<u32> {
        Ok(self.client(index)?.expected)
    }

    fn client(&mut self, index: usize) -> anyhow::Result<&mut Client> {
        self.clients.get_mut(index).context("the server has closed the sender")
    }

    /// Waits for something to happen, `timeout` at most, and hands all of it to `handle`. A browser whose stream
    /// has ended is forgotten.
    ///
    /// # Errors
    /// When a socket breaks, and what `handle` fails with.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(usize, &mut Client, Arrived) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let Token(index) = event.token();
            let Some(client) = self.clients.get_mut(index) else { continue };
            if event.is_writable() {
                client.handle_writable().with_context(|| format!("connection {index} takes no bytes"))?;
            }
            let mut ended = false;
            client
                .handle_readable(event.is_read_closed(), &mut self.scratch, &mut |client, arrived| {
                    ended |= arrived == Arrived::Closed;
                    handle(index, client, arrived)
                })
                .with_context(|| format!("connection {index} has bytes"))?;
            if ended {
                self.clients.remove(index);
            }
        }
        Ok(())
    }

    /// Opens `count` browsers in the seats that `seat` gives for their place in the order; returns their numbers in
    /// that order.
    ///
    /// # Errors
    /// When one is not let in or refused a room, or nobody comes in any more.
    pub(crate) fn assemble(
        &mut self,
        count: usize,
        seat: impl Fn(usize) -> Seat,
    ) -> anyhow::Result<Vec<usize>> {
        let mut order = Vec::with_capacity(count);
        // The rooms that each has still to join, by its number.
        let mut to_join: Vec<Range<u32>> = Vec::new();
        let mut opening = 0;
        let mut progress = Progress::new();
        let mut answers = 0;
        while order.len() < count || opening > 0 {
            while order.len() < count && opening < OPENING_MAX {
                let Seat { node, rooms } = seat(order.len());
                let index = self.open(node)?;
                if to_join.len() <= index {
                    to_join.resize(index + 1, 0..0);
                }
                to_join[index] = rooms;
                order.push(index);
                opening += 1;
            }
            self.turn(Duration::from_secs(1), |index, client, arrived| match arrived {
                Arrived::Ready | Arrived::Ack(_) => {
                    answers += 1;
                    match to_join[index].next() {
                        Some(room) => client.join(room),
                        None => {
                            opening -= 1;
                            Ok(())
                        }
                    }
                }
                Arrived::Ping => Ok(()),
                other => Err(io::Error::other(format!("while it connects: {other:?}"))),
            })?;
            progress.check(answers, "the number of answers while connecting")?;
        }
        Ok(order)
    }
}
