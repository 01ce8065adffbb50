//! A node of a cluster, told anything by Redis: by other nodes, by strangers, and in its answers.

use std::time::{Duration, Instant};

use adapter::{NodeReach, Outcome, Subscription, SubscriptionMode, Ticket};
use bytes::Bytes;
use cluster::{ClusterConfig, Family, ListenMode, Node, Output, QueryId, Reply};
use rand::{SeedableRng, rngs::StdRng};
use socketio::{NamespaceName, RoomName};

use crate::{
    program::{Program, text},
    redis::clients_take,
};

/// Steps of one turn, and what each of them may have a node do. Nothing here asks for more than a few things at once.
const STEPS_PER_TURN: usize = 16;
const OUTPUTS_PER_STEP: usize = 8;
/// Pauses between what happens, in ms.
const PAUSES_MS: [u64; 4] = [0, 1, 500, 10_000];

/// The first byte chooses the family. Then come channels and what is published on them, answers, and time.
pub(crate) fn node(bytes: &[u8]) {
    let mut program = Program::new(bytes);
    let Some(selector) = program.byte() else { return };
    let mut world = World::new(selector);
    let mut steps = 0;
    while let Some(ends) = world.step(&mut program) {
        steps += 1;
        if ends || steps == STEPS_PER_TURN {
            steps = 0;
            world.settle();
        }
    }
}

struct World {
    node: Node,
    now: Instant,
    channels: Vec<Bytes>,
    queries: Vec<QueryId>,
}

impl World {
    /// A node with members in `/` and in a room of it.
    fn new(selector: u8) -> Self {
        let (family, listen) = match selector % 4 {
            0 => (Family::Classic, ListenMode::Exact),
            1 => (Family::Classic, ListenMode::Pattern),
            2 => (Family::Sharded(SubscriptionMode::Static), ListenMode::Exact),
            _ => (Family::Sharded(SubscriptionMode::Dynamic), ListenMode::Exact),
        };
        let config = ClusterConfig {
            listen,
            address: Some("10.0.0.1:3001".into()),
            ..ClusterConfig::new(family, 1, "gateway")
        };
        let now = Instant::now();
        let node = Node::new(config, StdRng::seed_from_u64(1));
        // What classic nodes publish on without a subscription of that name.
        let matched = ["socket.io#/#", "socket.io#/#r1#", "socket.io-request#/#", "other"];
        let channels = matched.map(|name| Bytes::from_static(name.as_bytes())).to_vec();
        let mut world = Self { node, now, channels, queries: Vec::new() };
        world.node.handle_publisher_up(now);
        world.node.handle_subscriber_up();
        for (ticket, room) in [None, Some(RoomName::new("r1"))].into_iter().enumerate() {
            let subscription = Subscription { namespace: NamespaceName::main(), room };
            world.node.subscribe(0, subscription, Some(Ticket(ticket as u64)), now);
        }
        world.settle();
        world
    }

    /// Does one thing; whether the turn ends with it.
    fn step(&mut self, program: &mut Program<'_>) -> Option<bool> {
        match program.below(8)? {
            0..=3 => {
                let channel = program.below(self.channels.len())?;
                let channel = self.channels.get(channel).cloned().unwrap_or_default();
                let (short, payload) = (program.below(4)?, program.piece()?);
                let mut payload = payload.to_vec();
                // Longer than a piece can be: the rest of the program.
                if short == 0 {
                    payload.extend_from_slice(program.rest());
                }
                self.node.handle_message(&channel, Bytes::from(payload), self.now);
            }
            4 => {
                let pause = PAUSES_MS[program.below(PAUSES_MS.len())?];
                self.now += Duration::from_millis(pause);
                self.node.handle_timeouts(self.now);
                let next = self.node.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "due again at once");
            }
            5 => {
                let query = program.below(self.queries.len())?;
                let reply = reply(program)?;
                if let Some(query) = self.queries.get(query) {
                    self.node.handle_reply(*query, &reply);
                }
            }
            6 => return Some(true),
            _ => {
                let channel = Bytes::copy_from_slice(program.piece()?);
                self.node.handle_message(&channel, Bytes::copy_from_slice(program.piece()?), self.now);
            }
        }
        Some(program.below(2)? == 0)
    }

    /// Does what the node asks for, as Redis and the shards would.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.node.flush();
            let outputs: Vec<Output> = std::iter::from_fn(|| self.node.poll_output()).collect();
            assert!(outputs.len() < STEPS_PER_TURN * OUTPUTS_PER_STEP, "{} outputs at once", outputs.len());
            if outputs.is_empty() {
                return;
            }
            outputs.into_iter().for_each(|output| self.perform(output));
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Subscribe(_, channels) => {
                for channel in channels {
                    self.node.handle_subscribed(&channel, self.now);
                    self.channels.push(channel);
                }
            }
            Output::Deliver(shards, broadcast) => {
                assert!(!shards.is_empty(), "a broadcast for no shard");
                clients_take(&broadcast);
            }
            Output::DeliverReporting(id, shards, broadcast) => {
                assert!(!shards.is_empty(), "a broadcast for no shard");
                clients_take(&broadcast);
                self.node.handle_reached(id, NodeReach::default());
            }
            Output::Inquire(id, _) => self.node.handle_outcome(id, Outcome::default()),
            Output::Call(id, broadcast, _) => {
                clients_take(&broadcast);
                self.node.handle_called(id, 1);
                self.node.handle_acknowledged(id, None, &adapter::Argument::null());
                self.node.handle_call_ended(id);
            }
            Output::Query(id, _) => {
                self.queries.push(id);
                if self.queries.len() > 64 {
                    self.queries.remove(0);
                }
            }
            Output::Peers(peers) => assert!(peers.iter().all(|peer| peer.node != 1), "its own peer"),
            Output::Publish { .. }
            | Output::Unsubscribe(..)
            | Output::Confirm(..)
            | Output::Act(_)
            | Output::Answer(..)
            | Output::Happening(_) => {}
        }
    }
}

fn reply(program: &mut Program<'_>) -> Option<Reply> {
    Some(match program.below(5)? {
        0 => Reply::Done,
        1 => Reply::Count(program.byte()?.into()),
        2 => Reply::Values(vec![Some(Bytes::copy_from_slice(program.piece()?)), None]),
        3 => Reply::Members(vec![text(program.piece()?).into_owned(), "2".into()]),
        _ => Reply::Failed,
    })
}
