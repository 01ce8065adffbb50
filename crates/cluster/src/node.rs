//! The node: namespaces with sockets here, and what reaches them from Redis and leaves for it.

mod asks;
mod inbound;
mod inquiries;
mod listening;
mod pages;
mod reports;
mod roll;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use adapter::sharded::{self, Content, Message};
use adapter::{
    Broadcast, ClassicChannels, Flags, RequestId, Responder, ShardedChannels, Subscription, Ticket, Uid,
    WireFault, classic, report_channel,
};
use bytes::Bytes;
use foldhash::fast::FixedState;
use rand::RngCore;
use rand::rngs::StdRng;
use socketio::NamespaceName;

use self::asks::PendingAsk;
use self::inquiries::Inquiry;
pub(crate) use self::listening::ASKERS;
use self::pages::Pages;
use self::roll::Census;
use crate::config::{ClusterConfig, Family, ListenMode};
use crate::io::{AskId, Happening, InquiryId, Listen, Output, QueryId, Reply, ShardSet, Stats};
use crate::members::{Members, SIGNS_PER_LEASE};
use crate::wanted::{Role, Wanted};

/// How long the node keeps what another one asked, if its own shards do not answer.
const INQUIRY_PATIENCE: Duration = Duration::from_secs(10);

/// See the [crate's documentation](crate).
#[derive(Debug)]
pub struct Node {
    config: ClusterConfig,
    /// By which this node knows its own messages.
    uid: Uid,
    /// By which others know its answers.
    own: Responder,
    /// Where others tell what became of messages of this node.
    report_channel: Bytes,
    rng: StdRng,
    /// Hashed as the channels in `wanted`.
    namespaces: HashMap<NamespaceName, Namespace, FixedState>,
    wanted: Wanted,
    members: Members,
    can_publish: bool,
    asks: BTreeMap<AskId, PendingAsk>,
    /// The asks that wait for answers, by the ids that Redis knows them by.
    requests: HashMap<RequestId, AskId>,
    /// What Redis was asked in this turn, by namespace.
    censuses: BTreeMap<NamespaceName, Census>,
    /// Until when answers are listened for, by namespace.
    listening: BTreeMap<NamespaceName, Instant>,
    inquiries: BTreeMap<InquiryId, Inquiry>,
    inquiry_count: u64,
    query_count: u64,
    pages: Pages,
    outputs: VecDeque<Output>,
    stats: Stats,
}

/// A namespace with sockets here.
#[derive(Debug)]
struct Namespace {
    channels: Rc<Channels>,
    holders: ShardSet,
}

/// The names of a namespace's channels.
#[derive(Clone, Debug)]
enum Channels {
    Classic(ClassicChannels),
    Sharded(ShardedChannels),
}

impl Node {
    /// A node that is not connected. All its randomness comes from `rng`.
    pub fn new(config: ClusterConfig, mut rng: StdRng) -> Self {
        let uid = match config.family {
            Family::Classic => Uid::random_classic(&mut rng),
            Family::Sharded(_) => Uid::random_sharded(&mut rng),
        };
        let seed = rng.next_u64();
        let mut wanted = Wanted::new(config.linger, config.lease / SIGNS_PER_LEASE, seed);
        let report_channel = Bytes::from(report_channel(&config.prefix, &uid));
        let listen = match config.family {
            Family::Classic => Listen::Exact,
            Family::Sharded(_) => Listen::Sharded,
        };
        // All the time, and of all namespaces: a message whose report would have to wait for a subscription would lose
        // its place in the order.
        wanted.hold(listen, report_channel.clone(), (NamespaceName::main(), Role::Reports), ASKERS);
        Self {
            uid,
            own: Responder { number: config.node, name: config.name.as_str().into() },
            report_channel,
            namespaces: HashMap::with_hasher(FixedState::with_seed(seed)),
            wanted,
            members: Members::new(&config),
            can_publish: false,
            asks: BTreeMap::new(),
            requests: HashMap::new(),
            censuses: BTreeMap::new(),
            listening: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            inquiry_count: 0,
            query_count: 0,
            pages: Pages::default(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            config,
            rng,
        }
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            wanted: self.wanted.len() as u64,
            in_force: self.wanted.in_force() as u64,
            waiting: (self.asks.len() + self.inquiries.len()) as u64,
            ..self.stats
        }
    }

    /// Whether everything that is wanted is subscribed.
    pub fn is_complete(&self) -> bool {
        self.wanted.is_complete()
    }

    /// The next thing to be done. Drain until `None` after [`Self::flush`].
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Ends a turn: gathers what its calls asked for into few commands.
    pub fn flush(&mut self) {
        loop {
            let heard = self.wanted.flush(&mut self.outputs);
            if heard.is_empty() {
                break;
            }
            heard.into_iter().for_each(|ticket| self.handle_heard(AskId(ticket.0)));
        }
        self.censuses.clear();
    }

    /// The next time that [`Self::handle_timeouts`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asks = self.asks.values().map(PendingAsk::until).min();
        let inquiries = self.inquiries.values().map(Inquiry::until).min();
        let listening = self.listening.values().copied().min();
        [self.wanted.poll_timeout(), self.members.poll_timeout(), asks, inquiries, listening]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn handle_timeouts(&mut self, now: Instant) {
        self.wanted.handle_timeouts(now, &mut self.outputs);
        let counter = &mut self.query_count;
        self.members.handle_timeouts(now, || next_query(counter), &mut self.outputs);
        self.end_late_asks(now);
        self.stop_listening(now);
        self.inquiries.retain(|_, inquiry| inquiry.until() > now);
    }

    /// Redis takes what is published, and answers.
    pub fn handle_publisher_up(&mut self, now: Instant) {
        self.can_publish = true;
        self.members.handle_up(now);
    }

    /// Redis takes nothing. What is asked of others now is answered at once, as partial.
    pub fn handle_publisher_down(&mut self) {
        self.can_publish = false;
        self.members.handle_down();
        self.end_all_asks();
    }

    /// A connection is up on which nothing is subscribed.
    pub fn handle_subscriber_up(&mut self) {
        self.wanted.handle_up(&mut self.outputs);
    }

    /// Nothing that others publish comes any more.
    pub fn handle_subscriber_down(&mut self) {
        self.wanted.handle_down();
    }

    /// These channels are not subscribed any more, others are.
    pub fn handle_lost(&mut self, channels: &[Bytes]) {
        self.wanted.handle_lost(channels);
    }

    /// A channel or pattern is subscribed.
    pub fn handle_subscribed(&mut self, channel: &[u8], now: Instant) {
        if let Some(channels) = self.wanted.handle_subscribed(channel, now) {
            self.outputs.push_back(Output::Happening(Happening::Restored { channels }));
        }
    }

    /// Redis has answered.
    pub fn handle_reply(&mut self, id: QueryId, reply: &Reply) {
        let counter = &mut self.query_count;
        if self.members.handle_reply(id, reply, || next_query(counter), &mut self.outputs) {
            self.weigh_asks();
        } else {
            self.handle_count(id, reply);
        }
    }

    /// Takes back what this node has in Redis about itself: the process ends.
    pub fn leave(&mut self) {
        let counter = &mut self.query_count;
        self.members.leave(|| next_query(counter), &mut self.outputs);
    }

    /// Publishes an event that is delivered here by the caller.
    ///
    /// # Errors
    /// The event is none that clients or Node servers would survive; it is not published.
    pub fn publish(&mut self, broadcast: &Broadcast, ticket: Option<u64>) -> Result<(), WireFault> {
        let channels = self.channels(&broadcast.namespace);
        let (channel, payload) = match &*channels {
            Channels::Classic(channels) => self.pages.write(|out| {
                channels.push_for_targets(&broadcast.targets, out);
                let channel_bytes = out.len();
                classic::push_broadcast(out, &self.uid, broadcast, &Flags::default())?;
                Ok::<_, WireFault>(channel_bytes)
            })?,
            Channels::Sharded(channels) => {
                let message = self.message(&broadcast.namespace, content_of(broadcast, None));
                let channel = channels.for_targets(&broadcast.targets).into_owned();
                (channel.into(), sharded::encode(&message)?.into())
            }
        };
        self.stats.published += 1;
        self.outputs.push_back(Output::Publish { channel, payload, ticket });
        Ok(())
    }

    /// A shard has members in a namespace or room; the ticket waits until nothing published is missed.
    pub fn subscribe(&mut self, shard: u8, subscription: Subscription, ticket: Option<Ticket>, now: Instant) {
        let Subscription { namespace, room } = subscription;
        let channels = self.channels(&namespace);
        let Some(room) = room else {
            return self.enter_namespace(shard, namespace, channels, ticket, now);
        };
        match channels.room(&room, self.config.listen) {
            Some((listen, channel)) => {
                let role = (namespace, Role::Room(room));
                self.wanted.want(listen, channel, role, shard, ticket, now);
            }
            // It comes with the namespace.
            None => {
                if let Some(ticket) = ticket {
                    let channel = channels.everything(self.config.listen);
                    self.wanted.await_channel(channel.as_bytes(), shard, ticket, now);
                }
            }
        }
    }

    /// A shard has no members in a namespace or room any more.
    pub fn unsubscribe(&mut self, shard: u8, subscription: &Subscription, now: Instant) {
        let channels = self.channels(&subscription.namespace);
        match &subscription.room {
            Some(room) => {
                if let Some((_, channel)) = channels.room(room, self.config.listen) {
                    self.wanted.release(&channel, shard, now);
                }
            }
            None => self.leave_namespace(shard, &subscription.namespace, &channels, now),
        }
    }

    fn enter_namespace(
        &mut self,
        shard: u8,
        name: NamespaceName,
        channels: Rc<Channels>,
        ticket: Option<Ticket>,
        now: Instant,
    ) {
        if self.namespaces.get(&name).is_some_and(|namespace| namespace.holders.contains(shard)) {
            // Every connection asks; only the first of a shard needs more than to wait for the same.
            if let Some(ticket) = ticket {
                self.wanted.await_channel(channels.census().as_bytes(), shard, ticket, now);
            }
            return;
        }
        let of_namespace = channels.of_namespace(&self.uid, &self.config);
        let last = of_namespace.len() - 1;
        for (nth, (listen, channel, role)) in of_namespace.into_iter().enumerate() {
            // Redis subscribes in the order of the command: the last one speaks for all.
            let ticket = ticket.filter(|_| nth == last);
            self.wanted.want(listen, channel.into(), (name.clone(), role), shard, ticket, now);
        }
        let namespace = self
            .namespaces
            .entry(name)
            .or_insert_with(|| Namespace { channels, holders: ShardSet::default() });
        let is_first = namespace.holders.is_empty();
        namespace.holders.insert(shard);
        if is_first {
            self.members.set_namespaces(self.namespaces.keys(), now);
        }
    }

    fn leave_namespace(&mut self, shard: u8, name: &NamespaceName, channels: &Channels, now: Instant) {
        for (_, channel, _) in channels.of_namespace(&self.uid, &self.config) {
            self.wanted.release(channel.as_bytes(), shard, now);
        }
        let Some(namespace) = self.namespaces.get_mut(name) else { return };
        namespace.holders.remove(shard);
        if namespace.holders.is_empty() {
            self.namespaces.remove(name);
            self.members.set_namespaces(self.namespaces.keys(), now);
        }
    }

    /// The channels of a namespace, whether it has sockets here or not.
    fn channels(&self, name: &NamespaceName) -> Rc<Channels> {
        match self.namespaces.get(name) {
            Some(namespace) => Rc::clone(&namespace.channels),
            None => Rc::new(Channels::new(&self.config, name)),
        }
    }

    /// A message of the sharded family.
    fn message(&self, namespace: &NamespaceName, content: Content) -> Message {
        Message { uid: self.uid.clone(), namespace: namespace.clone(), content, from: None }
    }

    fn draw_request_id(&mut self) -> RequestId {
        match self.config.family {
            Family::Classic => RequestId::random_classic(&mut self.rng),
            Family::Sharded(_) => RequestId::random_sharded(&mut self.rng),
        }
    }

    fn send(&mut self, channel: &str, payload: Vec<u8>) {
        let channel = Bytes::copy_from_slice(channel.as_bytes());
        self.outputs.push_back(Output::Publish { channel, payload: payload.into(), ticket: None });
    }

    fn next_query(&mut self) -> QueryId {
        next_query(&mut self.query_count)
    }
}

fn next_query(counter: &mut u64) -> QueryId {
    *counter += 1;
    QueryId(*counter)
}

fn content_of(broadcast: &Broadcast, request: Option<(RequestId, Flags)>) -> Content {
    let Broadcast { targets, delivery, event, .. } = broadcast.clone();
    let (request_id, flags) = request.unzip();
    Content::Broadcast { targets, delivery, event, flags: flags.unwrap_or_default(), request_id }
}

impl Channels {
    fn new(config: &ClusterConfig, name: &NamespaceName) -> Self {
        match config.family {
            Family::Classic => Self::Classic(ClassicChannels::new(&config.prefix, name)),
            Family::Sharded(mode) => Self::Sharded(ShardedChannels::new(&config.prefix, name, mode)),
        }
    }

    /// The channel of one room, if it is listened to by itself.
    fn room(&self, room: &socketio::RoomName, listen: ListenMode) -> Option<(Listen, Bytes)> {
        match self {
            Self::Classic(_) if listen == ListenMode::Pattern => None,
            Self::Classic(channels) => Some((Listen::Exact, channels.room(room).into())),
            Self::Sharded(channels) => channels.room(room).map(|channel| (Listen::Sharded, channel.into())),
        }
    }

    /// What brings the rooms that have no channel of their own.
    fn everything(&self, listen: ListenMode) -> String {
        match self {
            Self::Classic(channels) if listen == ListenMode::Pattern => channels.pattern(),
            Self::Classic(channels) => channels.namespace().to_owned(),
            Self::Sharded(channels) => channels.main().to_owned(),
        }
    }

    /// What every node with sockets in the namespace listens to. The one that makes it count as a node is last:
    /// it then hears everything that it has to answer.
    fn of_namespace(&self, uid: &Uid, config: &ClusterConfig) -> Vec<(Listen, String, Role)> {
        match self {
            Self::Classic(channels) => {
                let everything = self.everything(config.listen);
                let listen = match config.listen {
                    ListenMode::Exact => Listen::Exact,
                    ListenMode::Pattern => Listen::Pattern,
                };
                vec![
                    (listen, everything, Role::Namespace),
                    (Listen::Exact, channels.response().to_owned(), Role::Responses),
                    (Listen::Exact, channels.specific_response(uid), Role::Responses),
                    (Listen::Exact, self.presence(config), Role::Presence),
                    (Listen::Exact, channels.request().to_owned(), Role::Requests),
                ]
            }
            Self::Sharded(channels) => vec![
                (Listen::Sharded, channels.response(uid), Role::Namespace),
                (Listen::Sharded, self.presence(config), Role::Presence),
                (Listen::Sharded, channels.main().to_owned(), Role::Namespace),
            ],
        }
    }

    /// What answers to this node's asks come on.
    fn of_answers(&self, uid: &Uid) -> Vec<(Listen, String, Role)> {
        match self {
            Self::Classic(channels) => vec![
                (Listen::Exact, channels.response().to_owned(), Role::Responses),
                (Listen::Exact, channels.specific_response(uid), Role::Responses),
            ],
            Self::Sharded(channels) => vec![(Listen::Sharded, channels.response(uid), Role::Namespace)],
        }
    }

    /// Which other nodes' subscriptions make them count.
    fn census(&self) -> &str {
        match self {
            Self::Classic(channels) => channels.request(),
            Self::Sharded(channels) => channels.main(),
        }
    }

    /// Only Roomcast nodes listen to it, and nobody publishes: so they are told from Node servers.
    fn presence(&self, config: &ClusterConfig) -> String {
        let namespaced = match self {
            Self::Classic(channels) => channels.namespace(),
            Self::Sharded(channels) => channels.main(),
        };
        let rest = namespaced.strip_prefix(&config.prefix).unwrap_or(namespaced);
        format!("{}-roomcast{rest}", config.prefix)
    }
}
