//! What a shard is asked by other threads and by its own HTTP tasks, and the way to ask it.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use adapter::{Broadcast, CallId, Event, Operation, Outcome, Ticket};
use admission::Place;
use broker::{ConnectionKey, Opening, Payload, Publication, Reach, Refusal, TooManyCalls, Wire};
use bytes::Bytes;
use cluster::ShardSet;
use engineio::{BodyForm, Owner, SessionId, SidKey};
use publish::{
    CallEvent, CallRefused, Coverage, Dispatch, HandedOver, ReachLater, Receipt, ReportLevel, ServerAnswer,
    Unavailable,
};
use smallvec::SmallVec;
use socketio::NamespaceName;
use tokio::sync::{Semaphore, mpsc, oneshot};
use websocket::Deflate;

use crate::{
    calls::{self, Reporter},
    cluster::Messages,
    peers::PeerStream,
    socket::Socket,
};

/// Commands that may wait for one shard. When it is full whoever sends waits: this is what slows publishers
/// and HTTP clients down to what the shard can do.
pub(crate) const INBOX_COMMANDS_MAX: usize = 1024;

/// Messages that are handed to another thread as one command, at most: what is done once per command, 600 instructions,
/// is done for that many, and a full queue holds that many times its commands.
pub(crate) const RUN_MAX: usize = 32;

/// What one turn of a shard has published, up to [`RUN_MAX`], in order.
pub(crate) type Run = SmallVec<[Arc<Publication>; 4]>;

/// A broadcast of another node, and the shards that may have members for it.
pub(crate) struct Arrival {
    pub(crate) shards: ShardSet,
    pub(crate) publication: Publication,
}

/// One thing to do for a shard.
pub(crate) enum Command {
    /// Deliver to the sockets here, and say how far it got if anybody wants to know.
    Deliver(Arc<Publication>, Option<oneshot::Sender<Reach>>),
    /// Deliver several, in this order.
    DeliverAll(Arc<[Publication]>),
    /// The same for those that one turn of another shard has brought.
    DeliverRun(Run),
    /// The same for those of other nodes, as far as they are for this shard.
    DeliverArrivals(Arc<[Arrival]>),
    /// Subscriptions that these tickets waited for are in force.
    Confirmed(Vec<Ticket>),
    /// Do something with the sockets here, or tell about them.
    Operate(Arc<Operation>, oneshot::Sender<Outcome>),
    /// Ask the sockets here for an acknowledgement, and say how many were asked; their answers go to `reporter`.
    Call {
        broadcast: Arc<Broadcast>,
        call: CallId,
        deadline: Instant,
        reporter: Reporter,
        reply: oneshot::Sender<Result<u32, TooManyCalls>>,
    },
    /// Nobody waits for the answers of a call any more.
    EndCall(CallId),
    /// Open a polling session, or one of 0.9, unless there is a cause against it.
    OpenPolling(Opening, oneshot::Sender<Result<Payload, NotOpened>>),
    /// End a session of 0.9, because its page closes.
    Disconnect09(SessionId),
    /// Hold a poll until there is something for it.
    Poll { sid: SessionId, wire: Wire, reply: oneshot::Sender<Result<Payload, Refusal>> },
    /// A poll that was held is gone.
    PollLost(SessionId),
    /// A push begins.
    PushStarted { sid: SessionId, wire: Wire, reply: oneshot::Sender<Result<PushPermit, Refusal>> },
    /// The body of a push has come.
    Push { key: ConnectionKey, form: BodyForm, body: Bytes, reply: oneshot::Sender<Result<(), Refusal>> },
    /// A push has ended without a body.
    PushFailed { key: ConnectionKey, cut: bool },
    /// Ask whether a WebSocket may be opened for a session.
    CheckUpgrade { sid: SessionId, wire: Wire, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Take a WebSocket over.
    Adopt(Box<Adoption>),
    /// Serve a connection of another gateway.
    ServePeer(PeerStream),
    /// Stop accepting, and close all clients by then.
    Drain(Instant),
}

impl Command {
    /// How many things it is to do: at least 1.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::DeliverAll(publications) => publications.len().max(1),
            Self::DeliverRun(run) => run.len().max(1),
            Self::DeliverArrivals(arrivals) => arrivals.len().max(1),
            _ => 1,
        }
    }
}

/// Why a session was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// Not now: the client may come again.
    Refused(telemetry::Refusal),
    /// It may not be in `/`, where every client of 0.9 is.
    Unauthorized,
}

/// Leave to read the body of a push.
pub(crate) struct PushPermit {
    pub(crate) key: ConnectionKey,
    /// Fails when the session ends before the body has come: the request is then to be cut off.
    pub(crate) cut: oneshot::Receiver<Infallible>,
}

/// A WebSocket on its way to the shard that will own it.
pub(crate) struct Adoption {
    pub(crate) socket: Socket,
    /// The other end, and its place among the connections of that address.
    pub(crate) peer: IpAddr,
    pub(crate) place: Option<Place>,
    /// Bytes that were read behind the request.
    pub(crate) ahead: Bytes,
    /// The answer to the upgrade request, unless it has been sent.
    pub(crate) greeting: Option<Bytes>,
    pub(crate) purpose: Purpose,
}

/// What a WebSocket is opened for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A session of its own.
    Open(Opening),
    /// To hear that its session is unknown, and to begin anew (0.9).
    Farewell,
    /// The upgrade of a polling session, or the transport of one of 0.9.
    Probe { sid: SessionId, wire: Wire, deflate: Option<Deflate> },
}

/// Whose session a sid names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// That of a shard here.
    Here(SessionId, u8),
    /// That of the gateway with this number.
    Node(u16),
    /// Nobody's: it is forged.
    Nobody,
}

/// The shards of this process.
#[derive(Clone)]
pub(crate) struct Shards {
    inboxes: Arc<[mpsc::Sender<Command>]>,
    turnstile: Arc<Semaphore>,
    node: u16,
    sid_key: SidKey,
    /// What operators call this process.
    name: Arc<str>,
    /// A permit for each call that may still be made.
    calls: Arc<Semaphore>,
    calls_max: u32,
    /// The number of the next call.
    next_call: Arc<AtomicU64>,
}

impl Shards {
    pub(crate) fn new(
        inboxes: Vec<mpsc::Sender<Command>>,
        (node, name): (u16, &str),
        sid_key: SidKey,
        calls_max: u32,
    ) -> Self {
        Self {
            name: name.into(),
            inboxes: inboxes.into(),
            turnstile: Arc::new(Semaphore::new(1)),
            node,
            sid_key,
            calls: Arc::new(Semaphore::new(calls_max as usize)),
            calls_max,
            next_call: Arc::default(),
        }
    }

    /// A process that holds no sockets.
    pub(crate) fn none(node: u16, name: &str, sid_key: SidKey, calls_max: u32) -> Self {
        Self::new(Vec::new(), (node, name), sid_key, calls_max)
    }

    /// The coverage of what the shards answer: a process without any is no node to be asked.
    fn coverage(&self) -> Coverage {
        let nodes = u32::from(!self.inboxes.is_empty());
        Coverage { nodes_asked: nodes, nodes_answered: nodes, nodes_missing: Vec::new() }
    }

    /// The inboxes of all shards, in the order of their numbers.
    pub(crate) fn inboxes(&self) -> &[mpsc::Sender<Command>] {
        &self.inboxes
    }

    /// Whose session `sid` names.
    pub(crate) fn owner_of(&self, sid: &str) -> Ownership {
        match self.sid_key.verify(sid) {
            Some((_, Owner { node, .. })) if node != self.node => Ownership::Node(node),
            // A process of this number that is gone may have had more shards.
            Some((sid, Owner { shard, .. })) if usize::from(shard) < self.inboxes.len() => {
                Ownership::Here(sid, shard)
            }
            _ => Ownership::Nobody,
        }
    }

    /// The inbox of one shard.
    pub(crate) fn inbox(&self, shard: u8) -> &mpsc::Sender<Command> {
        &self.inboxes[usize::from(shard)]
    }

    /// Asks a shard and waits for the answer; `None` if the shard is gone.
    pub(crate) async fn ask<T>(
        &self,
        shard: u8,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inbox(shard).send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Dispatch for Shards {
    async fn publish(&self, broadcast: Broadcast, report: ReportLevel) -> Result<Receipt, Unavailable> {
        let publication = Arc::new(Publication::new(broadcast));
        let handed = self.deliver(&publication, report, None::<Ahead<'_, Command>>).await?;
        let reach = (report == ReportLevel::Reach).then(|| ReachLater::new(handed.reach()));
        Ok(Receipt { reach })
    }

    fn publish_now(&self, broadcasts: Vec<Broadcast>) -> Result<HandedOver, Vec<Broadcast>> {
        self.deliver_now(broadcasts, None::<(&mpsc::Sender<Command>, fn(Messages) -> Command)>)?;
        Ok(HandedOver::Done)
    }

    async fn operate(
        &self,
        operation: Operation,
        _: Option<Duration>,
    ) -> Result<(Outcome, Coverage), Unavailable> {
        // The shards of one process answer in their next turn: there is nothing to time.
        let operation = Arc::new(operation);
        let mut answers = Vec::new();
        self.tell_all(None::<Ahead<'_, Command>>, || {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            Command::Operate(operation.clone(), reply)
        })
        .await?;
        let mut total = Outcome::default();
        for answer in answers {
            total.add(answer.await.map_err(|_| gone())?);
        }
        total.sockets.iter_mut().for_each(|socket| socket.node = Arc::clone(&self.name));
        Ok((total, self.coverage()))
    }

    /// There is no other server, and this one has no handlers.
    async fn emit_to_servers(
        &self,
        _: NamespaceName,
        _: Event,
        _: Option<Duration>,
    ) -> Result<(Vec<ServerAnswer>, Coverage), Unavailable> {
        Ok((Vec::new(), self.coverage()))
    }

    async fn call(
        &self,
        broadcast: Broadcast,
        timeout: Duration,
    ) -> Result<mpsc::Receiver<CallEvent>, CallRefused> {
        let place = self.calls.clone().try_acquire_owned();
        let place = place.map_err(|_| CallRefused::TooMany { max: self.calls_max })?;
        let call = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        let deadline = Instant::now() + timeout;
        let broadcast = Arc::new(broadcast);
        let (reporter, reports) = calls::reports();
        let mut asked = Vec::new();
        self.tell_all(None::<Ahead<'_, Command>>, || {
            let (reply, count) = oneshot::channel();
            asked.push(count);
            let (broadcast, reporter) = (broadcast.clone(), reporter.clone());
            Command::Call { broadcast, call, deadline, reporter, reply }
        })
        .await?;
        // The shards' are the last: when they are dropped, the call is over.
        drop(reporter);
        let (events, receiver) = calls::events();
        let shards = self.clone();
        tokio::spawn(async move {
            calls::follow(asked, reports, shards.name.to_string(), shards.coverage(), events).await;
            for inbox in shards.inboxes() {
                inbox.send(Command::EndCall(call)).await.ok();
            }
            drop(place);
        });
        Ok(receiver)
    }
}

/// Something that is told to somebody else in the same place of the order, before the shards.
pub(crate) type Ahead<'a, T> = (&'a mpsc::Sender<T>, T);

/// A publication that every shard has got.
pub(crate) struct Handed {
    answers: Vec<oneshot::Receiver<Reach>>,
    coverage: Coverage,
}

impl Handed {
    /// Waits for what the shards say of it, if that was asked for. One that is gone has no sockets any more.
    pub(crate) async fn reach(self) -> publish::Reach {
        let mut total = publish::Reach { coverage: self.coverage, ..publish::Reach::default() };
        for answer in self.answers {
            let reach = answer.await.unwrap_or_default();
            total.sockets_matched += u64::from(reach.matched);
            total.sockets_written += u64::from(reach.written);
            total.sockets_dropped.not_ready += u64::from(reach.dropped_volatile);
            total.sockets_dropped.queue_full += u64::from(reach.dropped_slow);
        }
        total
    }
}

impl Shards {
    /// Hands a publication to every shard.
    pub(crate) async fn deliver<T>(
        &self,
        publication: &Arc<Publication>,
        report: ReportLevel,
        ahead: Option<Ahead<'_, T>>,
    ) -> Result<Handed, Unavailable> {
        let mut answers = Vec::new();
        self.tell_all(ahead, || {
            let reply = (report == ReportLevel::Reach).then(|| {
                let (reply, answer) = oneshot::channel();
                answers.push(answer);
                reply
            });
            Command::Deliver(publication.clone(), reply)
        })
        .await?;
        Ok(Handed { answers, coverage: self.coverage() })
    }

    /// Hands broadcasts to every shard as one, and to `ahead` before, if that needs no waiting.
    pub(crate) fn deliver_now<T>(
        &self,
        broadcasts: Vec<Broadcast>,
        ahead: Option<(&mpsc::Sender<T>, impl FnOnce(Messages) -> T)>,
    ) -> Result<(), Vec<Broadcast>> {
        // What is free of either is free because nobody waits for it.
        let Ok(turn) = self.turnstile.try_acquire() else { return Err(broadcasts) };
        let first = match ahead {
            None => None,
            Some((queue, command)) => match queue.try_reserve() {
                Ok(place) => Some((place, command)),
                Err(_) => return Err(broadcasts),
            },
        };
        let mut places = SmallVec::<[_; 8]>::new();
        for inbox in self.inboxes.iter() {
            match inbox.try_reserve() {
                Ok(place) => places.push(place),
                Err(_) => return Err(broadcasts),
            }
        }
        if places.is_empty() {
            if let Some((place, command)) = first {
                place.send(command(Messages::Elsewhere(broadcasts)));
            }
            return Ok(());
        }
        let publications: Arc<[_]> = broadcasts.into_iter().map(Publication::new).collect();
        if let Some((place, command)) = first {
            place.send(command(Messages::Here(publications.clone())));
        }
        for place in places {
            place.send(Command::DeliverAll(publications.clone()));
        }
        drop(turn);
        Ok(())
    }

    /// Puts a command into every inbox.
    async fn tell_all<T>(
        &self,
        ahead: Option<Ahead<'_, T>>,
        mut command: impl FnMut() -> Command,
    ) -> Result<(), Unavailable> {
        // One publisher at a time reserves a place in every queue, in the order of arrival: so no message
        // overtakes another anywhere, and a caller that gives up has reached all or none.
        // What is free is free because nobody waits for it; to take it at once saves a publish 350 instructions.
        let turn = match self.turnstile.try_acquire() {
            Ok(turn) => turn,
            Err(_) => self.turnstile.acquire().await.map_err(|_| gone())?,
        };
        let first = match ahead {
            Some((queue, first)) => Some((place(queue).await?, first)),
            None => None,
        };
        let mut places = SmallVec::<[_; 8]>::new();
        for inbox in self.inboxes.iter() {
            places.push(place(inbox).await?);
        }
        if let Some((place, first)) = first {
            place.send(first);
        }
        for place in places {
            place.send(command());
        }
        drop(turn);
        Ok(())
    }
}

/// A place in a queue, once there is one.
async fn place<T>(queue: &mpsc::Sender<T>) -> Result<mpsc::Permit<'_, T>, Unavailable> {
    match queue.try_reserve() {
        Ok(place) => Ok(place),
        Err(_) => queue.reserve().await.map_err(|_| gone()),
    }
}

fn gone() -> Unavailable {
    Unavailable("this gateway is shutting down: publish to another one".into())
}
