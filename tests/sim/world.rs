//! Shards, clients and publishers outside, what happens to each, and the bus between shards.

use std::{collections::BTreeSet, hash::Hash, sync::Arc, time::Instant};

use adapter::{Broadcast, Delivery, Event as SocketEvent, Subscription, Subscriptions, Targets, Ticket};
use broker::Publication;
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use socketio::{NamespaceName, RoomName};

use crate::{
    client::{Connection, Down},
    model::{Model, Publisher},
    schedule::{MS, Micros, Next, Schedule},
    server::{Node, Up},
};

/// Clients act until then, and breaks happen.
const BUSY: Micros = 2500 * MS;
/// Then everything on its way arrives, and who is slow is found out.
const SETTLED: Micros = BUSY + 4000 * MS;
/// Then all clients go, and nothing may be left a good while later.
const OVER: Micros = SETTLED + 120_000 * MS;

pub(crate) const NAMESPACES: [&str; 2] = ["/", "/b"];
pub(crate) const ROOMS: [&str; 4] = ["r0", "r1", "r2", "r3"];
/// Publishers that are no clients.
const OUTSIDERS: usize = 3;

/// What a history is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) shards: usize,
    pub(crate) clients: usize,
    pub(crate) subscriptions: Subscriptions,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// The turn of a shard ends.
    Flush(usize),
    /// Deadlines of a shard.
    Timers(usize),
    /// A publication comes to a shard.
    Arrive(usize, usize, Arc<Publication>),
    /// A subscription of a shard comes into force, or ends.
    Subscribe(usize, Subscription, Option<Ticket>),
    Unsubscribe(usize, Subscription),
    Confirmed(usize, Ticket),
    Writable(usize, broker::LinkId),
    /// From a client to its shard, and back.
    Up(usize, Up),
    Down(usize, Down),
    /// A client opens a connection.
    Start,
    /// A client does something.
    Act(usize),
    /// A client of revision 3 pings.
    Ping(usize),
    /// Somebody outside publishes.
    Outside(usize),
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: StdRng,
    pub(crate) schedule: Schedule<Event, Path>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) model: Model,
    in_force: Vec<BTreeSet<Subscription>>,
}

/// Something that keeps order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    /// From a shard to another.
    Bus(usize, usize),
    /// From a publisher outside to a shard.
    Outside(usize, usize),
    Subscriptions(usize),
    Up(usize),
    Down(usize),
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let schedule = Schedule::new();
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes =
            (0..plan.shards).map(|index| Node::new(index, plan, &mut rng, schedule.instant())).collect();
        let mut world = Self {
            plan,
            rng,
            schedule,
            nodes,
            connections: Vec::new(),
            model: Model::new(plan.shards),
            in_force: vec![BTreeSet::new(); plan.shards],
        };
        for _ in 0..plan.clients {
            world.later(0..200 * MS, Event::Start);
        }
        for outsider in 0..OUTSIDERS {
            world.later(0..200 * MS, Event::Outside(outsider));
        }
        world
    }

    /// Runs until nothing is left to happen, and checks everything.
    pub(crate) fn run(&mut self) {
        self.run_until(SETTLED);
        for connection in &mut self.connections {
            connection.witness.is_complete = connection.is_healthy();
            connection.assert_answered();
        }
        for name in 0..self.connections.len() {
            self.leave(name);
        }
        self.run_until(OVER);
        let left = self.schedule.next(None::<(Micros, ())>, Micros::MAX);
        assert!(matches!(left, Next::Nothing), "still to happen: {left:?}");
        self.check();
    }

    /// The hash of all that has happened.
    pub(crate) fn trace(&self) -> u64 {
        self.schedule.trace()
    }

    pub(crate) fn instant(&self) -> Instant {
        self.schedule.instant()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.schedule.now < BUSY
    }

    pub(crate) fn later(&mut self, delay: std::ops::Range<Micros>, event: Event) {
        let at = self.schedule.now + self.rng.random_range(delay);
        self.at(at, event);
    }

    /// Schedules an event that nothing on the same path overtakes.
    pub(crate) fn along(&mut self, path: Path, delay: std::ops::Range<Micros>, event: Event) {
        let at = self.schedule.now + self.rng.random_range(delay);
        self.schedule.along(path, at, event);
    }

    fn at(&mut self, at: Micros, event: Event) {
        self.schedule.at(at, event);
    }

    pub(crate) fn note(&mut self, what: impl Hash) {
        self.schedule.note(what);
    }

    fn run_until(&mut self, end: Micros) {
        loop {
            let timers = (0..self.nodes.len()).filter_map(|node| Some((self.timeout(node)?, node))).min();
            match self.schedule.next(timers, end) {
                Next::Event(event) => self.happen(event),
                Next::Timer(node) => self.happen(Event::Timers(node)),
                Next::Nothing => return,
            }
        }
    }

    fn timeout(&self, node: usize) -> Option<Micros> {
        let at = self.nodes[node].shard.poll_timeout()?;
        Some(self.schedule.micros(at))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Flush(node) => self.flush(node),
            Event::Timers(node) => self.expire(node),
            Event::Arrive(node, id, publication) => self.arrive(node, id, &publication),
            Event::Subscribe(node, subscription, ticket) => {
                self.in_force[node].insert(subscription);
                if let Some(ticket) = ticket {
                    self.along(Path::Subscriptions(node), 0..5 * MS, Event::Confirmed(node, ticket));
                }
            }
            Event::Unsubscribe(node, subscription) => drop(self.in_force[node].remove(&subscription)),
            Event::Confirmed(node, ticket) => self.confirmed(node, ticket),
            Event::Writable(node, link) => self.writable(node, link),
            Event::Up(connection, up) => self.arrive_up(connection, up),
            Event::Down(connection, down) => self.arrive_down(connection, down),
            Event::Start => self.start(),
            Event::Act(connection) => self.act(connection),
            Event::Ping(connection) => self.ping(connection),
            Event::Outside(outsider) => self.outside(outsider),
        }
    }

    /// A publication comes out of the bus: only a shard that is subscribed hears it.
    fn arrive(&mut self, node: usize, id: usize, publication: &Publication) {
        let Broadcast { namespace, targets, .. } = &publication.broadcast;
        let room = match &targets.rooms[..] {
            [room] => Some(room.clone()),
            _ => None,
        };
        let subscription = Subscription { namespace: namespace.clone(), room };
        self.model.handled(id, node, self.schedule.now);
        if self.plan.subscriptions == Subscriptions::NotNeeded || self.in_force[node].contains(&subscription)
        {
            self.nodes[node].shard.deliver(publication);
            self.end_turn(node);
        }
    }

    fn outside(&mut self, outsider: usize) {
        if !self.is_busy() {
            return;
        }
        self.later(0..60 * MS, Event::Outside(outsider));
        let is_volatile = self.rng.random_bool(0.15);
        let id = self.model.compose(Publisher::Outside(outsider), is_volatile);
        let namespace = NAMESPACES[usize::from(self.rng.random_bool(0.2))];
        let rooms = [0, 1, 1, 1, 2, 3][self.rng.random_range(0..6)];
        let except = [0, 0, 0, 1, 2][self.rng.random_range(0..5)];
        let targets = Targets { rooms: self.draw_rooms(rooms), except: self.draw_rooms(except) };
        self.model.published(id, namespace, &targets, self.schedule.now);
        let publication = Arc::new(Publication::new(Broadcast {
            namespace: NamespaceName::new(namespace),
            targets,
            delivery: if is_volatile { Delivery::Volatile } else { Delivery::Reliable },
            event: self.event(id),
        }));
        for node in 0..self.nodes.len() {
            let event = Event::Arrive(node, id, publication.clone());
            self.along(Path::Outside(outsider, node), 0..20 * MS, event);
        }
    }

    fn draw_rooms(&mut self, count: usize) -> Vec<RoomName> {
        (0..count).map(|_| RoomName::new(self.draw_room())).collect()
    }

    /// A room, or now and then a socket's own.
    pub(crate) fn draw_room(&mut self) -> String {
        if self.rng.random_bool(0.2) && !self.connections.is_empty() {
            let connection = self.rng.random_range(0..self.connections.len());
            if let Some(id) = self.connections[connection].ids.values().next() {
                return id.clone();
            }
        }
        ROOMS[self.rng.random_range(0..ROOMS.len())].to_owned()
    }

    /// `["m",id,…]`, now and then with an attachment.
    fn event(&mut self, id: usize) -> SocketEvent {
        if self.rng.random_bool(0.1) {
            let json = format!(r#"["m",{id},{{"_placeholder":true,"num":0}}]"#);
            return SocketEvent { json: json.into(), attachments: vec![Bytes::from_static(&[1, 2, 3])] };
        }
        let filling = "x".repeat(self.rng.random_range(0..300));
        SocketEvent { json: format!(r#"["m",{id},"{filling}"]"#).into(), attachments: Vec::new() }
    }

    fn check(&self) {
        for (name, connection) in self.connections.iter().enumerate() {
            self.model.check(name, &connection.witness);
        }
        for (name, node) in self.nodes.iter().enumerate() {
            let shard = &node.shard;
            let left = (shard.connection_count(), shard.socket_count(), shard.room_count());
            assert_eq!(left, (0, 0, 0), "connections, sockets and rooms left on shard {name}");
            assert_eq!(shard.poll_timeout(), None, "shard {name} waits for something");
            assert!(node.wire.links.is_empty(), "shard {name} has not closed {:?}", node.wire.links);
            assert!(node.polls.is_empty(), "shard {name} has not answered {:?}", node.polls);
            assert_eq!(self.in_force[name], BTreeSet::new(), "subscriptions of shard {name} left");
        }
        let healthy = self.connections.iter().filter(|connection| connection.witness.is_complete);
        let due: usize = healthy.map(|connection| self.model.due(&connection.witness)).sum();
        assert!(due > 0, "a history in which nobody has to receive anything proves nothing");
    }
}
