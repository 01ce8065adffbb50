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

    pub(super) fn to_shard(&mut self, shard: u8, command: Command) {
        self.parcels.push_back(Parcel::Shard(shard, command));
    }

    pub(super) fn to_cluster(&mut self, command: ClusterCommand) {
        self.parcels.push_back(Parcel::Cluster(command));
    }

    /// Hands over what the others take. A thread that is gone has no use for its own.
    pub(super) fn offer(&mut self, shards: &Shards, cluster: Option<&ClusterHandle>) {
        while let Some(parcel) = self.parcels.pop_front() {
            let refused = match parcel {
                Parcel::Shard(shard, command) => match shards.inbox(shard).try_send(command) {
                    Err(TrySendError::Full(command)) => Some(Parcel::Shard(shard, command)),
                    _ => None,
                },
                Parcel::Cluster(command) => match cluster.map(|cluster| cluster.commands().try_send(command))
                {
                    Some(Err(TrySendError::Full(command))) => Some(Parcel::Cluster(command)),
                    _ => None,
                },
            };
            if let Some(parcel) = refused {
                return self.parcels.push_front(parcel);
            }
        }
    }
}
