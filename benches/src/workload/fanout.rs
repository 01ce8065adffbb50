//! Messages to rooms, each delivery checked for room, order and length.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Faults, Load, Outcome};
use crate::{
    client::{Arrived, Dialect},
    crowd::{Crowd, Seat},
    histogram::Histogram,
    progress::Progress,
    publisher::Publisher,
    server::{Kind, Server},
};

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// A client that is in all rooms, and does not get what it sends.
    Client,
    /// gRPC, one call per message.
    Unary,
    /// gRPC, one call for all messages that wait.
    Batch,
    /// gRPC, all messages over one stream.
    Stream,
}

/// How the members read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Readers {
    /// Over WebSocket.
    WebSocket,
    /// Over HTTP long-polling.
    Polling,
    /// Over WebSocket; one more member reads nothing, and is sent [`FLOOD_EVENTS`] besides with each message.
    Stalled,
}

/// What a member that does not read is sent with each message of the others.
const FLOOD_EVENTS: usize = 40;
/// Bytes of each of them, beyond those of a message.
const FLOOD_PADDING: usize = 32 * 1024;

/// A fan-out workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rooms: u32,
    /// Of each room.
    pub(crate) members: u32,
    /// Connections that are in no room.
    pub(crate) bystanders: u32,
    pub(crate) source: Source,
    pub(crate) readers: Readers,
    pub(crate) pace: Pace,
}

/// When the next message is published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When fewer than that many are still to reach a member.
    InFlight(u32),
    /// That many per second, whatever the server does.
    PerSecond(f64),
}

enum Sender {
    Client(usize),
    Grpc(Publisher),
}

pub(crate) struct Fanout {
    crowd: Crowd,
    /// Connections beside those of the crowd's members: the publisher, and who reads nothing.
    others: Crowd,
    sender: Sender,
    shape: Shape,
    /// The room of each client, by its number.
    room_of: Vec<u32>,
    /// Messages published in all runs: number `n` is number `n / rooms` of room `n % rooms`.
    published: u32,
}

/// The messages of one [`Load::drive`].
struct Run {
    first: u32,
    rooms: u32,
    /// Deliveries still to come, by message.
    missing: Vec<u32>,
    /// When each message should have been sent.
    intended: Vec<Instant>,
    completed: u32,
    delivered: u64,
    faults: Faults,
    latency: Histogram,
    latency_far: Histogram,
}

impl Fanout {
    pub(crate) fn prepare(server: &Server, shape: Shape) -> anyhow::Result<Self> {
        let Shape { rooms, members, bystanders, source, readers, .. } = shape;
        let mut crowd = match readers {
            Readers::Polling => Crowd::speaking(server, Dialect::Polling)?,
            Readers::WebSocket | Readers::Stalled => Crowd::new(server)?,
        };
        // Members of one room are spread over memory and nodes, as those who come at different times are.
        let seat = |place: usize| {
            let place = u32::try_from(place).unwrap_or_default();
            let (room, node) = (place % rooms, (place / rooms) as usize);
            Seat { node, rooms: if place < rooms * members { room..room + 1 } else { 0..0 } }
        };
        let order = crowd.assemble((rooms * members + bystanders) as usize, seat)?;
        let mut room_of = vec![u32::MAX; order.len() + 1];
        for (place, client) in order.iter().enumerate() {
            room_of[*client] = seat(place).rooms.next().unwrap_or(u32::MAX);
        }
        let mut others = Crowd::new(server)?;
        let sender = match source {
            // Centrifuge's publishers get what they publish if they are members, and need not be.
            Source::Client if server.kind == Kind::Centrifuge => {
                Sender::Client(others.assemble(1, |_| Seat { node: 0, rooms: 0..0 })?[0])
            }
            Source::Client => {
                let rooms = 0..rooms + u32::from(readers == Readers::Stalled);
                Sender::Client(others.assemble(1, |_| Seat { node: 0, rooms: rooms.clone() })?[0])
            }
            Source::Unary => Sender::Grpc(Publisher::unary(server.grpc)?),
            Source::Batch => Sender::Grpc(Publisher::batches(server.grpc)?),
            Source::Stream => Sender::Grpc(Publisher::stream(server.grpc)?),
        };
        if readers == Readers::Stalled {
            let stalled = others.assemble(1, |_| Seat { node: 0, rooms: 0..rooms + 1 })?[0];
            others.stall(stalled)?;
        }
        Ok(Self { crowd, others, sender, shape, room_of, published: 0 })
    }

    fn publish(&mut self, number: u32) -> anyhow::Result<()> {
        let Shape { rooms, readers, .. } = self.shape;
        let (room, sequence) = (number % rooms, number / rooms);
        let sender = match &self.sender {
            Sender::Client(client) => *client,
            Sender::Grpc(publisher) => return publisher.publish(room, sequence),
        };
        if readers == Readers::Stalled {
            for _ in 0..FLOOD_EVENTS {
                self.others.queue_message(sender, rooms, 0, FLOOD_PADDING)?;
            }
        }
        self.others.queue_message(sender, room, sequence, 0)
    }

    /// Publishes what is due; returns how long to wait for the next.
    fn publish_due(&mut self, run: &mut Run, start: Instant) -> anyhow::Result<Duration> {
        let amount = run.missing.len();
        let mut timeout = Duration::from_secs(1);
        while run.intended.len() < amount {
            let sent = run.intended.len();
            let now = Instant::now();
            let intended = match self.shape.pace {
                Pace::InFlight(limit) if sent as u64 >= u64::from(run.completed) + u64::from(limit) => break,
                Pace::InFlight(_) => now,
                Pace::PerSecond(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
            };
            if intended > now {
                // The poll waits for whole milliseconds: the last one is spent asking.
                timeout = intended.duration_since(now).saturating_sub(Duration::from_millis(1));
                break;
            }
            run.intended.push(intended);
            self.publish(run.first + u32::try_from(sent)?)?;
        }
        if let Sender::Client(client) = self.sender {
            self.others.flush(client)?;
            // Answers to what was published, heartbeats, and room in the socket for the rest of it.
            self.others.turn(Duration::ZERO, |_, _, arrived| match arrived {
                Arrived::Ping => Ok(()),
                other => Err(io::Error::other(format!("the publisher gets {other:?}"))),
            })?;
        }
        Ok(timeout)
    }
}

impl Load for Fanout {
    fn drive(&mut self, amount: u32) -> anyhow::Result<Outcome> {
        let mut run = Run {
            first: self.published,
            rooms: self.shape.rooms,
            missing: vec![self.shape.members; amount as usize],
            intended: Vec::with_capacity(amount as usize),
            completed: 0,
            delivered: 0,
            faults: Faults::default(),
            latency: Histogram::default(),
            latency_far: Histogram::default(),
        };
        let start = Instant::now();
        let mut progress = Progress::new();
        while run.completed < amount && progress.goes_on(run.delivered) {
            let timeout = self.publish_due(&mut run, start)?;
            let room_of = &self.room_of;
            self.crowd.turn(timeout, |index, client, arrived| match arrived {
                Arrived::Event { room, sequence } if room_of.get(index) == Some(&room) => {
                    run.faults.check(&mut client.expected, sequence);
                    run.deliver(client.node, room, sequence)
                }
                Arrived::Ping => Ok(()),
                Arrived::Closed => Err(io::Error::other("the server closed it")),
                _ => {
                    run.faults.unexpected += 1;
                    Ok(())
                }
            })?;
        }
        self.published += amount;
        if let Sender::Grpc(publisher) = &self.sender {
            run.faults.unexpected += publisher.take_failures();
        }
        run.faults.lost = run.missing.iter().map(|missing| u64::from(*missing)).sum();
        Ok(Outcome {
            units: run.delivered,
            elapsed: start.elapsed(),
            faults: run.faults,
            latency: run.latency,
            latency_far: run.latency_far,
        })
    }
}

impl Run {
    fn deliver(&mut self, node: usize, room: u32, sequence: u32) -> io::Result<()> {
        let number = (sequence * self.rooms + room).wrapping_sub(self.first) as usize;
        let (Some(missing @ 1..), Some(intended)) = (self.missing.get_mut(number), self.intended.get(number))
        else {
            self.faults.unexpected += 1;
            return Ok(());
        };
        *missing -= 1;
        self.completed += u32::from(*missing == 0);
        self.delivered += 1;
        let latency = if node == 0 { &mut self.latency } else { &mut self.latency_far };
        latency.record(intended.elapsed());
        Ok(())
    }
}
