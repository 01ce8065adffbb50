//! What this shard has for other threads and they have not taken yet, in order.

use std::collections::VecDeque;

use tokio::sync::mpsc::error::TrySendError;

use crate::{
    cluster::{ClusterCommand, ClusterHandle},
    inbox::{Command, Shards},
};

/// One command for another thread.
enum Parcel {
    Shard(u8, Command),
    Cluster(ClusterCommand),
}

/// See the module's documentation. While there is anything, no link is read: so there is never more than one turn
/// produces.
#[derive(Default)]
pub(super) struct Backlog {
    parcels: VecDeque<Parcel>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Gives back what a past crowd needed.
    pub(super) fn shrink(&mut self) {
        self.parcels.shrink_to(2 * self.parcels.len());
    }

    pub(super) fn push_to_shard(&mut self, shard: u8, command: Command) {
        self.parcels.push_back(Parcel::Shard(shard, command));
    }

    pub(super) fn push_to_cluster(&mut self, command: ClusterCommand) {
        self.parcels.push_back(Parcel::Cluster(command));
    }

    /// Hands over what the others take. A thread that is gone has no use for its own.
    pub(super) fn offer(&mut self, shards: &Shards, cluster: Option<&ClusterHandle>) {
        while let Some(parcel) = self.parcels.pop_front() {
            if let Some(parcel) = parcel.offer(shards, cluster) {
                return self.parcels.push_front(parcel);
            }
        }
    }
}

impl Parcel {
    /// Gives the command to its thread; comes back if that has no room now.
    fn offer(self, shards: &Shards, cluster: Option<&ClusterHandle>) -> Option<Self> {
        match self {
            Self::Shard(shard, command) => match shards.inbox(shard).try_send(command) {
                Err(TrySendError::Full(command)) => Some(Self::Shard(shard, command)),
                _ => None,
            },
            Self::Cluster(command) => match cluster?.commands().try_send(command) {
                Err(TrySendError::Full(command)) => Some(Self::Cluster(command)),
                _ => None,
            },
        }
    }
}
