//! What is done to a server, and what came of it.

mod churn;
mod echo;
mod fanout;
mod idle;

use std::time::Duration;

pub(crate) use self::{
    fanout::{Pace, Readers, Shape, Source},
    idle::measure_idle,
};
use crate::{histogram::Histogram, server::Server};

/// A workload whose cost is counted per unit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// Messages to the members of rooms in turn; the unit is a delivery, the amount is in messages.
    Fanout(Shape),
    /// Requests that are acknowledged, one at a time on each connection; the unit is an acknowledgement.
    Echo { connections: u32 },
    /// Connections from handshake to close; the unit is a cycle.
    Churn { at_once: u32 },
}

/// A workload that is set up.
pub(crate) trait Load {
    /// Does `amount` of it.
    ///
    /// # Errors
    /// When the server refuses what it should accept, or breaks a connection. Losses are no error, they are counted.
    fn drive(&mut self, amount: u32) -> anyhow::Result<Outcome>;
}

/// What came of a workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Deliveries, acknowledgements or cycles.
    pub(crate) units: u64,
    pub(crate) elapsed: Duration,
    pub(crate) faults: Faults,
    /// From the intended time of sending, so that a server that stalls is not spared the messages it delays.
    pub(crate) latency: Histogram,
    /// The same at other nodes than the publisher's.
    pub(crate) latency_far: Histogram,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Never came.
    pub(crate) lost: u64,
    /// Came twice, or behind a later one.
    pub(crate) disordered: u64,
    /// Is not what was sent, or was refused.
    pub(crate) unexpected: u64,
}

impl Workload {
    /// Connects all that the workload needs.
    ///
    /// # Errors
    /// When the server does not let them in.
    pub(crate) fn prepare(&self, server: &Server) -> anyhow::Result<Box<dyn Load>> {
        Ok(match *self {
            Self::Fanout(shape) => Box::new(fanout::Fanout::prepare(server, shape)?),
            Self::Echo { connections } => Box::new(echo::Echo::prepare(server, connections)?),
            Self::Churn { at_once } => Box::new(churn::Churn::prepare(server, at_once)?),
        })
    }

    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Fanout(_) => "delivery",
            Self::Echo { .. } => "acknowledgement",
            Self::Churn { .. } => "cycle",
        }
    }
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.units as f64 / self.elapsed.as_secs_f64()
    }
}

impl Faults {
    pub(crate) fn total(&self) -> u64 {
        self.lost + self.disordered + self.unexpected
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.disordered += other.disordered;
        self.unexpected += other.unexpected;
    }

    /// Compares a sequence number with the one that was due, which moves on.
    fn check(&mut self, expected: &mut u32, sequence: u32) {
        if sequence < *expected {
            self.disordered += 1;
            return;
        }
        // What is missing in between may still come, and is then out of order; or it is missing at the end.
        self.disordered += u64::from(sequence - *expected);
        *expected = sequence + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_repetitions_are_faults() {
        for (sequence, disordered, next) in [(5, 0, 6), (7, 2, 8), (6, 1, 7), (4, 1, 5)] {
            let (mut faults, mut expected) = (Faults::default(), 5);
            faults.check(&mut expected, sequence);
            assert_eq!(faults.disordered, disordered, "{sequence}");
            assert_eq!(expected, next, "{sequence}");
        }
    }
}
