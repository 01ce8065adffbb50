//! Where published messages go.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use adapter::{Argument, Broadcast, Event, Operation, Outcome};
use bytes::Bytes;
use socketio::{NamespaceName, SocketId};
use tokio::sync::{mpsc, oneshot};

use crate::idempotency::IdempotencyKey;

/// Where published messages go: the shards of this process, or Redis alone.
pub trait Dispatch: Clone + Send + Sync + 'static {
    /// Hands one broadcast over and waits while queues are full, which is what holds back callers.
    ///
    /// Futures of one stream are polled for the first time in the order of its messages, and many wait at once:
    /// an implementation takes the broadcast's place in the order at the first poll and lets no later one
    /// overtake it. A future that is dropped, because its caller has gone, has handed the broadcast over to
    /// everyone or to no one.
    ///
    /// # Errors
    /// [`Unavailable`] if the broadcast went to no one and a retry is right.
    fn publish(
        &self,
        broadcast: Broadcast,
        report: ReportLevel,
    ) -> impl Future<Output = Result<Receipt, Unavailable>> + Send;

    /// Hands broadcasts over in their order, as one and without a report, if that needs no waiting; all of them or
    /// none, and gives them back otherwise. They have their places in the order when this returns, and nobody who
    /// waits in [`Self::publish`] is overtaken.
    ///
    /// # Errors
    /// The broadcasts: each is then to be published, which waits or says why it cannot be.
    fn publish_now(&self, broadcasts: Vec<Broadcast>) -> Result<HandedOver, Vec<Broadcast>> {
        Err(broadcasts)
    }

    /// Has every node do something with its sockets, or tell about them, and gathers what they answer for as long as
    /// `wait` says; `None`: it is done, and nobody wants to know what came of it elsewhere.
    ///
    /// # Errors
    /// [`Unavailable`] if nobody was asked and a retry is right.
    fn operate(
        &self,
        operation: Operation,
        wait: Option<Duration>,
    ) -> impl Future<Output = Result<(Outcome, Coverage), Unavailable>> + Send;

    /// Emits to sockets wherever they are, asks each for an acknowledgement, and tells what comes of it as it
    /// comes. The last event is [`CallEvent::End`], at the latest when `timeout` is over. Whoever drops the
    /// receiver gives the call up; whoever does not take the events may lose it, see [`CallEnd::Overrun`].
    ///
    /// # Errors
    /// [`CallRefused`]; nobody was asked.
    fn call(
        &self,
        broadcast: Broadcast,
        timeout: Duration,
    ) -> impl Future<Output = Result<mpsc::Receiver<CallEvent>, CallRefused>> + Send;

    /// Emits to the servers of the cluster instead of clients, and gathers what they answer for as long as `wait`
    /// says; does not wait if it is `None`. A gateway has no handlers for such events, and answers nothing itself.
    ///
    /// # Errors
    /// [`Unavailable`] if nobody was asked and a retry is right.
    fn emit_to_servers(
        &self,
        namespace: NamespaceName,
        event: Event,
        wait: Option<Duration>,
    ) -> impl Future<Output = Result<(Vec<ServerAnswer>, Coverage), Unavailable>> + Send;

    /// Claims a named publish for this process among all of the cluster. One process knows by itself.
    ///
    /// # Errors
    /// [`Unavailable`]; nothing was claimed.
    fn claim(&self, key: IdempotencyKey) -> impl Future<Output = Result<Claim, Unavailable>> + Send {
        let _ = key;
        async { Ok(Claim::First) }
    }

    /// Says what became of a claimed publish, to be known for `window`; `None`: nothing, a retry may publish.
    fn settle(
        &self,
        key: IdempotencyKey,
        answer: Option<Bytes>,
        window: Duration,
    ) -> impl Future<Output = ()> + Send {
        let _ = (key, answer, window);
        async {}
    }
}

/// Broadcasts that were handed over as one.
#[derive(Debug)]
pub enum HandedOver {
    /// All of them are on their way.
    Done,
    /// Somebody else takes them, and says then which of them went to no one, by their numbers and in their order;
    /// whoever does not say is gone, and all of them with it.
    Awaited(oneshot::Receiver<Vec<(usize, Unavailable)>>),
}

impl HandedOver {
    /// Waits for what became of `count` broadcasts; gives those that went to no one, or may have gone to no one.
    pub(crate) async fn faults(self, count: usize) -> Vec<(usize, Unavailable)> {
        match self {
            Self::Done => Vec::new(),
            Self::Awaited(faults) => faults.await.unwrap_or_else(|_| {
                let gone = Unavailable("this process is shutting down: publish to another one".into());
                vec![gone; count].into_iter().enumerate().collect()
            }),
        }
    }
}

/// One server's answer to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAnswer {
    /// The name of the node; empty if it does not say.
    pub node: String,
    /// JSON text.
    pub value: Bytes,
}

/// What a cluster knows of a named publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: whoever asked is to publish, and to [`Dispatch::settle`] it.
    First,
    /// Another process is publishing it.
    Running,
    /// It was published, and this was the answer.
    Settled(Bytes),
}

/// One part of what a call brings. The nodes of a cluster tell at different times: answers of one may come before
/// another has said how many sockets it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// So many sockets more were asked.
    Asked(u64),
    /// All nodes have said how many they asked; comes at most once.
    AllAsked,
    /// A socket has acknowledged.
    Answer(CallAnswer),
    /// No answer comes any more.
    End(CallEnd, Coverage),
}

/// One socket's acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// The socket; unknown if its node does not say.
    pub socket: Option<SocketId>,
    /// The name of the node that holds it; empty if it does not say.
    pub node: String,
    /// The JSON array of all arguments; of one, if the node passes on only the first.
    pub arguments: Argument,
}

/// Why no answer of a call comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// Every socket that was asked has answered or is gone.
    All,
    /// The time was over.
    Timeout,
    /// Answers came faster than the caller took them, and more than is kept for one call.
    Overrun,
}

/// Why a call was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallRefused {
    /// As for a publish.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// As many calls as may be wait for answers already.
    #[error("{max} calls wait for answers already (limits.pending_calls_max): retry when some have ended")]
    TooMany {
        /// How many may.
        max: u32,
    },
}

/// Which nodes an answer speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Nodes asked, this one included if it holds sockets.
    pub nodes_asked: u32,
    /// Nodes that answered in time; the answer is partial if fewer than were asked.
    pub nodes_answered: u32,
    /// Names of those that did not, as far as they have names.
    pub nodes_missing: Vec<String>,
}

/// What the caller waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReportLevel {
    /// The broadcast is on its way.
    #[default]
    Accepted,
    /// The nodes have said what became of it, or their time is over.
    Reach,
}

/// A broadcast that was handed over.
#[derive(Debug, Default)]
pub struct Receipt {
    /// What becomes of it, if [`ReportLevel::Reach`] was asked for. Others may be published meanwhile.
    pub reach: Option<ReachLater>,
}

/// What becomes of a broadcast, once the nodes have said so or their time is over. Waiting for it moves nothing on.
pub struct ReachLater(Pin<Box<dyn Future<Output = Reach> + Send>>);

impl ReachLater {
    /// What that future gives.
    pub fn new(reach: impl Future<Output = Reach> + Send + 'static) -> Self {
        Self(Box::pin(reach))
    }

    pub(crate) async fn wait(self) -> Reach {
        self.0.await
    }
}

impl fmt::Debug for ReachLater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReachLater")
    }
}

/// What became of one broadcast, summed over the nodes that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The nodes this speaks for.
    pub coverage: Coverage,
    /// Sockets it was meant for.
    pub sockets_matched: u64,
    /// Sockets whose connection took it or whose queue holds it.
    pub sockets_written: u64,
    /// Sockets that will not get it.
    pub sockets_dropped: Dropped,
}

/// Sockets that will not get a message, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The message was volatile and the client was not ready.
    pub not_ready: u64,
    /// The client's queue was full.
    pub queue_full: u64,
    /// The connection was closing.
    pub closing: u64,
}

/// Nothing was published; a retry is right. The text says what is away and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);
