//! The thread of the cluster's node: it waits for Redis, for shards and callers, and for time, feeds the node, and
//! does what comes out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adapter::{Broadcast, WireFault};
use broker::Publication;
use bytes::Bytes;
use cluster::{AskId, ClusterConfig, Node, Output, Part, ShardSet};
use rand::rngs::StdRng;
use redis_link::{Link, LinkConfig};
use telemetry::{ClusterMetrics, RedisConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::sleep_until;

use super::away::Away;
use super::deaf::Deaf;
use super::errands::{Errands, Local};
use super::tickets::{Reply, Tickets};
use super::{ClusterCommand, Published};
use crate::admin::{Readiness, Unready};
use crate::inbox::{Command, Shards};
use crate::peers::{Directory, Peer};
use crate::shutdown::set_ready;

/// Events of the link taken in one turn.
const EVENTS_PER_TURN: usize = 1_024;
/// Commands taken in one turn, each message for one.
const COMMANDS_PER_TURN: usize = 1_024;
/// What those may publish together, and one more: each is encoded before Redis is asked to take any.
const COMMAND_BYTES_PER_TURN: usize = 1 << 20;
/// Answers of the shards here to other nodes that may wait for a turn.
const LOCAL_ANSWERS_MAX: usize = 1_024;
/// How often figures that are not counted where they change are read.
const GAUGE_PAUSE: Duration = Duration::from_secs(1);
/// How long Redis may take over the last words of this node.
const FAREWELL: Duration = Duration::from_millis(500);

/// Set in the numbers of questions to Redis that are not the node's.
const OWN_QUERY: u64 = 1 << 63;

/// Everything that the thread starts with.
pub(crate) struct CarrierStart {
    pub(crate) node: ClusterConfig,
    pub(crate) link: LinkConfig,
    pub(crate) rng: StdRng,
    pub(crate) link_seed: u64,
    pub(crate) commands: mpsc::Receiver<ClusterCommand>,
    pub(crate) can_publish: Arc<AtomicBool>,
    pub(crate) shards: Shards,
    /// Where the other nodes are entered for those that forward requests to them.
    pub(crate) directory: Directory,
}

/// The life of the thread.
///
/// # Errors
/// When no runtime can be made.
pub(crate) fn run(start: CarrierStart, ready: watch::Sender<Readiness>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        Carrier::new(start, ready).run().await;
    });
    Ok(())
}

struct Carrier {
    node: Node,
    link: Link,
    way: redis_link::Way,
    commands: mpsc::Receiver<ClusterCommand>,
    locals: mpsc::Receiver<Local>,
    errands: Errands,
    /// What a turn has for those here; empty between turns.
    here: Vec<Output>,
    can_publish: Arc<AtomicBool>,
    shards: Shards,
    directory: Directory,
    ready: watch::Sender<Readiness>,
    metrics: ClusterMetrics,
    away: Away,
    deaf: Deaf,
    /// When the gauges are read next.
    gauges_at: Instant,
    tickets: Tickets,
    /// Who waits for an answer of Redis.
    queries: HashMap<u64, oneshot::Sender<Option<redis_link::Reply>>>,
    query_count: u64,
    asks: HashMap<AskId, mpsc::Sender<Part>>,
    ask_count: u64,
    leaving: Option<oneshot::Sender<()>>,
}

impl Carrier {
    fn new(start: CarrierStart, ready: watch::Sender<Readiness>) -> Self {
        let way = match start.node.family {
            cluster::Family::Classic => redis_link::Way::Plain,
            cluster::Family::Sharded(_) => redis_link::Way::Sharded,
        };
        let (local, locals) = mpsc::channel(LOCAL_ANSWERS_MAX);
        Self {
            node: Node::new(start.node, start.rng),
            link: Link::open(start.link, start.link_seed),
            way,
            commands: start.commands,
            locals,
            errands: Errands::new(start.shards.clone(), local),
            here: Vec::new(),
            can_publish: start.can_publish,
            shards: start.shards,
            directory: start.directory,
            ready,
            metrics: ClusterMetrics::new(),
            away: Away::default(),
            deaf: Deaf::new(Instant::now()),
            gauges_at: Instant::now(),
            tickets: Tickets::default(),
            queries: HashMap::new(),
            query_count: 0,
            asks: HashMap::new(),
            ask_count: 0,
            leaving: None,
        }
    }

    async fn run(mut self) {
        let mut alarm_at = self.gauges_at;
        let mut alarm = Box::pin(sleep_until(alarm_at.into()));
        loop {
            let deadline = self.node.poll_timeout().map_or(self.gauges_at, |at| at.min(self.gauges_at));
            if deadline != alarm_at {
                // Most turns leave it as it was: setting a timer costs more than a small turn.
                alarm_at = deadline;
                alarm.as_mut().reset(deadline.into());
            }
            tokio::select! {
                biased;
                event = self.link.next() => self.handle_event(event, Instant::now()),
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command, Instant::now()),
                    None => return,
                },
                Some(local) = self.locals.recv() => self.handle_local(local),
                () = alarm.as_mut() => {}
            }
            let now = Instant::now();
            if self.turn(now).await {
                // While there is always a command, select would wait for nothing, and nobody would look at the sockets
                // and timers of the link: a Redis that stands still would not be found.
                tokio::task::yield_now().await;
            }
            if now >= self.gauges_at {
                self.report();
                if let Some(line) = self.away.again(now) {
                    telemetry::emit(&line);
                }
                self.gauges_at = now + GAUGE_PAUSE;
            }
            if let Some(left) = self.leaving.take() {
                self.say_farewell().await;
                left.send(()).ok();
                return;
            }
        }
    }

    /// Takes what has come and does what comes of it; whether more may have come than one turn takes.
    async fn turn(&mut self, now: Instant) -> bool {
        for _ in 0..EVENTS_PER_TURN {
            let Some(event) = self.link.try_next() else { break };
            self.handle_event(event, now);
        }
        let mut is_full = true;
        let mut bytes = 0;
        let mut taken = 0;
        while taken < COMMANDS_PER_TURN {
            if bytes > COMMAND_BYTES_PER_TURN {
                break;
            }
            let Ok(command) = self.commands.try_recv() else {
                is_full = false;
                break;
            };
            bytes += payload_bytes(&command);
            taken += weight(&command);
            self.handle_command(command, now);
        }
        while let Ok(local) = self.locals.try_recv() {
            self.handle_local(local);
        }
        self.node.handle_timeouts(now);
        self.node.flush();
        self.deaf.note(!self.node.is_complete(), now);
        // What goes to Redis is on its way before anything here is waited for.
        let mut here = std::mem::take(&mut self.here);
        while let Some(output) = self.node.poll_output() {
            if let Some(output) = self.carry(output) {
                here.push(output);
            }
        }
        self.link.flush();
        for output in here.drain(..) {
            self.perform(output).await;
        }
        self.here = here;
        self.errands.hand_over().await;
        is_full
    }

    fn handle_event(&mut self, event: redis_link::Event, now: Instant) {
        use redis_link::Event;
        match event {
            Event::Message { channel, payload } => self.node.handle_message(&channel, payload, now),
            Event::Subscribed(channel) => self.node.handle_subscribed(&channel, now),
            Event::Unsubscribed(_) => {}
            Event::Published { ticket, result } => self.handle_published(ticket, result),
            Event::PublishesLost(count) => self.metrics.publishes_lost(count),
            Event::Answer { id, result } if id & OWN_QUERY != 0 => {
                if let Some(reply) = self.queries.remove(&id) {
                    // Whoever asked may have gone.
                    reply.send(result.ok()).ok();
                }
            }
            Event::Answer { id, result } => {
                let reply = result.map_or(cluster::Reply::Failed, reply_of);
                self.node.handle_reply(cluster::QueryId(id), &reply);
            }
            Event::Lost(channels) => {
                telemetry::emit(&telemetry::RedisChannelsLost { channels: channels.len() });
                self.node.handle_lost(&channels);
                self.note_change();
            }
            Event::PublisherUp => {
                self.can_publish.store(true, Ordering::Relaxed);
                self.away.up(RedisConnection::Publisher);
                self.node.handle_publisher_up(now);
                self.note_change();
            }
            Event::PublisherDown(fault) => {
                self.can_publish.store(false, Ordering::Relaxed);
                telemetry::emit(&self.away.down(RedisConnection::Publisher, fault.to_string(), now));
                self.node.handle_publisher_down();
                self.note_change();
            }
            Event::SubscriberUp => {
                self.away.up(RedisConnection::Subscriber);
                self.node.handle_subscriber_up();
                self.note_change();
            }
            Event::SubscriberDown(fault) => {
                telemetry::emit(&self.away.down(RedisConnection::Subscriber, fault.to_string(), now));
                self.node.handle_subscriber_down();
                self.note_change();
            }
        }
    }

    fn handle_published(&mut self, ticket: u64, result: Result<u64, redis_link::LinkFault>) {
        let published = match result {
            Ok(_) => Published::Received,
            Err(fault) => {
                self.metrics.publishes_lost(1);
                Published::Unknown(format!(
                    "{fault}; it is not known whether the other nodes got it, those here did"
                ))
            }
        };
        self.tickets.settle(ticket, published);
    }

    fn handle_command(&mut self, command: ClusterCommand, now: Instant) {
        match command {
            ClusterCommand::Publish(publication, reply) => {
                let ticket = self.tickets.take(1, Reply::One(reply));
                self.publish(&publication.broadcast, Some(ticket));
            }
            ClusterCommand::PublishRun(run) => {
                run.iter().for_each(|publication| self.publish(&publication.broadcast, None));
            }
            ClusterCommand::PublishAll(messages, reply) => {
                let first = self.tickets.take(messages.len(), Reply::Run(reply, Vec::new()));
                for (broadcast, ticket) in messages.broadcasts().zip(first..) {
                    self.publish(broadcast, Some(ticket));
                }
            }
            ClusterCommand::PublishReporting(publication, reply, timeout, parts) => {
                let ticket = self.tickets.take(1, Reply::One(reply));
                self.publish_reporting(&publication, ticket, timeout, parts, now);
            }
            ClusterCommand::Subscribe(shard, subscription, ticket) => {
                self.node.subscribe(shard, subscription, ticket, now);
            }
            ClusterCommand::Unsubscribe(shard, subscription) => {
                self.node.unsubscribe(shard, &subscription, now);
            }
            ClusterCommand::Ask(ask, timeout, parts) => {
                let id = self.next_ask();
                match self.node.ask(id, ask, timeout, now) {
                    Ok(()) => drop(self.asks.insert(id, parts)),
                    // Whoever asked sees that no part comes.
                    Err(fault) => telemetry::emit(&telemetry::NotPublished { fault: fault.to_string() }),
                }
            }
            ClusterCommand::Query(query, reply) => {
                self.query_count += 1;
                self.queries.insert(OWN_QUERY | self.query_count, reply);
                self.link.query(OWN_QUERY | self.query_count, query);
            }
            ClusterCommand::Leave(left) => {
                self.node.leave();
                self.leaving = Some(left);
            }
        }
    }

    fn publish(&mut self, broadcast: &Broadcast, ticket: Option<u64>) {
        if let Err(fault) = self.node.publish(broadcast, ticket) {
            self.not_published(ticket, &fault);
        }
    }

    fn publish_reporting(
        &mut self,
        publication: &Publication,
        ticket: u64,
        timeout: Duration,
        parts: mpsc::Sender<Part>,
        now: Instant,
    ) {
        let id = self.next_ask();
        match self.node.publish_reporting(id, &publication.broadcast, Some(ticket), timeout, now) {
            Ok(()) => drop(self.asks.insert(id, parts)),
            Err(fault) => self.not_published(Some(ticket), &fault),
        }
    }

    fn not_published(&mut self, ticket: Option<u64>, fault: &WireFault) {
        telemetry::emit(&telemetry::NotPublished { fault: fault.to_string() });
        if let Some(ticket) = ticket {
            let why = format!("{fault}: clients here got it, other nodes would not survive it");
            self.tickets.settle(ticket, Published::Refused(why));
        }
    }

    fn next_ask(&mut self) -> AskId {
        self.ask_count += 1;
        AskId(self.ask_count)
    }

    fn handle_local(&mut self, local: Local) {
        match local {
            Local::Outcome(id, outcome) => self.node.handle_outcome(id, outcome),
            Local::Called(id, clients) => self.node.handle_called(id, clients),
            Local::Reached(id, reach) => self.node.handle_reached(id, reach),
            Local::Acknowledged(id, socket, arguments) => {
                self.node.handle_acknowledged(id, socket, &arguments);
            }
            Local::CallEnded(id) => self.node.handle_call_ended(id),
            Local::CallRefused(id, error) => {
                self.metrics.call_refused();
                telemetry::emit(&telemetry::CallRefused { error });
                // Another node takes nothing else for an answer.
                self.node.handle_called(id, 0);
            }
        }
    }

    /// Hands to the link what is for Redis; gives the rest back.
    fn carry(&mut self, output: Output) -> Option<Output> {
        match output {
            Output::Publish { channel, payload, ticket } => {
                if let Err(refused) = self.link.publish(self.way, channel, payload, ticket) {
                    self.refuse(ticket, refused);
                }
            }
            Output::Subscribe(listen, channels) => self.link.subscribe(kind_of(listen), channels),
            Output::Unsubscribe(listen, channels) => self.link.unsubscribe(kind_of(listen), channels),
            Output::Query(id, query) => self.link.query(id.0, query_of(query, self.way)),
            output => return Some(output),
        }
        None
    }

    async fn perform(&mut self, output: Output) {
        // Broadcasts in a row leave as one, and before whatever Redis had behind them.
        if !matches!(output, Output::Deliver(..)) {
            self.errands.hand_over().await;
        }
        match output {
            Output::Deliver(shards, broadcast) => self.errands.deliver(shards, broadcast).await,
            Output::DeliverReporting(id, shards, broadcast) => {
                self.errands.deliver_reporting(id, shards, broadcast).await
            }
            Output::Confirm(shard, tickets) => {
                self.shards.inbox(shard).send(Command::Confirmed(tickets)).await.ok();
            }
            Output::Act(operation) => {
                let operation = Arc::new(operation);
                let unheard = || Command::Operate(operation.clone(), oneshot::channel().0);
                self.errands.tell(ShardSet::ALL, unheard).await;
            }
            Output::Inquire(id, operation) => self.errands.inquire(id, operation).await,
            Output::Call(id, broadcast, timeout) => self.errands.call(id, broadcast, timeout),
            Output::Answer(id, part) => self.answer(id, part),
            Output::Peers(peers) => self.directory.set(peers.iter().filter_map(entry_of).collect()),
            Output::Happening(happening) => self.tell_of(&happening),
            // The link has these.
            Output::Publish { .. } | Output::Subscribe(..) | Output::Unsubscribe(..) | Output::Query(..) => {}
        }
    }

    fn answer(&mut self, id: AskId, part: Part) {
        let is_last = matches!(part, Part::End(_));
        let taken = self.asks.get(&id).is_some_and(|parts| parts.try_send(part).is_ok());
        if is_last || !taken {
            self.asks.remove(&id);
            self.node.forget(id);
        }
    }

    fn refuse(&mut self, ticket: Option<u64>, refused: redis_link::Refused) {
        self.metrics.publishes_lost(1);
        if let Some(ticket) = ticket {
            let why = format!("{refused}: clients here got it, other nodes did not; retry");
            self.tickets.settle(ticket, Published::Refused(why));
        }
    }

    fn tell_of(&mut self, happening: &cluster::Happening) {
        use cluster::Happening;
        match happening {
            Happening::Undecodable { channel, fault } => {
                telemetry::emit(&telemetry::UndecodableMessage {
                    channel: channel.clone(),
                    fault: fault.to_string(),
                });
            }
            Happening::NotPublished(fault) => {
                telemetry::emit(&telemetry::NotPublished { fault: fault.to_string() });
            }
            Happening::Restored { channels } => {
                telemetry::emit(&telemetry::RedisRestored {
                    channels: *channels,
                    deaf_ms: u64::try_from(self.deaf.last().as_millis()).unwrap_or(u64::MAX),
                });
                self.note_change();
            }
            Happening::NodeNumberTaken(peer) => {
                telemetry::emit(&telemetry::NodeNumberTaken { node: peer.node, other: peer.name.clone() });
            }
            Happening::TooManyInquiries => telemetry::emit(&telemetry::TooManyInquiries {}),
        }
    }

    /// Has readiness and gauges say at once what has changed between here and Redis.
    fn note_change(&mut self) {
        self.note_readiness();
        self.gauges_at = Instant::now();
    }

    /// Says whether traffic should come here. Without Redis clients are served, but miss what others publish.
    fn note_readiness(&self) {
        let away = !self.can_publish.load(Ordering::Relaxed) || !self.node.is_complete();
        let was_away = self.ready.borrow().reasons().contains(&Unready::RedisAway);
        if away != was_away {
            set_ready(&self.ready, |readiness| match away {
                true => readiness.set(Unready::RedisAway),
                false => readiness.clear(Unready::RedisAway),
            });
        }
    }

    fn report(&self) {
        self.note_readiness();
        let (node, link) = (self.node.stats(), self.link.stats());
        self.metrics.report(&telemetry::ClusterFigures {
            published: node.published,
            delivered: node.delivered,
            undecodable: node.undecodable,
            answered: node.answered,
            channels_wanted: node.wanted,
            channels_in_force: node.in_force,
            can_publish: self.can_publish.load(Ordering::Relaxed),
            can_receive: self.node.is_complete(),
            deaf: self.deaf.total(Instant::now()),
            reconnects: link.reconnects,
            heartbeats_missed: link.heartbeats_missed,
            heartbeat: Duration::from_micros(link.heartbeat_rtt_us),
            queue_bytes: link.queue_bytes,
        });
    }

    /// Lets the last commands out.
    async fn say_farewell(&mut self) {
        let until = Instant::now() + FAREWELL;
        while self.link.stats().queue_bytes > 0 || Instant::now() + FAREWELL / 2 > until {
            tokio::select! {
                event = self.link.next() => self.handle_event(event, Instant::now()),
                () = sleep_until(until.into()) => return,
                () = tokio::time::sleep(FAREWELL / 10) => {}
            }
        }
    }
}

/// How many things there are to do for a command.
fn weight(command: &ClusterCommand) -> usize {
    match command {
        ClusterCommand::PublishAll(messages, _) => messages.len().max(1),
        ClusterCommand::PublishRun(run) => run.len().max(1),
        _ => 1,
    }
}

/// How much there is to encode for a command.
fn payload_bytes(command: &ClusterCommand) -> usize {
    match command {
        ClusterCommand::Publish(publication, _) | ClusterCommand::PublishReporting(publication, ..) => {
            event_bytes(&publication.broadcast)
        }
        ClusterCommand::PublishRun(run) => {
            run.iter().map(|publication| event_bytes(&publication.broadcast)).sum()
        }
        ClusterCommand::PublishAll(messages, _) => messages.broadcasts().map(event_bytes).sum(),
        _ => 0,
    }
}

fn event_bytes(broadcast: &Broadcast) -> usize {
    let event = &broadcast.event;
    event.attachments.iter().map(Bytes::len).sum::<usize>() + event.json.len()
}

fn kind_of(listen: cluster::Listen) -> redis_link::Kind {
    match listen {
        cluster::Listen::Exact => redis_link::Kind::Exact,
        cluster::Listen::Pattern => redis_link::Kind::Pattern,
        cluster::Listen::Sharded => redis_link::Kind::Sharded,
    }
}

/// A node's entry in the directory, if requests can be forwarded to it.
fn entry_of(peer: &cluster::Peer) -> Option<(u16, Peer)> {
    let address = peer.address.as_deref()?.parse().ok()?;
    Some((peer.node, Peer { address }))
}

fn query_of(query: cluster::Query, way: redis_link::Way) -> redis_link::Query {
    use cluster::Query;
    match query {
        Query::CountSubscribers(channel) => redis_link::Query::CountSubscribers(way, channel),
        Query::Set { key, value, ttl } => redis_link::Query::Set {
            key: key.into(),
            value,
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1),
        },
        Query::Read(keys) => redis_link::Query::Get(keys.into_iter().map(Into::into).collect()),
        Query::Delete(key) => redis_link::Query::Delete(key.into()),
        Query::AddMember(key, member) => redis_link::Query::AddToSet(key.into(), member.into()),
        Query::RemoveMember(key, member) => redis_link::Query::RemoveFromSet(key.into(), member.into()),
        Query::Members(key) => redis_link::Query::Members(key.into()),
    }
}

fn reply_of(reply: redis_link::Reply) -> cluster::Reply {
    match reply {
        redis_link::Reply::Done => cluster::Reply::Done,
        redis_link::Reply::Count(count) => cluster::Reply::Count(count),
        redis_link::Reply::Value(value) => cluster::Reply::Values(vec![value]),
        redis_link::Reply::Values(values) => cluster::Reply::Values(values),
        redis_link::Reply::Members(members) => cluster::Reply::Members(
            members.into_iter().filter_map(|member| String::from_utf8(member.to_vec()).ok()).collect(),
        ),
    }
}
