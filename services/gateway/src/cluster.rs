//! This gateway among others: what shards and callers tell the thread that is the cluster's node here.
//!
//! The thread (`carrier`) owns the node, which decides, and the link, which carries; shards and the publish API
//! reach it through a [`ClusterHandle`], on one bounded queue. With the memory adapter there is none of this.

mod away;
mod both;
mod carrier;
mod claims;
mod deaf;
mod dispatch;
mod errands;
mod start;
mod tickets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adapter::{Broadcast, Subscription, Ticket};
use broker::Publication;
use cluster::{Ask, Part};
use publish::Unavailable;
use tokio::sync::{mpsc, oneshot};

pub(crate) use dispatch::Nodes;
pub(crate) use start::ClusterStart;

use crate::inbox::Run;

/// Commands that may wait for the thread, each of up to [`RUN_MAX`](crate::inbox::RUN_MAX) messages of clients. When it is
/// full, shards stop reading their clients and publishers wait.
pub(crate) const CLUSTER_COMMANDS_MAX: usize = 4_096;

/// Parts of an answer that may wait for whoever asked. One that takes none ends the asking.
const PARTS_MAX: usize = 65_536;

/// How long the last words to Redis may take.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// One thing to do for the cluster's node.
pub(crate) enum ClusterCommand {
    /// Publish what is delivered here already, and say what became of it.
    Publish(Arc<Publication>, oneshot::Sender<Published>),
    /// The same for what one turn of a shard has brought, in this order; nobody waits for what becomes of it.
    PublishRun(Run),
    /// The same, and ask the other nodes for so long how far it got there.
    PublishReporting(Arc<Publication>, oneshot::Sender<Published>, Duration, mpsc::Sender<Part>),
    /// The same for several, in this order: says which of them came to nothing.
    PublishAll(Messages, oneshot::Sender<Vec<(usize, Unavailable)>>),
    /// A shard has members in a namespace or room.
    Subscribe(u8, Subscription, Option<Ticket>),
    /// A shard has none there any more.
    Unsubscribe(u8, Subscription),
    /// Ask the other nodes.
    Ask(Ask, Duration, mpsc::Sender<Part>),
    /// Ask Redis; `None` if it does not answer.
    Query(redis_link::Query, oneshot::Sender<Option<redis_link::Reply>>),
    /// The process ends: take back what Redis knows of it.
    Leave(oneshot::Sender<()>),
}

/// Messages that are published as one.
pub(crate) enum Messages {
    /// Delivered here as well.
    Here(Arc<[Publication]>),
    /// By a process without sockets, which spares what only sockets need.
    Elsewhere(Vec<Broadcast>),
}

impl Messages {
    fn len(&self) -> usize {
        match self {
            Self::Here(publications) => publications.len(),
            Self::Elsewhere(broadcasts) => broadcasts.len(),
        }
    }

    fn broadcasts(&self) -> impl Iterator<Item = &Broadcast> {
        let (here, elsewhere): (&[Publication], &[Broadcast]) = match self {
            Self::Here(publications) => (publications, &[]),
            Self::Elsewhere(broadcasts) => (&[], broadcasts),
        };
        here.iter().map(|publication| &publication.broadcast).chain(elsewhere)
    }
}

/// What became of a publish.
pub(crate) enum Published {
    /// Redis has it.
    Received,
    /// Nobody else has got it: in words, why and what to do.
    Refused(String),
    /// Redis has not said whether it got it.
    Unknown(String),
}

/// The way to the cluster's node.
#[derive(Clone)]
pub(crate) struct ClusterHandle {
    commands: mpsc::Sender<ClusterCommand>,
    can_publish: Arc<AtomicBool>,
    /// What keys in Redis begin with.
    prefix: Arc<str>,
}

impl ClusterHandle {
    /// A handle, and what the thread needs to serve it.
    pub(crate) fn new(prefix: &str) -> (Self, mpsc::Receiver<ClusterCommand>, Arc<AtomicBool>) {
        let (commands, inbox) = mpsc::channel(CLUSTER_COMMANDS_MAX);
        let can_publish = Arc::new(AtomicBool::new(false));
        (Self { commands, can_publish: can_publish.clone(), prefix: prefix.into() }, inbox, can_publish)
    }

    /// The queue of the thread.
    pub(crate) fn commands(&self) -> &mpsc::Sender<ClusterCommand> {
        &self.commands
    }

    /// Whether Redis takes what is published.
    pub(crate) fn can_publish(&self) -> bool {
        self.can_publish.load(Ordering::Relaxed)
    }

    /// Takes back what Redis knows of this node, if Redis is there to be told.
    pub(crate) async fn leave(&self) {
        let farewell = async {
            let (done, left) = oneshot::channel();
            if self.commands.send(ClusterCommand::Leave(done)).await.is_ok() {
                left.await.ok();
            }
        };
        tokio::time::timeout(FAREWELL_MAX, farewell).await.ok();
    }
}
