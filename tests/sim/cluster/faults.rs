//! What goes wrong, and what has to be left when all is well again.

use std::collections::BTreeSet;

use adapter::{Action, Operation, RoomKinds, Targets};
use cluster::{Family, ListenMode};
use rand::Rng;
use socketio::NamespaceName;

use crate::keys::Keys;
use crate::link::{Half, Origin};
use crate::redis::{Command, SLOTS};
use crate::schedule::{MS, Micros};
use crate::world::{BUSY, Event, HEARTBEAT, Life, NAMESPACES, World};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// One connection breaks; silently, if so.
    Cut(usize, bool),
    /// Redis stops for a while.
    Stall(Micros),
    Resume,
    /// Connections find that a stopped Redis is silent.
    Silent(Origin),
    /// Redis ends and begins anew, with its keys or without.
    Restart(bool),
    MasterDown(usize),
    AllUp,
    Move(usize, usize),
    Kill(usize, bool),
    Boot(usize),
    Stop(usize),
    Continue(usize),
    /// Nothing goes between a process and Redis.
    Partition(usize),
    Reachable(usize),
}

impl World {
    pub(crate) fn draw_faults(&mut self) {
        for _ in 0..self.rng.random_range(0..4) {
            let at = self.draw(50 * MS..BUSY);
            let process = self.rng.random_range(0..self.plan.nodes);
            let fault = match self.rng.random_range(0..if self.plan.masters > 1 { 11 } else { 8 }) {
                0..2 => Fault::Cut(process, self.rng.random_bool(0.4)),
                2 => Fault::Stall(self.draw(10 * MS..2 * HEARTBEAT)),
                3 => Fault::Restart(self.rng.random_bool(0.5)),
                4 => Fault::Kill(process, self.rng.random_bool(0.5)),
                5..7 => Fault::Stop(process),
                7 => Fault::Partition(process),
                8 => Fault::MasterDown(self.rng.random_range(0..self.plan.masters)),
                _ => {
                    Fault::Move(self.rng.random_range(0..SLOTS), self.rng.random_range(0..self.plan.masters))
                }
            };
            self.at(at, Event::Fault(fault));
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        self.note(format!("{fault:?}"));
        let lasts = 20 * MS..2 * HEARTBEAT;
        match fault {
            Fault::Cut(index, is_silent) => {
                let halves: Vec<Half> = self.processes[index].link.halves().collect();
                let half = halves[self.rng.random_range(0..halves.len())];
                self.cut(self.origin(self.processes[index].life, half), is_silent);
            }
            Fault::Stall(time) if self.redis.backlog.is_none() => {
                self.redis.backlog = Some([].into());
                self.at(self.schedule.now + time, Event::Fault(Fault::Resume));
                for origin in self.origins() {
                    self.later(HEARTBEAT..HEARTBEAT + 20 * MS, Event::Fault(Fault::Silent(origin)));
                }
            }
            Fault::Stall(_) => {}
            Fault::Silent(origin) => {
                let process = &self.processes[origin.life.process];
                if self.redis.backlog.is_some() && process.life == origin.life {
                    match process.runs() {
                        true => {
                            self.cut(origin, false);
                            self.detected(origin);
                        }
                        // It looks again once it goes on.
                        false => self.later(10 * MS..20 * MS, Event::Fault(fault)),
                    }
                }
            }
            Fault::Resume => self.resume_redis(),
            Fault::Restart(keeps) => {
                self.origins().into_iter().for_each(|origin| self.cut(origin, false));
                self.redis.connections.clear();
                self.redis.is_down.fill(true);
                if !keeps {
                    self.redis.keys = Keys::default();
                }
                self.later(lasts, Event::Fault(Fault::AllUp));
            }
            Fault::MasterDown(master) => {
                let is_silent = self.rng.random_bool(0.5);
                let of_it = |origin: &Origin| origin.half == Half::Subscriber(master);
                self.origins().into_iter().filter(of_it).for_each(|origin| self.cut(origin, is_silent));
                self.redis.is_down[master] = true;
                self.later(lasts.clone(), Event::Fault(Fault::AllUp));
                // Another one takes over.
                for slot in (0..SLOTS).filter(|slot| self.redis.owners[*slot] == master).collect::<Vec<_>>() {
                    let to = (master + 1) % self.plan.masters;
                    self.later(lasts.clone(), Event::Fault(Fault::Move(slot, to)));
                }
            }
            Fault::AllUp => self.redis.is_down.fill(false),
            Fault::Move(slot, to) => self.move_slot(slot, to),
            Fault::Kill(index, is_silent) => self.kill(index, is_silent),
            Fault::Boot(index) => {
                if self.processes[index].is_gone {
                    self.boot(index, self.processes[index].life.boot + 1);
                }
            }
            Fault::Stop(index) if self.processes[index].runs() => {
                self.processes[index].backlog = Some([].into());
                self.later(lasts, Event::Fault(Fault::Continue(index)));
            }
            Fault::Stop(_) => {}
            Fault::Continue(index) => self.continue_process(index),
            Fault::Partition(index) => {
                self.processes[index].link.is_cut_off = true;
                let of_it = |origin: &Origin| origin.life.process == index;
                self.origins().into_iter().filter(of_it).for_each(|origin| self.cut(origin, true));
                self.later(lasts, Event::Fault(Fault::Reachable(index)));
            }
            Fault::Reachable(index) => self.processes[index].link.is_cut_off = false,
        }
    }

    /// The connections of all processes.
    fn origins(&self) -> Vec<Origin> {
        let of_process = |life: Life| {
            let halves = self.processes[life.process].link.halves();
            halves.map(move |half| self.origin(life, half))
        };
        self.processes.iter().flat_map(|process| of_process(process.life)).collect()
    }

    fn resume_redis(&mut self) {
        let Some(backlog) = self.redis.backlog.take() else { return };
        let even_if_dead = self.rng.random_bool(0.5);
        for event in backlog {
            match event {
                Event::ToRedis(origin, command @ Command::Publish(..)) => {
                    self.execute(origin, command, even_if_dead);
                }
                event => self.happen(event),
            }
        }
    }

    fn kill(&mut self, index: usize, is_silent: bool) {
        let life = self.processes[index].life;
        if self.processes[index].is_gone {
            return;
        }
        let of_it = |origin: &Origin| origin.life == life;
        self.origins().into_iter().filter(of_it).for_each(|origin| self.cut(origin, is_silent));
        self.processes[index].is_gone = true;
        self.processes[index].is_healthy = false;
        self.asks.forget(life);
        for client in 0..self.clients.len() {
            if self.clients[client].home.0 == life {
                self.over(client);
            }
        }
        self.later(10 * MS..2 * HEARTBEAT, Event::Fault(Fault::Boot(index)));
    }

    fn continue_process(&mut self, index: usize) {
        let life = self.processes[index].life;
        let Some(backlog) = self.processes[index].backlog.take() else { return };
        self.asks.excuse(life, self.schedule.now);
        let here = |world: &Self, client: usize| world.clients[client].home.0 == life;
        for client in 0..self.clients.len() {
            if here(self, client) {
                self.clients[client].excuse(self.schedule.now);
            }
        }
        backlog.into_iter().for_each(|event| self.happen(event));
        for client in 0..self.clients.len() {
            if here(self, client) {
                self.catch_up(client);
            }
        }
    }

    /// Nothing waits any more, and Redis holds what is wanted and no more.
    pub(crate) fn check_settled(&mut self) {
        self.asks.assert_answered();
        self.clients.iter().enumerate().for_each(|(name, client)| client.assert_answered(name));
        for index in 0..self.processes.len() {
            let process = &self.processes[index];
            assert!(
                process.runs() && process.is_healthy && process.link.publishes(),
                "process {index} is not well"
            );
            let wanted = self.wanted(index);
            self.check_channels(index, &wanted);
        }
        let stale = self.redis.connections.keys().find(|origin| !self.is_alive(**origin));
        assert_eq!(stale, None, "Redis holds a dead connection");
    }

    /// The channels that the shards of a process need, but for those that contain its uid.
    fn wanted(&mut self, index: usize) -> BTreeSet<String> {
        let (now, family, listen) = (self.instant(), self.plan.family, self.plan.listen);
        let mut wanted = BTreeSet::new();
        for namespace in NAMESPACES {
            let operation = Operation {
                namespace: NamespaceName::new(namespace),
                targets: Targets::default(),
                action: Action::ListRooms(RoomKinds::All),
            };
            for held in &mut self.processes[index].shards {
                let outcome = held.shard.operate(&operation, now);
                if outcome.matched == 0 {
                    continue;
                }
                wanted.insert(format!("socket.io-roomcast#{namespace}#"));
                match family {
                    Family::Classic => {
                        wanted.insert(format!("socket.io-request#{namespace}#"));
                        wanted.insert(format!("socket.io-response#{namespace}#"));
                    }
                    Family::Sharded(_) => {}
                }
                if listen == ListenMode::Pattern {
                    wanted.insert(format!("socket.io#{namespace}#*"));
                    continue;
                }
                wanted.insert(format!("socket.io#{namespace}#"));
                let has_channel = |room| match family {
                    Family::Classic => true,
                    Family::Sharded(mode) => mode.uses_channel_of(room),
                };
                let rooms = outcome.rooms.keys().filter(|room| has_channel(room));
                wanted.extend(rooms.map(|room| format!("socket.io#{namespace}#{room}#")));
            }
        }
        wanted
    }

    fn check_channels(&self, index: usize, wanted: &BTreeSet<String>) {
        let life = self.processes[index].life;
        let all = self.redis.subscribed(|origin| origin.life == life);
        let all = all.iter().map(|(_, channel)| String::from_utf8(channel.to_vec()).unwrap());
        let actual: BTreeSet<String> = all.filter(|channel| !names_a_uid(channel)).collect();
        assert_eq!(actual, *wanted, "subscriptions of process {index}, and what it needs");
    }

    /// Nobody is left, and neither is anything of theirs.
    pub(crate) fn check_over(&mut self) {
        for index in 0..self.processes.len() {
            let process = &self.processes[index];
            for held in &process.shards {
                let left =
                    (held.shard.connection_count(), held.shard.socket_count(), held.shard.room_count());
                assert_eq!(left, (0, 0, 0), "connections, sockets and rooms left in process {index}");
            }
            let stats = process.node.stats();
            assert_eq!(
                (stats.wanted, stats.waiting),
                (1, 0),
                "the channel of reports alone, and no question, is left in process {index}"
            );
        }
        assert_eq!(self.redis.subscribed(|_| true).len(), self.processes.len(), "subscriptions left");
        let by_channel = self.plan.masters > 1;
        let clients = self.clients.iter().enumerate();
        let due: usize =
            clients.map(|(name, client)| self.oracle.check(name, &client.witness, by_channel)).sum();
        assert!(due > 0, "a history in which nobody has to receive anything proves nothing");
    }
}

/// Answers to one node come on a channel with its uid.
fn names_a_uid(channel: &str) -> bool {
    let last = channel.trim_end_matches('#').rsplit('#').next().unwrap_or_default();
    let is_of_sharded = last.len() == 16 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_of_classic = channel.starts_with("socket.io-response#") && !last.starts_with('/');
    is_of_sharded || is_of_classic || channel.starts_with("socket.io-roomcast-report#")
}
