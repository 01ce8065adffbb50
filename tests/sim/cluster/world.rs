//! Processes, clients and the Redis between them, and what happens to each.

use std::hash::Hash;
use std::ops::Range;
use std::time::{Duration, Instant};

use cluster::{Family, ListenMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::asks::Asks;
use crate::client::Client;
use crate::faults::Fault;
use crate::link::Origin;
use crate::oracle::Oracle;
use crate::process::{Process, ToNode};
use crate::redis::{Command, Redis, Word};
use crate::schedule::{MS, Micros, Next, Schedule};
use crate::shards::ToShard;

/// Clients and callers act until then, and faults happen.
pub(crate) const BUSY: Micros = 800 * MS;
/// Then faults heal, and all that waits for something has got it.
const SETTLED: Micros = BUSY + 1500 * MS;
/// Then all clients go, and nothing may be left a good while later.
const OVER: Micros = SETTLED + 500 * MS;

/// From one process to another.
pub(crate) const LATENCY: Range<Micros> = 0..6 * MS;
/// From one thread of a process to another.
pub(crate) const HANDOVER: Range<Micros> = 0..MS / 2;
/// A connection on which nothing has come for that long is given up.
pub(crate) const HEARTBEAT: Micros = 200 * MS;
pub(crate) const LEASE: Duration = Duration::from_millis(1200);
pub(crate) const LINGER: Duration = Duration::from_millis(60);

pub(crate) const NAMESPACES: [&str; 2] = ["/", "/b"];
/// The last is as long as a socket id.
pub(crate) const ROOMS: [&str; 4] = ["r0", "r1", "r2", "r-of-20-characters-3"];

/// What a history is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) shards: u8,
    pub(crate) masters: usize,
    pub(crate) clients: usize,
    pub(crate) family: Family,
    pub(crate) listen: ListenMode,
    pub(crate) has_faults: bool,
}

/// A process and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Life {
    pub(crate) process: usize,
    pub(crate) boot: u32,
}

#[derive(Debug)]
pub(crate) enum Event {
    ToRedis(Origin, Command),
    FromRedis(Origin, Word),
    /// A process finds that one of its connections is dead.
    Detected(Origin),
    /// Redis finds it.
    Reaped(Origin),
    Redial(Origin),
    Node(Life, ToNode),
    Shard(Life, u8, ToShard),
    /// A client opens a connection.
    Start,
    /// A client does something.
    Act(usize),
    /// A client sends something.
    Say(usize, String),
    /// A client that was disconnected connects again.
    Reconnect(usize, &'static str),
    /// A back end at a node does something.
    Caller(usize),
    Fault(Fault),
}

/// Something that keeps order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    ToNode(Life),
    ToShard(Life, u8),
    Publisher(Life),
    /// What a node wants to be subscribed to.
    Subscriptions(Life),
    FromRedis(Origin),
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: StdRng,
    pub(crate) schedule: Schedule<Event, Path>,
    pub(crate) processes: Vec<Process>,
    pub(crate) clients: Vec<Client>,
    pub(crate) redis: Redis,
    pub(crate) oracle: Oracle,
    pub(crate) asks: Asks,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            plan,
            rng: StdRng::seed_from_u64(seed),
            schedule: Schedule::new(),
            processes: Vec::new(),
            clients: Vec::new(),
            redis: Redis::new(plan.masters),
            oracle: Oracle::default(),
            asks: Asks::default(),
        };
        for process in 0..plan.nodes {
            world.boot(process, 0);
            world.later(10 * MS..100 * MS, Event::Caller(process));
        }
        for _ in 0..plan.clients {
            world.later(0..150 * MS, Event::Start);
        }
        if plan.has_faults {
            world.draw_faults();
        }
        world
    }

    /// Runs until nothing is left to happen, and checks everything.
    pub(crate) fn run(&mut self) {
        self.run_until(SETTLED);
        self.check_settled();
        for client in 0..self.clients.len() {
            self.leave(client);
        }
        self.run_until(OVER);
        self.check_over();
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

    pub(crate) fn draw(&mut self, range: Range<Micros>) -> Micros {
        self.rng.random_range(range)
    }

    pub(crate) fn later(&mut self, delay: Range<Micros>, event: Event) {
        let at = self.schedule.now + self.draw(delay);
        self.at(at, event);
    }

    /// Schedules an event that nothing on the same path overtakes.
    pub(crate) fn along(&mut self, path: Path, delay: Range<Micros>, event: Event) {
        let at = self.schedule.now + self.draw(delay);
        self.schedule.along(path, at, event);
    }

    pub(crate) fn at(&mut self, at: Micros, event: Event) {
        self.schedule.at(at, event);
    }

    pub(crate) fn note(&mut self, what: impl Hash) {
        self.schedule.note(what);
    }

    fn run_until(&mut self, end: Micros) {
        loop {
            let timers = (0..self.processes.len())
                .filter(|process| self.processes[*process].runs())
                .filter_map(|process| Some((self.timeout(process)?, process)))
                .min();
            match self.schedule.next(timers, end) {
                Next::Event(event) => self.happen(event),
                Next::Timer(process) => self.expire(process),
                Next::Nothing => return,
            }
        }
    }

    fn timeout(&self, process: usize) -> Option<Micros> {
        let at = self.processes[process].poll_timeout()?;
        Some(self.schedule.micros(at))
    }

    pub(crate) fn happen(&mut self, event: Event) {
        let Some(event) = self.defer(event) else { return };
        match event {
            Event::ToRedis(origin, command) => self.execute(origin, command, false),
            Event::FromRedis(origin, word) => self.hear(origin, word),
            Event::Detected(origin) => self.detected(origin),
            Event::Reaped(origin) => drop(self.redis.connections.remove(&origin)),
            Event::Redial(origin) => self.redial(origin),
            Event::Node(life, input) => self.handle_node(life, input),
            Event::Shard(life, shard, input) => self.handle_shard(life, shard, input),
            Event::Start => self.start(),
            Event::Act(client) => self.act(client),
            Event::Say(client, text) => self.say(client, text),
            Event::Reconnect(client, namespace) => self.reconnect(client, namespace),
            Event::Caller(process) => self.caller(process),
            Event::Fault(fault) => self.strike(fault),
        }
    }

    /// Keeps an event for later if who is to handle it is stopped, and drops it if it is gone.
    fn defer(&mut self, event: Event) -> Option<Event> {
        let life = match &event {
            Event::ToRedis(..) | Event::Reaped(_) if self.redis.backlog.is_some() => {
                self.redis.backlog.get_or_insert_default().push_back(event);
                return None;
            }
            Event::FromRedis(origin, _) | Event::Detected(origin) | Event::Redial(origin) => origin.life,
            Event::Node(life, _) | Event::Shard(life, ..) => *life,
            _ => return Some(event),
        };
        let process = &mut self.processes[life.process];
        if process.life != life || process.is_gone {
            return None;
        }
        match &mut process.backlog {
            Some(backlog) => {
                backlog.push_back(event);
                None
            }
            None => Some(event),
        }
    }
}
