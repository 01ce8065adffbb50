//! Publishes to shard channels whose slot is moving, kept in order.
//!
//! When a master refuses a publish because the slot has moved, those after it are on the way to the same master and will
//! be refused too. New ones wait until all of those have come back, and follow them to the new master.

use std::collections::HashMap;
use std::time::Instant;

use crate::gathered::{Gathered, Moved, ShardPublish};
use crate::{LinkFault, Refused};

/// How often one publish is sent anew; slots do not move so fast.
const REDIRECTS_MAX: u8 = 5;

/// Publishes that wait for the new master of their slot.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    held: HashMap<u16, Held>,
    bytes: usize,
}

/// What waits for one slot.
#[derive(Debug)]
struct Held {
    /// The old master, and how many commands it must have answered.
    from: usize,
    until: u64,
    /// When waiting ends.
    deadline: Instant,
    /// Refused ones, then those that were published since.
    refused: Vec<ShardPublish>,
    later: Vec<ShardPublish>,
}

/// Publishes whose time to be sent has come.
pub(crate) type Released = (u16, Vec<ShardPublish>);

impl Redirects {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes of channels and payloads that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a publish that was refused. `sent` is how many commands the old master was given by now.
    pub(crate) fn refused(&mut self, moved: Moved, sent: u64, deadline: Instant, gathered: &mut Gathered) {
        let Moved { slot, mut publish, from } = moved;
        publish.redirects += 1;
        if publish.redirects > REDIRECTS_MAX {
            let text = format!("MOVED more than {REDIRECTS_MAX} times");
            return gathered.publish_failed(publish.ticket, || LinkFault::Answered(text));
        }
        let held = self.held.entry(slot).or_insert_with(|| Held {
            from,
            until: sent,
            deadline,
            refused: Vec::new(),
            later: Vec::new(),
        });
        self.bytes += size(&publish);
        held.refused.push(publish);
    }

    /// Whether publishes to `slot` have to wait.
    pub(crate) fn holds(&self, slot: u16) -> bool {
        self.held.contains_key(&slot)
    }

    /// Takes a new publish to a slot that is [held](Self::holds).
    pub(crate) fn wait(&mut self, slot: u16, publish: ShardPublish, bytes_max: usize) -> Result<(), Refused> {
        let Some(held) = self.held.get_mut(&slot) else { return Err(Refused::Down) };
        if self.bytes + size(&publish) > bytes_max {
            return Err(Refused::QueueFull);
        }
        self.bytes += size(&publish);
        held.later.push(publish);
        Ok(())
    }

    /// Those to be sent now: `answered` tells how many commands a server has answered, `None` when it is away
    /// and will answer none; `is_ready` whether the master of a slot, other than the old one, can be written to.
    pub(crate) fn release(
        &mut self,
        answered: impl Fn(usize) -> Option<u64>,
        is_ready: impl Fn(u16, usize) -> bool,
    ) -> Vec<Released> {
        let settled = |from: usize, until: u64| answered(from).is_none_or(|answered| answered >= until);
        let ready: Vec<u16> = self
            .held
            .iter()
            .filter(|(slot, held)| settled(held.from, held.until) && is_ready(**slot, held.from))
            .map(|(slot, _)| *slot)
            .collect();
        ready.into_iter().filter_map(|slot| self.take(slot)).collect()
    }

    /// Ends the waiting of those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant, gathered: &mut Gathered) {
        let over: Vec<u16> =
            self.held.iter().filter(|(_, held)| held.deadline <= now).map(|(slot, _)| *slot).collect();
        for (_, publishes) in over.into_iter().filter_map(|slot| self.take(slot)) {
            for publish in publishes {
                gathered.publish_failed(publish.ticket, || LinkFault::Away);
            }
        }
    }

    /// When [`expire`](Self::expire) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.values().map(|held| held.deadline).min()
    }

    fn take(&mut self, slot: u16) -> Option<Released> {
        let mut held = self.held.remove(&slot)?;
        held.refused.append(&mut held.later);
        self.bytes -= held.refused.iter().map(size).sum::<usize>();
        Some((slot, held.refused))
    }
}

fn size(publish: &ShardPublish) -> usize {
    publish.channel.len() + publish.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn publish(ticket: u64) -> ShardPublish {
        let (channel, payload) = (Bytes::from_static(b"c"), Bytes::from_static(b"xyz"));
        ShardPublish { channel, payload, ticket: Some(ticket), redirects: 0 }
    }

    fn tickets(released: &[Released]) -> Vec<u64> {
        released.iter().flat_map(|(_, list)| list.iter().filter_map(|publish| publish.ticket)).collect()
    }

    #[test]
    fn new_publishes_follow_the_refused_ones_once_all_of_those_are_back() {
        let (mut redirects, mut gathered) = (Redirects::default(), Gathered::default());
        let deadline = Instant::now();
        let moved = |ticket| Moved { slot: 7, publish: publish(ticket), from: 0 };
        redirects.refused(moved(1), 10, deadline, &mut gathered);
        redirects.wait(7, publish(3), 100).unwrap();
        redirects.refused(moved(2), 10, deadline, &mut gathered);
        assert_eq!(tickets(&redirects.release(|_| Some(9), |_, _| true)), []);
        assert_eq!(tickets(&redirects.release(|_| Some(10), |_, _| false)), []);
        assert_eq!(redirects.bytes(), 12);
        assert_eq!(tickets(&redirects.release(|_| Some(10), |_, _| true)), [1, 2, 3]);
        assert!(redirects.is_empty() && redirects.bytes() == 0);
    }

    #[test]
    fn waiting_is_bounded_in_bytes_time_and_number() {
        let (mut redirects, mut gathered) = (Redirects::default(), Gathered::default());
        let deadline = Instant::now();
        let moved = |redirects| Moved { slot: 7, publish: ShardPublish { redirects, ..publish(1) }, from: 0 };
        redirects.refused(moved(REDIRECTS_MAX), 1, deadline, &mut gathered);
        assert_eq!((redirects.is_empty(), gathered.events.len()), (true, 1));
        redirects.refused(moved(0), 1, deadline, &mut gathered);
        assert_eq!(redirects.wait(7, publish(2), 7), Err(Refused::QueueFull));
        redirects.expire(deadline, &mut gathered);
        assert_eq!((redirects.is_empty(), gathered.stats.publishes_lost), (true, 2));
    }
}
