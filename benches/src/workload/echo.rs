//! Requests and their acknowledgements, one at a time on each connection.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Load, Outcome};
use crate::{
    client::Arrived,
    crowd::{Crowd, Seat},
    progress::Progress,
    server::Server,
    wire,
};

pub(crate) struct Echo {
    crowd: Crowd,
    clients: Vec<usize>,
    argument: String,
}

impl Echo {
    pub(crate) fn prepare(server: &Server, connections: u32) -> anyhow::Result<Self> {
        let mut crowd = Crowd::new(server)?;
        let clients = crowd.assemble(connections as usize, |_| Seat { node: 0, rooms: 0..0 })?;
        // As long an event as those of rooms: ["echo","…"].
        let argument = ".".repeat(wire::MESSAGE_BYTES - 11);
        Ok(Self { crowd, clients, argument })
    }
}

impl Load for Echo {
    fn drive(&mut self, amount: u32) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let start = Instant::now();
        // The system's buffers take one request: it leaves at once.
        let mut sent_at = vec![start; self.clients.iter().max().map_or(0, |last| last + 1)];
        let argument = &self.argument;
        let first = self.clients.len().min(amount as usize);
        for index in &self.clients[..first] {
            let id = self.crowd.expected(*index)?;
            self.crowd.send(*index, &wire::request(id, "echo", argument))?;
        }
        let mut sent = first as u64;
        let mut progress = Progress::new();
        while outcome.units < u64::from(amount) && progress.goes_on(outcome.units) {
            self.crowd.turn(Duration::from_secs(1), |index, client, arrived| {
                match arrived {
                    Arrived::Ack(id) => outcome.faults.check(&mut client.expected, id),
                    Arrived::Ping => return Ok(()),
                    Arrived::Closed => return Err(io::Error::other("the server closed it")),
                    _ => {
                        outcome.faults.unexpected += 1;
                        return Ok(());
                    }
                }
                outcome.units += 1;
                outcome.latency.record(sent_at[index].elapsed());
                if sent < u64::from(amount) {
                    sent += 1;
                    sent_at[index] = Instant::now();
                    client.send(&wire::request(client.expected, "echo", argument))?;
                }
                Ok(())
            })?;
        }
        outcome.elapsed = start.elapsed();
        outcome.faults.lost = u64::from(amount).saturating_sub(outcome.units);
        Ok(outcome)
    }
}
