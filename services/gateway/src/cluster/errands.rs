//! What the shards here do for other nodes, and say to them.

use std::sync::Arc;
use std::time::Duration;

use adapter::{Argument, Broadcast, NodeReach, Operation, Outcome};
use broker::Publication;
use cluster::{InquiryId, ShardSet};
use publish::{CallEvent, Dispatch as _};
use socketio::SocketId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::inbox::{Arrival, Command, RUN_MAX, Shards};

/// What the shards here say to another node.
pub(super) enum Local {
    Outcome(InquiryId, Outcome),
    Called(InquiryId, u64),
    Reached(InquiryId, NodeReach),
    Acknowledged(InquiryId, Option<SocketId>, Argument),
    CallEnded(InquiryId),
    /// A call was not made; why, in words.
    CallRefused(InquiryId, String),
}

/// Errands of other nodes: each is handed to the shards in its place of the order, and waited for in a task of its own.
pub(super) struct Errands {
    shards: Shards,
    local: mpsc::Sender<Local>,
    /// Broadcasts that are handed over together.
    arrivals: Vec<Arrival>,
}

impl Errands {
    /// What the shards say goes to `local`.
    pub(super) fn new(shards: Shards, local: mpsc::Sender<Local>) -> Self {
        Self { shards, local, arrivals: Vec::with_capacity(RUN_MAX) }
    }

    /// Delivers a broadcast to the sockets of these shards, with the others of its turn: by
    /// [`hand_over`](Self::hand_over), which has to come before anything else that the shards are told.
    pub(super) async fn deliver(&mut self, shards: ShardSet, broadcast: Broadcast) {
        self.arrivals.push(Arrival { shards, publication: Publication::for_sockets(broadcast) });
        if self.arrivals.len() >= RUN_MAX {
            self.hand_over().await;
        }
    }

    /// Hands the broadcasts that have gathered to their shards.
    pub(super) async fn hand_over(&mut self) {
        if self.arrivals.is_empty() {
            return;
        }
        let arrivals: Arc<[Arrival]> = self.arrivals.drain(..).collect();
        for (inbox, shard) in self.shards.inboxes().iter().zip(0_u8..) {
            if arrivals.iter().any(|arrival| arrival.shards.contains(shard)) {
                // A shard that is gone has no sockets.
                inbox.send(Command::DeliverArrivals(arrivals.clone())).await.ok();
            }
        }
    }

    /// Hands a command to shards, in order; waits while one is full, which slows Redis down.
    pub(super) async fn tell(&self, shards: ShardSet, mut command: impl FnMut() -> Command) {
        for (inbox, shard) in self.shards.inboxes().iter().zip(0_u8..) {
            if shards.contains(shard) {
                // A shard that is gone has no sockets.
                inbox.send(command()).await.ok();
            }
        }
    }

    /// Has the shards do something in this place of the order; their answers are not waited for.
    pub(super) async fn inquire(&self, id: InquiryId, operation: Operation) {
        let operation = Arc::new(operation);
        let mut answers = Vec::new();
        self.tell(ShardSet::ALL, || {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            Command::Operate(operation.clone(), reply)
        })
        .await;
        let local = self.local.clone();
        spawn_local(async move {
            let mut total = Outcome::default();
            for answer in answers {
                // A shard that is gone has no sockets.
                total.add(answer.await.unwrap_or_default());
            }
            local.send(Local::Outcome(id, total)).await.ok();
        });
    }

    /// The same for a broadcast.
    pub(super) async fn deliver_reporting(&self, id: InquiryId, shards: ShardSet, broadcast: Broadcast) {
        let publication = Arc::new(Publication::for_sockets(broadcast));
        let mut answers = Vec::new();
        self.tell(shards, || {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            Command::Deliver(publication.clone(), Some(reply))
        })
        .await;
        let local = self.local.clone();
        spawn_local(async move {
            let mut total = NodeReach::default();
            for answer in answers {
                let reach = answer.await.unwrap_or_default();
                total.matched += u64::from(reach.matched);
                total.written += u64::from(reach.written);
                total.not_ready += u64::from(reach.dropped_volatile);
                total.queue_full += u64::from(reach.dropped_slow);
            }
            local.send(Local::Reached(id, total)).await.ok();
        });
    }

    pub(super) fn call(&self, id: InquiryId, broadcast: Broadcast, timeout: Duration) {
        let (shards, local) = (self.shards.clone(), self.local.clone());
        spawn_local(async move {
            // With those of the publish API there are no more than `limits.pending_calls_max`.
            let mut events = match shards.call(broadcast, timeout).await {
                Ok(events) => events,
                Err(refused) => {
                    local.send(Local::CallRefused(id, refused.to_string())).await.ok();
                    return;
                }
            };
            let mut asked = 0;
            while let Some(event) = events.recv().await {
                let told = match event {
                    CallEvent::Asked(clients) => {
                        asked += clients;
                        continue;
                    }
                    CallEvent::AllAsked => Local::Called(id, asked),
                    CallEvent::Answer(answer) => Local::Acknowledged(id, answer.socket, answer.arguments),
                    CallEvent::End(..) => Local::CallEnded(id),
                };
                if local.send(told).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use adapter::{Delivery, Event, Targets};
    use engineio::SidKey;
    use socketio::NamespaceName;
    use tokio::task::LocalSet;

    use super::*;

    fn call() -> Broadcast {
        Broadcast {
            namespace: NamespaceName::main(),
            targets: Targets::default(),
            delivery: Delivery::Reliable,
            event: Event { json: "[\"q\"]".into(), attachments: Vec::new() },
        }
    }

    #[tokio::test]
    async fn calls_of_other_nodes_are_refused_beyond_the_limit_that_callers_here_share() {
        let (inbox, mut commands) = mpsc::channel(4);
        let shards = Shards::new(vec![inbox], (1, "n"), SidKey::new(&[7; 32]), 1);
        let (local, mut said) = mpsc::channel(4);
        let errands = Errands::new(shards.clone(), local);
        let patience = Duration::from_secs(60);
        let here = shards.call(call(), patience).await.unwrap();
        let others = LocalSet::new();
        let refused = others.run_until(async {
            errands.call(InquiryId(7), call(), patience);
            said.recv().await
        });
        let Some(Local::CallRefused(InquiryId(7), why)) = refused.await else { panic!("the call is made") };
        assert!(why.contains("limits.pending_calls_max"), "{why}");

        // The shard is gone with its commands, so the call here is over and its place is free.
        commands.recv().await.unwrap();
        drop((commands, here));
        let late = std::time::Instant::now() + patience;
        while shards.call(call(), patience).await.is_err_and(|refused| refused.to_string() == why) {
            assert!(std::time::Instant::now() < late, "the place is not given back");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn broadcasts_of_one_turn_are_one_command_for_the_shards_that_have_members() {
        let (inboxes, mut commands): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(4)).unzip();
        let shards = Shards::new(inboxes, (1, "n"), SidKey::new(&[7; 32]), 1);
        let mut errands = Errands::new(shards, mpsc::channel(1).0);
        let of = |numbers: &[u8]| {
            let mut set = ShardSet::default();
            numbers.iter().for_each(|shard| set.insert(*shard));
            set
        };
        errands.deliver(of(&[0]), call()).await;
        errands.deliver(of(&[0, 2]), call()).await;
        assert!(commands[0].try_recv().is_err(), "it waits for the others of the turn");
        errands.hand_over().await;
        let mut taken = |shard: u8| match commands[usize::from(shard)].try_recv() {
            Ok(Command::DeliverArrivals(arrivals)) => {
                arrivals.iter().filter(|arrival| arrival.shards.contains(shard)).count()
            }
            _ => 0,
        };
        assert_eq!([taken(0), taken(1), taken(2)], [2, 0, 1]);
        assert_eq!(taken(0), 0, "once");
    }
}
