//! The driver of each shard: what its inbox holds is fed to it, what it does goes where it belongs.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter::{Broadcast, CallId, Operation, Subscriptions, Ticket};
use broker::{
    EventAction, EventRule, Flow, LimitsConfig, LinkId, NamespaceConfig, Output, Payload, PollId,
    Publication, Shard, ShardConfig, Sink,
};
use cluster::InquiryId;
use engineio::{EngineConfig, Owner, SidKey};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::oracle::message_id;
use crate::process::ToNode;
use crate::world::{Life, World};

pub(crate) struct Held {
    pub(crate) shard: Shard,
    pub(crate) wire: Wire,
    /// The client of each link.
    pub(crate) links: BTreeMap<u32, usize>,
}

/// What others tell a shard.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// Published by another shard or a back end here.
    Local(usize, Arc<Publication>),
    Deliver(Arc<Publication>),
    /// A message of another process has passed.
    Passed(usize),
    Confirm(Vec<Ticket>),
    Operate(Option<InquiryId>, Operation),
    Call(InquiryId, Broadcast, Duration),
}

/// Links that take everything at once.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    written: Vec<(LinkId, Vec<u8>)>,
    closed: Vec<LinkId>,
}

impl Sink for Wire {
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let taken = bytes.len();
        self.written.push((link, bytes));
        Ok(taken)
    }

    fn close(&mut self, link: LinkId) {
        self.closed.push(link);
    }

    fn answer(&mut self, _: PollId, _: Payload) {
        unreachable!("nobody polls");
    }
}

impl Held {
    pub(crate) fn new(node: u16, shard: u8, rng: &mut StdRng, now: Instant) -> Self {
        let rule = |event: &str, action, include_sender| EventRule {
            event: event.into(),
            action,
            include_sender,
            acknowledge: false,
        };
        let namespace = NamespaceConfig {
            join: vec!["lobby".into()],
            events: vec![
                rule("room", EventAction::RelayToRoom, true),
                rule("rooms", EventAction::RelayToRooms, false),
                rule("all", EventAction::RelayToAll, false),
            ],
            ..NamespaceConfig::dev()
        };
        let config = ShardConfig {
            // Heartbeats of clients are for the simulation of one process.
            engine: EngineConfig { ping_interval_ms: 3_600_000, ..EngineConfig::default() },
            limits: LimitsConfig::default(),
            namespaces: vec![namespace],
            owner: Owner { node, shard },
            sid_key: SidKey::new(&[7; 32]),
            subscriptions: Subscriptions::Confirmed,
            deflate_bytes_min: 1024,
        };
        let shard = Shard::new(config, StdRng::from_rng(rng), now);
        Self { shard, wire: Wire::default(), links: BTreeMap::new() }
    }
}

impl World {
    pub(crate) fn held(&mut self, life: Life, shard: u8) -> &mut Held {
        &mut self.processes[life.process].shards[usize::from(shard)]
    }

    pub(crate) fn handle_shard(&mut self, life: Life, number: u8, input: ToShard) {
        let now = self.instant();
        let shard = &mut self.held(life, number).shard;
        match input {
            ToShard::Local(id, publication) => {
                shard.deliver(&publication);
                self.oracle.handled(id, (life, number), self.schedule.now);
            }
            ToShard::Deliver(publication) => drop(shard.deliver(&publication)),
            ToShard::Passed(id) => self.oracle.passed(id, (life, number), self.schedule.now),
            ToShard::Confirm(tickets) => {
                tickets.into_iter().for_each(|ticket| shard.handle_confirmed(ticket, now));
            }
            ToShard::Operate(inquiry, operation) => {
                let outcome = shard.operate(&operation, now);
                if let Some(id) = inquiry {
                    self.tell_node(life, ToNode::Outcome(id, outcome));
                }
            }
            ToShard::Call(id, broadcast, patience) => {
                let clients =
                    shard.call(&broadcast, CallId(id.0), now + patience).expect("there are few calls");
                self.tell_node(life, ToNode::Called(id, clients));
            }
        }
        self.end_turn(life, number);
    }

    /// Gives packets to a client's shard; says whether more are welcome.
    pub(crate) fn feed(&mut self, client: usize, text: &str) -> Flow {
        let now = self.instant();
        let (life, shard) = self.clients[client].home;
        let (key, link) = self.clients[client].key.expect("it is connected");
        let flow = self.held(life, shard).shard.handle_text(key, link, text, now);
        self.drain(life, shard);
        flow
    }

    pub(crate) fn end_turn(&mut self, life: Life, number: u8) {
        self.drain(life, number);
        let Held { shard, wire, .. } = self.held(life, number);
        shard.flush(wire);
        let (written, closed) = (std::mem::take(&mut wire.written), std::mem::take(&mut wire.closed));
        self.drain(life, number);
        for (link, bytes) in written {
            self.note(&bytes);
            let client = self.held(life, number).links[&link.0];
            self.receive_bytes(client, &bytes);
        }
        for link in closed {
            let client = self.held(life, number).links[&link.0];
            self.over(client);
        }
    }

    fn drain(&mut self, life: Life, number: u8) {
        while let Some(output) = self.held(life, number).shard.poll_output() {
            match output {
                Output::Publish(publication) => self.published(life, number, &publication),
                Output::Subscribe(subscription, ticket) => {
                    self.tell_node(life, ToNode::Subscribe(number, subscription, ticket));
                }
                Output::Unsubscribe(subscription) => {
                    self.tell_node(life, ToNode::Unsubscribe(number, subscription));
                }
                Output::Resume(link) => {
                    let client = self.held(life, number).links[&link.0];
                    self.resume(client);
                }
                Output::CallAnswered { call, socket, answer } => {
                    self.tell_node(life, ToNode::Acknowledged(InquiryId(call.0), socket, answer));
                }
                Output::CallEnded(call) => self.tell_node(life, ToNode::CallEnded(InquiryId(call.0))),
                Output::CallLost { .. } | Output::CutPush(_) => {}
                Output::Happening(happening) => self.note(format!("{happening:?}")),
            }
        }
    }

    /// A client's event goes to the node first, then to the other shards here.
    fn published(&mut self, life: Life, number: u8, publication: &Arc<Publication>) {
        let broadcast = &publication.broadcast;
        let id = message_id(&broadcast.event.json).expect("clients number what they emit");
        self.oracle.published(id, life, broadcast, self.schedule.now);
        self.oracle.handled(id, (life, number), self.schedule.now);
        self.tell_node(life, ToNode::Publish(broadcast.clone()));
        for other in (0..self.plan.shards).filter(|other| *other != number) {
            self.tell_shard(life, other, ToShard::Local(id, publication.clone()));
        }
    }
}
