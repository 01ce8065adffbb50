//! The connections of one process to Redis, as `redis-link` keeps them: one that publishes, and one per master that
//! subscribes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cluster::{Listen, Query, QueryId, Reply};

use crate::redis::{Command, Word};
use crate::schedule::MS;
use crate::shards::ToShard;
use crate::world::{Event, HEARTBEAT, LATENCY, Life, Path, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Half {
    /// To all masters; that they are several does not show.
    Publisher,
    Subscriber(usize),
}

/// One connection, of the several that a half of a link has in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin {
    pub(crate) life: Life,
    pub(crate) half: Half,
    pub(crate) epoch: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Dial {
    epoch: u32,
    /// Whether the process takes it for one that works.
    is_up: bool,
    is_dead: bool,
    /// Slots that have moved, of which the process has not heard.
    moves: u32,
}

#[derive(Debug)]
pub(crate) struct Link {
    publisher: Dial,
    subscribers: Vec<Dial>,
    /// The master that stands for the subscriber as a whole.
    home: Option<usize>,
    /// What has been asked for, and on the connection of which master.
    placed: BTreeMap<(Listen, Bytes), usize>,
    /// What waits for the connection of its master.
    parked: BTreeSet<(Listen, Bytes)>,
    queries: BTreeSet<QueryId>,
    /// Whether Redis cannot be reached.
    pub(crate) is_cut_off: bool,
}

impl Link {
    pub(crate) fn new(masters: usize) -> Self {
        Self {
            publisher: Dial::default(),
            subscribers: vec![Dial::default(); masters],
            home: None,
            placed: BTreeMap::new(),
            parked: BTreeSet::new(),
            queries: BTreeSet::new(),
            is_cut_off: false,
        }
    }

    pub(crate) fn halves(&self) -> impl Iterator<Item = Half> + use<> {
        (0..self.subscribers.len()).map(Half::Subscriber).chain([Half::Publisher])
    }

    pub(crate) fn dial(&self, half: Half) -> &Dial {
        match half {
            Half::Publisher => &self.publisher,
            Half::Subscriber(master) => &self.subscribers[master],
        }
    }

    fn dial_mut(&mut self, half: Half) -> &mut Dial {
        match half {
            Half::Publisher => &mut self.publisher,
            Half::Subscriber(master) => &mut self.subscribers[master],
        }
    }

    /// Whether everything that Redis publishes for this process arrives.
    pub(crate) fn hears_all(&self) -> bool {
        self.subscribers.iter().all(|dial| dial.is_up && !dial.is_dead && dial.moves == 0)
    }

    pub(crate) fn publishes(&self) -> bool {
        self.publisher.is_up && !self.publisher.is_dead
    }

    fn is_cluster(&self) -> bool {
        self.subscribers.len() > 1
    }

    /// A slot has moved under this connection.
    pub(crate) fn moved(&mut self, half: Half) {
        self.dial_mut(half).moves += 1;
    }
}

impl World {
    pub(crate) fn origin(&self, life: Life, half: Half) -> Origin {
        Origin { life, half, epoch: self.processes[life.process].link.dial(half).epoch }
    }

    /// Whether what is sent on a connection arrives at its other end.
    pub(crate) fn is_alive(&self, origin: Origin) -> bool {
        let process = &self.processes[origin.life.process];
        let dial = process.link.dial(origin.half);
        process.life == origin.life
            && !process.is_gone
            && dial.epoch == origin.epoch
            && dial.is_up
            && !dial.is_dead
    }

    /// Sends a command on the publishing connection; false if there is none.
    pub(crate) fn publish_or_ask(&mut self, life: Life, command: Command) -> bool {
        let origin = self.origin(life, Half::Publisher);
        let link = &mut self.processes[life.process].link;
        if !link.publisher.is_up {
            return false;
        }
        if let Command::Query(id, _) = &command {
            link.queries.insert(*id);
        }
        self.along(Path::Publisher(life), LATENCY, Event::ToRedis(origin, command));
        true
    }

    pub(crate) fn ask_redis(&mut self, life: Life, id: QueryId, query: Query) {
        if !self.publish_or_ask(life, Command::Query(id, query)) {
            self.processes[life.process].node.handle_reply(id, &Reply::Failed);
        }
    }

    pub(crate) fn send_subscribe(&mut self, life: Life, listen: Listen, channel: Bytes) {
        let master = self.redis.owner(&channel);
        let link = &mut self.processes[life.process].link;
        if link.subscribers[master].is_up {
            link.placed.insert((listen, channel.clone()), master);
            self.send_subscription(life, master, Command::Subscribe(listen, channel));
        } else if link.is_cluster() {
            link.parked.insert((listen, channel));
        }
    }

    pub(crate) fn send_unsubscribe(&mut self, life: Life, listen: Listen, channel: Bytes) {
        let master = self.redis.owner(&channel);
        let link = &mut self.processes[life.process].link;
        let name = (listen, channel.clone());
        link.placed.remove(&name);
        link.parked.remove(&name);
        if link.subscribers[master].is_up {
            self.send_subscription(life, master, Command::Unsubscribe(listen, channel));
        }
    }

    fn send_subscription(&mut self, life: Life, master: usize, command: Command) {
        let origin = self.origin(life, Half::Subscriber(master));
        self.along(Path::Subscriptions(life), LATENCY, Event::ToRedis(origin, command));
    }

    /// A subscription has come to Redis; if its slot has moved meanwhile, it is redirected.
    pub(crate) fn subscribe(&mut self, origin: Origin, listen: Listen, channel: Bytes) {
        let owner = self.redis.owner(&channel);
        if !self.is_alive(origin) {
            return;
        }
        let actual = self.origin(origin.life, Half::Subscriber(owner));
        let is_alive = self.is_alive(actual);
        let link = &mut self.processes[origin.life.process].link;
        let name = (listen, channel.clone());
        // It may have been given back since.
        if let Some(placed) = link.placed.get_mut(&name) {
            *placed = owner;
            if !link.subscribers[owner].is_up {
                link.placed.remove(&name);
                link.parked.insert(name.clone());
            }
        }
        if is_alive {
            self.redis.connections.entry(actual).or_default().insert(name);
            self.tell_link(actual, Word::Subscribed(channel));
        }
    }

    pub(crate) fn unsubscribe(&mut self, origin: Origin, listen: Listen, channel: Bytes) {
        let actual = self.origin(origin.life, Half::Subscriber(self.redis.owner(&channel)));
        if self.is_alive(origin)
            && let Some(all) = self.redis.connections.get_mut(&actual)
        {
            all.remove(&(listen, channel));
        }
    }

    /// A connection dies: what is on its way is lost. If it does so silently, both ends take a while to find out.
    pub(crate) fn cut(&mut self, origin: Origin, is_silent: bool) {
        if !self.is_alive(origin) {
            return;
        }
        let process = &mut self.processes[origin.life.process];
        process.link.dial_mut(origin.half).is_dead = true;
        process.is_healthy &= origin.half == Half::Publisher;
        let (detection, reaping) =
            if is_silent { (HEARTBEAT..HEARTBEAT + 20 * MS, 0..600 * MS) } else { (LATENCY, LATENCY) };
        self.later(detection, Event::Detected(origin));
        self.later(reaping, Event::Reaped(origin));
    }

    /// The process finds that a connection is dead.
    pub(crate) fn detected(&mut self, origin: Origin) {
        let process = &mut self.processes[origin.life.process];
        let dial = process.link.dial(origin.half);
        if dial.epoch != origin.epoch || !dial.is_up {
            return;
        }
        let Link { publisher, subscribers, home, placed, queries, .. } = &mut process.link;
        match origin.half {
            Half::Publisher => {
                for id in std::mem::take(queries) {
                    process.node.handle_reply(id, &Reply::Failed);
                }
                publisher.is_up = false;
                process.node.handle_publisher_down();
            }
            Half::Subscriber(master) => {
                subscribers[master].is_up = false;
                let lost = placed.extract_if(.., |_, placed| *placed == master);
                let lost: Vec<Bytes> = lost.map(|((_, channel), _)| channel).collect();
                if *home == Some(master) {
                    *home = None;
                    process.node.handle_subscriber_down();
                }
                if process.link.is_cluster() {
                    process.node.handle_lost(&lost);
                }
                self.choose_home(origin.life);
            }
        }
        self.later(5 * MS..40 * MS, Event::Redial(origin));
        self.turn(origin.life);
    }

    fn choose_home(&mut self, life: Life) {
        let process = &mut self.processes[life.process];
        if process.link.home.is_none() {
            process.link.home = process.link.subscribers.iter().position(|dial| dial.is_up);
            if process.link.home.is_some() {
                process.node.handle_subscriber_up();
            }
        }
    }

    /// Tries to make a connection again.
    pub(crate) fn redial(&mut self, origin: Origin) {
        let Origin { life, half, epoch } = origin;
        let is_away = match half {
            Half::Publisher => false,
            Half::Subscriber(master) => self.redis.is_down[master],
        };
        let now = self.instant();
        let process = &mut self.processes[life.process];
        if is_away || self.redis.backlog.is_some() || process.link.is_cut_off {
            return self.later(20 * MS..60 * MS, Event::Redial(origin));
        }
        *process.link.dial_mut(half) = Dial { epoch: epoch + 1, is_up: true, is_dead: false, moves: 0 };
        match half {
            Half::Publisher => process.node.handle_publisher_up(now),
            Half::Subscriber(_) => {
                self.redis.connections.insert(self.origin(life, half), BTreeSet::new());
                self.choose_home(life);
                let parked = std::mem::take(&mut self.processes[life.process].link.parked);
                for (listen, channel) in parked {
                    self.send_subscribe(life, listen, channel);
                }
            }
        }
        self.turn(life);
    }

    /// Something has come from Redis.
    pub(crate) fn hear(&mut self, origin: Origin, word: Word) {
        if !self.is_alive(origin) {
            return;
        }
        let (life, now) = (origin.life, self.instant());
        let process = &mut self.processes[life.process];
        let mut passed = None;
        match word {
            Word::Subscribed(channel) => process.node.handle_subscribed(&channel, now),
            Word::Message(channel, payload, matching) => {
                for _ in 0..matching {
                    process.node.handle_message(&channel, payload.clone(), now);
                }
                passed = crate::oracle::message_id(&payload);
            }
            Word::Replied(id, reply) => {
                process.link.queries.remove(&id);
                process.node.handle_reply(id, &reply);
            }
            Word::Moved(channels) => {
                process.link.dial_mut(origin.half).moves -= 1;
                channels.iter().for_each(|channel| {
                    process.link.placed.remove(&(Listen::Sharded, channel.clone()));
                });
                process.node.handle_lost(&channels);
            }
        }
        self.turn(life);
        if let Some(id) = passed {
            self.tell_shards(life, |_| ToShard::Passed(id));
        }
    }
}
