//! Messages to rooms, each delivery checked for room, order and length.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Faults, Load, Outcome, Progress};
use crate::{
    client::Arrived, crowd::Crowd, histogram::Histogram, publisher::Publisher, server::Server, wire,
};

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// A client that is in all rooms, and does not get what it sends.
    Client,
    /// gRPC, one call per message.
    Unary,
    /// gRPC, all messages over one stream.
    Stream,
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
    sender: Sender,
    rooms: u32,
    members: u32,
    pace: Pace,
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
}

impl Fanout {
    pub(crate) fn prepare(
        server: &Server,
        rooms: u32,
        members: u32,
        source: Source,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        let mut crowd = Crowd::new(server.clients)?;
        // Members of one room are spread over memory, as those who come at different times are.
        let room = |place: usize| u32::try_from(place).unwrap_or_default() % rooms;
        let order = crowd.assemble((rooms * members) as usize, |place| room(place)..room(place) + 1)?;
        let mut room_of = vec![u32::MAX; order.len() + 1];
        for (place, client) in order.iter().enumerate() {
            room_of[*client] = room(place);
        }
        let sender = match source {
            Source::Client => Sender::Client(crowd.assemble(1, |_| 0..rooms)?[0]),
            Source::Unary => Sender::Grpc(Publisher::unary(server.grpc)?),
            Source::Stream => Sender::Grpc(Publisher::stream(server.grpc)?),
        };
        Ok(Self { crowd, sender, rooms, members, pace, room_of, published: 0 })
    }

    fn publish(&mut self, number: u32) -> anyhow::Result<()> {
        let (room, sequence) = (number % self.rooms, number / self.rooms);
        match &self.sender {
            Sender::Client(client) => self.crowd.queue(*client, &wire::event(room, sequence)),
            Sender::Grpc(publisher) => publisher.publish(room, sequence),
        }
    }

    /// Publishes what is due; returns how long to wait for the next.
    fn publish_due(&mut self, run: &mut Run, start: Instant) -> anyhow::Result<Duration> {
        let amount = run.missing.len();
        let mut timeout = Duration::from_secs(1);
        while run.intended.len() < amount {
            let sent = run.intended.len();
            let now = Instant::now();
            let intended = match self.pace {
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
            self.crowd.flush(client)?;
        }
        Ok(timeout)
    }
}

impl Load for Fanout {
    fn drive(&mut self, amount: u32) -> anyhow::Result<Outcome> {
        let mut run = Run {
            first: self.published,
            rooms: self.rooms,
            missing: vec![self.members; amount as usize],
            intended: Vec::with_capacity(amount as usize),
            completed: 0,
            delivered: 0,
            faults: Faults::default(),
            latency: Histogram::default(),
        };
        let start = Instant::now();
        let mut progress = Progress::new();
        while run.completed < amount && progress.goes_on(run.delivered) {
            let timeout = self.publish_due(&mut run, start)?;
            let room_of = &self.room_of;
            self.crowd.turn(timeout, |index, client, arrived| match arrived {
                Arrived::Event { room, sequence } if room_of.get(index) == Some(&room) => {
                    run.faults.check(&mut client.expected, sequence);
                    run.deliver(room, sequence)
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
        })
    }
}

impl Run {
    fn deliver(&mut self, room: u32, sequence: u32) -> io::Result<()> {
        let number = (sequence * self.rooms + room).wrapping_sub(self.first) as usize;
        let (Some(missing @ 1..), Some(intended)) = (self.missing.get_mut(number), self.intended.get(number))
        else {
            self.faults.unexpected += 1;
            return Ok(());
        };
        *missing -= 1;
        self.completed += u32::from(*missing == 0);
        self.delivered += 1;
        self.latency.record(intended.elapsed());
        Ok(())
    }
}
