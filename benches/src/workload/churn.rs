//! Connections that come, join the namespace `/` and go.

use std::time::{Duration, Instant};

use super::{Load, Outcome};
use crate::{client::Arrived, crowd::Crowd, progress::Progress, server::Server};

pub(crate) struct Churn {
    crowd: Crowd,
    at_once: u32,
}

impl Churn {
    pub(crate) fn prepare(server: &Server, at_once: u32) -> anyhow::Result<Self> {
        Ok(Self { crowd: Crowd::new(server)?, at_once })
    }
}

impl Load for Churn {
    fn drive(&mut self, amount: u32) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let start = Instant::now();
        let mut opened = 0;
        let mut opened_at = Vec::new();
        let mut progress = Progress::new();
        let mut failed = 0;
        while outcome.units + failed < u64::from(amount) {
            while opened < amount && self.crowd.len() < self.at_once as usize {
                let index = self.crowd.open(0)?;
                opened_at.resize(opened_at.len().max(index + 1), start);
                opened_at[index] = Instant::now();
                opened += 1;
            }
            self.crowd.turn(Duration::from_secs(1), |index, client, arrived| {
                match arrived {
                    Arrived::Ready => {
                        client.expected = 1;
                        outcome.latency.record(opened_at[index].elapsed());
                        client.close()?;
                    }
                    Arrived::Closed if client.expected == 1 => outcome.units += 1,
                    Arrived::Closed => failed += 1,
                    // Some servers begin with a heartbeat.
                    Arrived::Ping => {}
                    _ => outcome.faults.unexpected += 1,
                }
                Ok(())
            })?;
            if !progress.goes_on(outcome.units + failed) {
                break;
            }
        }
        outcome.elapsed = start.elapsed();
        outcome.faults.lost = u64::from(amount) - outcome.units;
        Ok(outcome)
    }
}
