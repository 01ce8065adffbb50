//! All simulated browsers of a run: one thread, one poll.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::{
    client::{Arrived, Client},
    wire,
    workload::Progress,
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

/// Browsers, by the number they got when they were opened.
pub(crate) struct Crowd {
    server: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Slab<Client>,
    scratch: Vec<u8>,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new(server: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            server,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            clients: Slab::new(),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Begins one connection.
    pub(crate) fn open(&mut self) -> anyhow::Result<usize> {
        let opened = OPENED.fetch_add(1, Ordering::Relaxed);
        // The process before this one has left ports behind, too.
        let place = opened / CONNECTIONS_PER_ADDRESS + std::process::id().wrapping_mul(7) % ADDRESSES;
        let address = u8::try_from(place % ADDRESSES).unwrap_or_default();
        let client = Client::connect(Ipv4Addr::new(127, 0, 0, 2 + address), self.server)
            .with_context(|| format!("cannot open connection {opened}"))?;
        let index = self.clients.insert(client);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut self.clients[index].stream, Token(index), interest)?;
        Ok(index)
    }

    /// Sends a packet as one of the browsers.
    pub(crate) fn send(&mut self, index: usize, packet: &str) -> anyhow::Result<()> {
        self.client(index)?.send(packet).context("cannot send")
    }

    /// Prepares a packet that [`Self::flush`] sends, together with others.
    pub(crate) fn queue(&mut self, index: usize, packet: &str) -> anyhow::Result<()> {
        self.client(index)?.queue(packet);
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

    /// Opens `count` browsers that join the rooms `rooms` gives for their place in the order; returns their
    /// numbers in that order.
    ///
    /// # Errors
    /// When one is not let in or refused a room, or nobody comes in any more.
    pub(crate) fn assemble(
        &mut self,
        count: usize,
        rooms: impl Fn(usize) -> std::ops::Range<u32>,
    ) -> anyhow::Result<Vec<usize>> {
        let mut order = Vec::with_capacity(count);
        // The rooms that each has still to join, by its number.
        let mut to_join: Vec<std::ops::Range<u32>> = Vec::new();
        let mut opening = 0;
        let mut progress = Progress::new();
        while order.len() < count || opening > 0 {
            while order.len() < count && opening < OPENING_MAX {
                let index = self.open()?;
                if to_join.len() <= index {
                    to_join.resize(index + 1, 0..0);
                }
                to_join[index] = rooms(order.len());
                order.push(index);
                opening += 1;
            }
            self.turn(Duration::from_secs(1), |index, client, arrived| match arrived {
                Arrived::Ready | Arrived::Ack(_) => match to_join[index].next() {
                    Some(room) => client.send(&wire::request(0, "join", &format!("r{room}"))),
                    None => {
                        opening -= 1;
                        Ok(())
                    }
                },
                Arrived::Ping => Ok(()),
                other => Err(io::Error::other(format!("while it connects: {other:?}"))),
            })?;
            progress.check((order.len() - opening) as u64, "the number of connections")?;
        }
        Ok(order)
    }
}
