//! A real server on a free port of loopback, in front of a dispatch whose answers the test decides.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter::{Action, Broadcast, Delivery, Event, Handshake, Operation, Outcome, SocketDetails, Targets};
use bytes::Bytes;
use publish::{
    Access, CallEvent, CallRefused, Coverage, Dispatch, HandedOver, PublishConfig, Reach, ReachLater,
    Receipt, ReportLevel, ServeError, ServerAnswer, Unavailable, serve_with,
};
use roomcast_proto::v1;
use roomcast_proto::v1::publisher_client::PublisherClient;
use socketio::{NamespaceName, RoomName, SocketId};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// How long anything may take before the test fails; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what is handed over, and hands over only as much as the test has allowed.
#[derive(Clone)]
pub(crate) struct Recorder {
    reach: Option<Reach>,
    /// Refuse the publishes from this number on, counted from 0.
    refuse_from: usize,
    /// The publishes up to this number wait until they are allowed.
    held: usize,
    /// Take what comes as one; the number of messages of each is kept here.
    pub(crate) handed_as_one: Option<Arc<Mutex<Vec<usize>>>>,
    /// One permit for each of those that may go through.
    allowed: Arc<Semaphore>,
    taken: Arc<Mutex<Vec<(Broadcast, ReportLevel)>>>,
    /// Operations asked for, each answered with three sockets, two rooms and one of two nodes.
    pub(crate) operated: Arc<Mutex<Vec<Operation>>>,
    /// What each call brings.
    call_events: Vec<CallEvent>,
    /// Publishes that have begun and have neither ended nor been dropped.
    pub(crate) waiting: watch::Sender<usize>,
    /// Publishes that have begun.
    pub(crate) begun: watch::Sender<usize>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            reach: None,
            refuse_from: usize::MAX,
            held: 0,
            handed_as_one: None,
            allowed: Arc::new(Semaphore::new(0)),
            taken: Arc::default(),
            operated: Arc::default(),
            call_events: Vec::new(),
            waiting: watch::Sender::new(0),
            begun: watch::Sender::new(0),
        }
    }

    /// Nothing goes through before [`Self::allow`].
    pub(crate) fn blocked() -> Self {
        Self::holding(usize::MAX)
    }

    /// Never makes anyone wait, and takes several messages as one.
    pub(crate) fn ready() -> Self {
        Self { handed_as_one: Some(Arc::default()), ..Self::new() }
    }

    /// The first `held` publishes do not go through before [`Self::allow`], the others do.
    pub(crate) fn holding(held: usize) -> Self {
        Self { held, ..Self::new() }
    }

    pub(crate) fn answering(reach: Reach) -> Self {
        Self { reach: Some(reach), ..Self::new() }
    }

    /// Each call brings these events.
    pub(crate) fn calling(call_events: Vec<CallEvent>) -> Self {
        Self { call_events, ..Self::new() }
    }

    pub(crate) fn unavailable_from(nth: usize) -> Self {
        Self { refuse_from: nth, ..Self::new() }
    }

    pub(crate) fn allow(&self, publishes: usize) {
        self.allowed.add_permits(publishes);
    }

    pub(crate) fn taken(&self) -> Vec<(Broadcast, ReportLevel)> {
        self.taken.lock().unwrap().clone()
    }

    /// The event arrays handed over, in their order.
    pub(crate) fn events(&self) -> Vec<String> {
        let text =
            |(broadcast, _): &(Broadcast, _)| String::from_utf8(broadcast.event.json.to_vec()).unwrap();
        self.taken.lock().unwrap().iter().map(text).collect()
    }
}

fn details(id: &str) -> SocketDetails {
    let headers = Bytes::from_static(br#"{"host":"h","set-cookie":["a","b"]}"#);
    SocketDetails {
        id: SocketId::new(id),
        handshake: Handshake { headers, issued_ms: 5, ..Handshake::default() },
        rooms: vec![RoomName::new(id)],
        data: Bytes::from_static(b"{}"),
        node: "n".into(),
    }
}

/// Counts one publish as waiting for as long as it lives.
struct Waiting(watch::Sender<usize>);

impl Waiting {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Dispatch for Recorder {
    async fn publish(&self, broadcast: Broadcast, report: ReportLevel) -> Result<Receipt, Unavailable> {
        let _waiting = Waiting::new(&self.waiting);
        let mut nth = 0;
        self.begun.send_modify(|count| {
            nth = *count;
            *count += 1;
        });
        if nth < self.held {
            self.allowed.acquire().await.unwrap().forget();
        }
        let mut taken = self.taken.lock().unwrap();
        if taken.len() >= self.refuse_from {
            return Err(Unavailable("Redis is away: retry".into()));
        }
        taken.push((broadcast, report));
        let reach = self.reach.clone();
        Ok(Receipt { reach: reach.map(|reach| ReachLater::new(async { reach })) })
    }

    fn publish_now(&self, broadcasts: Vec<Broadcast>) -> Result<HandedOver, Vec<Broadcast>> {
        let Some(handed) = &self.handed_as_one else { return Err(broadcasts) };
        handed.lock().unwrap().push(broadcasts.len());
        let broadcasts = broadcasts.into_iter().map(|broadcast| (broadcast, ReportLevel::Accepted));
        self.taken.lock().unwrap().extend(broadcasts);
        Ok(HandedOver::Done)
    }

    async fn emit_to_servers(
        &self,
        namespace: NamespaceName,
        event: Event,
        wait: Option<Duration>,
    ) -> Result<(Vec<ServerAnswer>, Coverage), Unavailable> {
        let broadcast =
            Broadcast { namespace, targets: Targets::default(), delivery: Delivery::Reliable, event };
        self.taken.lock().unwrap().push((broadcast, ReportLevel::Accepted));
        let answer = ServerAnswer { node: "n".into(), value: Bytes::from_static(b"[1]") };
        Ok((
            wait.map(|_| answer).into_iter().collect(),
            Coverage { nodes_asked: 2, nodes_answered: 1, nodes_missing: Vec::new() },
        ))
    }

    async fn call(
        &self,
        broadcast: Broadcast,
        timeout: Duration,
    ) -> Result<mpsc::Receiver<CallEvent>, CallRefused> {
        if self.refuse_from == 0 {
            return Err(CallRefused::TooMany { max: 0 });
        }
        assert!(!timeout.is_zero());
        self.taken.lock().unwrap().push((broadcast, ReportLevel::Accepted));
        let (events, receiver) = mpsc::channel(self.call_events.len() + 1);
        for event in &self.call_events {
            events.send(event.clone()).await.unwrap();
        }
        // Lives on: a call without an end waits.
        let waiting = Waiting::new(&self.waiting);
        tokio::spawn(async move {
            events.closed().await;
            drop(waiting);
        });
        Ok(receiver)
    }

    async fn operate(
        &self,
        operation: Operation,
        _: Option<Duration>,
    ) -> Result<(Outcome, Coverage), Unavailable> {
        self.operated.lock().unwrap().push(operation.clone());
        let (ids, sockets) = match operation.action {
            Action::Identify => (["s3", "s1", "s2"].map(SocketId::new).to_vec(), Vec::new()),
            // In the room of each there is a guest too.
            Action::Fetch => {
                let guest = RoomName::new("guest");
                let rooms = operation.targets.rooms.iter().rev().chain([&guest]);
                (Vec::new(), rooms.map(|room| details(room.as_str())).collect())
            }
            _ => (Vec::new(), Vec::new()),
        };
        let rooms = [("a", 1), ("b", 2)].map(|(room, members)| (RoomName::new(room), members)).into();
        Ok((
            Outcome { matched: 3, rooms, ids, sockets },
            Coverage { nodes_asked: 2, nodes_answered: 1, nodes_missing: Vec::new() },
        ))
    }
}

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) client: PublisherClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub(crate) async fn start(dispatch: Recorder, config: PublishConfig) -> Self {
        Self::start_with(dispatch, config, Access::default()).await
    }

    pub(crate) async fn start_with(dispatch: Recorder, config: PublishConfig, access: Access) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(serve_with(listener, dispatch, config, access, shutdown));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { client: PublisherClient::new(channel.clone()), channel, address, stop, task }
    }

    /// Asks the server to stop, as SIGTERM would.
    pub(crate) fn stop(self) -> JoinHandle<Result<(), ServeError>> {
        self.stop.send(()).unwrap();
        self.task
    }
}

/// A message that differs from all others in `number`.
pub(crate) fn numbered(number: u64) -> v1::Message {
    v1::Message { event: "n".into(), arguments: format!("[{number}]"), ..v1::Message::default() }
}

/// The event array of [`numbered`].
pub(crate) fn numbered_event(number: u64) -> String {
    format!("[\"n\",{number}]")
}

/// Waits until `count` is `expected`, which it must become.
pub(crate) async fn becomes(count: &watch::Sender<usize>, expected: usize) {
    let mut count = count.subscribe();
    within(count.wait_for(|count| *count == expected)).await.unwrap();
}

/// The outcome of something that must not take long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}
