//! Back ends at the nodes: what they publish and ask, and what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use adapter::{Action, Broadcast, Delivery, Event as SocketEvent, Extent, Operation, RoomKinds, Targets};
use broker::Publication;
use cluster::{Ask, AskId, Part};
use rand::Rng;
use socketio::{NamespaceName, RoomName};

use crate::oracle::Publisher;
use crate::process::ToNode;
use crate::schedule::{MS, Micros};
use crate::shards::ToShard;
use crate::world::{Event, LATENCY, Life, NAMESPACES, ROOMS, World};

/// How long back ends wait for answers.
const TIMEOUT: Micros = 300 * MS;

#[derive(Debug, Default)]
pub(crate) struct Asks {
    count: u64,
    pending: BTreeMap<AskId, Pending>,
}

#[derive(Debug)]
struct Pending {
    by: Life,
    namespace: &'static str,
    at: Micros,
    /// Since when the process has run without being stopped.
    since: Micros,
    /// Whether the answer names sockets.
    is_about_sockets: bool,
    found: BTreeSet<String>,
    clients: u64,
    acknowledged: u64,
}

impl Asks {
    /// The process was stopped until now: nobody could answer sooner.
    pub(crate) fn excuse(&mut self, life: Life, now: Micros) {
        self.pending
            .values_mut()
            .filter(|pending| pending.by == life)
            .for_each(|pending| pending.since = now);
    }

    /// The process is gone, and whoever asked there.
    pub(crate) fn forget(&mut self, life: Life) {
        self.pending.retain(|_, pending| pending.by != life);
    }

    pub(crate) fn assert_answered(&self) {
        assert!(self.pending.is_empty(), "never answered: {:?}", self.pending);
    }
}

impl World {
    /// The back end at a process does something.
    pub(crate) fn caller(&mut self, index: usize) {
        if !self.is_busy() {
            return;
        }
        self.later(10 * MS..90 * MS, Event::Caller(index));
        if !self.processes[index].runs() {
            return;
        }
        let life = self.processes[index].life;
        let namespace = NAMESPACES[usize::from(self.rng.random_bool(0.25))];
        match self.rng.random_range(0..100) {
            0..65 => self.publish(life, namespace),
            _ => self.ask(life, namespace),
        }
    }

    fn publish(&mut self, life: Life, namespace: &'static str) {
        let id = self.oracle.compose(Publisher::Caller(life));
        let rooms = [0, 1, 1, 1, 1, 2][self.rng.random_range(0..6)];
        let except = [0, 0, 0, 1][self.rng.random_range(0..4)];
        let targets = Targets { rooms: self.draw_rooms(rooms), except: self.draw_rooms(except) };
        let broadcast = event(namespace, targets, format!(r#"["m","m{id:07}"]"#));
        self.oracle.published(id, life, &broadcast, self.schedule.now);
        let publication = Arc::new(Publication::new(broadcast.clone()));
        match self.rng.random_bool(0.2) {
            false => self.tell_node(life, ToNode::Publish(broadcast)),
            true => {
                self.oracle.reported(id);
                let ask = self.pending_ask(life, namespace, false);
                self.tell_node(
                    life,
                    ToNode::PublishReporting(ask, broadcast, Duration::from_micros(TIMEOUT)),
                );
            }
        }
        self.tell_shards(life, |_| ToShard::Local(id, publication.clone()));
    }

    /// The number of something that is about to be asked.
    fn pending_ask(&mut self, life: Life, namespace: &'static str, is_about_sockets: bool) -> AskId {
        self.asks.count += 1;
        let id = AskId(self.asks.count);
        let pending = Pending {
            by: life,
            namespace,
            at: self.schedule.now,
            since: self.schedule.now,
            is_about_sockets,
            found: BTreeSet::new(),
            clients: 0,
            acknowledged: 0,
        };
        self.asks.pending.insert(id, pending);
        id
    }

    fn ask(&mut self, life: Life, namespace: &'static str) {
        let operation =
            |targets, action| Operation { namespace: NamespaceName::new(namespace), targets, action };
        let all = Targets::default();
        let room = |room: &str| vec![RoomName::new(room)];
        let ask = match self.rng.random_range(0..20) {
            0..4 => Ask::Operate(operation(all, Action::Count)),
            4..8 => Ask::Operate(operation(all, Action::Identify)),
            8..11 => Ask::Operate(operation(all, Action::Fetch)),
            11..13 => Ask::Operate(operation(all, Action::ListRooms(RoomKinds::Named))),
            13..15 => Ask::Operate(operation(
                Targets { rooms: self.draw_rooms(1), except: Vec::new() },
                Action::Join(room("operated")),
            )),
            15 => Ask::Operate(operation(all, Action::Leave(room("operated")))),
            16 => Ask::Operate(operation(
                Targets { rooms: room("r3"), except: Vec::new() },
                Action::Disconnect(Extent::Namespace),
            )),
            17..19 => {
                let targets = Targets { rooms: self.draw_rooms(1), except: Vec::new() };
                Ask::Call(event(namespace, targets, r#"["q"]"#.to_owned()))
            }
            _ => {
                let event = event(namespace, all, r#"["deploy"]"#.to_owned()).event;
                Ask::ServerSideEmit { namespace: NamespaceName::new(namespace), event, acknowledged: true }
            }
        };
        let is_about_sockets = match &ask {
            Ask::Operate(Operation { action, .. }) => matches!(action, Action::Identify | Action::Fetch),
            _ => false,
        };
        if let Ask::Operate(operation) = &ask
            && matches!(operation.action, Action::Join(_) | Action::Leave(_) | Action::Disconnect(_))
        {
            self.tell_shards(life, |_| ToShard::Operate(None, operation.clone()));
        }
        let id = self.pending_ask(life, namespace, is_about_sockets);
        self.tell_node(life, ToNode::Ask(id, ask, Duration::from_micros(TIMEOUT)));
    }

    pub(crate) fn answered(&mut self, life: Life, id: AskId, part: Part) {
        self.note(format!("{id:?} {part:?}"));
        let pending = self.asks.pending.get_mut(&id).expect("nothing comes behind the end");
        assert_eq!(pending.by, life);
        match part {
            Part::Outcome(outcome) => pending.found.extend(outcome.ids.iter().map(ToString::to_string)),
            Part::Called(clients) => pending.clients += clients,
            Part::Acknowledged { .. } => pending.acknowledged += 1,
            Part::AllCalled | Part::Served { .. } | Part::Reached(_) => {}
            Part::End(coverage) => {
                let pending = self.asks.pending.remove(&id).expect("it was there");
                let took = self.schedule.now - pending.since;
                assert!(took <= TIMEOUT + LATENCY.end, "{id:?} took {took} µs");
                if !self.plan.has_faults && self.is_quiet(&pending) {
                    assert_eq!(coverage.asked, coverage.answered, "{id:?} {pending:?} {coverage:?}");
                    assert!(pending.acknowledged <= pending.clients, "{id:?} {pending:?}");
                    self.check_found(id, &pending);
                }
            }
        }
    }

    /// Whether each process has been in the namespace all the time, or out of it. One that enters may be counted
    /// before it hears requests, and the answer is partial then.
    fn is_quiet(&self, pending: &Pending) -> bool {
        let from = pending.at.saturating_sub(100 * MS);
        self.processes.iter().all(|process| {
            let here = || self.clients.iter().filter(|client| client.home.0 == process.life);
            let namespace = pending.namespace;
            here().any(|client| client.witness.is_surely_in(namespace, from, self.schedule.now))
                || !here().any(|client| client.witness.is_maybe_in(namespace, from, self.schedule.now))
        })
    }

    /// A complete answer names all sockets of other processes that were there all the time.
    fn check_found(&self, id: AskId, pending: &Pending) {
        let others = self.clients.iter().filter(|client| client.home.0 != pending.by);
        for client in others.filter(|_| pending.is_about_sockets) {
            if client.witness.is_surely_in(pending.namespace, pending.at, self.schedule.now) {
                let socket = &client.ids[pending.namespace];
                assert!(pending.found.contains(socket), "{id:?} has not found {client:?}: {pending:?}");
            }
        }
    }

    fn draw_rooms(&mut self, count: usize) -> Vec<RoomName> {
        (0..count).map(|_| self.draw_room()).collect()
    }

    /// A room, or now and then a socket's own.
    fn draw_room(&mut self) -> RoomName {
        if self.rng.random_bool(0.2) && !self.clients.is_empty() {
            let client = self.rng.random_range(0..self.clients.len());
            if let Some(id) = self.clients[client].ids.values().next() {
                return RoomName::new(id);
            }
        }
        match self.rng.random_range(0..=ROOMS.len()) {
            room if room < ROOMS.len() => RoomName::new(ROOMS[room]),
            _ => RoomName::new("lobby"),
        }
    }
}

fn event(namespace: &str, targets: Targets, json: String) -> Broadcast {
    Broadcast {
        namespace: NamespaceName::new(namespace),
        targets,
        delivery: Delivery::Reliable,
        event: SocketEvent { json: json.into(), attachments: Vec::new() },
    }
}
