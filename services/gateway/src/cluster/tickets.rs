//! Who waits for what becomes of publishes, by the tickets that these go to Redis with.

use std::collections::VecDeque;

use publish::Unavailable;
use tokio::sync::oneshot;

use super::Published;

/// Tickets are given in ascending order, and Redis answers in the order of the publishes but for those to different
/// masters of a Redis Cluster: what is answered is found near the front.
#[derive(Default)]
pub(super) struct Tickets {
    next: u64,
    /// By ascending tickets. One that is answered stays until those before it are.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    first: u64,
    /// Publishes whose answer is still to come.
    left: usize,
    reply: Reply,
}

/// Who waits.
pub(super) enum Reply {
    One(oneshot::Sender<Published>),
    /// For several, with those that came to nothing so far, by their number.
    Run(oneshot::Sender<Vec<(usize, Unavailable)>>, Vec<(usize, Unavailable)>),
    Answered,
}

impl Tickets {
    /// Tickets for `count` publishes: the first, and those that follow it.
    pub(super) fn take(&mut self, count: usize, reply: Reply) -> u64 {
        let first = self.next;
        self.next += count as u64;
        self.waiting.push_back(Waiting { first, left: count, reply });
        first
    }

    /// Says what became of one publish. Whoever waits may have gone.
    pub(super) fn settle(&mut self, ticket: u64, published: Published) {
        let place = self.waiting.partition_point(|waiting| waiting.first <= ticket);
        let Some(waiting) = place.checked_sub(1).and_then(|place| self.waiting.get_mut(place)) else {
            return;
        };
        waiting.left = waiting.left.saturating_sub(1);
        let is_last = waiting.left == 0;
        match (&mut waiting.reply, published) {
            (Reply::Run(_, faults), Published::Refused(why) | Published::Unknown(why)) => {
                // Below the number of publishes, which is a usize.
                let nth = usize::try_from(ticket - waiting.first).unwrap_or(usize::MAX);
                faults.push((nth, Unavailable(why)));
            }
            (Reply::Run(..) | Reply::Answered, _) => {}
            (reply, published) => {
                if let Reply::One(sender) = std::mem::replace(reply, Reply::Answered) {
                    sender.send(published).ok();
                }
            }
        }
        if is_last
            && let Reply::Run(sender, mut faults) = std::mem::replace(&mut waiting.reply, Reply::Answered)
        {
            faults.sort_unstable_by_key(|(nth, _)| *nth);
            sender.send(faults).ok();
        }
        while self.waiting.front().is_some_and(|waiting| waiting.left == 0) {
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(why: &str) -> Published {
        Published::Refused(why.into())
    }

    #[test]
    fn a_run_is_answered_with_its_last_publish_and_names_those_that_failed_in_order() {
        let mut tickets = Tickets::default();
        let (one, mut of_one) = oneshot::channel();
        let (run, mut of_run) = oneshot::channel();
        let (last, mut of_last) = oneshot::channel();
        assert_eq!(tickets.take(1, Reply::One(one)), 0);
        assert_eq!(tickets.take(3, Reply::Run(run, Vec::new())), 1);
        assert_eq!(tickets.take(1, Reply::One(last)), 4);
        for (ticket, published) in [(4, Published::Received), (3, refused("c")), (1, refused("a"))] {
            tickets.settle(ticket, published);
        }
        assert!(matches!(of_last.try_recv(), Ok(Published::Received)));
        assert!(of_run.try_recv().is_err() && of_one.try_recv().is_err());
        tickets.settle(2, Published::Received);
        let faults = [(0, Unavailable("a".into())), (2, Unavailable("c".into()))];
        assert_eq!(of_run.try_recv(), Ok(faults.into()));
        tickets.settle(0, Published::Unknown("gone".into()));
        assert!(matches!(of_one.try_recv(), Ok(Published::Unknown(why)) if why == "gone"));
        assert!(tickets.waiting.is_empty());
    }

    #[test]
    fn answers_that_nobody_waits_for_change_nothing() {
        let mut tickets = Tickets::default();
        tickets.settle(5, Published::Received);
        let (run, gone) = oneshot::channel();
        drop(gone);
        let first = tickets.take(1, Reply::Run(run, Vec::new()));
        tickets.settle(first, Published::Received);
        tickets.settle(first, Published::Received);
        assert!(tickets.waiting.is_empty());
    }
}
