//! One process: its node, driven as a gateway drives it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use adapter::{Argument, Broadcast, NodeReach, Outcome, Subscription, Ticket};
use broker::Publication;
use cluster::{Ask, AskId, ClusterConfig, Happening, InquiryId, Node, Output};
use rand::SeedableRng;
use rand::rngs::StdRng;
use socketio::SocketId;

use crate::link::{Half, Link, Origin};
use crate::redis::Command;
use crate::schedule::MS;
use crate::shards::{Held, ToShard};
use crate::world::{Event, HANDOVER, LEASE, LINGER, Life, Path, World};

pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) node: Node,
    pub(crate) link: Link,
    pub(crate) shards: Vec<Held>,
    /// Between its end and its next beginning.
    pub(crate) is_gone: bool,
    /// What has come while it was stopped.
    pub(crate) backlog: Option<VecDeque<Event>>,
    /// Whether nothing that is published now may be missed: it says that all is subscribed, and nothing has
    /// happened to its connections that it has not heard of.
    pub(crate) is_healthy: bool,
    outcomes: BTreeMap<InquiryId, (usize, Outcome)>,
    calls: BTreeMap<InquiryId, Call>,
}

/// A call of another node, while the shards answer.
#[derive(Debug)]
struct Call {
    uncounted: usize,
    clients: u64,
    open: usize,
}

/// What shards and callers tell the node.
#[derive(Debug)]
pub(crate) enum ToNode {
    Publish(Broadcast),
    Subscribe(u8, Subscription, Option<Ticket>),
    Unsubscribe(u8, Subscription),
    Outcome(InquiryId, Outcome),
    Called(InquiryId, u32),
    Acknowledged(InquiryId, SocketId, Argument),
    Reached(InquiryId),
    CallEnded(InquiryId),
    Ask(AskId, Ask, Duration),
    PublishReporting(AskId, Broadcast, Duration),
}

impl Process {
    pub(crate) fn runs(&self) -> bool {
        !self.is_gone && self.backlog.is_none()
    }

    pub(crate) fn damaged(&mut self, origin: Origin) {
        self.link.moved(origin.half);
        self.is_healthy = false;
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let shards = self.shards.iter().filter_map(|held| held.shard.poll_timeout());
        shards.chain(self.node.poll_timeout()).min()
    }
}

impl World {
    /// A process begins; it is not connected yet.
    pub(crate) fn boot(&mut self, index: usize, boot: u32) {
        let life = Life { process: index, boot };
        let number = u16::try_from(index).expect("a few processes");
        let config = ClusterConfig {
            listen: self.plan.listen,
            linger: LINGER,
            lease: LEASE,
            ..ClusterConfig::new(self.plan.family, number, format!("gateway-{index}"))
        };
        let now = self.instant();
        let process = Process {
            life,
            node: Node::new(config, StdRng::from_rng(&mut self.rng)),
            link: Link::new(self.plan.masters),
            shards: (0..self.plan.shards).map(|shard| Held::new(number, shard, &mut self.rng, now)).collect(),
            is_gone: false,
            backlog: None,
            is_healthy: false,
            outcomes: BTreeMap::new(),
            calls: BTreeMap::new(),
        };
        let halves: Vec<Half> = process.link.halves().collect();
        match self.processes.get_mut(index) {
            Some(old) => *old = process,
            None => self.processes.push(process),
        }
        for half in halves {
            self.later(0..10 * MS, Event::Redial(Origin { life, half, epoch: 0 }));
        }
    }

    pub(crate) fn tell_node(&mut self, life: Life, input: ToNode) {
        self.along(Path::ToNode(life), HANDOVER, Event::Node(life, input));
    }

    pub(crate) fn tell_shard(&mut self, life: Life, shard: u8, input: ToShard) {
        self.along(Path::ToShard(life, shard), HANDOVER, Event::Shard(life, shard, input));
    }

    pub(crate) fn tell_shards(&mut self, life: Life, input: impl Fn(u8) -> ToShard) {
        (0..self.plan.shards).for_each(|shard| self.tell_shard(life, shard, input(shard)));
    }

    pub(crate) fn handle_node(&mut self, life: Life, input: ToNode) {
        let now = self.instant();
        let shards = self.processes[life.process].shards.len();
        let Process { node, outcomes, calls, .. } = &mut self.processes[life.process];
        match input {
            ToNode::Publish(broadcast) => {
                node.publish(&broadcast, None).expect("nothing is published that Node would not survive");
            }
            ToNode::Subscribe(shard, subscription, ticket) => {
                node.subscribe(shard, subscription, ticket, now)
            }
            ToNode::Unsubscribe(shard, subscription) => node.unsubscribe(shard, &subscription, now),
            ToNode::Outcome(id, outcome) => {
                let (answered, all) = outcomes.entry(id).or_default();
                *answered += 1;
                all.add(outcome);
                if *answered == shards
                    && let Some((_, all)) = outcomes.remove(&id)
                {
                    node.handle_outcome(id, all);
                }
            }
            ToNode::Called(id, clients) => {
                let call = calls.entry(id).or_insert(Call { uncounted: shards, clients: 0, open: 0 });
                call.uncounted -= 1;
                call.clients += u64::from(clients);
                call.open += usize::from(clients > 0);
                if call.uncounted == 0 {
                    node.handle_called(id, call.clients);
                    end_call(node, calls, id);
                }
            }
            ToNode::Acknowledged(id, socket, argument) => {
                node.handle_acknowledged(id, Some(socket), &argument)
            }
            ToNode::Reached(id) => node.handle_reached(id, NodeReach::default()),
            ToNode::CallEnded(id) => {
                if let Some(call) = calls.get_mut(&id) {
                    call.open -= 1;
                    end_call(node, calls, id);
                }
            }
            ToNode::PublishReporting(id, broadcast, timeout) => node
                .publish_reporting(id, &broadcast, None, timeout, now)
                .expect("nothing is published that Node would not survive"),
            ToNode::Ask(id, ask, timeout) => node.ask(id, ask, timeout, now).expect("it can be published"),
        }
        self.turn(life);
    }

    pub(crate) fn expire(&mut self, index: usize) {
        let (now, life) = (self.instant(), self.processes[index].life);
        self.processes[index].node.handle_timeouts(now);
        self.turn(life);
        for shard in 0..self.plan.shards {
            let held = &mut self.processes[index].shards[usize::from(shard)];
            if held.shard.poll_timeout().is_some_and(|at| at <= now) {
                held.shard.handle_timeouts(now, |_| ());
                self.end_turn(life, shard);
            }
        }
    }

    /// Carries out what the node wants.
    pub(crate) fn turn(&mut self, life: Life) {
        loop {
            self.processes[life.process].node.flush();
            let outputs: Vec<Output> =
                std::iter::from_fn(|| self.processes[life.process].node.poll_output()).collect();
            if outputs.is_empty() {
                break;
            }
            outputs.into_iter().for_each(|output| self.perform(life, output));
        }
        let process = &mut self.processes[life.process];
        process.is_healthy &= process.node.is_complete();
        process.is_healthy |= process.node.is_complete() && process.link.hears_all();
    }

    fn perform(&mut self, life: Life, output: Output) {
        match output {
            Output::Publish { channel, payload, ticket: _ } => {
                self.publish_or_ask(life, Command::Publish(channel, payload));
            }
            Output::Subscribe(listen, channels) => {
                channels.into_iter().for_each(|channel| self.send_subscribe(life, listen, channel));
            }
            Output::Unsubscribe(listen, channels) => {
                channels.into_iter().for_each(|channel| self.send_unsubscribe(life, listen, channel));
            }
            Output::Query(id, query) => self.ask_redis(life, id, query),
            Output::Deliver(shards, broadcast) => {
                let publication = std::sync::Arc::new(Publication::new(broadcast));
                for shard in (0..self.plan.shards).filter(|shard| shards.contains(*shard)) {
                    self.tell_shard(life, shard, ToShard::Deliver(publication.clone()));
                }
            }
            Output::DeliverReporting(id, shards, broadcast) => {
                let publication = std::sync::Arc::new(Publication::new(broadcast));
                for shard in (0..self.plan.shards).filter(|shard| shards.contains(*shard)) {
                    self.tell_shard(life, shard, ToShard::Deliver(publication.clone()));
                }
                self.tell_node(life, ToNode::Reached(id));
            }
            Output::Confirm(shard, tickets) => self.tell_shard(life, shard, ToShard::Confirm(tickets)),
            Output::Act(operation) => self.tell_shards(life, |_| ToShard::Operate(None, operation.clone())),
            Output::Inquire(id, operation) => {
                self.tell_shards(life, |_| ToShard::Operate(Some(id), operation.clone()));
            }
            Output::Call(id, broadcast, patience) => {
                self.tell_shards(life, |_| ToShard::Call(id, broadcast.clone(), patience));
            }
            Output::Answer(id, part) => self.answered(life, id, part),
            Output::Peers(peers) => self.note(format!("{peers:?}")),
            Output::Happening(happening @ Happening::Restored { .. }) => self.note(format!("{happening:?}")),
            Output::Happening(other) => panic!("{other:?}"),
        }
    }
}

fn end_call(node: &mut Node, calls: &mut BTreeMap<InquiryId, Call>, id: InquiryId) {
    if calls.get(&id).is_some_and(|call| call.uncounted == 0 && call.open == 0) {
        calls.remove(&id);
        node.handle_call_ended(id);
    }
}
